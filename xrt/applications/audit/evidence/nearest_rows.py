"""The rows most like each row, and which of their labels they share.

N rows, M queries, F columns, W neighbours, C candidates, P pairs (row, label). Common words take
most of the time and say little: rows are found by their rarest words, as many as `POSTINGS` rows
share, and ranked by the cosine of all words. A row without words has no neighbours.
"""

import numpy as np
import scipy.sparse as sp

from xrt.jit import njit
from xrt.progress import Progress
from xrt.sources.neighbours import TEMPERATURE, NeighbourParams, SparseNeighbours
from xrt.sources.votes import Neighbours
from xrt.sparse import as_csr, best_places, binarize
from xrt.threads import run_blocks

POSTINGS = 20_000
"""Rows that the words of a query have in all: as many are looked at, those of one word at least."""

SPARE = 3
"""Times as many rows are found by rare words as are kept by the cosine."""

QUERIES_AT_ONCE = 8_192


class NearestRows:
    """Finds the nearest of the rows X (N, F), which have length 1, by their rare words."""

    def __init__(self, X_NF: sp.csr_array, num_neighbours: int) -> None:
        """Builds the index: a list of rows for each word."""
        self.X_NF = X_NF
        self.width = num_neighbours
        no_labels = sp.csr_array((X_NF.shape[0], 1), dtype=np.float32)
        search = NeighbourParams(num_neighbours=SPARE * num_neighbours)
        self.index = SparseNeighbours(X_NF, no_labels, search)
        self.counts_F = np.bincount(X_NF.indices, minlength=X_NF.shape[1])

    def nearest(
        self,
        queries_MF: sp.csr_array,
        num_threads: int | None = None,
        excluded_M: np.ndarray | None = None,
        progress: Progress | None = None,
    ) -> Neighbours:
        """The most similar rows of each query.

        Args:
            queries_MF: Queries of length 1, (M, F).
            num_threads: Number of threads; None for all processors.
            excluded_M: A row for each query that is not to be among its neighbours, int (M,).
            progress: Counts queries; None shows nothing.

        Returns:
            Rows int32 and cosine similarities float32, (M, width); -1 and 0 where there are fewer.
        """
        num_queries = queries_MF.shape[0]
        rows_MW = np.full((num_queries, self.width), -1, np.int32)
        similarities_MW = np.zeros((num_queries, self.width), np.float32)
        if progress is not None:
            progress.start("similar rows", num_queries)
        for low in range(0, num_queries, QUERIES_AT_ONCE):
            high = min(num_queries, low + QUERIES_AT_ONCE)
            queries = as_csr(queries_MF[low:high])
            excluded = None if excluded_M is None else excluded_M[low:high]
            neighbours = self.index.nearest(
                rare_words(queries, self.counts_F), num_threads, excluded
            )
            _by_cosine(
                queries.indptr, queries.indices, queries.data, self.X_NF.indptr,
                self.X_NF.indices, self.X_NF.data, neighbours.rows_MW, rows_MW[low:high],
                similarities_MW[low:high],
            )  # fmt: skip
            if progress is not None:
                progress.advance(high - low)
        if progress is not None:
            progress.finish()
        return Neighbours(rows_MW, similarities_MW)


def rare_words(queries_MF: sp.csr_array, counts_F: np.ndarray) -> sp.csr_array:
    """The rarest columns of each query: the first, and more while their counts add up to at most
    POSTINGS.

    Args:
        queries_MF: Queries, (M, F).
        counts_F: In how many rows each column occurs, int (F,).

    Returns:
        (M, F), a copy with these columns only.
    """
    keep = _rare(queries_MF.indptr, queries_MF.indices, counts_F, POSTINGS)
    rare_MF = queries_MF.copy()
    rare_MF.data = np.where(keep, queries_MF.data, np.float32(0))
    rare_MF.eliminate_zeros()
    return rare_MF


@njit(nogil=True, cache=True)
def _rare(indptr: np.ndarray, indices: np.ndarray, counts_F: np.ndarray, limit: int) -> np.ndarray:
    keep = np.zeros(len(indices), np.bool_)
    for query in range(len(indptr) - 1):
        low, high = indptr[query], indptr[query + 1]
        order = np.argsort(counts_F[indices[low:high]], kind="mergesort")
        total = 0
        for place in range(high - low):
            total += counts_F[indices[low + order[place]]]
            if place > 0 and total > limit:
                break
            keep[low + order[place]] = True
    return keep


