"""omikuji as two systems of the linear suite: Parabel, its default, and Bonsai.

It trains on a text file, whose reading is not on the clock, and its Python binding takes one row at
a time, as pairs; only its own calls are on the clock.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import omikuji
import scipy.sparse as sp

from bench.linear_system import BEAM_SIZE, TOP_K, LinearRows, Peer, run_system, scores_of


class Parabel(Peer):
    """omikuji with its defaults: three trees of balanced 2-means."""

    settings = "omikuji's defaults: 3 trees, balanced 2-means, beam 10"
    changes: dict[str, Any] = {}  # noqa: RUF012

    def prepare(self) -> None:
        """Write the rows as text, once for all runs on this row set."""
        self.version = omikuji.__version__
        self.text = self.rows_folder / "train.txt"
        if not self.text.is_file():
            unfinished = self.text.with_suffix(".part")
            write_text_rows(unfinished, self.X_trn, self.Y_trn)
            unfinished.replace(self.text)

    def train(self) -> dict[str, float]:
        """Train; the time in `load_omikuji_data_set` is reading."""
        settings = omikuji.Model.default_hyper_param()
        for key, value in self.changes.items():
            setattr(settings, key, value)
        omikuji.lib = clock = ReadingClock(omikuji.lib)
        self.model = omikuji.Model.train_on_data(
            str(self.text), hyper_param=settings, n_threads=self.num_threads
        )
        omikuji.lib = clock.library
        return {"reading_seconds": clock.seconds}

    def save(self, folder: Path) -> None:
        """Write the model's folder."""
        self.model.save(str(folder))

    def load(self, folder: Path) -> None:
        """Open the folder."""
        del self.model
        self.model = omikuji.Model.load(str(folder))
        self.model.init_prediction_thread_pool(self.num_threads)

    def predict(self) -> tuple[sp.csr_matrix, float]:
        """All test rows, one after the other."""
        pairs_of_rows, seconds = [], 0.0
        for row in range(self.X_tst.shape[0]):
            pairs = row_pairs(self.X_tst, row)
            started = time.perf_counter()
            pairs_of_rows.append(self.predict_one(pairs))
            seconds += time.perf_counter() - started
        return scores_of(pairs_of_rows, self.Y_trn.shape[1]), seconds

    def single_rows(self, rows: np.ndarray) -> list[Any]:
        """Rows as pairs."""
        return [row_pairs(self.X_tst, int(row)) for row in rows]

    def predict_one(self, row: Any) -> Any:
        """One row of pairs."""
        return self.model.predict(row, beam_size=BEAM_SIZE, top_k=TOP_K)


class Bonsai(Parabel):
    """omikuji with what its README gives for Bonsai."""

    settings = "omikuji: 3 trees, unbalanced k-means with k 100, depth 3, beam 10"
    changes = {"cluster_balanced": False, "cluster_k": 100, "max_depth": 3}  # noqa: RUF012


class ReadingClock:
    """omikuji's C library, with a clock on reading the data set."""

    def __init__(self, library: Any) -> None:
        """Nothing read yet."""
        self.library, self.seconds = library, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.library, name)

    def load_omikuji_data_set(self, *arguments: Any) -> Any:
        """Read, and note how long it took."""
        started = time.perf_counter()
        data_set = self.library.load_omikuji_data_set(*arguments)
        self.seconds += time.perf_counter() - started
        return data_set


NO_FEATURE = "0:0"
"""omikuji does not read a row without features."""


def write_text_rows(path: Path, X: sp.csr_matrix, Y: sp.csr_matrix) -> None:
    """The text form of the Extreme Classification Repository: `N F L`, then `l,l f:v f:v`."""
    with path.open("w") as file:
        file.write(f"{X.shape[0]} {X.shape[1]} {Y.shape[1]}\n")
        for row in range(X.shape[0]):
            labels = Y.indices[Y.indptr[row] : Y.indptr[row + 1]].tolist()
            pairs = " ".join([f"{feature}:{value:.7g}" for feature, value in row_pairs(X, row)])
            file.write(",".join(map(str, labels)) + f" {pairs or NO_FEATURE}\n")


def row_pairs(X: sp.csr_matrix, row: int) -> list[tuple[int, float]]:
    """A row as (column, value) pairs."""
    entries = slice(X.indptr[row], X.indptr[row + 1])
    return list(zip(X.indices[entries].tolist(), X.data[entries].tolist(), strict=True))


def make(name: str, rows: LinearRows, num_threads: int, scratch: Path) -> Parabel:
    """The system of that name."""
    return (Parabel if name == "parabel" else Bonsai)(rows, num_threads, scratch)


if __name__ == "__main__":
    run_system(make)
