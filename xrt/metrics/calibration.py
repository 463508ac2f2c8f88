"""Whether scores are probabilities: of the labels suggested at 0.3, are three in ten right?

ECE@k looks at the first k labels of each instance. Over all labels it would mean nothing here:
nearly all of them are rightly scored 0 (https://arxiv.org/abs/2411.04276).

Shapes: N instances, L labels, K the deepest rank, B bins of scores.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from xrt.errors import DataError
from xrt.metrics.ranking import JudgedRanking, as_scores, judge

NUM_BINS = 15
"""Bins of equal width over [0, 1] (https://arxiv.org/abs/1706.04599)."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """The first k labels of all instances in bins of their scores.

    For each bin (of equal width over [0, 1]) the number of predictions, the mean of their scores
    and the share of them that is true; 0 in empty bins. With weights of instances the number is
    their sum.
    """

    k: int
    num_predicted: tuple[float, ...]
    mean_score: tuple[float, ...]
    precision: tuple[float, ...]

    @property
    def expected_error(self) -> float:
        """ECE@k: mean over predictions of |precision - mean score| of their bin, in [0, 1]."""
        gaps_B = np.abs(np.subtract(self.precision, self.mean_score))
        return float(gaps_B @ np.array(self.num_predicted) / (sum(self.num_predicted) or 1))


def reliability(Y_true: Any, scores: Any, k: int, row_weights: Any = None) -> Reliability:
    """The scores of the first `k` labels of each instance beside how often they are true.

    `Y_true` (N, L), `scores` (N, L') and `row_weights` (N,) as in `judge`.

    Args:
        Y_true: (N, L); an entry above 0 is a true label.
        scores: (N, L'), L' at most L; each stored entry, and each of a dense array, is a
            prediction, higher is better.
        k: the cut-off, at least 1.
        row_weights: weights (N,) of the rows, above 0; None where each counts 1.

    Returns:
        The bins of scores, of equal width over [0, 1].

    Raises:
        DataError: truth and scores do not belong together, or a score lies outside of [0, 1].
    """
    scores_NL = as_scores(scores)
    other = scores_NL.data[scores_NL.data != 0].astype(np.float32)  # a sum may round to above 1
    if len(other) and not (other.min() >= 0 and other.max() <= 1):
        raise DataError(
            f"scores run from {other.min():g} to {other.max():g}: "
            "calibration is measured on probabilities, 0 to 1"
        )
    judged = judge(Y_true, scores_NL, k, row_weights)
    return _binned(k, *_predictions(judged, scores_NL), num_bins=NUM_BINS)


def reliability_of_choices(
    probabilities_P: np.ndarray, is_right_P: np.ndarray, num_bins: int = NUM_BINS
) -> Reliability:
    """The probabilities of P single choices beside how often the choice is right.

    Args:
        probabilities_P: of the choices, in [0, 1].
        is_right_P: bool, whether each choice is right.
        num_bins: bins of equal width over [0, 1].

    Returns:
        The bins of probabilities.

    Raises:
        DataError: a probability lies outside of [0, 1], or the lengths differ.
    """
    probabilities_P = np.asarray(probabilities_P, np.float64)
    if probabilities_P.shape != np.shape(is_right_P):
        raise DataError(
            f"{probabilities_P.shape} probabilities for choices of shape {np.shape(is_right_P)}"
        )
    if not ((probabilities_P >= 0) & (probabilities_P <= 1)).all():
        raise DataError(
            f"probabilities run from {probabilities_P.min():g} to {probabilities_P.max():g}; "
            "they must lie in 0 to 1"
        )
    return _binned(1, probabilities_P, np.asarray(is_right_P, np.float64), None, num_bins)


def _binned(
    k: int,
    scores_P: np.ndarray,
    hits_P: np.ndarray,
    weights_P: np.ndarray | None,
    num_bins: int,
) -> Reliability:
    bin_P = np.clip((scores_P * num_bins).astype(np.int64), 0, num_bins - 1)
    if weights_P is not None:
        scores_P, hits_P = scores_P * weights_P, hits_P * weights_P
    num_B, sum_B, hits_B = (
        np.bincount(bin_P, weights, num_bins) for weights in (weights_P, scores_P, hits_P)
    )
    counted_B = np.where(num_B > 0, num_B, 1)
    return Reliability(
        k=k,
        num_predicted=tuple(num_B.tolist()),
        mean_score=tuple((sum_B / counted_B).tolist()),
        precision=tuple((hits_B / counted_B).tolist()),
    )


def _predictions(
    judged: JudgedRanking, scores_NL: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Score, truth and weight of each prediction of the ranking: float64, all of length P."""
    rows, ranks = np.nonzero(judged.labels_NK >= 0)
    labels = judged.labels_NK[rows, ranks]
    width = int(scores_NL.shape[1])
    stored = np.repeat(np.arange(scores_NL.shape[0]), np.diff(scores_NL.indptr)) * width
    places = np.searchsorted(stored + scores_NL.indices, rows * width + labels)
    hits_P = judged.hits_NK[rows, ranks].astype(np.float64)
    weights_N = judged.weights_N
    weights_P = None if weights_N is None else weights_N[rows].astype(np.float64)
    return scores_NL.data[places].astype(np.float64), hits_P, weights_P
