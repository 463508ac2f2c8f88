"""The rows of chunks laid out for a feature row that comes alone, and a step down by them.

A lone row meets cold memory, so what counts is how many places are touched and how many of them are
asked for at once. A key holds the column of a chunk's row and where its entries begin; buckets say,
for each stretch of columns 2^shift wide, at which key of the chunk it begins. A column is found, or
not, by two neighbouring numbers and the one or two keys between them. All clusters of the beam are
looked up together, stage by stage, each stage asking for what the next will read. Sums run in the
order of the columns, as everywhere. P clusters, C children of one, H dense columns.
"""

from dataclasses import dataclass

import numpy as np

from xrt.jit import njit
from xrt.linear.kernels.best_children import best_of_row
from xrt.linear.kernels.chunk_margins import add_dense, add_sparse
from xrt.linear.kernels.lanes import prefetch
from xrt.tree.path_scores import log_score

MAX_KEYS = 1 << 24
"""Rows of a level beyond which no keys are made: all of its columns would have to be read first."""
_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ONE = np.uint64(1)


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
        """
        rows_P = np.maximum(np.diff(chunk_ptr), 1)
        shift_P = np.floor(np.log2(np.maximum(num_features / rows_P, 1))).astype(np.uint8)
        sizes_P = (max(num_features - 1, 0) >> shift_P.astype(np.int64)) + 2
        starts_ptr = np.concatenate([[0], np.cumsum(sizes_P)]).astype(np.int64)
        entry_ptr = np.asarray(row_ptr[chunk_ptr], np.int64)
        keys, starts = np.empty(len(row_columns), np.uint64), np.zeros(starts_ptr[-1], np.int32)
        _fill(chunk_ptr, row_columns, row_ptr, shift_P, starts_ptr, keys, starts)
        return cls(keys, starts, starts_ptr, shift_P, entry_ptr)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As `expand_row` takes them."""
        return self.keys, self.starts, self.starts_ptr, self.shift, self.entry_ptr


@njit(nogil=True, cache=True)
def _fill(
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
        own = starts[starts_ptr[chunk] : starts_ptr[chunk + 1]]
        bucket = 0
        for row in range(low, high):
            column = np.uint32(row_columns[row])
            before = np.uint64(row_ptr[row] - row_ptr[low])
            keys[row] = (np.uint64(column) << _HALF) | before
            here = np.int64(column >> shift)
            while bucket < here:
                bucket += 1
                own[bucket] = row - low
        own[bucket + 1 :] = high - low


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
    code: int,
    path_weight: np.float32,
    keep: int,
    whole: np.ndarray,
    floats: np.ndarray,
    nodes_out: np.ndarray,
    scores_out: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The beam of one row one level down, as `expand` gives it: nodes (ascending), log scores."""
    num_pairs = np.uint64(len(beam_nodes))
    num_places = num_pairs * np.uint64(len(columns))
    pairs_ptr, whole = whole[: num_pairs + _ONE], whole[num_pairs + _ONE :]
    found_ptr, whole = whole[: num_pairs + _ONE], whole[num_pairs + _ONE :]
    begins, whole = whole[:num_places], whole[num_places:]
    ends, first_row = whole[:num_places], whole[num_places : num_places + _ONE]
    found, floats = floats[:num_places], floats[num_places:]
    pairs_ptr[0], first_row[0] = 0, 0
    for pair in range(num_pairs):
        node = np.uint64(beam_nodes[pair])
        pairs_ptr[pair + _ONE] = pairs_ptr[pair] + child_ptr[node + _ONE] - child_ptr[node]
    scores, floats = floats[: pairs_ptr[num_pairs]], floats[pairs_ptr[num_pairs] :]
    _find(
        columns, values, beam_nodes, chunk_ptr, keys, starts, starts_ptr, shift_P, entry_ptr,
        entry_children, entry_values, begins, ends, found, found_ptr,
    )  # fmt: skip
    for pair in range(num_pairs):
        node = np.uint64(beam_nodes[pair])
        low, high = child_ptr[node], child_ptr[node + _ONE]
        margins_C = scores[pairs_ptr[pair] : pairs_ptr[pair + _ONE]]
        margins_C[:] = bias_K[low:high]
        own = slice(found_ptr[pair], found_ptr[pair + _ONE])
        add_sparse(
            own.stop - own.start, begins[own], ends[own], found[own], entry_children, entry_values,
            margins_C,
        )  # fmt: skip
        if dense_1H.shape[1] > 0:
            add_dense(dense_1H, first_row, first_row, dense_KH[low:high], margins_C, floats)
        above = path_weight * beam_scores[pair]
        for child in range(np.uint64(len(margins_C))):
            margins_C[child] = above + log_score(margins_C[child], code)
    best: tuple[np.ndarray, np.ndarray] = best_of_row(
        keep, beam_nodes, child_ptr, children, pairs_ptr, scores, nodes_out, scores_out
    )
    return best


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
    found: np.ndarray,
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
            wanted = np.uint64(np.uint32(columns[j]))
            for row in range(np.uint64(begins[base + j]), np.uint64(ends[base + j])):
                if keys[row] >> _HALF == wanted:
                    begin = first_entry + np.int64(keys[row] & _LOW_HALF)
                    end = no_entry
                    if row != last_key:
                        end = first_entry + np.int64(keys[row + _ONE] & _LOW_HALF)
                    begins[num_found], ends[num_found], found[num_found] = begin, end, values[j]
                    prefetch(entry_children, np.uint64(begin))
                    prefetch(entry_values, np.uint64(begin))
                    prefetch(entry_values, np.uint64(end - 1))
                    num_found += _ONE
                    break
        found_ptr[pair + _ONE] = num_found
