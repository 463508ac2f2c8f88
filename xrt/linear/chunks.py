"""Chunks of weights: made from weights solved node by node, and checked when they come from disk.

The kernels use numbers of a chunk as positions without checking them: the rows of a query's
columns, the entries of a row, the child of an entry. One wrong number would make them write out of
bounds. A pass over all chunks of a large model would take longer than to open it, so a chunk is
checked when it is first needed, and only then; `check_all` checks all at once. P clusters, C
children of one, H dense columns.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from xrt.errors import ArtifactError
from xrt.jit import njit
from xrt.storage.array_faults import MAX_WEIGHT, exponents_of, has_bits, read_only
from xrt.threads import run_blocks


@njit(nogil=True, cache=True)
def into_chunks(
    child_ptr: np.ndarray, node_ptr: np.ndarray, columns: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Turn node-by-node weights (columns ascending in a node) into rows by column within each
    chunk: chunk_ptr, row_columns, row_ptr, entry_children, entry_values of LevelWeights.

    Args:
        child_ptr: where the nodes of each chunk begin, (P + 1,).
        node_ptr: where the weights of each node begin, (K + 1,).
        columns: column of each weight.
        values: the weights.

    Returns:
        The five arrays.
    """
    num_chunks, num_entries = len(child_ptr) - 1, len(columns)
    chunk_ptr = np.zeros(num_chunks + 1, np.int64)
    row_columns, row_sizes = np.empty(num_entries, np.int32), np.zeros(num_entries, np.int64)
    entry_children = np.empty(num_entries, np.int32)
    entry_values = np.empty(num_entries, np.float32)
    longest = 0
    for chunk in range(num_chunks):
        first, last = child_ptr[chunk], child_ptr[chunk + 1]
        longest = max(longest, node_ptr[last] - node_ptr[first])
    child_of_entry = np.empty(longest, np.int32)
    order, spare = np.empty(longest, np.int64), np.empty(longest, np.int64)
    num_rows = 0
    for chunk in range(num_chunks):
        first, last = child_ptr[chunk], child_ptr[chunk + 1]
        start, end = node_ptr[first], node_ptr[last]
        for node in range(first, last):
            child_of_entry[node_ptr[node] - start : node_ptr[node + 1] - start] = node - first
        by_column = sorted_order(columns[start:end], order, spare)
        for position in range(end - start):
            entry = start + by_column[position]
            new_row = position == 0 or columns[entry] != row_columns[num_rows - 1]
            if new_row:
                row_columns[num_rows] = columns[entry]
                num_rows += 1
            row_sizes[num_rows - 1] += 1
            entry_children[start + position] = child_of_entry[by_column[position]]
            entry_values[start + position] = values[entry]
        chunk_ptr[chunk + 1] = num_rows
    row_ptr = np.zeros(num_rows + 1, np.int64)
    row_ptr[1:] = np.cumsum(row_sizes[:num_rows])
    return chunk_ptr, row_columns[:num_rows].copy(), row_ptr, entry_children, entry_values


@njit(nogil=True, cache=True)
def sorted_order(columns: np.ndarray, order: np.ndarray, spare: np.ndarray) -> np.ndarray:
    """Positions of the columns, none below 0, in ascending order; stable.

    A radix sort, eight bits at a time. Needs two arrays at least as long; returns one of them.

    Args:
        columns: columns, int32.
        order: scratch, int64.
        spare: scratch, int64.

    Returns:
        The positions, in the first entries of `order` or `spare`.
    """
    largest = np.uint32(0)
    for i in range(len(columns)):
        largest = max(largest, np.uint32(columns[i]))
        order[i] = i
    ends = np.empty(257, np.int64)
    shift = np.uint64(0)
    while np.uint64(largest) >> shift > np.uint64(0):
        ends[:] = 0
        for i in range(len(columns)):
            ends[((np.uint64(np.uint32(columns[i])) >> shift) & np.uint64(255)) + np.uint64(1)] += 1
        for digit in range(256):
            ends[digit + 1] += ends[digit]
        for i in range(len(columns)):
            at = np.uint64(order[i])
            digit_of = (np.uint64(np.uint32(columns[at])) >> shift) & np.uint64(255)
            spare[ends[digit_of]] = order[i]
            ends[digit_of] += 1
        order, spare = spare, order
        shift += np.uint64(8)
    return order


CHUNKS_PER_BLOCK = 256
"""Chunks that a thread checks in one block."""

