"""One step down the tree for some rows: scores the children of their nodes and keeps the best.

A pair is a row and a cluster in its beam; pairs are grouped by cluster, so that a chunk of weights
is read for all rows that ask for it while it is near. n rows, P clusters, C children of one.
"""

import numpy as np
from numba import njit

from xrt.linear.chunk_margins import (
    add_dense,
    add_sparse,
    clear_lookup,
    fill_lookup,
    find_by_bisection,
    find_by_lookup,
)
from xrt.tree.path_scores import log_score

MAX_INSERTED = 128
"""Kept nodes of a row that are held in order by insertion; more are sorted once."""


@njit(nogil=True, cache=True)
def expand(  # type: ignore[no-untyped-def]
    indptr, columns, values, dense_nH, beam_ptr, beam_nodes, beam_scores, child_ptr, children,
    chunk_ptr, row_columns, row_ptr, entry_children, entry_values, dense_KH, bias_K, code,
    path_weight, keep, lookup_F, max_held,
):  # fmt: skip
    """The beam one level down: row pointers, nodes (ascending in a row) and log scores.

    Holds at most `max_held` scores at once, or those of one row.
    """
    num_rows = len(beam_ptr) - 1
    next_ptr = np.zeros(num_rows + 1, np.int64)
    for row in range(num_rows):
        num_children = 0
        for pair in range(beam_ptr[row], beam_ptr[row + 1]):
            num_children += child_ptr[beam_nodes[pair] + 1] - child_ptr[beam_nodes[pair]]
        next_ptr[row + 1] = next_ptr[row] + min(keep, num_children)
    next_nodes = np.empty(next_ptr[num_rows], np.int32)
    next_scores = np.empty(next_ptr[num_rows], np.float32)
    low = 0
    while low < num_rows:
        high, pairs_ptr = _part(low, beam_ptr, beam_nodes, child_ptr, max_held)
        scores = _score_pairs(
            low, high, indptr, columns, values, dense_nH, beam_ptr, beam_nodes, beam_scores,
            pairs_ptr, child_ptr, chunk_ptr, row_columns, row_ptr, entry_children, entry_values,
            dense_KH, bias_K, code, path_weight, lookup_F,
        )  # fmt: skip
        for row in range(low, high):
            keep_best(
                beam_ptr[row], beam_ptr[row + 1], beam_ptr[low], beam_nodes, child_ptr, children,
                pairs_ptr, scores, next_nodes[next_ptr[row] : next_ptr[row + 1]],
                next_scores[next_ptr[row] : next_ptr[row + 1]],
            )  # fmt: skip
        low = high
    return next_ptr, next_nodes, next_scores


@njit(nogil=True, cache=True)
def _part(low, beam_ptr, beam_nodes, child_ptr, max_held):  # type: ignore[no-untyped-def]
    """As many rows from `low` on as may be scored at once, and where each pair's scores begin."""
    num_rows = len(beam_ptr) - 1
    held, high = 0, low
    while high < num_rows:
        here = 0
        for pair in range(beam_ptr[high], beam_ptr[high + 1]):
            here += child_ptr[beam_nodes[pair] + 1] - child_ptr[beam_nodes[pair]]
        if held + here > max_held and high > low:
            break
        held += here
        high += 1
    first = beam_ptr[low]
    pairs_ptr = np.zeros(beam_ptr[high] - first + 1, np.int64)
    for pair in range(len(pairs_ptr) - 1):
        node = beam_nodes[first + pair]
        pairs_ptr[pair + 1] = pairs_ptr[pair] + child_ptr[node + 1] - child_ptr[node]
    return high, pairs_ptr


@njit(nogil=True, cache=True)
def _score_pairs(  # type: ignore[no-untyped-def]
    low, high, indptr, columns, values, dense_nH, beam_ptr, beam_nodes, beam_scores, pairs_ptr,
    child_ptr, chunk_ptr, row_columns, row_ptr, entry_children, entry_values, dense_KH, bias_K,
    code, path_weight, lookup_F,
):  # fmt: skip
    """Log scores of the children of every pair of rows low .. high - 1."""
    first_pair, num_pairs = beam_ptr[low], beam_ptr[high] - beam_ptr[low]
    scores = np.empty(pairs_ptr[num_pairs], np.float32)
    rows, longest = np.empty(num_pairs, np.int64), 0
    for row in range(low, high):
        rows[beam_ptr[row] - first_pair : beam_ptr[row + 1] - first_pair] = row
        longest = max(longest, indptr[row + 1] - indptr[row])
    starts, ends = np.empty(longest, np.int64), np.empty(longest, np.int64)
    found = np.empty(longest, np.float32)
    order = by_cluster(beam_nodes[first_pair : first_pair + num_pairs], len(child_ptr) - 1)
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
        group = order[begin:end]
        if dense_nH.shape[1] > 0:
            add_dense(dense_nH, rows[group], pairs_ptr[group], dense_KH[child_lo:child_hi], scores)
        begin = end
    for pair in range(num_pairs):
        above = path_weight * beam_scores[first_pair + pair]
        for place in range(pairs_ptr[pair], pairs_ptr[pair + 1]):
            scores[place] = above + log_score(scores[place], code)
    return scores


