"""The weights of one level, laid out for search: a chunk for each cluster, its children side by
side.

K nodes at the level, P clusters above, F sparse and H dense columns. Within a chunk each sparse
column that any child uses is one row, holding (child, weight) pairs; a query touches only rows of
its own nonzeros. Nodes stand in chunk order: the children of cluster 0, then of cluster 1, and so
on.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xrt.errors import ArtifactError, DataError
from xrt.linear.chunks import ChunkChecks, into_chunks
from xrt.linear.kernels.single_query import (
    MAX_CLUSTERS,
    MAX_ENTRIES,
    MAX_KEYS,
    MAX_NODES,
    ColumnMajor,
    RowKeys,
)
from xrt.storage.array_faults import MAX_WEIGHT, read_only, rises
from xrt.storage.atomic import atomic_file, save_array, write_json
from xrt.storage.reading import check_finite, load_array
from xrt.storage.saved_values import SavedValues
from xrt.tree.label_tree import LabelTree

ARRAYS: dict[str, Any] = {
    "chunk_ptr": np.int64,
    "row_columns": np.int32,
    "row_ptr": np.int64,
    "entry_children": None,  # the narrowest type that holds them: weights.json says which
    "entry_values": None,  # float32 or float16: weights.json says which
    "dense": None,
    "bias": np.float32,
}
CHILD_TYPES = (np.uint8, np.uint16, np.int32)
WEIGHT_TYPES = (np.float32, np.float16)
SETTINGS = "weights.json"


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
    entry_children, entry_values: position of the child within its chunk (uint8 where no cluster
    has more than 256 children, else uint16 or int32), and its weight. dense (K, H) and bias
    float32 (K,) in chunk order. entry_values and dense are both float32, or both float16 to save
    space; margins are summed in float32 either way.
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
    folder: Path | None = None
    """The folder that holds these arrays; None for arrays in memory only."""
    checks: ChunkChecks | None = None
    """Which chunks of weights from disk are sound; None for weights that were trained here."""

    @property
    def num_nodes(self) -> int:
        """Nodes of the level, K."""
        return len(self.bias)

    @property
    def num_dense(self) -> int:
        """Dense columns, H."""
        return int(self.dense.shape[1])

    @property
    def dtype(self) -> np.dtype:
        """Type of the weights: float32 or float16."""
        return self.entry_values.dtype

    @property
    def num_bytes(self) -> int:
        """Bytes of all arrays on disk or in memory."""
        return sum(int(getattr(self, name).nbytes) for name in ARRAYS)

    @cached_property
    def widest(self) -> int:
        """Children of the cluster that has most."""
        return int(np.diff(self.child_ptr).max(initial=0))

    @cached_property
    def kernel_arrays(self) -> tuple[np.ndarray, ...]:
        """All arrays as compiled code takes them: read-only views, float16 as its bits."""
        half = self.dtype == np.float16
        arrays = (
            self.child_ptr, self.children, self.chunk_ptr, self.row_columns, self.row_ptr,
            self.entry_children, self.entry_values.view(np.uint16) if half else self.entry_values,
            self.dense.view(np.uint16) if half else self.dense, self.bias,
        )  # fmt: skip
        return tuple(read_only(array) for array in arrays)

    @cached_property
    def column_major(self) -> ColumnMajor | None:
        """The entries by column, for single queries; None for many clusters or entries."""
        if (
            len(self.child_ptr) - 1 > MAX_CLUSTERS
            or self.num_nodes > MAX_NODES
            or len(self.entry_values) > MAX_ENTRIES
        ):
            return None
        self.check()
        child_ptr, _, *entries, _, _ = self.kernel_arrays
        return ColumnMajor.of(self.num_features, child_ptr, *entries)

    @cached_property
    def row_keys(self) -> RowKeys | None:
        """The rows of chunks laid out for single queries; None where there are too many."""
        if len(self.row_columns) > MAX_KEYS:
            return None
        self.check()
        _, _, chunk_ptr, row_columns, row_ptr, *_ = self.kernel_arrays
        return RowKeys.of(chunk_ptr, row_columns, row_ptr, self.num_features)

    def check(self, clusters: np.ndarray | None = None, num_threads: int | None = None) -> None:
        """Check that compiled code may read the chunks of these clusters, int32, or of all; weights
        that were not read from disk are sound, and so is what was checked before.

        Args:
            clusters: int32; None for all.
            num_threads: threads; None for the default.

        Raises:
            ArtifactError: a chunk is damaged.
        """
        if self.checks is None:
            return
        if clusters is None:
            self.checks.check_all(num_threads)
        else:
            self.checks.check(clusters)

    @property
    def dense_weights(self) -> np.ndarray:
        """Dense weights in node order: float32 (K, H)."""
        return self.dense[np.argsort(self.children, kind="stable")].astype(np.float32, copy=False)

    @property
    def node_bias(self) -> np.ndarray:
        """Added to every margin, in node order: float32 (K,)."""
        return self.bias[np.argsort(self.children, kind="stable")]

    def astype(self, dtype: Any) -> "LevelWeights":
        """The same weights as float16 or float32; the bias stays float32.

        Args:
            dtype: float16 or float32.

        Returns:
            The weights; the same object where nothing changes.

        Raises:
            DataError: a weight is too large for float16.
        """
        if self.dtype == np.dtype(dtype):
            return self
        values, dense = (narrowed(part, dtype) for part in (self.entry_values, self.dense))
        return replace(self, entry_values=values, dense=dense, folder=None)

    @classmethod
    def from_blocks(
        cls, blocks: list[SolvedBlock], tree: LabelTree, t: int, num_features: int
    ) -> "LevelWeights":
        """Put solved blocks, in any order, into chunks.

        Args:
            blocks: all blocks of the level.
            tree: the label tree.
            t: a level, counted from 0 below the root.
            num_features: F.

        Returns:
            The weights.
        """
        blocks = sorted(blocks, key=lambda block: block.first)
        child_ptr, children = tree.children(t)
        child_type = child_type_of(child_ptr)
        counts = np.concatenate([np.diff(block.node_ptr) for block in blocks])
        node_ptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        columns = np.concatenate([block.columns for block in blocks])
        values = np.concatenate([block.values for block in blocks])
        dense = np.concatenate([block.dense for block in blocks])
        biases = np.concatenate([block.biases for block in blocks])
        rows = into_chunks(child_ptr, node_ptr, columns, values)
        chunk_ptr, row_columns, row_ptr, entry_children, entry_values = rows
        return cls(
            num_features,
            child_ptr,
            children,
            chunk_ptr,
            row_columns,
            row_ptr,
            entry_children.astype(child_type, copy=False),
            entry_values,
            dense,
            biases,
        )

    def save(self, folder: Path) -> None:
        """Write each array as npy into the folder, to be memory-mapped.

        Weights that lie on disk already are linked there, or copied to another file system; in
        their own folder they stay as they are. Where that folder is gone they are written anew.

        Args:
            folder: a folder.

        Raises:
            CapacityError: the disk is full.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self.folder is None or not self.folder.is_dir():
            for name in ARRAYS:
                save_array(folder / f"{name}.npy", getattr(self, name))
            write_settings(folder, self.num_features, self.dtype, self.entry_children.dtype)
        elif not os.path.samefile(self.folder, folder):
            for name in (*(f"{name}.npy" for name in ARRAYS), SETTINGS):
                _link_or_copy(self.folder / name, folder / name)

    @classmethod
    def load(cls, folder: Path, tree: LabelTree, t: int, mmap: bool = True) -> "LevelWeights":
        """Read what `save` wrote for level t; nothing but pointers and biases is looked at, so that
        a large model opens at once. `check` looks at all, and search at each chunk when it first
        comes there.

        Args:
            folder: a folder.
            tree: the label tree.
            t: a level, counted from 0 below the root.
            mmap: whether arrays are memory-mapped.

        Returns:
            The weights.

        Raises:
            ArtifactError: the parts do not fit together.
        """
        settings = SavedValues.read(folder / SETTINGS)
        num_features = settings.whole("num_features")
        weight_type = _type_of(settings, "dtype", WEIGHT_TYPES, "float32")
        child_type = _type_of(settings, "children", CHILD_TYPES, "int32")
        types = array_types(weight_type, child_type)
        arrays: dict[str, Any] = {
            name: load_array(folder / f"{name}.npy", types[name], 2 if name == "dense" else 1, mmap)
            for name in ARRAYS
        }
        child_ptr, children = tree.children(t)
        weights = cls(num_features, child_ptr, children, **arrays, folder=folder)
        fits = (
            len(weights.chunk_ptr) == len(child_ptr)
            and rises(weights.chunk_ptr, len(weights.row_columns))
            and len(weights.row_ptr) == len(weights.row_columns) + 1
            and weights.row_ptr[0] == 0
            and weights.row_ptr[-1] == len(weights.entry_children) == len(weights.entry_values)
            and weights.num_nodes == len(weights.dense) == tree.num_nodes(t)
        )
        if not fits:
            raise ArtifactError(
                f"{folder}: weights do not fit level {t} of the tree; restore or retrain"
            )
        check_finite(weights.bias, folder / "bias.npy", MAX_WEIGHT)
        child_ptr, _, *entries, _ = weights.kernel_arrays
        return replace(weights, checks=ChunkChecks(folder, num_features, (child_ptr, *entries)))


