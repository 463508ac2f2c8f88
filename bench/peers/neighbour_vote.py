"""Votes of the nearest training rows, by scikit-learn's NearestNeighbors, as a system."""

import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from bench.linear_system import TOP_K, LinearRows, Peer, run_system

NUM_NEIGHBOURS = 10


class NeighbourVote(Peer):
    """The labels of the ten nearest rows, each worth the cosine of its row."""

    settings = f"{NUM_NEIGHBOURS} nearest rows by cosine, exact, votes weighted by it"

    def prepare(self) -> None:
        """Import the library."""
        from sklearn.neighbors import NearestNeighbors

        self.version, self.kind = version("scikit-learn"), NearestNeighbors

    def train(self) -> dict[str, float]:
        """Keep the rows."""
        self.keep()
        return {}

    def keep(self) -> None:
        """Give the rows to the index, which has no other work."""
        num_neighbours = min(NUM_NEIGHBOURS, self.X_trn.shape[0])
        self.index = self.kind(
            n_neighbors=num_neighbours, metric="cosine", algorithm="brute", n_jobs=self.num_threads
        ).fit(self.X_trn)

    def save(self, folder: Path) -> None:
        """Write the rows and labels."""
        folder.mkdir()
        sp.save_npz(folder / "X.npz", self.X_trn)
        sp.save_npz(folder / "Y.npz", self.Y_trn)

    def load(self, folder: Path) -> None:
        """Read them."""
        self.X_trn, self.Y_trn = (
            sp.csr_matrix(sp.load_npz(folder / f"{name}.npz")) for name in "XY"
        )
        self.keep()

    def predict(self) -> tuple[sp.csr_matrix, float]:
        """All test rows at once."""
        started = time.perf_counter()
        scores = self.predict_one(self.X_tst)
        return scores, time.perf_counter() - started

    def predict_one(self, row: sp.csr_matrix) -> sp.csr_matrix:
        """One CSR row, or several."""
        distances_NK, neighbours_NK = self.index.kneighbors(row)
        nearness = np.maximum(1 - distances_NK, 0).ravel()
        indptr = np.arange(row.shape[0] + 1) * neighbours_NK.shape[1]
        shape = (row.shape[0], self.X_trn.shape[0])
        votes = sp.csr_matrix((nearness, neighbours_NK.ravel(), indptr), shape=shape)
        return best_of_rows(sp.csr_matrix(votes @ self.Y_trn), TOP_K)


def best_of_rows(scores_NL: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The k highest entries of each row, ties by label."""
    scores_NL.sort_indices()
    rows_E = np.repeat(np.arange(scores_NL.shape[0]), np.diff(scores_NL.indptr))
    order_E = np.lexsort((scores_NL.indices, -scores_NL.data, rows_E))
    rank_E = (
        np.arange(scores_NL.nnz) - scores_NL.indptr[rows_E]
    )  # rows_E is sorted, so is the order
    best = order_E[rank_E < k]
    pairs = (rows_E[best], scores_NL.indices[best])
    return sp.csr_matrix((scores_NL.data[best], pairs), shape=scores_NL.shape)


def make(name: str, rows: LinearRows, num_threads: int, scratch: Path) -> NeighbourVote:
    """The only system there is."""
    return NeighbourVote(rows, num_threads, scratch)


if __name__ == "__main__":
    run_system(make)
