"""The beam step of a single query, on weights laid out for it.

Memory is cold for a single query, so its time is the number of places that are touched, and how
many of them are fetched at once. P clusters, C children of one, K nodes, F sparse and H dense
columns. Sums run in the order of the columns, as in the beam step of a batch.

`RowKeys` has the rows of chunks: a key holds the column of a chunk's row and where its entries
begin; buckets say, for each stretch of columns 2^shift wide, at which key of the chunk it begins. A
column is found, or not, by two neighbouring numbers and the one or two keys between them. All
clusters of the beam are looked up together, stage by stage; each stage prefetches what the next
will read.

`ColumnMajor` has the upper levels of a tree, where the beam holds every cluster and all nodes are
scored: no chunk is searched, each column has its entries for all nodes of the level in one place.
"""

from dataclasses import dataclass

import numpy as np

from xrt.jit import njit
from xrt.linear.kernels.beam_step import (
    add_dense,
    add_dense_of_given,
    add_sparse,
    as_float,
    best_of_row,
)
from xrt.linear.kernels.simd import prefetch
from xrt.tree.path_scores import log_score

MAX_CLUSTERS = 64
"""Clusters above a level laid out so, at most; no usual beam holds more."""
MAX_NODES = 1 << 16
MAX_ENTRIES = 1 << 24
_ONE = np.uint64(1)
_IN_A_LINE = 16


@dataclass(frozen=True, eq=False)
class ColumnMajor:
    """ptr int64 (F + 1,): the entries of each column. nodes uint16, values float32 or the bits of
    float16: position of the node in chunk order, and its weight.
    """

    ptr: np.ndarray
    nodes: np.ndarray
    values: np.ndarray

    @classmethod
    def of(
        cls,
        num_features: int,
        child_ptr: np.ndarray,
        chunk_ptr: np.ndarray,
        row_columns: np.ndarray,
        row_ptr: np.ndarray,
        entry_children: np.ndarray,
        entry_values: np.ndarray,
    ) -> "ColumnMajor":
        """The entries of LevelWeights by column; within a column by chunk.

        Args:
            num_features: sparse columns, F.
            child_ptr: where the children of each cluster begin, (P + 1,).
            chunk_ptr: where the rows of each chunk begin, (P + 1,).
            row_columns: columns of the rows of all chunks.
            row_ptr: where the entries of each row of a chunk begin.
            entry_children: child of each entry, counted within its chunk.
            entry_values: weight of each entry, float32 or the bits of float16.

        Returns:
            The entries.
        """
        ptr = np.zeros(num_features + 1, np.int64)
        nodes = np.empty(len(entry_values), np.uint16)
        values = np.empty_like(entry_values)
        _fill_columns(
            child_ptr, chunk_ptr, row_columns, row_ptr, entry_children, entry_values, ptr, nodes,
            values,
        )  # fmt: skip
        return cls(ptr, nodes, values)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As `expand_all` takes them."""
        return self.ptr, self.nodes, self.values


@njit(nogil=True, cache=True)
def _fill_columns(
    child_ptr: np.ndarray,
    chunk_ptr: np.ndarray,
    row_columns: np.ndarray,
    row_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    ptr: np.ndarray,
    nodes: np.ndarray,
    values: np.ndarray,
) -> None:
    for row in range(len(row_columns)):
        ptr[row_columns[row] + 1] += row_ptr[row + 1] - row_ptr[row]
    for column in range(len(ptr) - 1):
        ptr[column + 1] += ptr[column]
    free = ptr[:-1].copy()
    for chunk in range(len(chunk_ptr) - 1):
        for row in range(chunk_ptr[chunk], chunk_ptr[chunk + 1]):
            column = row_columns[row]
            for entry in range(row_ptr[row], row_ptr[row + 1]):
                place = free[column]
                nodes[place] = child_ptr[chunk] + entry_children[entry]
                values[place] = entry_values[entry]
                free[column] += 1


@njit(nogil=True, cache=True)
def expand_all(
    columns: np.ndarray,
    values: np.ndarray,
    dense_1H: np.ndarray,
    beam_nodes: np.ndarray,
    beam_scores: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    ptr: np.ndarray,
    entry_nodes: np.ndarray,
    entry_values: np.ndarray,
    dense_KH: np.ndarray,
    bias_K: np.ndarray,
    path_weight: np.float32,
    keep: int,
    ints: np.ndarray,
    floats: np.ndarray,
    nodes_out: np.ndarray,
    scores_out: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The beam of one row one level down, as of `expand`; all clusters are in the beam.

    Args:
        columns: columns of the row, ascending.
        values: values of the row's columns.
        dense_1H: dense part of the row, float32 (1, H).
        beam_nodes: clusters of the beam: all, ascending.
        beam_scores: log scores of the beam's clusters.
        child_ptr: where the children of each cluster begin, (P + 1,).
        children: node numbers, in chunk order, (K,).
        ptr: where the entries of each column begin, (F + 1,).
        entry_nodes: position of each entry's node in chunk order.
        entry_values: weight of each entry, float32 or the bits of float16.
        dense_KH: dense weights of the nodes in chunk order, (K, H).
        bias_K: biases of the nodes in chunk order, (K,).
        path_weight: how much the log score of the cluster counts.
        keep: most nodes of a row.
        ints: scratch, int64.
        floats: scratch, float32.
        nodes_out: receives nodes.
        scores_out: receives their log scores.

    Returns:
        Nodes, ascending, and their log scores: views of `nodes_out` and `scores_out`.
    """
    num_columns, num_nodes = np.uint64(len(columns)), np.uint64(len(bias_K))
    begins, ints = ints[:num_columns], ints[num_columns:]
    ends, first_row = ints[:num_columns], ints[num_columns : num_columns + _ONE]
    scores, floats = floats[:num_nodes], floats[num_nodes:]
    first_row[0] = 0
    for j in range(num_columns):
        prefetch(ptr, np.uint64(np.uint32(columns[j])))
    for j in range(num_columns):
        column = np.uint64(np.uint32(columns[j]))
        begins[j], ends[j] = ptr[column], ptr[column + _ONE]
        prefetch(entry_nodes, np.uint64(begins[j]))
        prefetch(entry_values, np.uint64(begins[j]))
        prefetch(entry_values, np.uint64(begins[j] + _IN_A_LINE))
    scores[:] = bias_K
    for j in range(num_columns):
        value = values[j]
        for entry in range(np.uint64(begins[j]), np.uint64(ends[j])):
            scores[np.uint32(entry_nodes[entry])] += value * as_float(entry_values[entry])
    for pair in range(len(beam_nodes)):
        low, high = child_ptr[pair], child_ptr[pair + 1]
        if dense_1H.shape[1] > 0:
            add_dense(dense_1H, first_row, first_row, dense_KH[low:high], scores[low:high], floats)
        above = path_weight * beam_scores[pair]
        for place in range(low, high):
            scores[place] = above + log_score(scores[place])
    best: tuple[np.ndarray, np.ndarray] = best_of_row(
        keep, beam_nodes, child_ptr, children, child_ptr, scores, nodes_out, scores_out
    )
    return best


