"""The upper levels of a tree laid out for a feature row that comes alone, and a step down by them.

Where the beam holds every cluster above a level, all of its nodes are scored. Then nothing needs to
be looked up in chunks: each column has its entries for all nodes of the level in one place. Sums
run in the order of the columns, as everywhere. P clusters, K nodes, F sparse and H dense columns.
"""

from dataclasses import dataclass

import numpy as np

from xrt.jit import njit
from xrt.linear.kernels.best_children import best_of_row
from xrt.linear.kernels.chunk_margins import add_dense, as_float
from xrt.linear.kernels.lanes import prefetch
from xrt.tree.path_scores import log_score

MAX_CLUSTERS = 64
"""Clusters above a level that may be laid out so; no usual beam holds more."""
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
        """The entries of LevelWeights by column; within a column by chunk."""
        ptr = np.zeros(num_features + 1, np.int64)
        nodes = np.empty(len(entry_values), np.uint16)
        values = np.empty_like(entry_values)
        _fill(
            child_ptr, chunk_ptr, row_columns, row_ptr, entry_children, entry_values, ptr, nodes,
            values,
        )  # fmt: skip
        return cls(ptr, nodes, values)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As `expand_all` takes them."""
        return self.ptr, self.nodes, self.values


@njit(nogil=True, cache=True)
def _fill(
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
    code: int,
    path_weight: np.float32,
    keep: int,
    whole: np.ndarray,
    floats: np.ndarray,
    nodes_out: np.ndarray,
    scores_out: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The beam of one row one level down, as `expand` gives it; all clusters are in the beam."""
    num_columns, num_nodes = np.uint64(len(columns)), np.uint64(len(bias_K))
    begins, whole = whole[:num_columns], whole[num_columns:]
    ends, first_row = whole[:num_columns], whole[num_columns : num_columns + _ONE]
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
            scores[place] = above + log_score(scores[place], code)
    best: tuple[np.ndarray, np.ndarray] = best_of_row(
        keep, beam_nodes, child_ptr, children, child_ptr, scores, nodes_out, scores_out
    )
    return best
