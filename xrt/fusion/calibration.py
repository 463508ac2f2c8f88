"""Turns fused scores into probabilities, and says from which probability on a label is suggested.

A curve is isotonic regression on held-out rows: the share of true labels as a function of the
score. Between the middles of its steps it is a straight line, so that labels with different scores
keep different probabilities and their order. Labels of one range of training frequency have a curve
of their own where that helps: then frequency takes part in the ranking.

N rows, L labels, P predictions, J points of a curve.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError, DataError
from xrt.sparse import as_csr
from xrt.storage.saved_values import SavedValues

LOWEST_COUNTS = (0, 5, 50)
"""Bins with a curve of their own: labels seen up to 4, up to 49, and more times in training."""

MIN_HITS = 200
"""True predictions that a bin needs for its own curve; below, it takes that of all labels."""

LEAST_RISE = 1e-3
"""How much a curve rises from score 0 to 1 where it would be flat: order is kept."""

MAX_POINTS = 200


@dataclass(frozen=True, eq=False)
class Curve:
    """A rising line through points (score, probability), both float64 (J,) in [0, 1]."""

    scores_J: np.ndarray
    probabilities_J: np.ndarray

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities of scores in [0, 1]: float32."""
        line = np.interp(scores, self.scores_J, self.probabilities_J)
        probabilities: np.ndarray = (line * (1 - LEAST_RISE) + LEAST_RISE * scores).astype(
            np.float32
        )
        return probabilities