_FAULTS = {
    1: "row pointers fall, or lead beyond the entries",
    2: "a column is out of range, or columns do not ascend",
    3: "an entry belongs to no child of the cluster",
    4: "a weight is not finite, or huge",
}


class ChunkChecks:
    """Remembers which chunks of one level's weights are sound."""

    def __init__(self, folder: Path, num_features: int, arrays: Iterable[np.ndarray]) -> None:
        """Take the arrays of `LevelWeights.kernel_arrays` from `child_ptr` to `dense`, without
        `children`, whose pointers are sound; float16 and float32 are taken as their bits.
        """
        child_ptr, *pointers, values, dense = arrays
        self._folder, self._num_chunks = folder, len(child_ptr) - 1
        bits = [part.view(f"u{part.dtype.itemsize}") for part in (values, dense)]
        self._arrays = (
            child_ptr,
            *pointers,
            *bits,
            *exponents_of(values.dtype, MAX_WEIGHT),
            num_features,
        )
        self._sound_P = np.zeros(self._num_chunks, np.uint8)
        self._all_sound = False

    def check(self, clusters: np.ndarray) -> None:
        """Raise ArtifactError when the chunk of one of these clusters, int32, is not sound.

        Args:
            clusters: numbers of clusters, int32.

        Raises:
            ArtifactError: the chunk of one of them is not sound.
        """
        if not self._all_sound:
            self._raise_if(*_first_fault(read_only(clusters), self._sound_P, *self._arrays))

    def check_all(self, num_threads: int | None = None) -> None:
        """Raise ArtifactError when any chunk is not sound.

        Args:
            num_threads: threads; None for the default.

        Raises:
            ArtifactError: a chunk is not sound.
        """
        if self._all_sound:
            return

        def check_block(block: int) -> None:
            low = block * CHUNKS_PER_BLOCK
            high = min(self._num_chunks, low + CHUNKS_PER_BLOCK)
            self.check(np.arange(low, high, dtype=np.int32))

        run_blocks(check_block, -(-self._num_chunks // CHUNKS_PER_BLOCK), num_threads)
        self._all_sound = True

    def _raise_if(self, cluster: int, fault: int) -> None:
        if fault:
            raise ArtifactError(
                f"{self._folder}: weights of cluster {cluster} are damaged ({_FAULTS[fault]}); "
                "copy the model again from its source, or train again"
            )


@njit(nogil=True, cache=True)
def _first_fault(
    clusters: np.ndarray,
    sound_P: np.ndarray,
    child_ptr: np.ndarray,
    chunk_ptr: np.ndarray,
    row_columns: np.ndarray,
    row_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_bits: np.ndarray,
    dense_bits: np.ndarray,
    exponent: np.uint32,
    limit: np.uint32,
    num_features: int,
) -> tuple[np.int64, int]:
    """The first cluster whose chunk has a fault, and its number; (-1, 0) where all are sound."""
    for cluster in clusters:
        if sound_P[cluster]:
            continue
        fault = _fault_of(
            child_ptr[cluster], child_ptr[cluster + 1], chunk_ptr[cluster], chunk_ptr[cluster + 1],
            row_columns, row_ptr, entry_children, entry_bits, dense_bits, exponent, limit,
            num_features,
        )  # fmt: skip
        if fault:
            return np.int64(cluster), fault
        sound_P[cluster] = 1
    return np.int64(-1), 0


@njit(nogil=True, cache=True)
def _fault_of(
    first_child: int,
    end_child: int,
    low: int,
    high: int,
    row_columns: np.ndarray,
    row_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_bits: np.ndarray,
    dense_bits: np.ndarray,
    exponent: np.uint32,
    limit: np.uint32,
    num_features: int,
) -> int:
    begin, end = row_ptr[low], row_ptr[high]
    if begin < 0 or end > len(entry_children):
        return 1
    falls, before = False, begin
    for pointer in row_ptr[low : high + 1]:
        falls |= pointer < before
        before = pointer
    if falls:
        return 1
    outside, last = False, -1
    for column in row_columns[low:high]:
        outside |= column <= last
        last = column
    if outside or last >= num_features:
        return 2
    num_children, outside = np.int64(end_child - first_child), False
    for child in entry_children[begin:end]:
        outside |= bool(np.int64(child) < 0 or np.int64(child) >= num_children)
    if outside:
        return 3
    if has_bits(entry_bits[begin:end], exponent, limit):
        return 4
    for node in range(first_child, end_child):
        if has_bits(dense_bits[node], exponent, limit):
            return 4
    return 0
