"""One step down the tree for some rows: scores the children of their nodes and keeps the best.

A pair is a row and a cluster in its beam; pairs are grouped by cluster, so that a chunk of weights
is read for all rows that ask for it while it is near. Whatever a step needs for a moment lies in
two flat arrays that are given, `whole` and `floats`. n rows, P clusters, C children of one, H dense
columns.
"""

import numpy as np

from xrt.jit import njit
from xrt.linear.kernels.best_children import keep_best
from xrt.linear.kernels.chunk_margins import (
    add_dense,
    add_sparse,
    clear_lookup,
    fill_lookup,
    find_by_bisection,
    find_by_lookup,
)
from xrt.tree.path_scores import log_score

_FEW_PAIRS = 64


@njit(nogil=True, cache=True)
def measure(
    indptr: np.ndarray,
    beam_ptr: np.ndarray,
    beam_nodes: np.ndarray,
    child_ptr: np.ndarray,
    keep: int,
    max_held: int,
    next_ptr: np.ndarray,
) -> tuple[int, int, int]:
    """Fills in where each row's nodes will begin one level down; gives what `expand` needs: nodes
    in all, entries of `whole`, and of `floats` where there are no dense columns.
    """
    num_rows = len(beam_ptr) - 1
    longest, held, most = 0, 0, 0
    next_ptr[0] = 0
    for row in range(num_rows):
        longest = max(longest, indptr[row + 1] - indptr[row])
        here = _children_of(row, beam_ptr, beam_nodes, child_ptr)
        next_ptr[row + 1] = next_ptr[row] + min(keep, here)
        held = here if held + here > max_held else held + here
        most = max(most, held)
    whole = 5 * len(beam_nodes) + 1 + max(len(child_ptr), 2 * longest)
    return next_ptr[num_rows], whole, most + longest


@njit(nogil=True, cache=True)
def _children_of(
    row: int, beam_ptr: np.ndarray, beam_nodes: np.ndarray, child_ptr: np.ndarray
) -> int:
    num_children = 0
    for pair in range(beam_ptr[row], beam_ptr[row + 1]):
        num_children += child_ptr[beam_nodes[pair] + 1] - child_ptr[beam_nodes[pair]]
    return num_children


@njit(nogil=True, cache=True)
def expand(
    indptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    dense_nH: np.ndarray,
    beam_ptr: np.ndarray,
    beam_nodes: np.ndarray,
    beam_scores: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    chunk_ptr: np.ndarray,
    row_columns: np.ndarray,
    row_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    dense_KH: np.ndarray,
    bias_K: np.ndarray,
    code: int,
    path_weight: np.float32,
    max_held: int,
    lookup_F: np.ndarray,
    whole: np.ndarray,
    floats: np.ndarray,
    next_ptr: np.ndarray,
    next_nodes: np.ndarray,
    next_scores: np.ndarray,
) -> None:
    """The beam one level down: for each row, from next_ptr on, its nodes, ascending, and their log
    scores.

    Holds at most `max_held` scores at once, or those of one row.
    """
    num_rows, num_pairs, low = len(beam_ptr) - 1, len(beam_nodes), 0
    pairs_ptr, rest = whole[: num_pairs + 1], whole[num_pairs + 1 :]
    while low < num_rows:
        high = _part(low, beam_ptr, beam_nodes, child_ptr, max_held, pairs_ptr)
        scores = _score_pairs(
            low, high, indptr, columns, values, dense_nH, beam_ptr, beam_nodes, beam_scores,
            pairs_ptr, child_ptr, chunk_ptr, row_columns, row_ptr, entry_children, entry_values,
            dense_KH, bias_K, code, path_weight, lookup_F, rest, floats,
        )  # fmt: skip
        for row in range(low, high):
            keep_best(
                beam_ptr[row], beam_ptr[row + 1], beam_ptr[low], beam_nodes, child_ptr, children,
                pairs_ptr, scores, next_nodes[next_ptr[row] : next_ptr[row + 1]],
                next_scores[next_ptr[row] : next_ptr[row + 1]],
            )  # fmt: skip
        low = high


@njit(nogil=True, cache=True)
def _part(
    low: int,
    beam_ptr: np.ndarray,
    beam_nodes: np.ndarray,
    child_ptr: np.ndarray,
    max_held: int,
    pairs_ptr: np.ndarray,
) -> int:
    """As many rows from `low` on as may be scored at once; fills in where each pair's scores
    begin.
    """
    num_rows = len(beam_ptr) - 1
    held, high = 0, low
    while high < num_rows:
        here = _children_of(high, beam_ptr, beam_nodes, child_ptr)
        if held + here > max_held and high > low:
            break
        held += here
        high += 1
    first = beam_ptr[low]
    pairs_ptr[0] = 0
    for pair in range(beam_ptr[high] - first):
        node = beam_nodes[first + pair]
        pairs_ptr[pair + 1] = pairs_ptr[pair] + child_ptr[node + 1] - child_ptr[node]
    return high


