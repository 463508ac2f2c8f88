"""F1 of predicted label sets: the first k labels, or all labels above a threshold.

Convention of the macro mean: over the labels that occur in the truth or in a prediction. A label in
neither says nothing about the model, and with thousands of them a mean over all labels would
measure the label table. scikit-learn's mean runs over every column (absent labels count 0), so its
value is ours times `num_macro_labels / L`.

Shapes: N instances, L labels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.inputs import check_number
from xrt.metrics.ranking import JudgedRanking, as_scores, as_truth, check_shapes
from xrt.sparse import binarize, widen


@dataclass(frozen=True, kw_only=True)
class F1Scores:
    """F1 in its four averages, each a fraction of 1.

    `micro` pools all (instance, label) pairs; `macro` is the mean over labels that occur in the
    truth or a prediction (`num_macro_labels` of them); `weighted` is the mean over true labels,
    each weighted by its number of instances; `samples` is the mean over instances, 0 where both
    sets are empty.
    """

    micro: float
    macro: float
    weighted: float
    samples: float
    num_macro_labels: int


def top_k_set(judged: JudgedRanking, k: int) -> sp.csr_array:
    """The first `k` labels of each instance as a pattern of ones, (N, L).

    Args:
        judged: of `judge`.
        k: the cut-off, at least 1.

    Returns:
        csr float32 (N, L).

    Raises:
        DataError: fewer than `k` ranks were judged.
    """
    if k > judged.depth:
        raise DataError(f"k = {k}, but only {judged.depth} ranks were judged; judge to depth {k}")
    labels_Nk = judged.labels_NK[:, :k]
    present_Nk = labels_Nk >= 0
    indptr = np.concatenate([[0], np.cumsum(present_Nk.sum(axis=1))])
    indices = labels_Nk[present_Nk]
    ones = np.ones(len(indices), np.float32)
    return sp.csr_array((ones, indices, indptr), shape=judged.truth_NL.shape)


def threshold_set(scores: Any, threshold: float) -> sp.csr_array:
    """Every score at or above `threshold` as a pattern of ones, (N, L); scores as in `judge`.

    Args:
        scores: (N, L'), L' at most L; each stored entry, and each of a dense array, is a
            prediction, higher is better.
        threshold: the lowest score of a predicted label.

    Returns:
        csr float32 (N, L).

    Raises:
        DataError: the scores are no matrix, or the threshold is no number.
    """
    scores_NL = as_scores(scores)
    is_predicted = (scores_NL.data >= check_number(threshold, "threshold")).astype(np.float32)
    return binarize(
        sp.csr_array((is_predicted, scores_NL.indices, scores_NL.indptr), shape=scores_NL.shape)
    )


def f1_of_sets(Y_true: Any, Y_predicted: Any, row_weights: np.ndarray | None = None) -> F1Scores:
    """F1 of predicted label sets against the true ones.

    In both matrices an entry above 0 means that the label is in the set. The truth may have more
    columns (labels that cannot be predicted). With `row_weights` (N,) each instance is counted so
    many times.

    Args:
        Y_true: (N, L); an entry above 0 is a true label.
        Y_predicted: (N, L'), L' at most L; an entry above 0 is a predicted label.
        row_weights: weights (N,) of the rows, above 0; None where each counts 1.

    Returns:
        The four averages.

    Raises:
        DataError: the matrices do not belong together.
    """
    truth_NL, predicted_NL = as_truth(Y_true), as_truth(Y_predicted, "Y_predicted")
    check_shapes(truth_NL, predicted_NL)
    predicted_NL = widen(predicted_NL, truth_NL.shape[1])
    correct_NL = truth_NL * predicted_NL

    num_correct_L, num_true_L, num_predicted_L = (
        np.bincount(matrix.indices, _of_rows(row_weights, matrix), minlength=truth_NL.shape[1])
        for matrix in (correct_NL, truth_NL, predicted_NL)
    )
    num_correct_N, num_true_N, num_predicted_N = (
        np.diff(matrix.indptr) for matrix in (correct_NL, truth_NL, predicted_NL)
    )
    f1_L = _f1(num_correct_L, num_true_L, num_predicted_L)
    f1_N = _f1(num_correct_N, num_true_N, num_predicted_N)
    occurs_L = (num_true_L + num_predicted_L) > 0
    num_true = num_true_L.sum()
    return F1Scores(
        micro=float(_f1(num_correct_L.sum(), num_true, num_predicted_L.sum())),
        macro=float(f1_L[occurs_L].mean()) if occurs_L.any() else 0.0,
        weighted=float((f1_L * num_true_L).sum() / (num_true or 1)),
        samples=float(
            f1_N.mean() if row_weights is None else np.average(f1_N, weights=row_weights)
        ),
        num_macro_labels=int(occurs_L.sum()),
    )


def _of_rows(row_weights: np.ndarray | None, matrix: sp.csr_array) -> np.ndarray | None:
    """The weight of the row of each entry."""
    return None if row_weights is None else np.repeat(row_weights, np.diff(matrix.indptr))


def _f1(num_correct: Any, num_true: Any, num_predicted: Any) -> np.ndarray:
    """2 TP / (2 TP + FP + FN); 0 where nothing is true and nothing predicted."""
    total = np.asarray(num_true, np.float64) + num_predicted
    f1: np.ndarray = 2.0 * np.asarray(num_correct, np.float64) / np.where(total > 0, total, 1.0)
    return f1
