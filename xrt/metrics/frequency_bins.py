"""The same ranking seen by how often a label occurred in training: unseen, tail, head.

A mean over instances hides the tail; these figures are pooled within each bin of labels.

Shapes: N instances, L labels, K the deepest rank.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from xrt.errors import DataError
from xrt.metrics.ranking import JudgedRanking, first_hit_rank

LOWEST_COUNTS = (0, 1, 2, 5, 10, 50, 200)


@dataclass(frozen=True, kw_only=True)
class FrequencyBin:
    """How labels of one range of training frequency fare in the first k ranks; fractions of 1.

    `precision`: of the predictions of these labels, the share that is true. `recall`: of the true
    (instance, label) pairs of these labels, the share that is ranked. `coverage`: of these labels
    that occur in the truth, the share ranked at least once. 0 where there is nothing to divide by:
    see `num_predicted`, `num_pairs` and `num_labels`.
    """

    name: str
    num_labels: int
    num_pairs: int
    num_predicted: int
    precision: float
    recall: float
    coverage: float


def frequency_bins(judged: JudgedRanking, train_label_counts: Any, k: int) -> list[FrequencyBin]:
    """Figures at cut-off `k` for labels seen 0, 1, 2-4, 5-9, 10-49, 50-199 and 200+ times in
    training.

    `train_label_counts` (L,) has one count for each label of the truth. Weights of the rows are in
    precision and recall, not in the numbers.

    Args:
        judged: of `judge`.
        train_label_counts: training rows of each label, (L,).
        k: the cut-off, at least 1.

    Returns:
        A bin for each range of training frequency.

    Raises:
        DataError: another number of counts than labels, or `k` exceeds the judged depth.
    """
    counts_L = np.asarray(train_label_counts).ravel()
    if len(counts_L) != judged.truth_NL.shape[1]:
        raise DataError(
            f"{len(counts_L)} training counts for {judged.truth_NL.shape[1]} labels of Y_true"
        )
    if not 1 <= k <= judged.depth:
        raise DataError(f"k = {k}: ranks 1..{judged.depth} were judged; judge to depth {k}")

    bin_L = bin_of_labels(counts_L)
    labels_Nk, hits_Nk = judged.labels_NK[:, :k], judged.hits_NK[:, :k]
    rank_L = first_hit_rank(judged)
    occurring = np.unique(judged.truth_NL.indices)
    ranked = np.flatnonzero((rank_L >= 0) & (rank_L < k))

    labels_of = (judged.truth_NL.indices, labels_Nk[labels_Nk >= 0], labels_Nk[hits_Nk])
    pairs, predicted, occurring_bins, ranked_bins = (
        np.bincount(bin_L[labels], minlength=len(LOWEST_COUNTS))
        for labels in (*labels_of[:2], occurring, ranked)
    )
    rows = np.arange(judged.num_instances)
    rows_Nk = np.broadcast_to(rows[:, None], labels_Nk.shape)
    row_of = (np.repeat(rows, judged.num_true_N), rows_Nk[labels_Nk >= 0], rows_Nk[hits_Nk])
    weighted_pairs, weighted_predicted, hits = (
        np.bincount(
            bin_L[labels],
            None if judged.weights_N is None else judged.weights_N[of],
            minlength=len(LOWEST_COUNTS),
        )
        for labels, of in zip(labels_of, row_of, strict=True)
    )
    return [
        FrequencyBin(
            name=name,
            num_labels=int(occurring_bins[i]),
            num_pairs=int(pairs[i]),
            num_predicted=int(predicted[i]),
            precision=float(hits[i] / (weighted_predicted[i] or 1)),
            recall=float(hits[i] / (weighted_pairs[i] or 1)),
            coverage=float(ranked_bins[i] / max(occurring_bins[i], 1)),
        )
        for i, name in enumerate(bin_names())
    ]


def bin_of_labels(train_label_counts_L: np.ndarray) -> np.ndarray:
    """The bin of each label, a position in `bin_names()`: int64 (L,).

    Args:
        train_label_counts_L: training rows of each label.

    Returns:
        Positions, int64 (L,).
    """
    return np.searchsorted(LOWEST_COUNTS, train_label_counts_L, side="right") - 1


def bin_names() -> list[str]:
    """Ranges of training frequency: '0', '1', '2-4', ..., '200+'.

    Returns:
        A name for each bin, rarest first.
    """
    names = []
    for lowest, following in zip(LOWEST_COUNTS, (*LOWEST_COUNTS[1:], None), strict=True):
        if following is None:
            names.append(f"{lowest}+")
        elif following == lowest + 1:
            names.append(str(lowest))
        else:
            names.append(f"{lowest}-{following - 1}")
    return names