@njit(nogil=True, cache=True)
def _score_pairs(
    low: int,
    high: int,
    indptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    dense_nH: np.ndarray,
    beam_ptr: np.ndarray,
    beam_nodes: np.ndarray,
    beam_scores: np.ndarray,
    pairs_ptr: np.ndarray,
    child_ptr: np.ndarray,
    chunk_ptr: np.ndarray,
    row_columns: np.ndarray,
    row_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    dense_KH: np.ndarray,
    bias_K: np.ndarray,
    code: int,
    path_weight: np.float32,
    lookup_F: np.ndarray,
    whole: np.ndarray,
    floats: np.ndarray,
) -> np.ndarray:
    """Log scores of the children of every pair of rows low .. high - 1."""
    first_pair, num_pairs = beam_ptr[low], beam_ptr[high] - beam_ptr[low]
    num_scores, num_clusters, longest = pairs_ptr[num_pairs], len(child_ptr) - 1, 0
    scores, floats = floats[:num_scores], floats[num_scores:]
    rows, whole = whole[:num_pairs], whole[num_pairs:]
    order, whole = whole[:num_pairs], whole[num_pairs:]
    group_rows, whole = whole[:num_pairs], whole[num_pairs:]
    group_places, whole = whole[:num_pairs], whole[num_pairs:]
    for row in range(low, high):
        rows[beam_ptr[row] - first_pair : beam_ptr[row + 1] - first_pair] = row
        longest = max(longest, indptr[row + 1] - indptr[row])
    by_cluster(beam_nodes[first_pair : first_pair + num_pairs], num_clusters, order, whole)
    starts, ends, found = whole[:longest], whole[longest : 2 * longest], floats[:longest]
    begin = 0
    while begin < num_pairs:
        cluster = beam_nodes[first_pair + order[begin]]
        end, num_columns = begin, 0
        while end < num_pairs and beam_nodes[first_pair + order[end]] == cluster:
            num_columns += indptr[rows[order[end]] + 1] - indptr[rows[order[end]]]
            end += 1
        chunk_lo, chunk_hi = chunk_ptr[cluster], chunk_ptr[cluster + 1]
        child_lo, child_hi = child_ptr[cluster], child_ptr[cluster + 1]
        table = end - begin > 1 and _table_pays(num_columns, chunk_hi - chunk_lo)
        if table:
            fill_lookup(row_columns, chunk_lo, chunk_hi, lookup_F)
        for g in range(begin, end):
            pair, row = order[g], rows[order[g]]
            group_rows[g - begin], group_places[g - begin] = row, pairs_ptr[pair]
            margins_C = scores[pairs_ptr[pair] : pairs_ptr[pair + 1]]
            margins_C[:] = bias_K[child_lo:child_hi]
            row_lo, row_hi = indptr[row], indptr[row + 1]
            if row_lo == row_hi or chunk_lo == chunk_hi:
                continue
            own_columns, own_values = columns[row_lo:row_hi], values[row_lo:row_hi]
            chunk_row_ptr = row_ptr[chunk_lo : chunk_hi + 1]
            if table:
                num_found = find_by_lookup(
                    lookup_F, own_columns, own_values, chunk_row_ptr, starts, ends, found
                )
            else:
                num_found = find_by_bisection(
                    row_columns[chunk_lo:chunk_hi], own_columns, own_values, chunk_row_ptr,
                    entry_children, entry_values, starts, ends, found,
                )  # fmt: skip
            add_sparse(num_found, starts, ends, found, entry_children, entry_values, margins_C)
        if table:
            clear_lookup(row_columns, chunk_lo, chunk_hi, lookup_F)
        if dense_nH.shape[1] > 0:
            add_dense(
                dense_nH, group_rows[: end - begin], group_places[: end - begin],
                dense_KH[child_lo:child_hi], scores, floats[longest:],
            )  # fmt: skip
        begin = end
    for pair in range(num_pairs):
        above = path_weight * beam_scores[first_pair + pair]
        for place in range(pairs_ptr[pair], pairs_ptr[pair + 1]):
            scores[place] = above + log_score(scores[place], code)
    return scores


@njit(nogil=True, cache=True, inline="always")
def _table_pays(num_columns: int, chunk_length: int) -> bool:
    """Whether filling and clearing a table costs less than to bisect all columns of a group."""
    return bool(num_columns * np.log2(chunk_length + 1.0) > 1.3 * chunk_length)


@njit(nogil=True, cache=True)
def by_cluster(nodes: np.ndarray, num_clusters: int, order: np.ndarray, places: np.ndarray) -> None:
    """Writes the positions of the pairs, ordered by cluster and then as they are, to `order`.

    `places`: room for num_clusters + 1 numbers.
    """
    num_pairs = len(nodes)
    if num_pairs <= _FEW_PAIRS:
        for pair in range(num_pairs):
            place = pair
            while place > 0 and nodes[order[place - 1]] > nodes[pair]:
                order[place] = order[place - 1]
                place -= 1
            order[place] = pair
        return
    places[: num_clusters + 1] = 0
    for node in nodes:
        places[node + 1] += 1
    for cluster in range(num_clusters):
        places[cluster + 1] += places[cluster]
    for pair in range(num_pairs):
        order[places[nodes[pair]]] = pair
        places[nodes[pair]] += 1
