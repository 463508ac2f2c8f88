"""Exact scores of given pairs (row, label) by a tree: each label's own way down is walked.

N rows, K nodes of a level, C children of a cluster, H dense columns. A beam as wide as the labels
of a row would find the same scores, to the bit, and look at many more nodes on the way. A cluster
is scored once a row, however many of its labels are asked for.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from xrt.hybrid import HybridMatrix
from xrt.jit import njit
from xrt.linear.kernels.beam_step import add_dense_of_given, add_sparse, find_by_bisection
from xrt.linear.scoring import RowBlock, block_bounds, check_columns
from xrt.linear.single_query import QueryBeam, score_nodes
from xrt.linear.weights import LevelWeights
from xrt.search.beam import SearchParams
from xrt.sources.ranker import TreeRanker
from xrt.threads import run_blocks
from xrt.tree.label_tree import LabelTree
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
    result = sp.csr_array(pairs_NL.shape, dtype=np.float32)
    result.indptr, result.indices = pairs_NL.indptr, pairs_NL.indices
    result.data = score_paths(ranker, X, pairs_NL, params, num_threads)
    return result


def score_paths(
    ranker: TreeRanker,
    X: HybridMatrix,
    pairs_NL: sp.csr_array,
    params: SearchParams,
    num_threads: int | None = None,
) -> np.ndarray:
    """As `path_scores`, without a matrix around the scores.

    Args:
        ranker: the tree and the rankers at its nodes.
        X: rows (N, F + H).
        pairs_NL: the pairs are its E stored entries, (N, L).
        params: the path weight; the beam does not matter.
        num_threads: threads; None for all processors.

    Returns:
        Scores in [0, 1], float32 (E,), in the order of the pairs.

    Raises:
        DataError: the rows have other columns than the weights.
    """
    tree, levels = ranker.tree, ranker.levels
    assert params.path_weight is not None
    check_columns(levels[0], X)
    ways = _ways(tree, pairs_NL)
    scores = np.zeros(X.num_rows, np.float32)
    if X.num_rows == 1 and all(weights.row_keys is not None for weights in levels):
        row = RowBlock.of(X, 0, 1)
        for t, (weights, above, nodes) in enumerate(zip(levels, ways[:-1], ways[1:], strict=True)):
            path_weight = params.path_weight if t == tree.depth - 1 else 1.0
            beam = QueryBeam(above.nodes, scores)
            scores = score_nodes(weights, row, beam, nodes.nodes, nodes.parents, path_weight)
        return np.asarray(np.exp(scores))
    bounds = block_bounds(X.num_rows, num_threads)
    for t, (weights, above, nodes) in enumerate(zip(levels, ways[:-1], ways[1:], strict=True)):
        path_weight = params.path_weight if t == tree.depth - 1 else 1.0
        scores = _score_level(weights, X, above, nodes, scores, path_weight, bounds, num_threads)
    return np.asarray(np.exp(scores))


class _Nodes(NamedTuple):
    """The nodes of a level on the way to the pairs of each row, ascending, as in a csr matrix; and
    for each the place of its parent among the nodes of the level above. int64, int32, int64.
    """

    indptr: np.ndarray
    nodes: np.ndarray
    parents: np.ndarray


def _ways(tree: LabelTree, pairs_NL: sp.csr_array) -> list[_Nodes]:
    """The nodes on the way to the pairs: of the root, then of each level, labels last."""
    indptr, nodes = pairs_NL.indptr.astype(np.int64), pairs_NL.indices.astype(np.int32, copy=False)
    ways = []
    for t in range(tree.depth - 1, 0, -1):
        above_ptr, above, parents = _parents_of(indptr, nodes, tree.parents[t])
        ways.append(_Nodes(indptr, nodes, parents))
        indptr, nodes = above_ptr, above
    num_rows = len(indptr) - 1
    rows_E = np.repeat(np.arange(num_rows), np.diff(indptr))
    ways.append(_Nodes(indptr, nodes, rows_E))
    none = np.zeros(0, np.int64)
    ways.append(_Nodes(np.arange(num_rows + 1), np.zeros(num_rows, np.int32), none))
    return ways[::-1]


def _score_level(
    weights: LevelWeights,
    X: HybridMatrix,
    above: _Nodes,
    nodes: _Nodes,
    above_scores: np.ndarray,
    path_weight: float,
    bounds: np.ndarray,
    num_threads: int | None,
) -> np.ndarray:
    """Log scores of the nodes of a level from those of their parents: float32, one a node."""
    weights.check(np.unique(above.nodes), num_threads)
    scores = np.zeros(len(nodes.nodes), np.float32)

    def walk(block: int) -> None:
        low, high = int(bounds[block]), int(bounds[block + 1])
        rows = RowBlock.of(X, low, high)
        arguments: tuple[Any, ...] = (
            *rows, above.indptr[low : high + 1], above.nodes, above_scores,
            nodes.indptr[low : high + 1], nodes.nodes, nodes.parents, *weights.kernel_arrays,
            np.float32(path_weight), scores,
        )  # fmt: skip
        _walk(*arguments)

    run_blocks(walk, len(bounds) - 1, num_threads)
    return scores


@njit(nogil=True, cache=True)
def _parents_of(
    indptr: np.ndarray, nodes: np.ndarray, parents_K: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The parents of the nodes of each row, each once and ascending, and the place of each node's
    parent among them.
    """
    above_ptr, above = np.zeros_like(indptr), np.empty_like(nodes)
    places = np.empty(len(nodes), np.int64)
    size = 0
    for row in range(len(indptr) - 1):
        low, high, first = indptr[row], indptr[row + 1], size
        of_row = parents_K[nodes[low:high]]
        for parent in np.sort(of_row):
            if size == first or above[size - 1] != parent:
                above[size] = parent
                size += 1
        places[low:high] = first + np.searchsorted(above[first:size], of_row)
        above_ptr[row + 1] = size
    return above_ptr, above[:size].copy(), places