@dataclass(frozen=True, eq=False)
class Calibration:
    """The curves of the bins of training frequency (`lowest_counts`), and tuned thresholds.

    One curve serves all labels where `lowest_counts` is (0,). `thresholds` has the probability at
    which micro-F1 or macro-F1 is highest on held-out rows.
    """

    lowest_counts: tuple[int, ...]
    curves: tuple[Curve, ...]
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def apply(self, scores_NL: sp.csr_array, label_counts_L: np.ndarray) -> sp.csr_array:
        """The same entries with probabilities instead of scores: csr_array (N, L).

        Args:
            scores_NL: scores, csr_array (N, L).
            label_counts_L: training rows of each label, (L,).

        Returns:
            A copy of the scores with a probability in each entry.
        """
        calibrated = scores_NL.copy()
        bin_P = self._bins(label_counts_L[scores_NL.indices])  # not of all labels: one row is quick
        for bin, curve in enumerate(self.curves):
            here = bin_P == bin
            calibrated.data[here] = curve(scores_NL.data[here])
        return calibrated

    @property
    def reorders(self) -> bool:
        """Whether labels may change places: they have more than one curve."""
        return len(self.curves) > 1

    def threshold(self, name: str) -> float:
        """The tuned threshold of that name.

        Args:
            name: `micro-F1` or `macro-F1`.

        Returns:
            A probability.

        Raises:
            DataError: there is none.
        """
        if name not in self.thresholds:
            known = ", ".join(self.thresholds) or "none"
            raise DataError(f"min_score = {name!r}: give a number, or a tuned one ({known})")
        return self.thresholds[name]

    def _bins(self, counts_P: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.lowest_counts, counts_P, side="right") - 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns:
            What `from_dict` reads.
        """
        return {
            "lowest_counts": list(self.lowest_counts),
            "curves": [
                {"scores": c.scores_J.tolist(), "probabilities": c.probabilities_J.tolist()}
                for c in self.curves
            ],
            "thresholds": dict(self.thresholds),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | SavedValues) -> Self:
        """Read what `to_dict` gave.

        Args:
            content: what `to_dict` gave.

        Returns:
            The calibration.

        Raises:
            ArtifactError: the content is anything else.
        """
        values = SavedValues.of(content, "calibration")
        curves = tuple(
            Curve(part.numbers("scores", -1), part.numbers("probabilities", -1))
            for part in values.parts("curves")
        )
        lowest = values.whole_numbers("lowest_counts")
        thresholds = values.mapping_of_numbers("thresholds", 0, 1)
        usable = (
            lowest[:1] == (0,)
            and all(low < high for low, high in itertools.pairwise(lowest))
            and len(lowest) == len(curves)
            and all(_rises(curve) for curve in curves)
        )
        if not usable:
            raise ArtifactError(
                f"{values.where}: curves that do not rise, or not one for each bin; train it anew"
            )
        return cls(lowest, curves, thresholds)


def _rises(curve: Curve) -> bool:
    parts = curve.scores_J, curve.probabilities_J
    if len(parts[0]) != len(parts[1]) or not len(parts[0]):
        return False
    return all((np.diff(x) >= 0).all() and x[0] >= 0 and x[-1] <= 1 for x in parts)


def fit_calibration(
    scores_NL: sp.csr_array,
    Y_true: sp.csr_array,
    label_counts_L: np.ndarray,
    lowest_counts: Sequence[int] = (0,),
    weights_N: np.ndarray | None = None,
) -> Calibration:
    """Isotonic regression of the truth on the scores of rows that no source was trained on.

    `lowest_counts` bound the bins of training frequency, whose counts are `label_counts_L` (L,); a
    bin with fewer than MIN_HITS true predictions takes the curve of all labels. A label of
    confidence 0.3 is true in 0.3 of the cases; rows may have weights.

    Labels without training rows are left out, unless there are no others: all of their rows were
    held out, so that on these rows they are true far more often than any label will be later.

    Args:
        scores_NL: scores, csr_array (N, L).
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.
        label_counts_L: training rows of each label, (L,).
        lowest_counts: the lowest training count of each bin, rising from 0.
        weights_N: how much each row counts, (N,); None counts all alike.

    Returns:
        A curve for each bin, and no thresholds.

    Raises:
        DataError: there is no score.
    """
    if not scores_NL.nnz:
        raise DataError("no scores to calibrate: the held-out rows got no label at all")
    hits_P, weights_P = truth_of(scores_NL, Y_true), weights_of_rows(scores_NL, weights_N)
    scores_P, counts_P = scores_NL.data, label_counts_L[scores_NL.indices]
    known_P = counts_P > 0
    if known_P.any():
        scores_P, hits_P, counts_P = scores_P[known_P], hits_P[known_P], counts_P[known_P]
        weights_P = None if weights_P is None else weights_P[known_P]
    bin_P = np.searchsorted(lowest_counts, counts_P, side="right") - 1
    of_all = fit_curve(scores_P, hits_P, weights_P)
    curves = []
    for bin in range(len(lowest_counts)):
        here = bin_P == bin
        enough = (hits_P[here] > 0).sum() >= MIN_HITS and len(lowest_counts) > 1
        of_bin = None if weights_P is None else weights_P[here]
        curves.append(fit_curve(scores_P[here], hits_P[here], of_bin) if enough else of_all)
    return Calibration(tuple(lowest_counts), tuple(curves))


def fit_curve(
    scores_P: np.ndarray, hits_P: np.ndarray, weights_P: np.ndarray | None = None
) -> Curve:
    """The isotonic curve of hits (0 to 1) over scores: a point in the middle of each step. Weights
    count beside their mean.

    A last step of nothing but hits would claim certainty: each step counts one candidate more than
    it has seen, of average truth.

    Args:
        scores_P: scores, (P,), at least one.
        hits_P: how true each label is, (P,).
        weights_P: how much each prediction counts, (P,); None counts all alike.

    Returns:
        The curve, of at most MAX_POINTS points.
    """
    from sklearn.isotonic import isotonic_regression

    order = np.argsort(scores_P, kind="stable")
    scores, hits = scores_P[order].astype(np.float64), hits_P[order].astype(np.float64)
    first = np.flatnonzero(np.diff(scores, prepend=-1.0) > 0)  # equal scores are one point
    if weights_P is None:
        weights, mean = np.diff(np.append(first, len(scores))), hits.mean()
        means = np.add.reduceat(hits, first) / weights
    else:
        counted = weights_P[order].astype(np.float64) / weights_P.mean(dtype=np.float64)
        weights, mean = np.add.reduceat(counted, first), np.average(hits, weights=counted)
        means = np.add.reduceat(hits * counted, first) / weights
    steps = isotonic_regression(means, sample_weight=weights.astype(np.float64))
    starts = np.flatnonzero(np.diff(steps, prepend=-1.0) > 1e-12)
    total = np.add.reduceat(weights, starts)
    positives = np.add.reduceat(weights * means, starts)
    middles = np.add.reduceat(weights * scores[first], starts) / total
    points = np.unique(np.linspace(0, len(starts) - 1, min(len(starts), MAX_POINTS)).astype(int))
    probabilities = np.maximum.accumulate((positives + mean) / (total + 1.0))
    return Curve(middles[points], np.minimum(probabilities, 1.0)[points])


def truth_of(scores_NL: sp.csr_array, Y_true: sp.csr_array) -> np.ndarray:
    """How true the label of each stored score is: its confidence, at most 1, or 0: float32 (P,).

    Args:
        scores_NL: scores, csr_array (N, L).
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.

    Returns:
        The truth of each entry of `scores_NL`, in its order.
    """
    truth_P = hits_of(scores_NL, Y_true).astype(np.float32)
    truth = as_csr(Y_true, "Y_true")
    if (truth.data < 1).any():
        part_NL = truth[:, : scores_NL.shape[1]] if truth.shape[1] > scores_NL.shape[1] else truth
        rows = np.repeat(np.arange(scores_NL.shape[0]), np.diff(scores_NL.indptr))
        confidences = np.asarray(part_NL[rows, scores_NL.indices]).ravel()
        truth_P = np.minimum(confidences, 1).astype(np.float32)
    return truth_P


def weights_of_rows(scores_NL: sp.csr_array, weights_N: np.ndarray | None) -> np.ndarray | None:
    """The weight of the row of each stored score: (P,).

    Args:
        scores_NL: scores, csr_array (N, L), of P entries.
        weights_N: how much each row counts, (N,); None counts all alike.

    Returns:
        The weights, or None where rows have none.
    """
    return None if weights_N is None else np.repeat(weights_N, np.diff(scores_NL.indptr))


def hits_of(scores_NL: sp.csr_array, Y_true: sp.csr_array) -> np.ndarray:
    """Which stored scores belong to true labels: bool (P,). The truth may have more columns.

    Args:
        scores_NL: scores, csr_array (N, L).
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.

    Returns:
        True for an entry whose label has a confidence other than 0.
    """
    truth = as_csr(Y_true, "Y_true")
    width = max(truth.shape[1], scores_NL.shape[1])
    keys, true_keys = (
        np.repeat(np.arange(m.shape[0], dtype=np.int64) * width, np.diff(m.indptr)) + m.indices
        for m in (scores_NL, truth)
    )
    return np.isin(keys, true_keys[truth.data != 0], assume_unique=True)
