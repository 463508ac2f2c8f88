"""Figures of a ranking with the standard errors that the choice of rows gives them.

Shapes: N instances, L labels, K the deepest rank.
"""

from dataclasses import dataclass

import numpy as np

from xrt.metrics.propensity import psp_at, psp_parts
from xrt.metrics.ranking import JudgedRanking, precision_at, recall_at

SHOWN = ("P@1", "R@10", "PSP@5")
"""One figure for the first label, one for the list, one in which rare labels count more."""
_DEPTH = 10


@dataclass(frozen=True)
class Figure:
    """A mean over rows, of 1, with its standard error; None for a single row."""

    value: float
    error: float | None


def figures_with_errors(judged: JudgedRanking, weights_L: np.ndarray) -> dict[str, Figure]:
    """SHOWN of a ranking that is 10 ranks deep or more; rows count alike.

    Args:
        judged: of `judge`, without weights of rows.
        weights_L: of `inverse_propensities`, (L,).

    Returns:
        Each of SHOWN.
    """
    assert judged.depth >= _DEPTH
    assert judged.weights_N is None
    first_N = judged.hits_NK[:, 0].astype(np.float64)
    recall_N = judged.hits_NK[:, :_DEPTH].sum(axis=1) / np.maximum(judged.num_true_N, 1)
    gained_N, possible_N = psp_parts(judged, weights_L, 5)
    share = float(psp_at(judged, weights_L)[4])
    return {
        "P@1": Figure(float(precision_at(judged)[0]), _error_of_mean(first_N)),
        "R@10": Figure(float(recall_at(judged)[_DEPTH - 1]), _error_of_mean(recall_N)),
        "PSP@5": Figure(share, _error_of_ratio(gained_N, possible_N, share)),
    }


def _error_of_mean(values_N: np.ndarray) -> float | None:
    if len(values_N) < 2:
        return None
    return float(values_N.std(ddof=1) / np.sqrt(len(values_N)))


def _error_of_ratio(above_N: np.ndarray, below_N: np.ndarray, ratio: float) -> float | None:
    """Of a ratio of two sums over rows, to first order in the deviations of the rows."""
    num_rows, total = len(above_N), float(below_N.sum())
    if num_rows < 2 or total <= 0:
        return None
    squares = float(((above_N - ratio * below_N) ** 2).sum())
    return float(np.sqrt(squares * num_rows / (num_rows - 1)) / total)