@njit(nogil=True, cache=True)
def _walk(
    indptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    dense_nH: np.ndarray,
    above_ptr: np.ndarray,
    above_nodes: np.ndarray,
    above_scores: np.ndarray,
    node_ptr: np.ndarray,
    nodes: np.ndarray,
    parents: np.ndarray,
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
    scores_out: np.ndarray,
) -> None:
    """Log scores of some rows' nodes of a level: all children of their parents get margins of the
    sparse columns, and those on the way their dense products.
    """
    longest = most = widest = 0
    for row in range(len(indptr) - 1):
        longest = max(longest, indptr[row + 1] - indptr[row])
        most = max(most, above_ptr[row + 1] - above_ptr[row])
        width = 0
        for place in range(above_ptr[row], above_ptr[row + 1]):
            width += child_ptr[above_nodes[place] + 1] - child_ptr[above_nodes[place]]
        widest = max(widest, width)
    starts, ends = np.empty(longest, np.int64), np.empty(longest, np.int64)
    found = np.empty(longest, np.float32)
    begins, margins = np.empty(most, np.int64), np.empty(widest, np.float32)
    floats = np.empty(4 * dense_nH.shape[1], np.float32)
    this_row = np.zeros(1, np.int64)
    for row in range(len(indptr) - 1):
        low, high, used = indptr[row], indptr[row + 1], 0
        this_row[0] = row
        for place in range(above_ptr[row], above_ptr[row + 1]):
            cluster = above_nodes[place]
            first, last = child_ptr[cluster], child_ptr[cluster + 1]
            begins[place - above_ptr[row]] = used
            margins_C = margins[used : used + last - first]
            used += last - first
            margins_C[:] = bias_K[first:last]
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
        here = slice(node_ptr[row], node_ptr[row + 1])
        add_dense_of_given(
            dense_nH, this_row, child_ptr, children, dense_KH,
            above_nodes[above_ptr[row] : above_ptr[row + 1]], begins, nodes[here],
            parents[here] - above_ptr[row], margins, floats, scores_out[here],
        )  # fmt: skip
        for e in range(node_ptr[row], node_ptr[row + 1]):
            above = path_weight * above_scores[parents[e]]
            scores_out[e] = above + log_score(scores_out[e])