MAX_KEYS = 1 << 24
"""Rows of a level beyond which no keys are made: all of its columns would have to be read first."""
_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@dataclass(frozen=True, eq=False)
class RowKeys:
    """keys uint64 (R,): column << 32 | entries of the chunk before this row. starts int32: for
    each bucket of each chunk the first of its keys that is not before it, and an end. starts_ptr
    int64 (P + 1,): where those of a chunk begin. shift uint8 (P,). entry_ptr int64 (P + 1,): where
    the entries of a chunk begin.
    """

    keys: np.ndarray
    starts: np.ndarray
    starts_ptr: np.ndarray
    shift: np.ndarray
    entry_ptr: np.ndarray

    @classmethod
    def of(
        cls, chunk_ptr: np.ndarray, row_columns: np.ndarray, row_ptr: np.ndarray, num_features: int
    ) -> "RowKeys":
        """Keys of the rows of LevelWeights; as many buckets as a chunk has rows, up to twice as
        many.

        Args:
            chunk_ptr: where the rows of each chunk begin, (P + 1,).
            row_columns: columns of the rows of all chunks.
            row_ptr: where the entries of each row of a chunk begin.
            num_features: sparse columns, F.

        Returns:
            The keys.
        """
        rows_P = np.maximum(np.diff(chunk_ptr), 1)
        shift_P = np.floor(np.log2(np.maximum(num_features / rows_P, 1))).astype(np.uint8)
        sizes_P = (max(num_features - 1, 0) >> shift_P.astype(np.int64)) + 2
        starts_ptr = np.concatenate([[0], np.cumsum(sizes_P)]).astype(np.int64)
        entry_ptr = np.asarray(row_ptr[chunk_ptr], np.int64)
        keys, starts = np.empty(len(row_columns), np.uint64), np.zeros(starts_ptr[-1], np.int32)
        _fill_row_keys(chunk_ptr, row_columns, row_ptr, shift_P, starts_ptr, keys, starts)
        return cls(keys, starts, starts_ptr, shift_P, entry_ptr)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As `expand_row` takes them."""
        return self.keys, self.starts, self.starts_ptr, self.shift, self.entry_ptr


@njit(nogil=True, cache=True)
def _fill_row_keys(
    chunk_ptr: np.ndarray,
    row_columns: np.ndarray,
    row_ptr: np.ndarray,
    shift_P: np.ndarray,
    starts_ptr: np.ndarray,
    keys: np.ndarray,
    starts: np.ndarray,
) -> None:
    for chunk in range(len(shift_P)):
        low, high, shift = chunk_ptr[chunk], chunk_ptr[chunk + 1], np.uint32(shift_P[chunk])
        starts_of_chunk = starts[starts_ptr[chunk] : starts_ptr[chunk + 1]]
        bucket = 0
        for row in range(low, high):
            column = np.uint32(row_columns[row])
            before = np.uint64(row_ptr[row] - row_ptr[low])
            keys[row] = (np.uint64(column) << _HALF) | before
            bucket_of_row = np.int64(column >> shift)
            while bucket < bucket_of_row:
                bucket += 1
                starts_of_chunk[bucket] = row - low
        starts_of_chunk[bucket + 1 :] = high - low


@njit(nogil=True, cache=True)
def expand_row(
    columns: np.ndarray,
    values: np.ndarray,
    dense_1H: np.ndarray,
    beam_nodes: np.ndarray,
    beam_scores: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    chunk_ptr: np.ndarray,
    keys: np.ndarray,
    starts: np.ndarray,
    starts_ptr: np.ndarray,
    shift_P: np.ndarray,
    entry_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    dense_KH: np.ndarray,
    bias_K: np.ndarray,
    path_weight: np.float32,
    keep: int,
    ints: np.ndarray,
    floats: np.ndarray,
    nodes_out: np.ndarray,
    scores_out: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The beam of one row one level down, as of `expand`: nodes (ascending), log scores.

    Args:
        columns: columns of the row, ascending.
        values: values of the row's columns.
        dense_1H: dense part of the row, float32 (1, H).
        beam_nodes: clusters of the beam.
        beam_scores: log scores of the beam's clusters.
        child_ptr: where the children of each cluster begin, (P + 1,).
        children: node numbers, in chunk order, (K,).
        chunk_ptr: where the rows of each chunk begin, (P + 1,).
        keys: as in `RowKeys`.
        starts: as in `RowKeys`.
        starts_ptr: as in `RowKeys`.
        shift_P: as in `RowKeys`.
        entry_ptr: as in `RowKeys`.
        entry_children: child of each entry, counted within its chunk.
        entry_values: weight of each entry, float32 or the bits of float16.
        dense_KH: dense weights of the nodes in chunk order, (K, H).
        bias_K: biases of the nodes in chunk order, (K,).
        path_weight: how much the log score of the cluster counts.
        keep: most nodes of a row.
        ints: scratch, int64.
        floats: scratch, float32.
        nodes_out: receives nodes.
        scores_out: receives their log scores.

    Returns:
        Views of `nodes_out` and `scores_out`.
    """
    scores, pairs_ptr = _score_children(
        columns, values, dense_1H, beam_nodes, beam_scores, child_ptr, chunk_ptr, keys, starts,
        starts_ptr, shift_P, entry_ptr, entry_children, entry_values, dense_KH, bias_K, path_weight,
        ints, floats,
    )  # fmt: skip
    best: tuple[np.ndarray, np.ndarray] = best_of_row(
        keep, beam_nodes, child_ptr, children, pairs_ptr, scores, nodes_out, scores_out
    )
    return best


