"""Collects the solved blocks of a level while it is trained, in memory or in files.

K nodes at the level, P clusters above, H dense columns. Blocks arrive from several threads in any
order. `FolderSink` spills them to a nameless scratch file, so that even a killed process leaves
none behind; at the end it reads them back cluster by cluster and appends to the final arrays. Its
memory is a few megabytes, or the largest cluster, and the offsets of the blocks.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.lib import format as npy

from xrt.errors import CapacityError, TrainingError
from xrt.linear.chunks import into_chunks
from xrt.linear.weights import (
    LevelWeights,
    SolvedBlock,
    array_types,
    child_type_of,
    narrowed,
    write_settings,
)
from xrt.storage.atomic import atomic_file
from xrt.tree.label_tree import LabelTree


class NpyStream:
    """Appends to an open file; its bytes end as those that `np.save` writes for the whole array.

    numpy's header leaves room for a longer first axis, so it is written again at the end.
    """

    def __init__(self, file: IO[bytes], dtype: Any, item_shape: tuple[int, ...] = ()) -> None:
        """Start an array of items of this type and shape, none yet."""
        self._file, self._dtype, self._item_shape = file, np.dtype(dtype), item_shape
        self._length = 0
        self._write_header()
        self._start = file.tell()

    def append(self, items: np.ndarray) -> int:
        """Write items (n, *item_shape); returns the number of bytes.

        Args:
            items: what to append, of the stream's type.

        Returns:
            Number of bytes.
        """
        assert items.dtype == self._dtype
        assert items.shape[1:] == self._item_shape
        self._file.write(np.ascontiguousarray(items).data if items.size else b"")
        self._length += len(items)
        return items.nbytes

    def close(self) -> None:
        """Write the final header; the file itself stays open."""
        self._file.seek(0)
        self._write_header()
        assert self._file.tell() == self._start

    def _write_header(self) -> None:
        form = npy.dtype_to_descr(self._dtype)
        shape = (self._length, *self._item_shape)
        header = {"descr": form, "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._file, header)


@contextlib.contextmanager
def npy_stream(
    path: Path, dtype: Any, item_shape: tuple[int, ...], done: list[Path]
) -> Iterator[NpyStream]:
    """A stream that becomes the file `path` at exit and is then named in `done`.

    On an exception nothing appears and what was there stays.

    Args:
        path: the file.
        dtype: type of the items.
        item_shape: shape of an item.
        done: receives the path.

    Yields:
        The stream.

    Raises:
        CapacityError: the disk is full.
    """
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        stream = NpyStream(file, dtype, item_shape)
        yield stream
        stream.close()
    done.append(path)


BATCH_BYTES = 8 << 20
"""Spilled bytes that are turned into chunks together, at least one cluster's."""
_SPILLED_TYPES = (np.int64, np.int32, np.float32, np.float32, np.float32)


class LevelSink(Protocol):
    """Collects the blocks of one level; `finish` turns them into weights, `discard` drops them."""

    def add(self, block: SolvedBlock) -> None:
        """Take a block. May be called from several threads at once.

        Args:
            block: weights of some nodes.
        """

    def finish(self) -> LevelWeights:
        """The level's weights, once all blocks are there.

        Returns:
            The weights.
        """

    def discard(self) -> None:
        """Remove what was stored. May be called more than once."""


class MemorySink:
    """Keeps blocks in memory."""

    def __init__(self, tree: LabelTree, t: int, num_features: int, *, half: bool = False) -> None:
        """For level t of the tree; `half` keeps weights as float16."""
        self._tree, self._t, self._num_features = tree, t, num_features
        self._dtype = np.dtype(np.float16 if half else np.float32)
        self._blocks: list[SolvedBlock] = []

    def add(self, block: SolvedBlock) -> None:
        """Take a block. May be called from several threads at once.

        Args:
            block: weights of some nodes.
        """
        self._blocks.append(block)

    def finish(self) -> LevelWeights:
        """The level's weights.

        Returns:
            The weights, in the sink's type.

        Raises:
            TrainingError: nodes are missing.
        """
        blocks, self._blocks = sorted(self._blocks, key=lambda block: block.first), []
        parts = [(block.first, len(block.biases)) for block in blocks]
        _check_complete(parts, self._tree.num_nodes(self._t), self._t)
        weights = LevelWeights.from_blocks(blocks, self._tree, self._t, self._num_features)
        return weights.astype(self._dtype)

    def discard(self) -> None:
        """Drop the blocks."""
        self._blocks = []


