"""Neighbours vote for labels.

M queries, W neighbours a query, N training rows, L labels. A neighbour's weight is the softmax of
similarity / temperature over the neighbours found, times the row's own weight, brought to sum 1
again; the score of a label is the sum of the weights of the neighbours that have it, each times its
confidence in the label. So scores lie in [0, 1] and are 1 where all neighbours agree and are sure.
"""

import threading
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.jit import njit
from xrt.sparse import best_places
from xrt.threads import run_blocks

QUERIES_PER_BLOCK = 256
_LEAST = 1e-200  # a vote that underflowed to 0 would look like none


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The training rows most similar to each query, most similar first.

    `rows_MW` int32, -1 where a query has fewer neighbours; `similarities_MW` float32, above 0, and
    0 where there is no row.
    """

    rows_MW: np.ndarray
    similarities_MW: np.ndarray


def block_bounds(num_queries: int) -> np.ndarray:
    """Where the blocks of queries that threads work on begin, and where the last one ends.

    Args:
        num_queries: queries, M.

    Returns:
        Row numbers, one more than there are blocks.
    """
    return np.append(np.arange(0, num_queries, QUERIES_PER_BLOCK), num_queries)


def vote_labels(
    neighbours: Neighbours,
    Y_NL: sp.csr_array,
    k: int,
    temperature: float,
    num_threads: int | None = None,
    confident: bool = True,
    weights_N: np.ndarray | None = None,
) -> sp.csr_array:
    """The `k` labels with the highest scores for each query: (M, L), in [0, 1].

    Every stored entry of `Y_NL` is a label of its row: for sure, or unless `confident` with its
    value in (0, 1] as confidence. `weights_N` are the rows' own weights. Among equal scores the
    lower label wins; a query without neighbours has an empty row.

    Args:
        neighbours: rows and similarities, (M, W).
        Y_NL: labels of the training rows, csr_array (N, L).
        k: most labels of a query.
        temperature: what similarities are divided by.
        num_threads: threads; None for the default.
        confident: whether each label counts 1.
        weights_N: weights of the training rows, (N,); None: all 1.

    Returns:
        The scores, csr_array.

    Raises:
        DataError: k is below 1.
    """
    if k < 1:
        raise DataError(f"k = {k}: ask for at least 1 label")
    rows_MW, similarities_MW = neighbours.rows_MW, neighbours.similarities_MW
    num_labels = int(Y_NL.shape[1])
    bounds = block_bounds(len(rows_MW))
    scratch = threading.local()
    confidences = None if confident else Y_NL.data

    def vote(block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not hasattr(scratch, "votes_L"):
            scratch.votes_L = np.zeros(num_labels, np.float64)
        votes: tuple[np.ndarray, np.ndarray, np.ndarray] = _vote(
            rows_MW, similarities_MW, bounds[block], bounds[block + 1], Y_NL.indptr, Y_NL.indices,
            confidences, weights_N, min(k, num_labels), 1.0 / temperature, scratch.votes_L,
        )  # fmt: skip
        return votes

    parts = run_blocks(vote, len(bounds) - 1, num_threads)
    scores = sp.csr_array((len(rows_MW), num_labels), dtype=np.float32)
    if parts:
        counts, labels, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        scores.indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        scores.indices, scores.data = labels, values
    return scores


def votes_given(
    neighbours: Neighbours,
    Y_NL: sp.csr_array,
    pairs_ML: sp.csr_array,
    temperature: float,
    num_threads: int | None = None,
    confident: bool = True,
    weights_N: np.ndarray | None = None,
) -> sp.csr_array:
    """The scores of given pairs, to the bit those of `vote_labels`; no label is ranked.

    Args:
        neighbours: rows and similarities, (M, W).
        Y_NL: labels of the training rows, csr_array (N, L).
        pairs_ML: the pairs are its stored entries, csr_array (M, L).
        temperature: what similarities are divided by.
        num_threads: threads; None for the default.
        confident: whether each label counts 1.
        weights_N: weights of the training rows, (N,); None: all 1.

    Returns:
        The scores, csr_array (M, L); a pair without a vote has no entry.
    """
    rows_MW, similarities_MW = neighbours.rows_MW, neighbours.similarities_MW
    bounds, scratch = block_bounds(len(rows_MW)), threading.local()
    confidences = None if confident else Y_NL.data
    scores_P = np.full(pairs_ML.nnz, -1, np.float32)

    def vote(block: int) -> None:
        if not hasattr(scratch, "votes_L"):
            scratch.votes_L = np.zeros(Y_NL.shape[1], np.float64)
        _vote_given(
            rows_MW, similarities_MW, bounds[block], bounds[block + 1], Y_NL.indptr, Y_NL.indices,
            confidences, weights_N, pairs_ML.indptr, pairs_ML.indices, 1.0 / temperature,
            scratch.votes_L, scores_P,
        )  # fmt: skip

    run_blocks(vote, len(bounds) - 1, num_threads)
    has_vote_P = scores_P >= 0
    before = np.concatenate([[0], np.cumsum(has_vote_P)]).astype(pairs_ML.indptr.dtype)
    scores_ML = sp.csr_array(pairs_ML.shape, dtype=np.float32)
    scores_ML.indptr = before[pairs_ML.indptr]
    scores_ML.indices, scores_ML.data = pairs_ML.indices[has_vote_P], scores_P[has_vote_P]
    return scores_ML


@njit(nogil=True, cache=True)
def _vote(
    rows_MW: np.ndarray,
    similarities_MW: np.ndarray,
    low: int,
    high: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    confidences: np.ndarray | None,
    weights_N: np.ndarray | None,
    k: int,
    sharpness: float,
    votes_L: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes of queries low .. high - 1: counts a query, then labels (ascending) and scores.

    `votes_L` is all zeros before and after.
    """
    width = rows_MW.shape[1]
    counts = np.zeros(high - low, np.int64)
    labels_out = np.empty((high - low) * k, np.int32)
    scores_out = np.empty((high - low) * k, np.float32)
    weights_W = np.empty(width, np.float64)
    voted = np.empty(len(votes_L), np.int32)
    position = 0
    for query in range(low, high):
        num_found = _softmax(
            rows_MW[query], similarities_MW[query], weights_N, sharpness, weights_W
        )
        num_voted = _add_votes(
            rows_MW[query], weights_W, num_found, indptr, indices, confidences, votes_L, voted
        )
        scores = np.empty(num_voted, np.float32)
        for v in range(num_voted):
            scores[v] = min(votes_L[voted[v]], 1.0)
            votes_L[voted[v]] = 0.0
        best = _best(voted[:num_voted], scores, k)
        counts[query - low] = len(best)
        for v in best:
            labels_out[position], scores_out[position] = voted[v], scores[v]
            position += 1
    return counts, labels_out[:position].copy(), scores_out[:position].copy()