@njit(nogil=True, cache=True)
def score_row(
    columns: np.ndarray,
    values: np.ndarray,
    dense_1H: np.ndarray,
    above_nodes: np.ndarray,
    above_scores: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    chunk_ptr: np.ndarray,
    keys: np.ndarray,
    starts: np.ndarray,
    starts_ptr: np.ndarray,
    shift_P: np.ndarray,
    entry_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    dense_KH: np.ndarray,
    bias_K: np.ndarray,
    path_weight: np.float32,
    ints: np.ndarray,
    floats: np.ndarray,
    nodes: np.ndarray,
    parents: np.ndarray,
    scores_out: np.ndarray,
) -> None:
    """Log scores of given nodes of a level for one row, as `expand_row` scores them.

    Args:
        columns: as in `expand_row`.
        values: as in `expand_row`.
        dense_1H: as in `expand_row`.
        above_nodes: the clusters of the nodes, each once.
        above_scores: log scores of these clusters.
        child_ptr: as in `expand_row`.
        children: as in `expand_row`.
        chunk_ptr: as in `expand_row`.
        keys: as in `RowKeys`.
        starts: as in `RowKeys`.
        starts_ptr: as in `RowKeys`.
        shift_P: as in `RowKeys`.
        entry_ptr: as in `RowKeys`.
        entry_children: as in `expand_row`.
        entry_values: as in `expand_row`.
        dense_KH: as in `expand_row`.
        bias_K: as in `expand_row`.
        path_weight: as in `expand_row`.
        ints: scratch, int64.
        floats: scratch, float32.
        nodes: the nodes.
        parents: for each the place of its cluster among `above_nodes`.
        scores_out: receives a log score for each node.
    """
    margins, pairs_ptr, ints, floats = _sparse_margins(
        columns, values, above_nodes, child_ptr, chunk_ptr, keys, starts, starts_ptr, shift_P,
        entry_ptr, entry_children, entry_values, bias_K, ints, floats,
    )  # fmt: skip
    first_row = ints[:_ONE]
    first_row[0] = 0
    add_dense_of_given(
        dense_1H, first_row, child_ptr, children, dense_KH, above_nodes, pairs_ptr, nodes, parents,
        margins, floats, scores_out,
    )  # fmt: skip
    for e in range(len(nodes)):
        scores_out[e] = path_weight * above_scores[parents[e]] + log_score(scores_out[e])


