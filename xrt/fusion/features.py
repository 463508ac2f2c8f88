"""What the last step knows of a candidate: how each source scores it, how it stands among the
candidates of its row, and how often its label was seen in training.

A source is compared with itself: a rank and a gap say more about a label than a score does, which
may mean one thing in a row of which the source is sure and another where it knows little. Both are
taken among what the sources name for the row by themselves; a label that was asked for is compared
with these and moves none of them.

N rows, L labels, S sources, P candidates, D features.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from xrt.fusion.candidates import Candidates
from xrt.jit import njit

MOST_RANK = 50
"""Ranks further down count as this one: a source names so many labels, so that what another source
adds to the candidates changes no rank."""
NEAR_THE_TOP = 10
"""Ranks below this one are among the source's first: what `sources that agree` counts."""
SMALLEST_SCORE = 1e-6
"""A smaller score is no worse: gaps are differences of log scores from here on."""


def feature_names(sources: Sequence[str]) -> tuple[str, ...]:
    """What the columns of `gather_features` are.

    Args:
        sources: names of S sources.

    Returns:
        D = 4 S + 3 names.
    """
    of_sources = [
        f"{kind} {name}"
        for kind in ("score", "rank", "gap", "best score")
        for name in sources
    ]  # fmt: skip
    return (*of_sources, "weighted mean", "sources that agree", "label count")


def gather_features(
    mean_NL: sp.csr_array,
    candidates: Candidates,
    names: Sequence[str],
    label_counts_L: np.ndarray,
) -> np.ndarray:
    """The features of every candidate.

    Args:
        mean_NL: the candidates' weighted mean over the sources, csr_array (N, L) with an entry for
            each candidate.
        candidates: the same candidates with the score of every source.
        names: the sources to look at, in the order of the columns.
        label_counts_L: training rows of each label, (L,).

    Returns:
        float32 (P, D), columns as `feature_names` has them: of each source the score, its rank
        (from 0, at most MOST_RANK), the difference of its log score from that of the row's best,
        and that best score; then the weighted mean, in how many sources the label is near the top,
        and log(1 + count of the label).
    """
    num_sources = len(names)
    features_PD = np.zeros((mean_NL.nnz, len(feature_names(names))), np.float32)
    own_P = candidates.pairs_NL.data > 0
    for place, name in enumerate(names):
        columns = (place, num_sources + place, 2 * num_sources + place, 3 * num_sources + place)
        score, rank, gap, best = (features_PD[:, column] for column in columns)
        score[:] = candidates.scores_of(name)
        _stand(candidates.pairs_NL.indptr, own_P, score, rank, gap, best)
    ranks_PS = features_PD[:, num_sources : 2 * num_sources]
    features_PD[:, -3] = mean_NL.data
    features_PD[:, -2] = (ranks_PS < NEAR_THE_TOP).sum(axis=1)
    features_PD[:, -1] = np.log1p(label_counts_L[mean_NL.indices])
    return features_PD


@njit(nogil=True, cache=True)
def _stand(
    indptr: np.ndarray,
    own_P: np.ndarray,
    scores_P: np.ndarray,
    rank_P: np.ndarray,
    gap_P: np.ndarray,
    best_P: np.ndarray,
) -> None:
    """How each candidate stands among the row's own ones, by one source; equals share a rank."""
    for row in range(len(indptr) - 1):
        low, high = indptr[row], indptr[row + 1]
        sorted_own = np.sort(scores_P[low:high][own_P[low:high]])
        num_own = len(sorted_own)
        best = sorted_own[num_own - 1] if num_own else np.float32(0)
        log_best = np.log(max(best, np.float32(SMALLEST_SCORE)))
        for p in range(low, high):
            above = num_own - np.searchsorted(sorted_own, scores_P[p], side="right")
            rank_P[p] = min(above, MOST_RANK)
            gap_P[p] = np.log(max(scores_P[p], np.float32(SMALLEST_SCORE))) - log_best
            best_P[p] = best