@njit(nogil=True, cache=True, inline="always")
def _table_pays(num_columns, chunk_length):  # type: ignore[no-untyped-def]
    """Whether filling and clearing a table costs less than to bisect all columns of a group."""
    return num_columns * np.log2(chunk_length + 1.0) > 1.3 * chunk_length


@njit(nogil=True, cache=True)
def by_cluster(nodes, num_clusters):  # type: ignore[no-untyped-def]
    """Positions of the pairs, ordered by cluster and then as they are."""
    if len(nodes) * 16 < num_clusters:
        return np.argsort(nodes, kind="mergesort")
    places = np.zeros(num_clusters + 1, np.int64)
    for node in nodes:
        places[node + 1] += 1
    for cluster in range(num_clusters):
        places[cluster + 1] += places[cluster]
    order = np.empty(len(nodes), np.int64)
    for pair in range(len(nodes)):
        order[places[nodes[pair]]] = pair
        places[nodes[pair]] += 1
    return order


@njit(nogil=True, cache=True)
def keep_best(  # type: ignore[no-untyped-def]
    begin, end, first_pair, beam_nodes, child_ptr, children, pairs_ptr, scores, nodes_out,
    scores_out,
):  # fmt: skip
    """The best children of a row's pairs, as many as there is room for, in ascending node order.

    Among equal scores the lower node wins.
    """
    keep, offset = len(nodes_out), pairs_ptr[begin - first_pair]
    num_children = pairs_ptr[end - first_pair] - offset
    if keep > MAX_INSERTED or keep == num_children:
        nodes, place = np.empty(num_children, np.int32), 0
        for pair in range(begin, end):
            cluster = beam_nodes[pair]
            for child in range(child_ptr[cluster], child_ptr[cluster + 1]):
                nodes[place] = children[child]
                place += 1
        best = np.argsort(nodes)
        here = scores[offset : offset + num_children]
        if keep < num_children:
            best = np.sort(np.argsort(-here[best], kind="mergesort")[:keep])
            best = np.argsort(nodes)[best]
        for p in range(keep):
            nodes_out[p], scores_out[p] = nodes[best[p]], here[best[p]]
        return
    held, worst = 0, np.float32(-np.inf)
    for pair in range(begin, end):
        first, score_of = child_ptr[beam_nodes[pair]], pairs_ptr[pair - first_pair]
        for c in range(child_ptr[beam_nodes[pair] + 1] - first):
            score = scores[score_of + c]
            if held == keep and score < worst:
                continue
            held = _insert(nodes_out, scores_out, held, children[first + c], score)
            worst = scores_out[held - 1]
    order = np.argsort(nodes_out)
    nodes_out[:], scores_out[:] = nodes_out[order], scores_out[order]


@njit(nogil=True, cache=True)
def best_of_row(keep, beam_nodes, child_ptr, children, pairs_ptr, scores):  # type: ignore[no-untyped-def]
    """`keep_best` for a lone row whose pairs are all in the beam: nodes and log scores."""
    size = min(keep, pairs_ptr[len(beam_nodes)])
    nodes, kept = np.empty(size, np.int32), np.empty(size, np.float32)
    keep_best(
        0, len(beam_nodes), 0, beam_nodes, child_ptr, children, pairs_ptr, scores, nodes, kept
    )
    return nodes, kept


@njit(nogil=True, cache=True)
def _insert(nodes, scores, held, node, score):  # type: ignore[no-untyped-def]
    """Put a node in its place among the best, best first; the worst falls out when all is full."""
    place = held
    if held == len(nodes):
        if score == scores[held - 1] and node > nodes[held - 1]:
            return held
        place = held - 1
    while place > 0 and (
        scores[place - 1] < score or (scores[place - 1] == score and nodes[place - 1] > node)
    ):
        nodes[place], scores[place] = nodes[place - 1], scores[place - 1]
        place -= 1
    nodes[place], scores[place] = node, score
    return min(held + 1, len(nodes))
