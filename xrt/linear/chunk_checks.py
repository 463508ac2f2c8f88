"""Checks chunks of weights that came from disk before compiled code reads them.

The kernels index with what a chunk holds, without looking: the rows of a query's columns, the
entries of a row, the child of an entry. One wrong number would have them write where they should
not. A pass over all chunks of a large model would take longer than to open it, so a chunk is
checked when it is first asked for, and never again; `check_all` does all at once. P clusters, C
children of one, H dense columns.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from xrt.errors import ArtifactError
from xrt.jit import njit
from xrt.storage.array_faults import MAX_WEIGHT, exponents_of, has_bits, read_only
from xrt.threads import run_blocks

CHUNKS_PER_BLOCK = 256
"""Chunks that a thread checks before it asks for more."""

_FAULTS = {
    1: "row pointers fall, or lead beyond the entries",
    2: "a column is out of range, or columns do not ascend",
    3: "an entry belongs to no child of the cluster",
    4: "a weight is not finite, or huge",
}


class ChunkChecks:
    """Which chunks of one level's weights are known to be sound."""

    def __init__(self, folder: Path, num_features: int, arrays: Iterable[np.ndarray]) -> None:
        """Take the arrays of `LevelWeights.kernel_arrays` from `child_ptr` to `dense`, without
        `children`, whose pointers are sound; float16 and float32 are taken as their bits.
        """
        child_ptr, *rest, values, dense = arrays
        self._folder, self._num_chunks = folder, len(child_ptr) - 1
        bits = [part.view(f"u{part.dtype.itemsize}") for part in (values, dense)]
        self._arrays = (
            child_ptr,
            *rest,
            *bits,
            *exponents_of(values.dtype, MAX_WEIGHT),
            num_features,
        )
        self._sound_P = np.zeros(self._num_chunks, np.uint8)
        self._all_sound = False

    def check(self, clusters: np.ndarray) -> None:
        """Raise ArtifactError when the chunk of one of these clusters, int32, is not sound."""
        if not self._all_sound:
            self._tell(*_first_fault(read_only(clusters), self._sound_P, *self._arrays))

    def check_all(self, num_threads: int | None = None) -> None:
        """Raise ArtifactError when any chunk is not sound."""
        if self._all_sound:
            return

        def check_block(block: int) -> None:
            low = block * CHUNKS_PER_BLOCK
            high = min(self._num_chunks, low + CHUNKS_PER_BLOCK)
            self.check(np.arange(low, high, dtype=np.int32))

        run_blocks(check_block, -(-self._num_chunks // CHUNKS_PER_BLOCK), num_threads)
        self._all_sound = True

    def _tell(self, cluster: int, fault: int) -> None:
        if fault:
            raise ArtifactError(
                f"{self._folder}: weights of cluster {cluster} are damaged ({_FAULTS[fault]}); "
                "copy the model again from where it came, or train it anew"
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
    most, none_below = np.int64(end_child - first_child), False
    for child in entry_children[begin:end]:
        none_below |= bool(np.int64(child) < 0 or np.int64(child) >= most)
    if none_below:
        return 3
    if has_bits(entry_bits[begin:end], exponent, limit):
        return 4
    for node in range(first_child, end_child):
        if has_bits(dense_bits[node], exponent, limit):
            return 4
    return 0