@dataclass(frozen=True)
class _Spilled:
    """Where a block lies in the scratch file."""

    first: int
    num_nodes: int
    num_dense: int
    num_weights: int
    offset: int
    num_bytes: int

    def parts(self, data: bytes) -> list[np.ndarray]:
        """Weights of each node, columns, values, dense weights and biases."""
        lengths = (
            self.num_nodes, self.num_weights, self.num_weights,
            self.num_nodes * self.num_dense, self.num_nodes,
        )  # fmt: skip
        parts, start = [], 0
        for length, dtype in zip(lengths, _SPILLED_TYPES, strict=True):
            parts.append(np.frombuffer(data, dtype, length, start))
            start += parts[-1].nbytes
        return parts


class FolderSink:
    """Streams blocks to a folder, which then holds what `LevelWeights.save` would write."""

    def __init__(
        self, folder: Path, tree: LabelTree, t: int, num_features: int, *, half: bool = False
    ) -> None:
        """For level t of the tree; `half` keeps weights as float16."""
        self.folder, self._tree, self._t = folder, tree, t
        self._num_features, self._dtype = num_features, np.dtype(np.float16 if half else np.float32)
        self._child_type = child_type_of(tree.children(t)[0])
        self._made_folder = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        self._scratch: IO[bytes] | None = tempfile.TemporaryFile(dir=folder, buffering=0)
        self._lock = threading.RLock()
        self._blocks: list[_Spilled] = []
        self._end = self._written = 0

    def add(self, block: SolvedBlock) -> None:
        """Spill a block. May be called from several threads at once.

        Args:
            block: weights of some nodes.

        Raises:
            CapacityError: the disk is full; the sink is then discarded.
        """
        num_nodes, num_dense = block.dense.shape
        parts = (np.diff(block.node_ptr), block.columns, block.values, block.dense, block.biases)
        data = b"".join(
            np.ascontiguousarray(part, dtype).tobytes()
            for part, dtype in zip(parts, _SPILLED_TYPES, strict=True)
        )
        with self._lock, self._discarding_errors(self._end + len(data)):
            _write_at(self._open_scratch(), data, self._end)
            lengths = (num_nodes, num_dense, len(block.values))
            self._blocks.append(_Spilled(block.first, *lengths, self._end, len(data)))
            self._end += len(data)
            self._written += len(data)

    def finish(self) -> LevelWeights:
        """Write the final arrays, remove the scratch and map the weights into memory. Then, and
        after Ctrl-C, the sink is discarded and no new file is left.

        Returns:
            The weights, memory-mapped.

        Raises:
            TrainingError: nodes are missing.
            CapacityError: the disk is full.
        """
        blocks = sorted(self._blocks, key=lambda block: block.first)
        done: list[Path] = []
        with self._discarding_errors(self._bytes_needed(blocks), done):
            self._open_scratch()
            parts = [(block.first, block.num_nodes) for block in blocks]
            _check_complete(parts, self._tree.num_nodes(self._t), self._t)
            self._write_arrays(blocks, done)
            write_settings(self.folder, self._num_features, self._dtype, self._child_type)
        self._close()
        return LevelWeights.load(self.folder, self._tree, self._t)

    def discard(self) -> None:
        """Remove the scratch, and the folder if it is empty and was made for this sink."""
        self._close()
        if self._made_folder:
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def _write_arrays(self, blocks: Sequence[_Spilled], done: list[Path]) -> None:
        child_ptr = self._tree.children(self._t)[0]
        num_dense = blocks[0].num_dense
        with contextlib.ExitStack() as stack:
            streams = {}
            for name, dtype in array_types(self._dtype, self._child_type).items():
                path, shape = self.folder / f"{name}.npy", (num_dense,) if name == "dense" else ()
                file = npy_stream(path, dtype, shape, done)
                streams[name] = stack.enter_context(file)

            def append(name: str, items: np.ndarray) -> None:
                self._written += streams[name].append(items)

            num_rows = num_entries = 0
            append("chunk_ptr", np.zeros(1, np.int64))
            append("row_ptr", np.zeros(1, np.int64))
            for low, high, batch in _batches(blocks, child_ptr):
                counts, columns, values, dense, biases = self._read(batch)
                node_ptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
                chunk_ptr, row_columns, row_ptr, entry_children, entry_values = into_chunks(
                    child_ptr[low : high + 1] - child_ptr[low], node_ptr, columns, values
                )
                append("chunk_ptr", chunk_ptr[1:] + num_rows)
                append("row_columns", row_columns)
                append("row_ptr", row_ptr[1:] + num_entries)
                append("entry_children", entry_children.astype(self._child_type, copy=False))
                append("entry_values", narrowed(entry_values, self._dtype))
                append("dense", narrowed(dense.reshape(len(biases), num_dense), self._dtype))
                append("bias", biases)
                num_rows += len(row_columns)
                num_entries += len(entry_values)

    def _read(self, batch: Sequence[_Spilled]) -> list[np.ndarray]:
        """Weights of each node, columns, values, dense weights and biases of blocks, joined."""
        scratch = self._open_scratch()
        parts = [block.parts(_read_at(scratch, block.num_bytes, block.offset)) for block in batch]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _bytes_needed(self, blocks: Sequence[_Spilled]) -> int:
        """Bytes of scratch and arrays when no two weights of a chunk share a column."""
        item = self._dtype.itemsize
        by_weight = sum(b.num_weights for b in blocks) * (12 + self._child_type.itemsize + item)
        by_node = sum(b.num_nodes * (4 + b.num_dense * item) for b in blocks)
        by_cluster = 8 * self._tree.num_nodes(self._t - 1)
        return self._end + by_weight + by_node + by_cluster

    @contextlib.contextmanager
    def _discarding_errors(self, needed: int, done: Sequence[Path] = ()) -> Iterator[None]:
        """Remove what was written on any error; an error of the disk becomes a CapacityError."""
        try:
            yield
        except BaseException as error:
            for path in done:
                path.unlink(missing_ok=True)
            self.discard()
            if not isinstance(error, OSError):
                raise
            raise CapacityError(
                f"{self.folder}: writing the weights of level {self._t} failed "
                f"({error.strerror or error}) after {self._written:,} of about {needed:,} bytes; "
                "free some space or choose a folder on another disk, and train again"
            ) from error

    def _open_scratch(self) -> int:
        if self._scratch is None:
            raise TrainingError(f"{self.folder}: these weights were discarded; train again")
        return self._scratch.fileno()

    def _close(self) -> None:
        with self._lock:
            if self._scratch is not None:
                self._scratch.close()
            self._scratch, self._blocks = None, []