@njit(nogil=True, cache=True)
def _vote_given(
    rows_MW: np.ndarray,
    similarities_MW: np.ndarray,
    low: int,
    high: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    confidences: np.ndarray | None,
    weights_N: np.ndarray | None,
    pair_ptr: np.ndarray,
    pair_labels: np.ndarray,
    sharpness: float,
    votes_L: np.ndarray,
    scores_P: np.ndarray,
) -> None:
    """Votes of queries low .. high - 1 for the labels of their pairs, to `scores_P`; what has no
    vote stays as it is.

    `votes_L` is all zeros before and after.
    """
    weights_W = np.empty(rows_MW.shape[1], np.float64)
    voted = np.empty(len(votes_L), np.int32)
    for query in range(low, high):
        if pair_ptr[query] == pair_ptr[query + 1]:
            continue
        num_found = _softmax(
            rows_MW[query], similarities_MW[query], weights_N, sharpness, weights_W
        )
        num_voted = _add_votes(
            rows_MW[query], weights_W, num_found, indptr, indices, confidences, votes_L, voted
        )
        for p in range(pair_ptr[query], pair_ptr[query + 1]):
            if votes_L[pair_labels[p]] > 0.0:
                scores_P[p] = min(votes_L[pair_labels[p]], 1.0)
        for v in range(num_voted):
            votes_L[voted[v]] = 0.0


@njit(nogil=True, cache=True)
def _add_votes(
    rows_W: np.ndarray,
    weights_W: np.ndarray,
    num_found: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    confidences: np.ndarray | None,
    votes_L: np.ndarray,
    voted: np.ndarray,
) -> int:
    """Add the votes of a query's neighbours to `votes_L`; how many labels have one: `voted`."""
    num_voted = 0
    for w in range(num_found):
        row = rows_W[w]
        for p in range(indptr[row], indptr[row + 1]):
            label = indices[p]
            if votes_L[label] == 0.0:
                voted[num_voted] = label
                num_voted += 1
            if confidences is None:
                votes_L[label] += max(weights_W[w], _LEAST)
            else:
                votes_L[label] += max(weights_W[w] * confidences[p], _LEAST)
    return num_voted


@njit(nogil=True, cache=True)
def _softmax(
    rows_W: np.ndarray,
    similarities_W: np.ndarray,
    weights_N: np.ndarray | None,
    sharpness: float,
    weights_W: np.ndarray,
) -> int:
    """Weights of the neighbours found, and how many have one: those that underflow to 0 have
    none.
    """
    total = 0.0
    num_found = 0
    for w in range(len(rows_W)):
        if rows_W[w] < 0:
            break
        weight = np.exp((np.float64(similarities_W[w]) - similarities_W[0]) * sharpness)
        if weight == 0.0:
            break
        if weights_N is not None:
            weight = max(weight * weights_N[rows_W[w]], _LEAST)
        weights_W[w] = weight
        total += weight
        num_found += 1
    for w in range(num_found):
        weights_W[w] /= total
    return num_found


@njit(nogil=True, cache=True)
def _best(labels: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k highest scores, lower labels first among equals, by ascending label."""
    order = np.argsort(labels)
    if len(labels) <= k:
        return order
    ranked = order[best_places(scores[order], k)]
    by_label: np.ndarray = ranked[np.argsort(labels[ranked])]
    return by_label
