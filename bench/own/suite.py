"""xrt as a system of the suite: XRLinear at its defaults, on texts where the row set has them.

    python -m bench.own.suite xrt-linear ROWS OUT THREADS '{"seed": 0, "settings": {}}'

`settings` are arguments of XRLinear in the place of defaults; `features.NAME` stands for a field of
TfidfParams.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import xrt
from bench.linear_system import TOP_K, LinearRows, run_system
from xrt.features.tfidf_params import TfidfParams

NUM_COMPILE_ROWS = 300
FEATURES = "features."


class XrtLinear:
    """XRLinear(); rows of a row set with texts go in as texts."""

    def __init__(
        self, rows: LinearRows, num_threads: int, seed: int, settings: Mapping[str, Any]
    ) -> None:
        """Read the texts where there are some."""
        self.version = xrt.__version__
        self.settings = ", ".join(f"{key} {value}" for key, value in settings.items()) or "defaults"
        self.arguments = {**arguments_of(settings), "seed": seed, "num_threads": num_threads}
        self.num_threads = num_threads
        self.trn: Any = rows.X_trn
        self.tst: Any = rows.X_tst
        self.Y_trn: sp.csr_matrix = rows.Y_trn
        if (rows.folder / "texts_trn.json").is_file():
            labelled_N = np.diff(sp.csr_matrix(sp.load_npz(rows.folder / "Y_trn.npz")).indptr) > 0
            texts = json.loads((rows.folder / "texts_trn.json").read_text())
            self.trn = [text for text, some in zip(texts, labelled_N, strict=True) if some]
            self.tst = json.loads((rows.folder / "texts_tst.json").read_text())

    def prepare(self) -> None:
        """Compile the kernels, or read them from the cache, on few rows and their labels.

        A model that was opened has other types, memory-mapped ones, and so other kernels.
        """
        few = np.arange(min(NUM_COMPILE_ROWS, self.Y_trn.shape[0]))
        X = some_rows(self.trn, few)
        Y = self.Y_trn[few]
        Y = Y[:, np.unique(Y.indices)]
        model = xrt.XRLinear(**self.arguments).fit(X, Y)
        with tempfile.TemporaryDirectory(prefix="xrt-compile-") as folder:
            xrt.XRLinear.load(model.save(Path(folder) / "model")).predict(X, k=TOP_K)

    def train(self) -> dict[str, float]:
        """Fit, features of texts included."""
        self.model = xrt.XRLinear(**self.arguments).fit(self.trn, self.Y_trn)
        return {}

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
        started = time.perf_counter()
        scores = self.model.predict(self.tst, k=TOP_K)
        return sp.csr_matrix(scores), time.perf_counter() - started

    def single_rows(self, rows: np.ndarray) -> list[Any]:
        """A list with one text, or a CSR row."""
        return [some_rows(self.tst, np.array([row])) for row in rows]

    def predict_one(self, row: Any) -> Any:
        """`XRLinear.predict` of one row."""
        return self.model.predict(row, k=TOP_K)


def some_rows(X: Any, rows: np.ndarray) -> Any:
    """Rows of a matrix, or texts of a list."""
    return [X[int(row)] for row in rows] if isinstance(X, list) else X[rows]


def arguments_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of XRLinear, those of its features gathered."""
    arguments = {key: value for key, value in settings.items() if not key.startswith(FEATURES)}
    features: dict[str, Any] = {
        key.removeprefix(FEATURES): tuple(value) if isinstance(value, list) else value
        for key, value in settings.items()
        if key.startswith(FEATURES)
    }
    return {**arguments, "features": TfidfParams(**features)} if features else arguments


def make(name: str, rows: LinearRows, num_threads: int, scratch: Path) -> XrtLinear:
    """The only system there is."""
    given = json.loads(sys.argv[5]) if len(sys.argv) > 5 else {}
    return XrtLinear(rows, num_threads, given.get("seed", 0), given.get("settings", {}))


if __name__ == "__main__":
    run_system(make)
