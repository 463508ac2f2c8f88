"""Judges the predictions of all systems with xrt's metrics."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.metrics.propensity import inverse_propensities, psp_at, train_counts
from xrt.metrics.ranking import judge, precision_at, recall_at
from xrt.sparse import as_csr

DEPTH = 10


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of a row set: labels of the test rows, weights of the labels, sizes."""

    Y_tst: sp.csr_array
    weights_L: np.ndarray
    sizes: dict[str, int]

    @classmethod
    def load(cls, folder: Path) -> "Truth":
        """Read a row set's folder. Labels that only the test rows have count as trained 0 times."""
        X_trn = sp.load_npz(folder / "X_trn.npz")
        Y_trn, Y_tst = (as_csr(sp.load_npz(folder / f"{name}.npz")) for name in ("Y_trn", "Y_tst"))
        dense = folder / "E_trn.npy"
        num_dense = np.load(dense, mmap_mode="r").shape[1] if dense.is_file() else 0
        counts_L = np.zeros(Y_tst.shape[1], np.int64)
        counts_L[: Y_trn.shape[1]] = train_counts(Y_trn)
        sizes = {
            "num_train": X_trn.shape[0],
            "num_test": Y_tst.shape[0],
            "num_features": X_trn.shape[1],
            "num_dense": num_dense,
            "nonzeros": X_trn.nnz + X_trn.shape[0] * num_dense,
            "num_labels": Y_trn.shape[1],
        }
        return cls(Y_tst, inverse_propensities(counts_L, X_trn.shape[0]), sizes)

    def judged(self, predicted: Path) -> dict[str, float]:
        """P and PSP at 1, 3 and 5, and R@10 of predictions."""
        ranking = judge(self.Y_tst, as_csr(sp.load_npz(predicted)), depth=DEPTH)
        P_K, R_K = precision_at(ranking), recall_at(ranking)
        PSP_K = psp_at(ranking, self.weights_L)
        figures = {f"P@{k}": P_K[k - 1] for k in (1, 3, 5)} | {"R@10": R_K[9]}
        figures |= {f"PSP@{k}": PSP_K[k - 1] for k in (1, 3, 5)}
        return {name: round(float(value), 5) for name, value in figures.items()}
