"""The weights of one level, laid out for search: a chunk for each cluster, its children side by
side.

K nodes at the level, P clusters above, F sparse and H dense columns. Within a chunk each sparse
column that any child uses is one row, holding (child, weight) pairs; a query touches only rows of
its own nonzeros. Nodes stand in chunk order: the children of cluster 0, then of cluster 1, and so
on.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numba import njit

from xrt.atomic import save_array, write_json
from xrt.errors import ArtifactError
from xrt.tree.label_tree import LabelTree

ARRAYS = ("chunk_ptr", "row_columns", "row_ptr", "entry_children", "entry_values", "dense", "bias")


@dataclass(frozen=True)
class SolvedBlock:
    """Weights of some children of a cluster, node by node; `first` is their position in chunk
    order.
    """

    cluster: int
    first: int
    node_ptr: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    dense: np.ndarray
    biases: np.ndarray


@dataclass(frozen=True, eq=False)
class LevelWeights:
    """Chunked weights of a level.

    child_ptr int64 (P + 1,) and children int32 (K,): the nodes of each cluster, as
    `LabelTree.children` says. chunk_ptr int64 (P + 1,): rows of each chunk. row_columns int32
    (R,): the sparse column of a row, ascending in a chunk. row_ptr int64 (R + 1,): its entries.
    entry_children int32, entry_values float32: position of the child within its chunk, and its
    weight. dense float32 (K, H) and bias float32 (K,) in chunk order.
    """

    num_features: int
    child_ptr: np.ndarray
    children: np.ndarray
    chunk_ptr: np.ndarray
    row_columns: np.ndarray
    row_ptr: np.ndarray
    entry_children: np.ndarray
    entry_values: np.ndarray
    dense: np.ndarray
    bias: np.ndarray

    @property
    def num_nodes(self) -> int:
        """Nodes of the level, K."""
        return len(self.bias)

    @property
    def num_dense(self) -> int:
        """Dense columns, H."""
        return int(self.dense.shape[1])

    @property
    def dense_weights(self) -> np.ndarray:
        """Dense weights in node order: float32 (K, H)."""
        return self.dense[np.argsort(self.children, kind="stable")]

    @property
    def node_bias(self) -> np.ndarray:
        """What is added to every margin, in node order: float32 (K,)."""
        return self.bias[np.argsort(self.children, kind="stable")]

    def to_csc(self) -> sp.csc_array:
        """Sparse weights in node order: (F, K)."""
        chunk_of_row = np.repeat(np.arange(len(self.chunk_ptr) - 1), np.diff(self.chunk_ptr))
        per_row = np.diff(self.row_ptr)
        first = np.repeat(self.child_ptr[chunk_of_row], per_row)
        nodes = self.children[first + self.entry_children]
        features = np.repeat(self.row_columns, per_row)
        shape = (self.num_features, self.num_nodes)
        return sp.csc_array(sp.coo_array((self.entry_values, (features, nodes)), shape=shape))

    @classmethod
    def from_blocks(
        cls, blocks: list[SolvedBlock], tree: LabelTree, t: int, num_features: int
    ) -> "LevelWeights":
        """Put solved blocks, given in any order, into chunks."""
        blocks = sorted(blocks, key=lambda block: block.first)
        child_ptr, children = tree.children(t)
        counts = np.concatenate([np.diff(block.node_ptr) for block in blocks])
        node_ptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        columns = np.concatenate([block.columns for block in blocks])
        values = np.concatenate([block.values for block in blocks])
        dense = np.concatenate([block.dense for block in blocks])
        biases = np.concatenate([block.biases for block in blocks])
        rows = _into_chunks(child_ptr, node_ptr, columns, values)
        chunk_ptr, row_columns, row_ptr, entry_children, entry_values = rows
        return cls(
            num_features,
            child_ptr,
            children,
            chunk_ptr,
            row_columns,
            row_ptr,
            entry_children,
            entry_values,
            dense,
            biases,
        )

    def save(self, folder: Path) -> None:
        """Write each array as npy into the folder, to be memory-mapped."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ARRAYS:
            save_array(folder / f"{name}.npy", getattr(self, name))
        write_json(folder / "weights.json", {"num_features": self.num_features})

    @classmethod
    def load(cls, folder: Path, tree: LabelTree, t: int, mmap: bool = True) -> "LevelWeights":
        """Read what `save` wrote for level t. Raises ArtifactError when parts do not fit
        together.
        """
        try:
            num_features = int(json.loads((folder / "weights.json").read_text())["num_features"])
            mode: Literal["r"] | None = "r" if mmap else None
            arrays = [
                np.load(folder / f"{name}.npy", mmap_mode=mode, allow_pickle=False)
                for name in ARRAYS
            ]
        except (OSError, ValueError, KeyError) as err:
            raise ArtifactError(
                f"{folder}: unreadable weights ({err}); restore or retrain"
            ) from err
        child_ptr, children = tree.children(t)
        weights = cls(num_features, child_ptr, children, *(np.asarray(array) for array in arrays))
        fits = (
            len(weights.chunk_ptr) == len(child_ptr)
            and weights.chunk_ptr[-1] == len(weights.row_columns) == len(weights.row_ptr) - 1
            and weights.row_ptr[-1] == len(weights.entry_children) == len(weights.entry_values)
            and weights.num_nodes == len(weights.dense) == tree.num_nodes(t)
        )
        if not fits:
            raise ArtifactError(
                f"{folder}: weights do not fit level {t} of the tree; restore or retrain"
            )
        return weights


@njit(nogil=True, cache=True)
def _into_chunks(child_ptr, node_ptr, columns, values):  # type: ignore[no-untyped-def]
    """Turn node-by-node weights (columns ascending in a node) into rows by column within each
    chunk.
    """
    num_chunks = len(child_ptr) - 1
    chunk_ptr = np.zeros(num_chunks + 1, np.int64)
    row_columns, row_sizes = np.empty(len(columns), np.int32), np.zeros(len(columns), np.int64)
    entry_children, entry_values = (
        np.empty(len(columns), np.int32),
        np.empty(len(columns), np.float32),
    )
    num_rows = 0
    for chunk in range(num_chunks):
        first, last = child_ptr[chunk], child_ptr[chunk + 1]
        start, end = node_ptr[first], node_ptr[last]
        child_of_entry = np.empty(end - start, np.int32)
        for node in range(first, last):
            child_of_entry[node_ptr[node] - start : node_ptr[node + 1] - start] = node - first
        order = np.argsort(columns[start:end], kind="mergesort")
        for position in range(end - start):
            entry = start + order[position]
            new_row = position == 0 or columns[entry] != row_columns[num_rows - 1]
            if new_row:
                row_columns[num_rows] = columns[entry]
                num_rows += 1
            row_sizes[num_rows - 1] += 1
            entry_children[start + position] = child_of_entry[order[position]]
            entry_values[start + position] = values[entry]
        chunk_ptr[chunk + 1] = num_rows
    row_ptr = np.zeros(num_rows + 1, np.int64)
    row_ptr[1:] = np.cumsum(row_sizes[:num_rows])
    return chunk_ptr, row_columns[:num_rows].copy(), row_ptr, entry_children, entry_values
