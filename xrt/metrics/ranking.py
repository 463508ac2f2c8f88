"""Ranking metrics at k: precision, recall, nDCG and coverage.

Conventions, the same in every function here:

- P@k divides by k, also where fewer than k labels were predicted;
- an instance without a true label scores 0 and stays in the mean;
- among equal scores the lower label id comes first;
- every stored entry of sparse scores, and every entry of a dense array, is a prediction, whatever
  its value; an absent entry is none;
- scores are not rounded: float64 ranks as float64;
- instances count alike, unless they have weights: one of weight 2 counts like two of it.

Shapes: N instances, L labels, K the deepest rank looked at. Every function returns float64 (K,):
its value at cut-off 1, 2, ..., K.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import ConfigError, DataError
from xrt.hybrid import as_row_weights
from xrt.inputs import check_count
from xrt.jit import njit
from xrt.sparse import binarize, numbers_csr, ranked_columns

_MOST_RANKS = 2**31


@dataclass(frozen=True, eq=False)
class JudgedRanking:
    """Each instance's best labels with a mark whether each is true, the common ground of all
    metrics.

    `labels_NK` int64, best first, -1 where an instance has fewer predictions; `hits_NK` bool, True
    where the label is true; `truth_NL` the true labels as a pattern of ones. `weights_N` is how
    much each instance counts, None where each counts 1.
    """

    labels_NK: np.ndarray
    hits_NK: np.ndarray
    truth_NL: sp.csr_array
    weights_N: np.ndarray | None = None

    @property
    def depth(self) -> int:
        """The deepest rank, K."""
        return int(self.labels_NK.shape[1])

    @property
    def num_instances(self) -> int:
        """Number of instances, N."""
        return int(self.labels_NK.shape[0])

    def mean(self, values_N: np.ndarray) -> np.ndarray:
        """Mean over instances of a value each, or of a row each: (N,) or (N, K).

        Args:
            values_N: a value for each instance, (N,), or a row, (N, K).

        Returns:
            A number, or (K,).
        """
        if self.weights_N is None:
            mean: np.ndarray = values_N.mean(axis=0)
            return mean
        weights_N = self.weights_N.astype(np.float64)
        weighted: np.ndarray = weights_N @ values_N / weights_N.sum()
        return weighted

    def total(self, values_NK: np.ndarray) -> np.ndarray:
        """Sum over instances of a row each, (N, K), each times its weight.

        Args:
            values_NK: a row for each instance.

        Returns:
            float64 (K,).
        """
        if self.weights_N is None:
            total: np.ndarray = values_NK.sum(axis=0)
            return total
        weighted: np.ndarray = self.weights_N.astype(np.float64) @ values_NK
        return weighted

    @property
    def num_true_N(self) -> np.ndarray:
        """Number of true labels of each instance."""
        return np.diff(self.truth_NL.indptr)


def judge(Y_true: Any, scores: Any, depth: int, row_weights: Any = None) -> JudgedRanking:
    """Rank the scores of each row down to `depth` and mark what is true.

    `Y_true` (N, L): an entry above 0 is a true label. `scores` (N, L'): a stored entry, or any of a
    dense array, is a prediction, higher is better. L may exceed L': labels that training never saw
    are appended at the end, cannot be predicted, and count as missed. `row_weights` (N,) is how
    much each row counts.

    Args:
        Y_true: (N, L); an entry above 0 is a true label.
        scores: (N, L'), L' at most L; each stored entry, and each of a dense array, is a
            prediction, higher is better.
        depth: the deepest rank, K.
        row_weights: weights (N,) of the rows, above 0; None where each counts 1.

    Returns:
        The ranking with its hits.

    Raises:
        DataError: rows differ in number, scores have more columns than the truth, there is no row
            or no label, a truth is below 0, or weights are not above 0.
        ConfigError: `depth` is below 1, or more than memory holds.
    """
    depth = check_count(depth, "depth", "rank", ConfigError)
    truth_NL, scores_NL = as_truth(Y_true), as_scores(scores)
    check_shapes(truth_NL, scores_NL)
    if depth * truth_NL.shape[0] > _MOST_RANKS:
        raise ConfigError(
            f"{depth} ranks of {truth_NL.shape[0]} instances do not fit in memory; ask for fewer, "
            f"there are {truth_NL.shape[1]} labels"
        )
    labels_NK = ranked_columns(scores_NL, depth)
    hits_NK = np.zeros(labels_NK.shape, np.bool_)
    _mark_hits(truth_NL.indptr, truth_NL.indices, labels_NK, hits_NK)
    weights_N = as_row_weights(row_weights, len(labels_NK))
    return JudgedRanking(labels_NK, hits_NK, truth_NL, weights_N)


def as_truth(Y_true: Any, what: str = "Y_true") -> sp.csr_array:
    """True labels as a pattern of ones, of a matrix (N, L) with numbers above 0 where they are.

    Args:
        Y_true: numbers or booleans, sparse or dense.
        what: its name in messages.

    Returns:
        float32 ones, no stored zeros.

    Raises:
        DataError: it is no matrix, or holds NaN or a number below 0, such as -1 for "not true".
    """
    truth_NL = numbers_csr(Y_true, what)
    wrong = np.flatnonzero(truth_NL.data < 0)
    if len(wrong):
        row = int(np.searchsorted(truth_NL.indptr, wrong[0], side="right")) - 1
        raise DataError(
            f"{what}: value {truth_NL.data[wrong[0]]} at row {row}, column "
            f"{truth_NL.indices[wrong[0]]}; give 1 for a true label and 0 for none"
        )
    return binarize(truth_NL)


def as_scores(scores: Any, what: str = "scores") -> sp.csr_array:
    """Predictions of each row, in the numbers that were given.

    Args:
        scores: sparse, where an absent entry is no prediction, or dense, where each entry is one.
        what: its name in messages.

    Returns:
        float32 or float64 with sorted columns; zeros are stored.

    Raises:
        DataError: it is no matrix of finite numbers.
    """
    scores_NL = numbers_csr(scores, what)
    if not sp.issparse(scores):
        dense_NL = np.asarray(scores)
        num_rows, num_labels = dense_NL.shape
        columns = np.tile(np.arange(num_labels, dtype=np.int64), num_rows)
        pointers = np.arange(num_rows + 1, dtype=np.int64) * num_labels
        scores_NL = sp.csr_array((dense_NL.ravel(), columns, pointers), shape=dense_NL.shape)
    exact = np.float32 if scores_NL.dtype in (np.float16, np.float32) else np.float64
    return scores_NL.astype(exact, copy=False)


def check_shapes(truth_NL: sp.csr_array, scores_NL: sp.csr_array) -> None:
    """Refuse a truth and predictions that cannot belong together.

    Args:
        truth_NL: the truth.
        scores_NL: the predictions.

    Raises:
        DataError: the numbers of rows differ, there are more columns of scores than of truth, or
            there is no row or no label.
    """
    if truth_NL.shape[0] != scores_NL.shape[0]:
        raise DataError(
            f"Y_true has {truth_NL.shape[0]} rows, the predictions have {scores_NL.shape[0]}; "
            "pass both for the same instances"
        )
    if truth_NL.shape[1] < scores_NL.shape[1]:
        raise DataError(
            f"Y_true has {truth_NL.shape[1]} labels, the predictions have {scores_NL.shape[1]}; "
            "read the truth with the label table of the model"
        )
    if 0 in truth_NL.shape:
        raise DataError(
            f"nothing to evaluate: Y_true has {truth_NL.shape[0]} rows and "
            f"{truth_NL.shape[1]} labels; pass at least one of each"
        )


@njit(nogil=True, cache=True)
def _mark_hits(
    indptr: np.ndarray, indices: np.ndarray, labels_NK: np.ndarray, hits_NK: np.ndarray
) -> None:
    """Binary search of each predicted label among the sorted true labels of its row."""
    for row in range(labels_NK.shape[0]):
        true_labels = indices[indptr[row] : indptr[row + 1]]
        for rank in range(labels_NK.shape[1]):
            label = labels_NK[row, rank]
            if label >= 0:
                place = np.searchsorted(true_labels, label)
                hits_NK[row, rank] = place < len(true_labels) and true_labels[place] == label


def discounts(depth: int) -> np.ndarray:
    """Weight of each rank in DCG: 1 / log2(rank + 1), the first rank being 1.

    Args:
        depth: the deepest rank, K.

    Returns:
        float64 (K,).
    """
    return 1.0 / np.log2(np.arange(2, depth + 2))


def ideal_dcg(judged: JudgedRanking) -> np.ndarray:
    """DCG of a perfect ranking at each cut-off, float64 (N, K); 0 without a true label.

    Args:
        judged: of `judge`.

    Returns:
        float64 (N, K).
    """
    totals = np.concatenate([[0.0], np.cumsum(discounts(judged.depth))])
    reachable_NK = np.minimum(judged.num_true_N[:, None], np.arange(1, judged.depth + 1)[None, :])
    ideal_NK: np.ndarray = totals[reachable_NK]
    return ideal_NK


def precision_at(judged: JudgedRanking) -> np.ndarray:
    """P@k: the share of the first k ranks that hold a true label, mean over instances.

    >>> judged = judge([[1, 0, 1], [0, 1, 0]], [[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]], depth=2)
    >>> precision_at(judged)
    array([0.5, 0.5])

    Args:
        judged: rankings of N instances, K ranks deep.

    Returns:
        float64 (K,): P@1 to P@K, in [0, 1].
    """
    places_K = np.arange(1, judged.depth + 1)
    if judged.weights_N is not None:
        weighted_K: np.ndarray = judged.mean(judged.hits_NK).cumsum() / places_K
        return weighted_K
    hits_K = judged.hits_NK.sum(axis=0).cumsum()
    precision_K: np.ndarray = hits_K / places_K / judged.num_instances
    return precision_K


def recall_at(judged: JudgedRanking) -> np.ndarray:
    """R@k: the share of an instance's true labels among the first k, mean over instances.

    Args:
        judged: of `judge`.

    Returns:
        float64 (K,), fractions of 1.
    """
    share_N = 1.0 / np.maximum(judged.num_true_N, 1)
    if judged.weights_N is not None:
        weighted_K: np.ndarray = judged.mean(share_N[:, None] * judged.hits_NK).cumsum()
        return weighted_K
    recall_K: np.ndarray = (share_N @ judged.hits_NK).cumsum() / judged.num_instances
    return recall_K


def r_precision_at(judged: JudgedRanking) -> np.ndarray:
    """RP@k: hits among the first k over min(k, number of true labels), mean over instances.

    Args:
        judged: of `judge`.

    Returns:
        float64 (K,), fractions of 1.
    """
    reachable_NK = np.minimum(
        np.maximum(judged.num_true_N, 1)[:, None], np.arange(1, judged.depth + 1)[None, :]
    )
    return judged.mean(judged.hits_NK.cumsum(axis=1) / reachable_NK)


def ndcg_at(judged: JudgedRanking) -> np.ndarray:
    """nDCG@k with log2 discounts and binary gains, mean over instances.

    Args:
        judged: of `judge`.

    Returns:
        float64 (K,), fractions of 1.
    """
    return judged.mean(ndcg_of_rows(judged))


def ndcg_of_rows(judged: JudgedRanking) -> np.ndarray:
    """nDCG@k of each instance: float64 (N, K).

    Args:
        judged: of `judge`.

    Returns:
        float64 (N, K), fractions of 1.
    """
    dcg_NK = (judged.hits_NK * discounts(judged.depth)).cumsum(axis=1)
    ideal_NK = ideal_dcg(judged)
    ndcg_NK: np.ndarray = np.divide(dcg_NK, ideal_NK, out=np.zeros_like(dcg_NK), where=ideal_NK > 0)
    return ndcg_NK


def coverage_at(judged: JudgedRanking) -> np.ndarray:
    """coverage@k: of the labels that occur in the truth, the share found at least once.

    Args:
        judged: of `judge`.

    Returns:
        float64 (K,), fractions of 1.
    """
    num_occurring = len(np.unique(judged.truth_NL.indices))
    if num_occurring == 0:
        return np.zeros(judged.depth)
    found_L = first_hit_rank(judged)
    return np.bincount(found_L[found_L >= 0], minlength=judged.depth).cumsum() / num_occurring


def first_hit_rank(judged: JudgedRanking) -> np.ndarray:
    """Best rank (from 0) at which each label was rightly predicted, -1 for never: int64 (L,).

    Args:
        judged: of `judge`.

    Returns:
        int64 (L,).
    """
    best_L = np.full(judged.truth_NL.shape[1], judged.depth, np.int64)
    ranks_NK = np.broadcast_to(np.arange(judged.depth), judged.hits_NK.shape)
    np.minimum.at(best_L, judged.labels_NK[judged.hits_NK], ranks_NK[judged.hits_NK])
    return np.where(best_L == judged.depth, -1, best_L)
