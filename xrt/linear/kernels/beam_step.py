"""The beam step of a batch: scores the children of the nodes of some rows and keeps the best.

A pair is a row and a cluster in its beam; pairs are grouped by cluster, so that a chunk of weights
is read for all rows with the cluster in their beam while it is cached. Scratch memory of a step
lies in two flat arrays, `ints` and `floats`; nothing is allocated. n rows, P clusters, C children
of one, H dense columns, G rows with a cluster in their beam.

The columns of a row are found among those of a chunk by a lookup table, which the chunk fills
first, or by a bisection of all of them in lockstep, which lets the processor fetch many at once;
both give the same, and sums run in the order of the columns, so a single row gets the very margins
that it gets in a batch. The best children are kept in order by insertion, many in a heap whose
root is the worst.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from xrt.jit import njit
from xrt.linear.kernels.simd import SIMD, prefetch
from xrt.tree.path_scores import log_score

HALF_SCALE = np.float32(2.0**112)


def as_float(raw: Any) -> Any:
    """A weight as float32; a float16 arrives as its bits, uint16, and must be finite.

    Args:
        raw: float32, or the bits of a float16.

    Returns:
        float32.

    Raises:
        NotImplementedError: it is called outside of compiled code.
    """
    raise NotImplementedError("for compiled code only")


@overload(as_float, inline="always")  # type: ignore[untyped-decorator]
def _as_float(raw: Any) -> Callable[..., Any]:
    if raw == types.uint16:

        def from_half(raw: Any) -> Any:
            bits = np.uint32(raw)
            sign = np.uint32((bits & np.uint32(0x8000)) << np.uint32(16))
            magnitude = np.uint32((bits & np.uint32(0x7FFF)) << np.uint32(13))
            return np.uint32(sign | magnitude).view(np.float32) * HALF_SCALE

        return from_half

    def as_is(raw: Any) -> Any:
        return raw

    return as_is


@njit(nogil=True, cache=True)
def fill_lookup(row_columns: np.ndarray, low: int, high: int, lookup_F: np.ndarray) -> None:
    """Write 1 + position of every column of a chunk into the table.

    Args:
        row_columns: columns of the rows of all chunks.
        low: first row of the chunk.
        high: the row behind its last.
        lookup_F: table, an entry for each column.
    """
    for r in range(np.uint64(low), np.uint64(high)):
        lookup_F[np.uint32(row_columns[r])] = r - np.uint64(low) + np.uint64(1)


@njit(nogil=True, cache=True)
def clear_lookup(row_columns: np.ndarray, low: int, high: int, lookup_F: np.ndarray) -> None:
    """Bring the table back to zeros.

    Args:
        row_columns: columns of the rows of all chunks.
        low: first row of the chunk.
        high: the row behind its last.
        lookup_F: table that `fill_lookup` filled for the chunk.
    """
    for r in range(np.uint64(low), np.uint64(high)):
        lookup_F[np.uint32(row_columns[r])] = 0


@njit(nogil=True, cache=True)
def find_by_lookup(
    lookup_F: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    chunk_row_ptr: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    row_values: np.ndarray,
) -> np.uint64:
    """Where the weights of a row's columns begin and end, and the row's values there.

    Returns how many columns the chunk has.

    Args:
        lookup_F: table that `fill_lookup` filled for the chunk.
        columns: columns of the row, ascending.
        values: values of the row's columns.
        chunk_row_ptr: where the entries of each row of the chunk begin, and where the last one's
            end.
        starts: receives where the weights of a shared column begin.
        ends: receives where the weights of a shared column end.
        row_values: receives the row's values in the shared columns.

    Returns:
        Number of columns of the row that the chunk has.
    """
    num_found = np.uint64(0)
    for j in range(np.uint64(len(columns))):
        position = lookup_F[np.uint32(columns[j])]
        row = np.uint64(np.uint32(max(position, 1) - 1))
        starts[num_found] = chunk_row_ptr[row]
        ends[num_found] = chunk_row_ptr[row + np.uint64(1)]
        row_values[num_found] = values[j]
        num_found += np.uint64(position > 0)
    return num_found


@njit(nogil=True, cache=True)
def find_by_bisection(
    chunk_columns: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    chunk_row_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    row_values: np.ndarray,
) -> np.uint64:
    """The same for a chunk whose columns ascend, one at least, without a table.

    Memory is cold for a single query: what will be read next is prefetched as soon as it is known.

    Args:
        chunk_columns: columns of the chunk's rows, ascending.
        columns: columns of the row, ascending.
        values: values of the row's columns.
        chunk_row_ptr: where the entries of each row of the chunk begin, and where the last one's
            end.
        entry_children: child of each entry, counted within its chunk.
        entry_values: weight of each entry, float32 or the bits of float16.
        starts: receives where the weights of a shared column begin.
        ends: receives where the weights of a shared column end.
        row_values: receives the row's values in the shared columns.

    Returns:
        Number of columns of the row that the chunk has.
    """
    num_columns, length = np.uint64(len(columns)), np.uint64(len(chunk_columns))
    starts[: len(columns)] = 0
    while length > np.uint64(1):
        half = length >> np.uint64(1)
        for j in range(num_columns):
            place = np.uint64(starts[j])
            ahead = chunk_columns[place + half - np.uint64(1)] < columns[j]
            starts[j] = place + (half if ahead else np.uint64(0))
        length -= half
    last, num_found = np.uint64(len(chunk_columns) - 1), np.uint64(0)
    for j in range(num_columns):
        place = np.uint64(starts[j])
        place += np.uint64(chunk_columns[place] < columns[j] and place < last)
        starts[num_found] = place
        row_values[num_found] = values[j]
        prefetch(chunk_row_ptr, place)
        num_found += np.uint64(chunk_columns[place] == columns[j])
    for i in range(num_found):
        place = np.uint64(starts[i])
        starts[i] = chunk_row_ptr[place]
        ends[i] = chunk_row_ptr[place + np.uint64(1)]
        prefetch(entry_children, starts[i])
        prefetch(entry_values, starts[i])
    return num_found


@njit(nogil=True, cache=True)
def add_sparse(
    num_found: int,
    starts: np.ndarray,
    ends: np.ndarray,
    row_values: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    margins_C: np.ndarray,
) -> None:
    """Add to the margins the products of the columns that a row and the chunk share.

    Args:
        num_found: shared columns.
        starts: where the weights of each shared column begin.
        ends: where the weights of each shared column end.
        row_values: the row's values in the shared columns.
        entry_children: child of each entry, counted within its chunk.
        entry_values: weight of each entry, float32 or the bits of float16.
        margins_C: margins of the chunk's children, added to.
    """
    for i in range(np.uint64(num_found)):
        value = row_values[i]
        for e in range(np.uint64(starts[i]), np.uint64(ends[i])):
            margins_C[np.uint32(entry_children[e])] += value * as_float(entry_values[e])


def float_row(matrix: Any, row: Any, buffer: Any) -> Any:
    """A row of float32 as it is, or a row of float16 turned to float32 in the buffer.

    Args:
        matrix: weights, float32 or the bits of float16.
        row: row number.
        buffer: room for a row, float32.

    Returns:
        The row, or the buffer.

    Raises:
        NotImplementedError: it is called outside of compiled code.
    """
    raise NotImplementedError("for compiled code only")


@overload(float_row, inline="always")  # type: ignore[untyped-decorator]
def _float_row(matrix: Any, row: Any, buffer: Any) -> Callable[..., Any]:
    if matrix.dtype == types.uint16:

        def from_half(matrix: Any, row: Any, buffer: Any) -> Any:
            for h in range(len(buffer)):
                buffer[h] = as_float(matrix[row, h])
            return buffer

        return from_half

    def as_is(matrix: Any, row: Any, buffer: Any) -> Any:
        return matrix[row]

    return as_is


@njit(nogil=True, cache=True, fastmath=SIMD)
def add_dense(
    dense_nH: np.ndarray,
    rows: np.ndarray,
    places: np.ndarray,
    chunk_dense_CH: np.ndarray,
    scores: np.ndarray,
    floats: np.ndarray,
) -> None:
    """Add to the margins of each row of a group, which start at places[g], its dense products.

    Four children at a time, and all rows for these: their weights stay in the nearest cache.
    `floats`: room for 4 H numbers.

    Args:
        dense_nH: dense part of the rows, float32 (n, H).
        rows: row numbers of the group.
        places: where the margins of each of these rows begin in `scores`.
        chunk_dense_CH: dense weights of the chunk's children, (C, H).
        scores: margins, added to.
        floats: scratch, float32.
    """
    num_children, width = chunk_dense_CH.shape
    buffer_4H = floats[: 4 * width].reshape(4, width)
    for first in range(0, num_children, 4):
        last = num_children - 1
        w0 = float_row(chunk_dense_CH, first, buffer_4H[0])
        w1 = float_row(chunk_dense_CH, min(first + 1, last), buffer_4H[1])
        w2 = float_row(chunk_dense_CH, min(first + 2, last), buffer_4H[2])
        w3 = float_row(chunk_dense_CH, min(first + 3, last), buffer_4H[3])
        for g in range(len(rows)):
            x_H = dense_nH[rows[g]]
            a = b = c = d = np.float32(0)
            for h in range(width):
                a += x_H[h] * w0[h]
                b += x_H[h] * w1[h]
                c += x_H[h] * w2[h]
                d += x_H[h] * w3[h]
            place = places[g] + first
            scores[place] += a
            if first + 1 < num_children:
                scores[place + 1] += b
            if first + 2 < num_children:
                scores[place + 2] += c
            if first + 3 < num_children:
                scores[place + 3] += d


@njit(nogil=True, cache=True)
def add_dense_of_given(
    dense_nH: np.ndarray,
    this_row: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    dense_KH: np.ndarray,
    clusters: np.ndarray,
    begins: np.ndarray,
    nodes: np.ndarray,
    parents: np.ndarray,
    margins: np.ndarray,
    floats: np.ndarray,
    margins_out: np.ndarray,
) -> None:
    """Margins of given nodes of one row: those without dense products, and these added for the
    given nodes alone. A cluster has many more children than are asked for.

    Args:
        dense_nH: dense part of the rows, float32 (n, H).
        this_row: which of them, (1,).
        child_ptr: where the children of each cluster begin.
        children: the children of all clusters.
        dense_KH: their dense weights, (K, H).
        clusters: the clusters of the nodes, each once.
        begins: where the margins of the children of each of these begin in `margins`.
        nodes: the nodes.
        parents: for each the place of its cluster among `clusters`.
        margins: of all children of these clusters, without dense products.
        floats: scratch, float32: room for 4 H numbers.
        margins_out: receives the margin of each node.
    """
    places = np.empty(len(nodes), np.int64)
    for e in range(len(nodes)):
        first, last = child_ptr[clusters[parents[e]]], child_ptr[clusters[parents[e]] + 1]
        child = np.searchsorted(children[first:last], nodes[e])
        places[e] = first + child
        margins_out[e] = margins[begins[parents[e]] + child]
    if dense_nH.shape[1] and len(nodes):
        only = np.zeros(1, np.int64)
        products = np.zeros(len(nodes), np.float32)
        add_dense(dense_nH, this_row, only, dense_KH[places], products, floats)
        for e in range(len(nodes)):
            margins_out[e] += products[e]


MAX_INSERTED = 128
"""Nodes to choose, at most, by insertion; more are chosen with a heap."""
_FEW = 24
"""Nodes, at most, that are sorted by insertion."""


@njit(nogil=True, cache=True)
def keep_best(
    begin: int,
    end: int,
    first_pair: int,
    beam_nodes: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    pairs_ptr: np.ndarray,
    scores: np.ndarray,
    nodes_out: np.ndarray,
    scores_out: np.ndarray,
) -> None:
    """The best children of a row's pairs, as many as there is room for, in ascending node order.

    Among equal scores the lower node wins.

    Args:
        begin: first pair of the row.
        end: the pair behind its last.
        first_pair: the pair that `pairs_ptr` begins with.
        beam_nodes: clusters of the beam.
        child_ptr: where the children of each cluster begin, (P + 1,).
        children: node numbers, in chunk order, (K,).
        pairs_ptr: where the scores of each pair (row, cluster) begin.
        scores: log scores of the pairs' children.
        nodes_out: receives nodes.
        scores_out: receives their log scores.
    """
    keep = len(nodes_out)
    num_children = pairs_ptr[end - first_pair] - pairs_ptr[begin - first_pair]
    inserted = keep <= MAX_INSERTED and keep < num_children
    num_kept, worst = 0, np.float32(-np.inf)
    for pair in range(begin, end):
        first, score_of = child_ptr[beam_nodes[pair]], pairs_ptr[pair - first_pair]
        for c in range(child_ptr[beam_nodes[pair] + 1] - first):
            score = scores[score_of + c]
            if num_kept == keep and score < worst:
                continue
            node = children[first + c]
            if inserted:
                num_kept = _insert(nodes_out, scores_out, num_kept, node, score)
                worst = scores_out[num_kept - 1]
            elif num_kept < keep:
                nodes_out[num_kept], scores_out[num_kept] = node, score
                num_kept += 1
                if num_kept == keep and keep < num_children:
                    _make_heap(nodes_out, scores_out, True)
                    worst = scores_out[0]
            elif _worse(scores_out[0], nodes_out[0], score, node, True):
                _sift(nodes_out, scores_out, 0, keep, node, score, True)
                worst = scores_out[0]
    sort_by_node(nodes_out, scores_out)


@njit(nogil=True, cache=True)
def best_of_row(
    keep: int,
    beam_nodes: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    pairs_ptr: np.ndarray,
    scores: np.ndarray,
    nodes_out: np.ndarray,
    scores_out: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """`keep_best` for a single query whose pairs are all in the beam: nodes and log scores, views
    of `nodes_out` and `scores_out`.

    Args:
        keep: most nodes of a row.
        beam_nodes: clusters of the beam.
        child_ptr: where the children of each cluster begin, (P + 1,).
        children: node numbers, in chunk order, (K,).
        pairs_ptr: where the scores of each pair (row, cluster) begin.
        scores: log scores of the pairs' children.
        nodes_out: receives nodes.
        scores_out: receives their log scores.

    Returns:
        Nodes, ascending, and their log scores.
    """
    size = min(keep, pairs_ptr[len(beam_nodes)])
    nodes, best_scores = nodes_out[:size], scores_out[:size]
    keep_best(
        0,
        len(beam_nodes),
        0,
        beam_nodes,
        child_ptr,
        children,
        pairs_ptr,
        scores,
        nodes,
        best_scores,
    )
    return nodes, best_scores


@njit(nogil=True, cache=True)
def _insert(
    nodes: np.ndarray, scores: np.ndarray, num_kept: int, node: np.int32, score: np.float32
) -> int:
    """Insert a node among the best, best first; the worst falls out when all places are used."""
    place = num_kept
    if num_kept == len(nodes):
        if score == scores[num_kept - 1] and node > nodes[num_kept - 1]:
            return num_kept
        place = num_kept - 1
    while place > 0 and (
        scores[place - 1] < score or (scores[place - 1] == score and nodes[place - 1] > node)
    ):
        nodes[place], scores[place] = nodes[place - 1], scores[place - 1]
        place -= 1
    nodes[place], scores[place] = node, score
    return min(num_kept + 1, len(nodes))


@njit(nogil=True, cache=True, inline="always")
def _worse(
    score: np.float32, node: np.int32, other_score: np.float32, other_node: np.int32, by_score: bool
) -> bool:
    """Whether the score is lower, or, where that does not decide, the node higher."""
    return bool(
        (by_score and score < other_score)
        or ((not by_score or score == other_score) and node > other_node)
    )


@njit(nogil=True, cache=True)
def _make_heap(nodes: np.ndarray, scores: np.ndarray, by_score: bool) -> None:
    """Every node worse than those below it."""
    for place in range(len(nodes) // 2 - 1, -1, -1):
        _sift(nodes, scores, place, len(nodes), nodes[place], scores[place], by_score)


@njit(nogil=True, cache=True)
def _sift(
    nodes: np.ndarray,
    scores: np.ndarray,
    place: int,
    size: int,
    node: np.int32,
    score: np.float32,
    by_score: bool,
) -> None:
    """Put a node where all below are better, from `place` on."""
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        other = below + 1
        if other < size and _worse(
            scores[other], nodes[other], scores[below], nodes[below], by_score
        ):
            below = other
        if not _worse(scores[below], nodes[below], score, node, by_score):
            break
        nodes[place], scores[place] = nodes[below], scores[below]
        place = below
    nodes[place], scores[place] = node, score


@njit(nogil=True, cache=True)
def sort_by_node(nodes: np.ndarray, scores: np.ndarray) -> None:
    """Nodes, which differ, in ascending order, and their scores with them; in place.

    Args:
        nodes: node numbers.
        scores: their scores.
    """
    size = len(nodes)
    if size <= _FEW:
        for i in range(1, size):
            node, score, place = nodes[i], scores[i], i
            while place > 0 and nodes[place - 1] > node:
                nodes[place], scores[place] = nodes[place - 1], scores[place - 1]
                place -= 1
            nodes[place], scores[place] = node, score
        return
    ascend = True
    for i in range(1, size):
        ascend = ascend and nodes[i - 1] < nodes[i]
    if ascend:
        return
    _make_heap(nodes, scores, False)
    for last in range(size - 1, 0, -1):
        node, score = nodes[last], scores[last]
        nodes[last], scores[last] = nodes[0], scores[0]
        _sift(nodes, scores, 0, last, node, score, False)


_FEW_PAIRS = 64


@njit(nogil=True, cache=True)
def measure(
    indptr: np.ndarray,
    beam_ptr: np.ndarray,
    beam_nodes: np.ndarray,
    child_ptr: np.ndarray,
    keep: int,
    max_scores: int,
    next_ptr: np.ndarray,
) -> tuple[int, int, int]:
    """Fill in where each row's nodes will begin one level down. Returns what `expand` needs: nodes
    in all, entries of `ints`, and of `floats` where there are no dense columns.

    Args:
        indptr: where each row's columns begin, (n + 1,).
        beam_ptr: where each row's clusters begin in the beam, (n + 1,).
        beam_nodes: clusters of the beam.
        child_ptr: where the children of each cluster begin, (P + 1,).
        keep: most nodes of a row.
        max_scores: scores that are held at once.
        next_ptr: receives where each row's nodes will begin, (n + 1,).

    Returns:
        Three numbers.
    """
    num_rows = len(beam_ptr) - 1
    longest, num_scores_held, most = 0, 0, 0
    next_ptr[0] = 0
    for row in range(num_rows):
        longest = max(longest, indptr[row + 1] - indptr[row])
        num_children = _children_of(row, beam_ptr, beam_nodes, child_ptr)
        next_ptr[row + 1] = next_ptr[row] + min(keep, num_children)
        num_scores_held = (
            num_children
            if num_scores_held + num_children > max_scores
            else num_scores_held + num_children
        )
        most = max(most, num_scores_held)
    ints = 5 * len(beam_nodes) + 1 + max(len(child_ptr), 2 * longest)
    return next_ptr[num_rows], ints, most + longest


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
    path_weight: np.float32,
    max_scores: int,
    lookup_F: np.ndarray,
    ints: np.ndarray,
    floats: np.ndarray,
    next_ptr: np.ndarray,
    next_nodes: np.ndarray,
    next_scores: np.ndarray,
) -> None:
    """The beam one level down: for each row, from next_ptr on, its nodes, ascending, and their log
    scores.

    Holds at most `max_scores` scores at once, or those of one row.

    Args:
        indptr: where each row's columns begin, (n + 1,).
        columns: columns of the rows, ascending in a row.
        values: values of the rows' columns.
        dense_nH: dense part of the rows, float32 (n, H).
        beam_ptr: where each row's clusters begin in the beam, (n + 1,).
        beam_nodes: clusters of the beam.
        beam_scores: log scores of the beam's clusters.
        child_ptr: where the children of each cluster begin, (P + 1,).
        children: node numbers, in chunk order, (K,).
        chunk_ptr: where the rows of each chunk begin, (P + 1,).
        row_columns: columns of the rows of all chunks.
        row_ptr: where the entries of each row of a chunk begin.
        entry_children: child of each entry, counted within its chunk.
        entry_values: weight of each entry, float32 or the bits of float16.
        dense_KH: dense weights of the nodes in chunk order, (K, H).
        bias_K: biases of the nodes in chunk order, (K,).
        path_weight: how much the log score of the cluster counts.
        max_scores: scores that are held at once.
        lookup_F: table of zeros, an entry for each column; zeros again at the end.
        ints: scratch, int64.
        floats: scratch, float32.
        next_ptr: where each row's nodes begin, as `measure` wrote it, (n + 1,).
        next_nodes: receives the nodes.
        next_scores: receives their log scores.
    """
    num_rows, num_pairs, low = len(beam_ptr) - 1, len(beam_nodes), 0
    pairs_ptr, more_ints = ints[: num_pairs + 1], ints[num_pairs + 1 :]
    while low < num_rows:
        high = _part(low, beam_ptr, beam_nodes, child_ptr, max_scores, pairs_ptr)
        scores = _score_pairs(
            low, high, indptr, columns, values, dense_nH, beam_ptr, beam_nodes, beam_scores,
            pairs_ptr, child_ptr, chunk_ptr, row_columns, row_ptr, entry_children, entry_values,
            dense_KH, bias_K, path_weight, lookup_F, more_ints, floats,
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
    max_scores: int,
    pairs_ptr: np.ndarray,
) -> int:
    """As many rows from `low` on as may be scored at once; fills in where each pair's scores
    begin.
    """
    num_rows = len(beam_ptr) - 1
    num_scores_held, high = 0, low
    while high < num_rows:
        num_children = _children_of(high, beam_ptr, beam_nodes, child_ptr)
        if num_scores_held + num_children > max_scores and high > low:
            break
        num_scores_held += num_children
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
    path_weight: np.float32,
    lookup_F: np.ndarray,
    ints: np.ndarray,
    floats: np.ndarray,
) -> np.ndarray:
    """Log scores of the children of every pair of rows low .. high - 1."""
    first_pair, num_pairs = beam_ptr[low], beam_ptr[high] - beam_ptr[low]
    num_scores, num_clusters, longest = pairs_ptr[num_pairs], len(child_ptr) - 1, 0
    scores, floats = floats[:num_scores], floats[num_scores:]
    rows, ints = ints[:num_pairs], ints[num_pairs:]
    order, ints = ints[:num_pairs], ints[num_pairs:]
    group_rows, ints = ints[:num_pairs], ints[num_pairs:]
    group_places, ints = ints[:num_pairs], ints[num_pairs:]
    for row in range(low, high):
        rows[beam_ptr[row] - first_pair : beam_ptr[row + 1] - first_pair] = row
        longest = max(longest, indptr[row + 1] - indptr[row])
    by_cluster(beam_nodes[first_pair : first_pair + num_pairs], num_clusters, order, ints)
    starts, ends, row_values = ints[:longest], ints[longest : 2 * longest], floats[:longest]
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
                    lookup_F, own_columns, own_values, chunk_row_ptr, starts, ends, row_values
                )
            else:
                num_found = find_by_bisection(
                    row_columns[chunk_lo:chunk_hi], own_columns, own_values, chunk_row_ptr,
                    entry_children, entry_values, starts, ends, row_values,
                )  # fmt: skip
            add_sparse(num_found, starts, ends, row_values, entry_children, entry_values, margins_C)
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
            scores[place] = above + log_score(scores[place])
    return scores


@njit(nogil=True, cache=True, inline="always")
def _table_pays(num_columns: int, chunk_length: int) -> bool:
    """Whether filling and clearing a table costs less than to bisect all columns of a group."""
    return bool(num_columns * np.log2(chunk_length + 1.0) > 1.3 * chunk_length)


@njit(nogil=True, cache=True)
def by_cluster(nodes: np.ndarray, num_clusters: int, order: np.ndarray, places: np.ndarray) -> None:
    """Writes the positions of the pairs, ordered by cluster and then as they are, to `order`.

    `places`: room for num_clusters + 1 numbers.

    Args:
        nodes: cluster of each pair.
        num_clusters: clusters.
        order: receives positions of pairs.
        places: scratch, int64.
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
