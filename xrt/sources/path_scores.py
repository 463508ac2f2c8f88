"""Exact scores of given pairs (row, label) by a tree: each label's own way down is walked.

N rows, E pairs, T levels, C children of a cluster, H dense columns. A beam as wide as the labels of
a row would find the same scores, to the bit, and look at many more nodes on the way.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.hybrid import HybridMatrix
from xrt.jit import njit
from xrt.linear.kernels.beam_step import add_dense, add_sparse, find_by_bisection
from xrt.linear.scoring import RowBlock, block_bounds, check_columns
from xrt.search.beam import SearchParams
from xrt.sources.ranker import TreeRanker
from xrt.threads import run_blocks
from xrt.tree.path_scores import log_score


def path_scores(
    ranker: TreeRanker,
    X: HybridMatrix,
    pairs_NL: sp.csr_array,
    params: SearchParams,
    num_threads: int | None = None,
) -> sp.csr_array:
    """The scores that a search with a beam of every node would give.

    Args:
        ranker: the tree and the rankers at its nodes.
        X: rows (N, F + H).
        pairs_NL: the pairs are its stored entries, (N, L).
        params: the path weight; the beam does not matter.
        num_threads: threads; None for all processors.

    Returns:
        Scores in [0, 1], float32 (N, L), with an entry for each pair.

    Raises:
        DataError: the rows have other columns than the weights.
    """
    tree = ranker.tree
    assert params.path_weight is not None
    check_columns(ranker.levels[0], X)
    bounds = block_bounds(X.num_rows, num_threads)
    log_scores_E = np.zeros(pairs_NL.nnz, np.float32)
    for t in range(tree.depth):
        last = t == tree.depth - 1
        _score_level(
            ranker, t, X, pairs_NL, params, params.path_weight if last else 1.0, bounds,
            log_scores_E, num_threads,
        )  # fmt: skip
    scores = sp.csr_array(pairs_NL.shape, dtype=np.float32)
    scores.indptr, scores.indices = pairs_NL.indptr, pairs_NL.indices
    scores.data = np.exp(log_scores_E)
    return scores


def _score_level(
    ranker: TreeRanker,
    t: int,
    X: HybridMatrix,
    pairs_NL: sp.csr_array,
    params: SearchParams,
    path_weight: float,
    bounds: np.ndarray,
    log_scores_E: np.ndarray,
    num_threads: int | None,
) -> None:
    """Turn the log scores of the nodes above into those of the nodes of level t."""
    ranker.levels[t].check(num_threads=num_threads)
    nodes_E = ranker.tree.labels_below(t)[pairs_NL.indices]
    parents_E = ranker.tree.parents[t][nodes_E]
    places_E = _places(*ranker.tree.children(t))[nodes_E]

    def walk(block: int) -> None:
        low, high = int(bounds[block]), int(bounds[block + 1])
        rows = RowBlock.of(X, low, high)
        pair_ptr = pairs_NL.indptr[low : high + 1].astype(np.int64)
        arguments: tuple[Any, ...] = (
            rows.indptr, rows.columns, rows.values, rows.dense, pair_ptr, parents_E, places_E,
            *ranker.levels[t].kernel_arrays, np.float32(path_weight), log_scores_E,
        )  # fmt: skip
        _walk(*arguments)

    run_blocks(walk, len(bounds) - 1, num_threads)


def _places(child_ptr: np.ndarray, children: np.ndarray) -> np.ndarray:
    """Where each node stands among its parent's children: int64 (K,)."""
    within = np.arange(len(children)) - np.repeat(child_ptr[:-1], np.diff(child_ptr))
    places = np.empty(len(children), np.int64)
    places[children] = within
    return places


@njit(nogil=True, cache=True)
def _walk(
    indptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    dense_nH: np.ndarray,
    pair_ptr: np.ndarray,
    parents_E: np.ndarray,
    places_E: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    chunk_ptr: np.ndarray,
    row_columns: np.ndarray,
    row_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    dense_KH: np.ndarray,
    bias_K: np.ndarray,
    path_weight: np.float32,
    scores_E: np.ndarray,
) -> None:
    """One level further for every entry of some rows: scores_E is the parent's, then the node's."""
    longest = 0
    for row in range(len(indptr) - 1):
        longest = max(longest, indptr[row + 1] - indptr[row])
    starts, ends = np.empty(longest, np.int64), np.empty(longest, np.int64)
    found = np.empty(longest, np.float32)
    widest = 0
    for cluster in range(len(child_ptr) - 1):
        widest = max(widest, child_ptr[cluster + 1] - child_ptr[cluster])
    buffer_C = np.empty(widest, np.float32)
    width = dense_nH.shape[1]
    floats = np.empty(4 * width, np.float32)
    this_row, place = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for row in range(len(indptr) - 1):
        low, high = indptr[row], indptr[row + 1]
        before = -1
        for e in range(pair_ptr[row], pair_ptr[row + 1]):
            cluster = parents_E[e]
            first = child_ptr[cluster]
            if cluster != before:
                margins_C = buffer_C[: child_ptr[cluster + 1] - first]
                margins_C[:] = bias_K[first : child_ptr[cluster + 1]]
                chunk_low, chunk_high = chunk_ptr[cluster], chunk_ptr[cluster + 1]
                if high > low and chunk_high > chunk_low:
                    num_suspected = find_by_bisection(
                        row_columns[chunk_low:chunk_high], columns[low:high], values[low:high],
                        row_ptr[chunk_low : chunk_high + 1], entry_children, entry_values,
                        starts, ends, found,
                    )  # fmt: skip
                    add_sparse(
                        num_suspected, starts, ends, found, entry_children, entry_values, margins_C
                    )
                if width:
                    this_row[0] = row
                    chunk_dense_CH = dense_KH[first : child_ptr[cluster + 1]]
                    add_dense(dense_nH, this_row, place, chunk_dense_CH, margins_C, floats)
                before = cluster
            margin = buffer_C[places_E[e]]
            scores_E[e] = path_weight * scores_E[e] + log_score(margin)
