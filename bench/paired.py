"""Figures of each test row, and differences of two systems with their standard errors.

The same rows are judged for both, so that the error is that of the row-wise difference, which is
much smaller than that of either figure. N test rows, M metrics.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp

from bench.judge import DEPTH, Truth
from xrt.metrics.ranking import judge, ndcg_of_rows
from xrt.sparse import as_csr
from xrt.storage.hashing import content_hash

METRICS = ("P@1", "P@3", "P@5", "R@10", "nDCG@5", "PSP@5")
PROPENSITY_RANKS = 5


@dataclass(frozen=True, eq=False)
class RowFigures:
    """What each test row adds to each of METRICS: a metric is the sum of `gains` over that of
    `possible`.

    `possible_NM` is 1 but for PSP, which is a ratio of sums. `truth` is a digest of the rows'
    labels: rows of two systems can be paired where it is equal.
    """

    gains_NM: np.ndarray
    possible_NM: np.ndarray
    truth: str

    @classmethod
    def of(cls, truth: Truth, predicted: Path) -> Self:
        """Judge the predictions of a system.

        Args:
            truth: of the row set.
            predicted: npz file with scores (N, L).

        Returns:
            The figures of each row.
        """
        ranking = judge(truth.Y_tst, as_csr(sp.load_npz(predicted)), depth=DEPTH)
        hits_NK = ranking.hits_NK.cumsum(axis=1)
        num_true_N = np.maximum(ranking.num_true_N, 1)
        weights_NK = np.where(ranking.hits_NK, truth.weights_L[ranking.labels_NK], 0.0)
        gains = [
            *(hits_NK[:, k - 1] / k for k in (1, 3, 5)),
            hits_NK[:, 9] / num_true_N,
            ndcg_of_rows(ranking)[:, 4],
            weights_NK[:, :PROPENSITY_RANKS].sum(axis=1),
        ]
        gains_NM = np.stack(gains, axis=1).astype(np.float32)
        possible_NM = np.ones_like(gains_NM)
        possible_NM[:, -1] = heaviest_true(ranking.truth_NL, truth.weights_L)
        return cls(gains_NM, possible_NM, digest_of(ranking.truth_NL))

    def save(self, path: Path) -> None:
        """Write a npz file; folders are made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path, gains=self.gains_NM, possible=self.possible_NM, truth=np.array(self.truth)
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["gains"], file["possible"], str(file["truth"]))

    @classmethod
    def mean_of(cls, runs: list[Self]) -> Self:
        """The mean over runs with different seeds on the same rows."""
        gains_NM = np.mean([run.gains_NM for run in runs], axis=0)
        return cls(gains_NM, runs[0].possible_NM, runs[0].truth)

    def figures(self) -> dict[str, float]:
        """The metrics, fractions of 1."""
        values = self.gains_NM.sum(axis=0, dtype=np.float64) / self._totals()
        return {name: round(float(value), 5) for name, value in zip(METRICS, values, strict=True)}

    def _totals(self) -> np.ndarray:
        totals_M = self.possible_NM.sum(axis=0, dtype=np.float64)
        return np.where(totals_M > 0, totals_M, 1.0)

    def minus(self, other: Self) -> tuple[np.ndarray, np.ndarray]:
        """Differences of all metrics and their standard errors, over the test rows.

        A ratio of sums has the error of its linear part.

        Args:
            other: figures of the same rows.

        Returns:
            Two float64 arrays (M,), fractions of 1.

        Raises:
            ValueError: the rows or their labels are not the same.
        """
        if self.truth != other.truth:
            raise ValueError("the test rows of the two runs are not the same")
        num_rows = len(self.gains_NM)
        gained_NM = self.gains_NM.astype(np.float64) - other.gains_NM
        difference_M = gained_NM.sum(axis=0) / self._totals()
        residual_NM = (gained_NM - difference_M * self.possible_NM) * num_rows / self._totals()
        return difference_M, np.sqrt((residual_NM**2).sum(axis=0) / max(num_rows - 1, 1) / num_rows)


def heaviest_true(truth_NL: sp.csr_array, weights_L: np.ndarray) -> np.ndarray:
    """Sum of the heaviest true labels of each row, as many as PSP looks at: float64 (N,)."""
    bounds = zip(truth_NL.indptr[:-1], truth_NL.indptr[1:], strict=True)
    heaviest = (
        np.sort(weights_L[truth_NL.indices[low:high]])[-PROPENSITY_RANKS:] for low, high in bounds
    )
    return np.array([weights.sum() for weights in heaviest])


def digest_of(truth_NL: sp.csr_array) -> str:
    """A short digest of the labels of all rows."""
    parts = (truth_NL.indptr, truth_NL.indices)
    return content_hash([part.astype(np.int64) for part in parts])[:16]