@njit(nogil=True, cache=True)
def _score_children(
    columns: np.ndarray,
    values: np.ndarray,
    dense_1H: np.ndarray,
    beam_nodes: np.ndarray,
    beam_scores: np.ndarray,
    child_ptr: np.ndarray,
    chunk_ptr: np.ndarray,
    keys: np.ndarray,
    starts: np.ndarray,
    starts_ptr: np.ndarray,
    shift_P: np.ndarray,
    entry_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    dense_KH: np.ndarray,
    bias_K: np.ndarray,
    path_weight: np.float32,
    ints: np.ndarray,
    floats: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Log scores of all children of the clusters, and where those of each begin."""
    scores, pairs_ptr, ints, floats = _sparse_margins(
        columns, values, beam_nodes, child_ptr, chunk_ptr, keys, starts, starts_ptr, shift_P,
        entry_ptr, entry_children, entry_values, bias_K, ints, floats,
    )  # fmt: skip
    first_row = ints[:_ONE]
    first_row[0] = 0
    for pair in range(np.uint64(len(beam_nodes))):
        node = np.uint64(beam_nodes[pair])
        low, high = child_ptr[node], child_ptr[node + _ONE]
        margins_C = scores[pairs_ptr[pair] : pairs_ptr[pair + _ONE]]
        if dense_1H.shape[1] > 0:
            add_dense(dense_1H, first_row, first_row, dense_KH[low:high], margins_C, floats)
        above = path_weight * beam_scores[pair]
        for child in range(np.uint64(len(margins_C))):
            margins_C[child] = above + log_score(margins_C[child])
    return scores, pairs_ptr


@njit(nogil=True, cache=True)
def _sparse_margins(
    columns: np.ndarray,
    values: np.ndarray,
    beam_nodes: np.ndarray,
    child_ptr: np.ndarray,
    chunk_ptr: np.ndarray,
    keys: np.ndarray,
    starts: np.ndarray,
    starts_ptr: np.ndarray,
    shift_P: np.ndarray,
    entry_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    bias_K: np.ndarray,
    ints: np.ndarray,
    floats: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Margins of all children of the clusters without their dense products, where those of each
    begin, and the scratch that is left.
    """
    num_pairs = np.uint64(len(beam_nodes))
    num_places = num_pairs * np.uint64(len(columns))
    pairs_ptr, ints = ints[: num_pairs + _ONE], ints[num_pairs + _ONE :]
    found_ptr, ints = ints[: num_pairs + _ONE], ints[num_pairs + _ONE :]
    begins, ints = ints[:num_places], ints[num_places:]
    ends, ints = ints[:num_places], ints[num_places:]
    row_values, floats = floats[:num_places], floats[num_places:]
    pairs_ptr[0] = 0
    for pair in range(num_pairs):
        node = np.uint64(beam_nodes[pair])
        pairs_ptr[pair + _ONE] = pairs_ptr[pair] + child_ptr[node + _ONE] - child_ptr[node]
    margins, floats = floats[: pairs_ptr[num_pairs]], floats[pairs_ptr[num_pairs] :]
    _find(
        columns, values, beam_nodes, chunk_ptr, keys, starts, starts_ptr, shift_P, entry_ptr,
        entry_children, entry_values, begins, ends, row_values, found_ptr,
    )  # fmt: skip
    for pair in range(num_pairs):
        node = np.uint64(beam_nodes[pair])
        margins_C = margins[pairs_ptr[pair] : pairs_ptr[pair + _ONE]]
        margins_C[:] = bias_K[child_ptr[node] : child_ptr[node + _ONE]]
        entries = slice(found_ptr[pair], found_ptr[pair + _ONE])
        add_sparse(
            entries.stop - entries.start, begins[entries], ends[entries], row_values[entries],
            entry_children, entry_values, margins_C,
        )  # fmt: skip
    return margins, pairs_ptr, ints, floats


@njit(nogil=True, cache=True)
def _find(
    columns: np.ndarray,
    values: np.ndarray,
    beam_nodes: np.ndarray,
    chunk_ptr: np.ndarray,
    keys: np.ndarray,
    starts: np.ndarray,
    starts_ptr: np.ndarray,
    shift_P: np.ndarray,
    entry_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    row_values: np.ndarray,
    found_ptr: np.ndarray,
) -> None:
    """Writes, for each node of the beam, for the columns that its chunk has, where their entries
    begin and end, and the row's values there; those of a node begin at found_ptr.
    """
    num_pairs, num_columns = np.uint64(len(beam_nodes)), np.uint64(len(columns))
    for pair in range(num_pairs):
        node, base = np.uint64(beam_nodes[pair]), pair * num_columns
        first, shift = starts_ptr[node], np.uint32(shift_P[node])
        for j in range(num_columns):
            bucket = np.uint64(first + np.int64(np.uint32(columns[j]) >> shift))
            begins[base + j] = bucket
            prefetch(starts, bucket)
    for pair in range(num_pairs):
        low, base = chunk_ptr[np.uint64(beam_nodes[pair])], pair * num_columns
        for i in range(base, base + num_columns):
            bucket = np.uint64(begins[i])
            begins[i], ends[i] = low + starts[bucket], low + starts[bucket + _ONE]
            prefetch(keys, np.uint64(begins[i]))
    found_ptr[0], num_found = 0, np.uint64(0)
    for pair in range(num_pairs):
        node, base = np.uint64(beam_nodes[pair]), pair * num_columns
        last_key = np.uint64(chunk_ptr[node + _ONE]) - _ONE
        first_entry, no_entry = entry_ptr[node], entry_ptr[node + _ONE]
        for j in range(num_columns):
            column = np.uint64(np.uint32(columns[j]))
            for row in range(np.uint64(begins[base + j]), np.uint64(ends[base + j])):
                if keys[row] >> _HALF == column:
                    begin = first_entry + np.int64(keys[row] & _LOW_HALF)
                    end = no_entry
                    if row != last_key:
                        end = first_entry + np.int64(keys[row + _ONE] & _LOW_HALF)
                    begins[num_found], ends[num_found], row_values[num_found] = (
                        begin,
                        end,
                        values[j],
                    )
                    prefetch(entry_children, np.uint64(begin))
                    prefetch(entry_values, np.uint64(begin))
                    prefetch(entry_values, np.uint64(end - 1))
                    num_found += _ONE
                    break
        found_ptr[pair + _ONE] = num_found
