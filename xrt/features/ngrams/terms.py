"""The terms of a fitted vocabulary: column i is term i; ready to look up, to list and to save.

F terms.
"""

from collections.abc import Sequence

import numpy as np

from xrt.features.ngrams.table import PADDING, TermTable, index_terms, num_slots_for

_NEWLINE = 10
_BACKSLASH = b"\\"


class Terms:
    r"""Different terms in column order.

    As text they are UTF-8, one term a line, in column order; where a term holds a newline or a
    backslash (which words never do), these are written \n and \\.
    """

    def __init__(self, chars: np.ndarray, offsets: np.ndarray) -> None:
        """Index terms that lie in `chars` as `TermTable` says. Raises ValueError when one occurs
        twice.
        """
        slots = np.zeros(num_slots_for(len(offsets) - 1), np.uint64)
        self.table = TermTable(slots, offsets, chars)
        twice = index_terms(offsets, chars, slots)
        if twice >= 0:
            raise ValueError(f"{self[twice]!r} occurs twice")

    @classmethod
    def from_strings(cls, strings: Sequence[str]) -> "Terms":
        """The terms `strings`. Raises ValueError when one occurs twice."""
        parts = [string.encode() for string in strings]
        lengths = np.fromiter(map(len, parts), np.int64, len(parts)) + 1
        return cls(_padded(b"\n".join([*parts, b""])), np.concatenate([[0], np.cumsum(lengths)]))

    @classmethod
    def from_text(cls, text: bytes) -> "Terms":
        """Read what `to_text` returned. Raises ValueError for any other text."""
        text.decode()
        if text[-1:] != b"\n":
            raise ValueError("the last line has no end")
        if _BACKSLASH in text:
            return cls.from_strings([_unescaped(line) for line in text.decode().split("\n")[:-1]])
        chars = _padded(text)
        line_ends = np.flatnonzero(chars[: len(text)] == _NEWLINE)
        offsets = np.zeros(len(line_ends) + 1, np.int64)
        np.add(line_ends, 1, out=offsets[1:])
        return cls(chars, offsets)

    def to_text(self) -> bytes:
        """One term a line, in UTF-8."""
        text = self._bytes()
        if _BACKSLASH not in text and text.count(b"\n") == len(self):
            return text
        return "".join(_escaped(string) + "\n" for string in self.strings()).encode()

    def strings(self) -> list[str]:
        """All terms, in column order."""
        text = self._bytes()
        if text.count(b"\n") == len(self):
            return text.decode().split("\n")[:-1]
        return [self[term] for term in range(len(self))]

    def __getitem__(self, term: int) -> str:
        lo, hi = self.table.offsets[term], self.table.offsets[term + 1] - 1
        return self.table.chars[lo:hi].tobytes().decode()

    def __len__(self) -> int:
        return len(self.table.offsets) - 1

    def _bytes(self) -> bytes:
        return self.table.chars[:-PADDING].tobytes()


def _padded(text: bytes) -> np.ndarray:
    chars = np.zeros(len(text) + PADDING, np.uint8)
    chars[: len(text)] = np.frombuffer(text, np.uint8)
    return chars


def _escaped(string: str) -> str:
    return string.replace("\\", "\\\\").replace("\n", "\\n")


def _unescaped(line: str) -> str:
    parts = [part.replace("\\n", "\n") for part in line.split("\\\\")]
    if any("\\" in part for part in parts):
        raise ValueError(f"a lone backslash in {line!r}")
    return "\\".join(parts)
