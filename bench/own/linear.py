"""xrt as a system of the linear suite: one of the presets of XRLinear."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import xrt
from bench.clock import StepTotals
from bench.linear_system import TOP_K, LinearRows, run_system
from xrt.estimators import PRESETS
from xrt.hybrid import HybridMatrix

NUM_COMPILE_ROWS = 300
INDEX_STEPS = ("label features", "cluster labels")
"""Steps of a Progress that make the label tree."""


class Xrt:
    """XRLinear with a preset; `hybrid` rows go in as a HybridMatrix."""

    def __init__(self, preset: str, rows: LinearRows, num_threads: int) -> None:
        """Nothing is done yet."""
        self.version, self.rows, self.num_threads = xrt.__version__, rows, num_threads
        self.preset = preset
        settings = ", ".join(f"{key} {value}" for key, value in PRESETS[preset].items())
        self.settings = settings or "defaults"

    def prepare(self) -> None:
        """Compile the kernels, or read them from the cache, on few rows and their labels.

        A model that was opened has other types, memory-mapped ones, and so other kernels.
        """
        few = np.arange(min(NUM_COMPILE_ROWS, self.rows.X_trn.shape[0]))
        Y = self.rows.Y_trn[few]
        Y = Y[:, np.unique(Y.indices)]
        X = features(self.rows.X_trn[few], dense_rows(self.rows.E_trn, few))
        model = xrt.XRLinear.preset(self.preset, fused=False, num_threads=self.num_threads).fit(
            X, Y
        )
        model.predict(X, k=TOP_K)
        with tempfile.TemporaryDirectory(prefix="xrt-compile-") as folder:
            xrt.XRLinear.load(model.save(Path(folder) / "model")).predict(X, k=TOP_K)

    def train(self) -> dict[str, float]:
        """Fit; the tree's part of it is what its steps took."""
        clock = StepTotals()
        self.model = xrt.XRLinear.preset(
            self.preset, fused=False, num_threads=self.num_threads, progress=clock
        ).fit(features(self.rows.X_trn, self.rows.E_trn), self.rows.Y_trn)
        return {"index_seconds": sum(clock.seconds.get(step, 0.0) for step in INDEX_STEPS)}

    def save(self, folder: Path) -> None:
        """Write the model's folder."""
        self.model.save(folder)

    def load(self, folder: Path) -> None:
        """Open the folder, hashes checked, weights memory-mapped."""
        del self.model
        self.model = xrt.XRLinear.load(folder)
        self.model.set_params(num_threads=self.num_threads)

    def predict(self) -> tuple[sp.csr_matrix, float]:
        """All test rows at once."""
        X = features(self.rows.X_tst, self.rows.E_tst)
        started = time.perf_counter()
        scores = self.model.predict(X, k=TOP_K)
        return sp.csr_matrix(scores), time.perf_counter() - started

    def single_rows(self, rows: np.ndarray) -> list[Any]:
        """CSR rows, or one-row HybridMatrix."""
        return [
            features(self.rows.X_tst[[row]], dense_rows(self.rows.E_tst, np.array([row])))
            for row in rows
        ]

    def predict_one(self, row: Any) -> Any:
        """`XRLinear.predict` of one row."""
        return self.model.predict(row, k=TOP_K)


def features(X_NF: sp.csr_matrix, E_NH: np.ndarray | None) -> Any:
    """What XRLinear takes: the sparse rows, or both blocks."""
    return X_NF if E_NH is None else HybridMatrix.of(X_NF, E_NH)


def dense_rows(E_NH: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """Some of the dense rows, where there are any."""
    return None if E_NH is None else E_NH[rows]


def make(name: str, rows: LinearRows, num_threads: int, scratch: Path) -> Xrt:
    """The preset of a system's name, `xrt-PRESET`."""
    return Xrt(name.removeprefix("xrt-"), rows, num_threads)


if __name__ == "__main__":
    run_system(make)