def _batches(
    blocks: Sequence[_Spilled], child_ptr: np.ndarray
) -> Iterator[tuple[int, int, list[_Spilled]]]:
    """Clusters low .. high - 1 and their blocks, in chunk order: BATCH_BYTES, or one cluster."""
    low, num_bytes, num_clusters = 0, 0, len(child_ptr) - 1
    batch: list[_Spilled] = []
    position = 0
    for cluster in range(num_clusters):
        while position < len(blocks) and blocks[position].first < child_ptr[cluster + 1]:
            batch.append(blocks[position])
            num_bytes += blocks[position].num_bytes
            position += 1
        is_last = position == len(blocks)
        if batch and (num_bytes >= BATCH_BYTES or is_last):
            high = num_clusters if is_last else cluster + 1
            yield low, high, batch
            low, num_bytes, batch = high, 0, []


def _check_complete(parts: Sequence[tuple[int, int]], num_nodes: int, t: int) -> None:
    """Raise TrainingError unless blocks (first, nodes), ascending, cover every node once."""
    end = 0
    for first, count in parts:
        if first != end:
            raise TrainingError(
                f"level {t}: weights of node {min(first, end)} in chunk order were solved "
                f"{'never' if first > end else 'twice'}; this is an error of xrt, report it"
            )
        end += count
    if end != num_nodes:
        raise TrainingError(f"level {t}: {end} of {num_nodes} nodes were solved; train again")


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


def _read_at(descriptor: int, num_bytes: int, offset: int) -> bytes:
    parts = []
    while num_bytes > 0:
        parts.append(os.pread(descriptor, num_bytes, offset))
        if not parts[-1]:
            raise TrainingError("the scratch file of the weights ends too early; train again")
        num_bytes, offset = num_bytes - len(parts[-1]), offset + len(parts[-1])
    return b"".join(parts)
