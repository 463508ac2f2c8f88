"""Many strings as the bytes of one file: opening them costs the same for ten and for ten million.

A string is decoded when it is read.
"""

from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex, overload

import numpy as np

from xrt.errors import ArtifactError


class PackedStrings(Sequence[str]):
    """Strings i = data[starts[i]:ends[i]] in UTF-8; compares equal to any sequence of the same."""

    def __init__(self, data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
        """Wrap the bytes of N strings; nothing is copied or read.

        Args:
            data: uint8, the strings in UTF-8.
            starts: int64 (N,), where each string begins.
            ends: int64 (N,), where each string ends.
        """
        self._data, self._starts, self._ends = data, starts, ends

    def __len__(self) -> int:
        return len(self._starts)

    def ends_before(self, byte: int) -> bool:
        """Whether each string is followed by this byte.

        Args:
            byte: The byte, 0 to 255.

        Returns:
            False where one is followed by another.
        """
        return bool((self._data[self._ends] == byte).all())

    @property
    def data(self) -> bytes:
        """All bytes of the file; a copy."""
        return self._data.tobytes()

    @overload
    def __getitem__(self, position: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> tuple[str, ...]: ...
    def __getitem__(self, position: SupportsIndex | slice) -> str | tuple[str, ...]:
        if isinstance(position, slice):
            return tuple(self[i] for i in range(*position.indices(len(self))))
        start, end = self._starts[position.__index__()], self._ends[position.__index__()]
        data = self._data[start:end].tobytes()
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as err:
            raise ArtifactError(
                f"label {position} is not UTF-8: the file of labels is damaged; copy the model "
                "again from where it came, or train it anew"
            ) from err

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        shown = ", ".join(repr(text) for text in self[:3])
        return f"PackedStrings({shown}{', ...' if len(self) > 3 else ''}; {len(self)} in all)"