def _type_of(settings: SavedValues, name: str, allowed: Sequence[Any], default: str) -> np.dtype:
    saved = settings.text(name) if settings.has(name) else default
    types = {np.dtype(each).name: np.dtype(each) for each in allowed}
    if saved not in types:
        raise ArtifactError(
            f"{settings.where}: {name} = {saved[:20]!r}: one of {', '.join(types)} is needed; "
            "restore or retrain"
        )
    chosen: np.dtype = types[saved]
    return chosen


def array_types(dtype: np.dtype, child_type: np.dtype) -> dict[str, np.dtype]:
    """The type of each array, from those of weights and children.

    Args:
        dtype: type of the weights.
        child_type: type of child numbers.

    Returns:
        Types by name of the array.
    """
    types = {**ARRAYS, "entry_children": child_type, "entry_values": dtype, "dense": dtype}
    return {name: np.dtype(types[name]) for name in ARRAYS}


def child_type_of(child_ptr: np.ndarray) -> np.dtype:
    """The narrowest type that holds the positions of the children of the largest cluster.

    Args:
        child_ptr: where the children of each cluster begin.

    Returns:
        uint8, uint16 or int32.
    """
    largest = int(np.diff(child_ptr).max(initial=1)) - 1
    return next(np.dtype(kind) for kind in CHILD_TYPES if largest <= np.iinfo(kind).max)


