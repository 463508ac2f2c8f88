"""Labels that a ranking misses, and which labels stand in their places.

A row with t true labels is looked at to rank t: a true label that is not among the first t is
missed, and each wrong label among them stands in its place. So of a row as many labels are missed
as stand there wrongly, where enough are suggested.

Shapes: N instances, L labels, K the deepest rank.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.metrics.ranking import JudgedRanking
from xrt.sparse import as_csr

_Z = 1.96
"""Of the interval of 95 %."""


@dataclass(frozen=True, kw_only=True)
class MissedLabel:
    """A label that is missed in some rows.

    Attributes:
        column: of the label.
        num_rows: rows in which it is true.
        num_missed: rows of these in which it is missed.
        num_late: missed rows in which it still stands among the first K.
        instead: columns of wrong labels that stand in its place, with the rows of each, the most
            frequent first.
    """

    column: int
    num_rows: int
    num_missed: int
    num_late: int
    instead: tuple[tuple[int, int], ...]


def most_missed(
    judged: JudgedRanking, counted_L: np.ndarray, num_labels: int = 20, num_instead: int = 3
) -> list[MissedLabel]:
    """The labels that are missed in the largest share of their rows.

    The order is by the lower end of the 95 % interval of that share (Wilson), so that a label of
    one row does not stand before one that is missed in nine of ten rows.

    Args:
        judged: of `judge`.
        counted_L: bool (L,), the labels that are looked at: those that training has seen.
        num_labels: how many, at most.
        num_instead: labels in the place of each, at most.

    Returns:
        The labels, the most missed first; none that is never missed.
    """
    truth_NL = judged.truth_NL
    first_NK = np.arange(judged.depth) < judged.num_true_N[:, None]
    shape = truth_NL.shape
    right_NL = _pairs(judged, first_NK & judged.hits_NK)
    wrong_NL = _pairs(judged, first_NK & ~judged.hits_NK)
    late_NL = _pairs(judged, ~first_NK & judged.hits_NK)
    missed_NL = as_csr(truth_NL - right_NL)
    missed_NL.eliminate_zeros()
    num_rows_L, num_missed_L, num_late_L = (
        np.bincount(pairs_NL.indices, minlength=shape[1])
        for pairs_NL in (truth_NL, missed_NL, late_NL)
    )
    lowest_L = np.where(counted_L, _lowest_share(num_missed_L, num_rows_L), 0.0)
    worst = np.argsort(-lowest_L, kind="stable")[:num_labels]
    worst = worst[lowest_L[worst] > 0]
    counts_WL = as_csr(missed_NL[:, worst].T @ wrong_NL)
    found = []
    for place, column in enumerate(worst):
        span = slice(counts_WL.indptr[place], counts_WL.indptr[place + 1])
        others, counts = counts_WL.indices[span], counts_WL.data[span]
        order = np.lexsort((others, -counts))[:num_instead]
        found.append(
            MissedLabel(
                column=int(column), num_rows=int(num_rows_L[column]),
                num_missed=int(num_missed_L[column]), num_late=int(num_late_L[column]),
                instead=tuple((int(others[i]), int(counts[i])) for i in order),
            )
        )  # fmt: skip
    return found


def _pairs(judged: JudgedRanking, chosen_NK: np.ndarray) -> sp.csr_array:
    """The chosen places of the ranking as a pattern of ones, (N, L)."""
    rows, ranks = np.nonzero(chosen_NK & (judged.labels_NK >= 0))
    columns = judged.labels_NK[rows, ranks]
    ones = np.ones(len(rows), np.float32)
    return as_csr(sp.csr_array((ones, (rows, columns)), shape=judged.truth_NL.shape))


def _lowest_share(part_L: np.ndarray, whole_L: np.ndarray) -> np.ndarray:
    """Lower end of Wilson's interval of the share; 0 where there is nothing."""
    whole_L = np.maximum(whole_L, 1).astype(np.float64)
    share_L = part_L / whole_L
    middle_L = share_L + _Z**2 / (2 * whole_L)
    spread_L = _Z * np.sqrt(share_L * (1 - share_L) / whole_L + _Z**2 / (4 * whole_L**2))
    lowest_L: np.ndarray = (middle_L - spread_L) / (1 + _Z**2 / whole_L)
    return np.where(part_L > 0, lowest_L, 0.0)