@njit(nogil=True, cache=True)
def _by_cosine(
    q_ptr: np.ndarray,
    q_columns: np.ndarray,
    q_data: np.ndarray,
    indptr: np.ndarray,
    columns: np.ndarray,
    data: np.ndarray,
    rows_MC: np.ndarray,
    rows_MW: np.ndarray,
    sims_MW: np.ndarray,
) -> None:
    """The W candidates most similar by all columns; among equals the lower row comes first."""
    width = rows_MW.shape[1]
    for query in range(len(q_ptr) - 1):
        num_rows = 0
        while num_rows < rows_MC.shape[1] and rows_MC[query, num_rows] >= 0:
            num_rows += 1
        rows = np.sort(rows_MC[query, :num_rows])
        similarities = np.zeros(num_rows, np.float32)
        for c in range(num_rows):
            total = np.float32(0)
            p, end = q_ptr[query], q_ptr[query + 1]
            for j in range(indptr[rows[c]], indptr[rows[c] + 1]):
                while p < end and q_columns[p] < columns[j]:
                    p += 1
                if p == end:
                    break
                if q_columns[p] == columns[j]:
                    total += q_data[p] * data[j]
            similarities[c] = total
        order = best_places(similarities, width)
        for w in range(len(order)):
            rows_MW[query, w] = rows[order[w]]
            sims_MW[query, w] = similarities[order[w]]


def agreement_of_pairs(
    neighbours: Neighbours,
    Y_NL: sp.csr_array,
    pair_ptr_N: np.ndarray,
    labels_P: np.ndarray,
    num_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """How much the neighbours of a row agree that it has a label.

    A neighbour's vote is softmax(similarity / TEMPERATURE).

    Args:
        neighbours: Neighbours of each row, (N, W).
        Y_NL: Given labels, (N, L).
        pair_ptr_N: The pairs of row n are `pair_ptr_N[n]` .. `pair_ptr_N[n + 1] - 1`; int64 (N +
            1,).
        labels_P: Label of each pair, int (P,).
        num_threads: Number of threads; None for all processors.

    Returns:
        The label's share of the vote, float32 (P,) in [0, 1], and how many neighbours have it,
        int32 (P,).
    """
    Y_NL = binarize(Y_NL)
    votes_P = np.zeros(len(labels_P), np.float32)
    counts_P = np.zeros(len(labels_P), np.int32)
    bounds = np.append(
        np.arange(0, len(neighbours.rows_MW), QUERIES_AT_ONCE), len(neighbours.rows_MW)
    )

    def count(block: int) -> None:
        _agree(
            bounds[block], bounds[block + 1], neighbours.rows_MW, neighbours.similarities_MW,
            Y_NL.indptr, Y_NL.indices, pair_ptr_N, labels_P, 1.0 / TEMPERATURE,
            np.zeros(Y_NL.shape[1], np.float64), np.zeros(Y_NL.shape[1], np.int32), votes_P,
            counts_P,
        )  # fmt: skip

    run_blocks(count, len(bounds) - 1, num_threads)
    return votes_P, counts_P


@njit(nogil=True, cache=True)
def _agree(
    low: int,
    high: int,
    rows_NW: np.ndarray,
    sims_NW: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    pair_ptr: np.ndarray,
    labels_P: np.ndarray,
    sharpness: float,
    votes_L: np.ndarray,
    counts_L: np.ndarray,
    votes_P: np.ndarray,
    counts_P: np.ndarray,
) -> None:
    """Votes of the pairs of rows low .. high - 1; the tables of labels are zeros before and
    after.
    """
    width = rows_NW.shape[1]
    weights_W = np.empty(width, np.float64)
    for row in range(low, high):
        total, num_neighbours = 0.0, 0
        while num_neighbours < width and rows_NW[row, num_neighbours] >= 0:
            weights_W[num_neighbours] = np.exp(
                (sims_NW[row, num_neighbours] - sims_NW[row, 0]) * sharpness
            )
            total += weights_W[num_neighbours]
            num_neighbours += 1
        for w in range(num_neighbours):
            for p in range(indptr[rows_NW[row, w]], indptr[rows_NW[row, w] + 1]):
                votes_L[indices[p]] += weights_W[w] / total
                counts_L[indices[p]] += 1
        for p in range(pair_ptr[row], pair_ptr[row + 1]):
            votes_P[p] = min(votes_L[labels_P[p]], 1.0)
            counts_P[p] = counts_L[labels_P[p]]
        for w in range(num_neighbours):
            for p in range(indptr[rows_NW[row, w]], indptr[rows_NW[row, w] + 1]):
                votes_L[indices[p]] = 0.0
                counts_L[indices[p]] = 0