def write_settings(folder: Path, num_features: int, dtype: np.dtype, child_type: np.dtype) -> None:
    """Write the settings that `load` needs besides the arrays.

    Args:
        folder: folder of the level, which exists.
        num_features: sparse columns, F.
        dtype: type of the weights.
        child_type: type of child numbers.
    """
    types = {"dtype": np.dtype(dtype).name, "children": np.dtype(child_type).name}
    write_json(folder / SETTINGS, {"num_features": num_features, **types})


def narrowed(weights: np.ndarray, dtype: Any) -> np.ndarray:
    """Weights as float16 or float32.

    Args:
        weights: any shape.
        dtype: float16 or float32.

    Returns:
        The same shape.

    Raises:
        DataError: a weight is too large for float16, or it is another type.
    """
    if np.dtype(dtype) not in (np.float32, np.float16):
        raise DataError(f"weights are float32 or float16, not {np.dtype(dtype)}")
    if np.dtype(dtype) == np.float16 and weights.size:
        largest = float(max(-weights.min(), weights.max()))
        if largest > float(np.finfo(np.float16).max):
            raise DataError(f"a weight of {largest:g} does not fit in float16; keep float32")
    return weights.astype(dtype, copy=False)


def _link_or_copy(source: Path, target: Path) -> None:
    """The same bytes under another name; files of weights are only ever replaced, not changed."""
    with atomic_file(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, temporary)


@dataclass(frozen=True, eq=False)
class NodeWeights:
    """One node's ranker: sparse columns (ascending) and their weights, dense weights (H,), bias."""

    columns: np.ndarray
    values: np.ndarray
    dense_H: np.ndarray
    bias: float

    def at(self, columns: np.ndarray) -> np.ndarray:
        """Weights of `columns`, 0 where the node has none: float64.

        Args:
            columns: ascending or not, (n,).

        Returns:
            float64 (n,).
        """
        weights = np.zeros(len(columns), np.float64)
        if not len(self.columns):
            return weights
        places = np.minimum(np.searchsorted(self.columns, columns), len(self.columns) - 1)
        is_used = self.columns[places] == columns
        weights[is_used] = self.values[places[is_used]]
        return weights


def node_weights(level: LevelWeights, cluster: int, node: int) -> NodeWeights:
    """The weights of a node of this level, which is a child of `cluster`.

    Args:
        level: weights of the level.
        cluster: the node's parent.
        node: its number at the level.

    Returns:
        The node's weights.

    Raises:
        ArtifactError: the chunk is damaged.
    """
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
