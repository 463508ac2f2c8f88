"""Memory for what a step down the tree needs for a moment: each thread has its own, and keeps it.

Kernels take their arrays from two flat ones, whole numbers and floats, instead of asking the system
for memory at every level. Two beams lie here as well: the one that is read and the one that is
written.
"""

import threading
from typing import NamedTuple

import numpy as np

MAX_KEPT = 1 << 24
"""Entries of an array that a thread keeps; larger ones are made for once."""


class Buffer:
    """An array of one type that grows and is there again; what lies in it means nothing."""

    def __init__(self, dtype: type) -> None:
        self._kept: np.ndarray = np.empty(0, dtype)

    def take(self, size: int) -> np.ndarray:
        """At least `size` entries, the same ones as the last time where they are enough."""
        if size <= len(self._kept):
            return self._kept
        if size > MAX_KEPT:
            return np.empty(size, self._kept.dtype)
        self._kept = np.empty(min(size + size // 4, MAX_KEPT), self._kept.dtype)
        return self._kept


class NewArrays(Buffer):
    """Gives a new array each time, of the very size."""

    def take(self, size: int) -> np.ndarray:
        """An array that nobody else has."""
        return np.empty(size, self._kept.dtype)


class BeamRoom(NamedTuple):
    """Where a beam is written: int64, int32, float32."""

    indptr: Buffer
    nodes: Buffer
    scores: Buffer

    @classmethod
    def of(cls, kind: type[Buffer]) -> "BeamRoom":
        """Nothing is held yet."""
        return cls(kind(np.int64), kind(np.int32), kind(np.float32))


NEW_ARRAYS = BeamRoom.of(NewArrays)
"""For beams that stay."""


class LoneRoom(NamedTuple):
    """For a row that comes alone: what a step needs, int64 and float32, and where it writes the
    beam, int32 and float32.
    """

    whole: np.ndarray
    floats: np.ndarray
    nodes: np.ndarray
    scores: np.ndarray

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Entries of `whole`, of `floats`, and of the beam."""
        return len(self.whole), len(self.floats), len(self.nodes)

    def for_result(self, keep: int) -> "LoneRoom":
        """The same, with new arrays for the beam."""
        nodes, scores = np.empty(keep, np.int32), np.empty(keep, np.float32)
        return LoneRoom(self.whole, self.floats, nodes, scores)


class Scratch:
    """The memory of one thread."""

    def __init__(self) -> None:
        self.whole, self.floats = Buffer(np.int64), Buffer(np.float32)
        self.beams = (BeamRoom.of(Buffer), BeamRoom.of(Buffer))
        self._zeros = np.zeros(0, np.int32)
        self._rooms = (_room(0, 0, 0),) * 2

    def lone_rooms(self, whole: int, floats: int, keep: int) -> tuple[LoneRoom, LoneRoom]:
        """Two rooms of at least these sizes that differ in the beam: to read one, write one."""
        sizes = self._rooms[0].sizes
        if whole <= sizes[0] and floats <= sizes[1] and keep <= sizes[2]:
            return self._rooms
        first = _room(max(whole, sizes[0]), max(floats, sizes[1]), max(keep, sizes[2]))
        rooms = first, first.for_result(len(first.nodes))
        if max(first.sizes) <= MAX_KEPT:
            self._rooms = rooms
        return rooms

    def lookup(self, num_features: int) -> np.ndarray:
        """A table of zeros for at least so many columns; it is given back zeroed."""
        if len(self._zeros) < num_features:
            self._zeros = np.zeros(num_features, np.int32)
        return self._zeros


def _room(whole: int, floats: int, keep: int) -> LoneRoom:
    none = np.empty(0, np.int32)
    room = LoneRoom(np.empty(whole, np.int64), np.empty(floats, np.float32), none, none)
    return room.for_result(keep)


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.scratch = Scratch()


_mine = _OfThread()


def scratch() -> Scratch:
    """This thread's own."""
    return _mine.scratch
