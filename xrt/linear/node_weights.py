"""The weights of one node, read from its cluster's chunk.

F sparse and H dense columns.
"""

from dataclasses import dataclass

import numpy as np

from xrt.linear.weights import LevelWeights


@dataclass(frozen=True, eq=False)
class NodeWeights:
    """One node's ranker: sparse columns (ascending) and their weights, dense weights (H,), bias."""

    columns: np.ndarray
    values: np.ndarray
    dense_H: np.ndarray
    bias: float

    def at(self, columns: np.ndarray) -> np.ndarray:
        """Weights of `columns`, 0 where the node has none: float64."""
        weights = np.zeros(len(columns), np.float64)
        if not len(self.columns):
            return weights
        places = np.minimum(np.searchsorted(self.columns, columns), len(self.columns) - 1)
        is_used = self.columns[places] == columns
        weights[is_used] = self.values[places[is_used]]
        return weights


def node_weights(level: LevelWeights, cluster: int, node: int) -> NodeWeights:
    """The weights of a node of this level, which is a child of `cluster`."""
    level.check(np.array([cluster], np.int32))
    first, last = level.child_ptr[cluster], level.child_ptr[cluster + 1]
    position = int(np.searchsorted(level.children[first:last], node))
    low, high = level.chunk_ptr[cluster], level.chunk_ptr[cluster + 1]
    row_ptr = level.row_ptr[low : high + 1]
    begin, end = row_ptr[0], row_ptr[-1]
    entries = np.flatnonzero(level.entry_children[begin:end] == position)
    rows = np.searchsorted(row_ptr - begin, entries, side="right") - 1
    return NodeWeights(
        columns=np.asarray(level.row_columns[low:high])[rows],
        values=level.entry_values[begin:end][entries].astype(np.float64),
        dense_H=level.dense[first + position].astype(np.float64),
        bias=float(level.bias[first + position]),
    )
