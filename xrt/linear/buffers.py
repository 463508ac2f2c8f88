"""Scratch memory of a step down the tree: each thread has its own and reuses it.

Kernels take their arrays from two flat ones, one of integers and one of floats, instead of asking
the system for memory at every level. Two beams lie here as well: the one that is read and the one
that is written.
"""

import threading
from typing import NamedTuple

import numpy as np

MAX_REUSED = 1 << 24
"""Entries of the largest array that a thread reuses; larger ones are made for one call."""


class Buffer:
    """An array of one type that grows and is reused; its content means nothing between calls."""

    def __init__(self, dtype: type) -> None:
        self._array: np.ndarray = np.empty(0, dtype)

    def take(self, size: int) -> np.ndarray:
        """An array of at least `size` entries, the last one where it is large enough.

        Args:
            size: entries needed.

        Returns:
            The array; it may be longer, and its content is that of earlier calls.
        """
        if size <= len(self._array):
            return self._array
        if size > MAX_REUSED:
            return np.empty(size, self._array.dtype)
        self._array = np.empty(min(size + size // 4, MAX_REUSED), self._array.dtype)
        return self._array


class NewBuffer(Buffer):
    """A new array for each call, of exactly the size."""

    def take(self, size: int) -> np.ndarray:
        """A new array of `size` entries.

        Args:
            size: entries needed.

        Returns:
            The array, not filled.
        """
        return np.empty(size, self._array.dtype)


class BeamBuffers(NamedTuple):
    """Memory that a beam is written to: int64, int32, float32."""

    indptr: Buffer
    nodes: Buffer
    scores: Buffer

    @classmethod
    def of(cls, kind: type[Buffer]) -> "BeamBuffers":
        """Empty buffers.

        Args:
            kind: the class of the buffers.

        Returns:
            A buffer for each array of a beam.
        """
        return cls(kind(np.int64), kind(np.int32), kind(np.float32))


NEW_BUFFERS = BeamBuffers.of(NewBuffer)
"""For beams that outlive the step."""


class QueryBuffers(NamedTuple):
    """Memory for a single query: scratch of a step (int64, float32), and the beam that the step
    writes (int32, float32).
    """

    ints: np.ndarray
    floats: np.ndarray
    nodes: np.ndarray
    scores: np.ndarray

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Entries of `ints`, of `floats`, and of the beam."""
        return len(self.ints), len(self.floats), len(self.nodes)

    def with_new_beam(self, keep: int) -> "QueryBuffers":
        """The same scratch, with new arrays for the beam.

        Args:
            keep: nodes that the beam has room for.

        Returns:
            Buffers that share the scratch of these.
        """
        nodes, scores = np.empty(keep, np.int32), np.empty(keep, np.float32)
        return QueryBuffers(self.ints, self.floats, nodes, scores)


class Scratch:
    """The memory of one thread."""

    def __init__(self) -> None:
        self.ints, self.floats = Buffer(np.int64), Buffer(np.float32)
        self.beams = (BeamBuffers.of(Buffer), BeamBuffers.of(Buffer))
        self._zeros = np.zeros(0, np.int32)
        self._query_buffers = (_new_query_buffers(0, 0, 0),) * 2

    def query_buffers(
        self, num_ints: int, num_floats: int, keep: int
    ) -> tuple[QueryBuffers, QueryBuffers]:
        """Two buffers of at least these sizes with different beams: to read one, to write one.

        Args:
            num_ints: integers of scratch.
            num_floats: floats of scratch.
            keep: nodes that a beam has room for.

        Returns:
            Two buffers that share their scratch.
        """
        sizes = self._query_buffers[0].sizes
        if num_ints <= sizes[0] and num_floats <= sizes[1] and keep <= sizes[2]:
            return self._query_buffers
        first = _new_query_buffers(
            max(num_ints, sizes[0]), max(num_floats, sizes[1]), max(keep, sizes[2])
        )
        buffers = first, first.with_new_beam(len(first.nodes))
        if max(first.sizes) <= MAX_REUSED:
            self._query_buffers = buffers
        return buffers

    def lookup(self, num_features: int) -> np.ndarray:
        """A table of zeros for at least `num_features` columns; callers leave it zeroed.

        Args:
            num_features: columns, F.

        Returns:
            Zeros, int32.
        """
        if len(self._zeros) < num_features:
            self._zeros = np.zeros(num_features, np.int32)
        return self._zeros


def _new_query_buffers(num_ints: int, num_floats: int, keep: int) -> QueryBuffers:
    empty = np.empty(0, np.int32)
    ints, floats = np.empty(num_ints, np.int64), np.empty(num_floats, np.float32)
    return QueryBuffers(ints, floats, empty, empty).with_new_beam(keep)


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.scratch = Scratch()


_per_thread = _PerThread()


def scratch() -> Scratch:
    """The scratch memory of this thread.

    Returns:
        The same object at each call of a thread.
    """
    return _per_thread.scratch
