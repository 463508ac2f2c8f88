"""libpecos and napkinXC as systems of linear_systems.py, each with its own defaults.

Dense columns are appended to the CSR rows. Imports of a peer stand where it is used: no interpreter
needs to have them all.
"""

import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from bench.linear_system import Rows

TOP_K = 10
BEAM_SIZE = 10


class Peer:
    """What the peers share: the rows with their dense columns appended."""

    def __init__(self, rows: "Rows", num_threads: int, scratch: Path) -> None:
        """Join the blocks of the rows."""
        self.X_trn = joined(rows.X_trn, rows.E_trn)
        self.X_tst = joined(rows.X_tst, rows.E_tst)
        self.Y_trn, self.rows_folder = rows.Y_trn, rows.folder
        self.num_threads, self.scratch = num_threads, scratch
        self.version = ""

    def prepare(self) -> None:
        """Nothing is off the clock."""

    def single_rows(self, rows: np.ndarray) -> list[Any]:
        """CSR rows."""
        return [self.X_tst[int(row)] for row in rows]


class Pecos(Peer):
    """XR-Linear on PIFA and hierarchical k-means; predicts with the model opened for that."""

    settings = "PIFA, hierarchical k-means, beam 10"

    def prepare(self) -> None:
        """Import the library."""
        from pecos.xmc import Indexer, LabelEmbeddingFactory
        from pecos.xmc.xlinear.model import XLinearModel

        self.version = version("libpecos")
        self.embed, self.index = LabelEmbeddingFactory.create, Indexer.gen
        self.kind = XLinearModel

    def train(self) -> dict[str, float]:
        """Label features, tree, rankers."""
        started = time.perf_counter()
        Y, threads = self.Y_trn.tocsc(), self.num_threads
        Z = self.embed(Y, self.X_trn, method="pifa", threads=threads)
        chain = self.index(Z, indexer_type="hierarchicalkmeans", threads=threads)
        indexed = time.perf_counter()
        self.model = self.kind.train(self.X_trn, Y, C=chain, threads=threads)
        return {"index_seconds": indexed - started}

    def save(self, folder: Path) -> None:
        """Write the model's folder."""
        self.model.save(str(folder))

    def load(self, folder: Path) -> None:
        """Open it for prediction only, which libpecos recommends for speed."""
        del self.model
        self.model = self.kind.load(str(folder), is_predict_only=True)

    def predict(self) -> tuple[sp.csr_matrix, float]:
        """All test rows at once."""
        started = time.perf_counter()
        scores = self._predict(self.X_tst, self.num_threads)
        return scores, time.perf_counter() - started

    def predict_one(self, row: sp.csr_matrix) -> sp.csr_matrix:
        """One CSR row; one thread, as a row cannot be shared."""
        return self._predict(row, 1)

    def _predict(self, X: sp.csr_matrix, threads: int) -> sp.csr_matrix:
        return self.model.predict(X, beam_size=BEAM_SIZE, only_topk=TOP_K, threads=threads)


class NapkinXC(Peer):
    """napkinXC's PLT with its defaults; training writes the model, so that there is no `save`."""

    settings = "PLT's defaults: one tree, arity 2, logistic loss, exact search"

    def prepare(self) -> None:
        """Import the library."""
        from napkinxc.models import PLT

        self.version, self.kind = version("napkinxc"), PLT

    def train(self) -> dict[str, float]:
        """Train into a folder."""
        self.model = self.kind(str(self.scratch / "model"), threads=self.num_threads, seed=0)
        self.model.fit(self.X_trn, self.Y_trn)
        return {}

    def save(self, folder: Path) -> None:
        """Training has done it."""

    def load(self, folder: Path) -> None:
        """Open the folder."""
        del self.model
        self.model = self.kind(str(folder), threads=self.num_threads)
        self.model.load()

    def predict(self) -> tuple[sp.csr_matrix, float]:
        """All test rows at once."""
        started = time.perf_counter()
        found = self.model.predict_proba(self.X_tst, top_k=TOP_K)
        seconds = time.perf_counter() - started
        return scores_of(found, self.Y_trn.shape[1]), seconds

    def predict_one(self, row: sp.csr_matrix) -> Any:
        """One CSR row."""
        return self.model.predict_proba(row, top_k=TOP_K)


def joined(X_NF: sp.csr_matrix, E_NH: np.ndarray | None) -> sp.csr_matrix:
    """Sparse rows with dense columns appended: (N, F + H)."""
    if E_NH is None:
        return X_NF
    both = sp.hstack([X_NF, sp.csr_matrix(E_NH)], format="csr", dtype=np.float32)
    both.sort_indices()
    return both


def scores_of(found: list[list[tuple[int, float]]], num_labels: int) -> sp.csr_matrix:
    """Pairs (label, score) of each row as a matrix (N, L)."""
    indptr = np.cumsum([0, *map(len, found)])
    pairs = [pair for row in found for pair in row]
    indices = np.array([label for label, _ in pairs], np.int64)
    data = np.array([score for _, score in pairs], np.float32)
    return sp.csr_matrix((data, indices, indptr), shape=(len(found), num_labels))
