"""Terms as a hash table of their UTF-8 bytes: kernels that look up, add and sort them, and `Terms`.

The terms lie one after another in `chars`, a newline after each; term i is
chars[offsets[i] : offsets[i + 1] - 1]. `slots` is an open-addressing table, a power of two long and
at most half full; a slot is 0 when empty, else the upper half of the term's hash and its number
plus 1. Equal hashes are no trouble: bytes are compared, too.

Terms are sorted as Python sorts strings: by code point, which is the order of their UTF-8 bytes.
Seven bytes at a time: they and the number of bytes left (8: more than seven) make one 64-bit key.
Different terms with equal keys go on with their next seven bytes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xrt.jit import njit

PADDING = 8  # bytes after the last term, because terms are read 8 bytes at a time
MAX_TERMS = 2**31 - 2
CHUNK = 256

_UPPER = np.uint64(0xFFFFFFFF00000000)
_LOWER = np.uint64(0x00000000FFFFFFFF)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_FINISHER = np.uint64(0xD6E8FEB86659FD93)
_0, _1, _2, _3, _4, _5, _6, _7, _8 = (np.uint64(n) for n in range(9))
_16, _24, _32, _40, _48, _56, _64 = (np.uint64(n) for n in (16, 24, 32, 40, 48, 56, 64))
_ALL = np.uint64(2**64 - 1)


class TermTable(NamedTuple):
    """The arrays of the table: uint64, int64, uint8; `chars` ends with PADDING more bytes."""

    slots: np.ndarray
    offsets: np.ndarray
    chars: np.ndarray


@njit(nogil=True, cache=True, inline="always")
def load_8(chars: np.ndarray, at: int) -> np.uint64:
    """Eight bytes as one number, the first lowest; `at` is uint64.

    Args:
        chars: bytes, at least eight from there on.
        at: position of the first byte.

    Returns:
        The number.
    """
    return (
        np.uint64(chars[at])
        | np.uint64(chars[at + _1]) << _8
        | np.uint64(chars[at + _2]) << _16
        | np.uint64(chars[at + _3]) << _24
        | np.uint64(chars[at + _4]) << _32
        | np.uint64(chars[at + _5]) << _40
        | np.uint64(chars[at + _6]) << _48
        | np.uint64(chars[at + _7]) << _56
    )


@njit(nogil=True, cache=True, inline="always")
def hash_of(chars: np.ndarray, lo: int, hi: int) -> np.uint64:
    """64-bit hash of chars[lo:hi]; both halves of it are well mixed.

    Args:
        chars: bytes, with PADDING behind the last.
        lo: first byte.
        hi: the byte behind the last.

    Returns:
        The hash.
    """
    at, left = np.uint64(lo), np.uint64(hi - lo)
    value = left * _MULTIPLIER
    while left >= _8:
        value = (value ^ load_8(chars, at)) * _MULTIPLIER
        value ^= value >> _32
        at += _8
        left -= _8
    if left:
        value = (value ^ (load_8(chars, at) & (_ALL >> (_64 - _8 * left)))) * _MULTIPLIER
        value ^= value >> _32
    value *= _FINISHER
    return value ^ value >> _32


@njit(nogil=True, cache=True, inline="always")
def same_chars(a: np.ndarray, a_lo: int, b: np.ndarray, b_lo: int, length: int) -> bool:
    """Whether a[a_lo : a_lo + length] and b[b_lo : b_lo + length] hold the same bytes.

    Args:
        a: bytes, with PADDING behind the last.
        a_lo: first byte in `a`.
        b: bytes, with PADDING behind the last.
        b_lo: first byte in `b`.
        length: number of bytes.

    Returns:
        True where they are the same.
    """
    i, j, left = np.uint64(a_lo), np.uint64(b_lo), np.uint64(length)
    while left >= _8:
        if load_8(a, i) != load_8(b, j):
            return False
        i += _8
        j += _8
        left -= _8
    return bool(left == _0 or (load_8(a, i) ^ load_8(b, j)) << (_64 - _8 * left) == _0)


@njit(nogil=True, cache=True, inline="always")
def find(
    slots: np.ndarray,
    offsets: np.ndarray,
    term_chars: np.ndarray,
    chars: np.ndarray,
    lo: int,
    hi: int,
    hashed: np.uint64,
) -> np.int64:
    """The number of the term chars[lo:hi], or -1 - s when it is absent, s being its free slot.

    Args:
        slots: slots of the hash table, uint64; their number is a power of two.
        offsets: where each term begins in `chars`.
        term_chars: bytes of the terms.
        chars: bytes that hold the term to find.
        lo: its first byte.
        hi: the byte behind its last.
        hashed: its hash.

    Returns:
        A number from 0, or a negative one.
    """
    last = np.uint64(len(slots) - 1)
    at = hashed & last
    while slots[at] != _0:
        slot = slots[at]
        if (slot ^ hashed) & _UPPER == _0:
            term = np.int64(slot & _LOWER) - 1
            begin = offsets[term]
            if offsets[term + 1] - 1 - begin == hi - lo and same_chars(
                term_chars, begin, chars, lo, hi - lo
            ):
                return term
        at = (at + _1) & last
    return -1 - np.int64(at)


@njit(nogil=True, cache=True)
def hash_spans(
    line: np.ndarray,
    spans: np.ndarray,
    lo: int,
    hi: int,
    slots: np.ndarray,
    offsets: np.ndarray,
    chars: np.ndarray,
    hashes: np.ndarray,
    touched: np.ndarray,
) -> None:
    """Hash spans lo .. hi-1 (at most CHUNK) into `hashes`, and touch all memory that `find` will
    read.

    Reading what many terms need, step by step, lets the processor wait for all of them at once; one
    term after the other would wait for each. That halves the time of a large table.

    Args:
        line: bytes of the tokens.
        spans: first byte of each span, and the byte behind its last, (spans, 2).
        lo: first span.
        hi: the span behind the last.
        slots: slots of the hash table, uint64; their number is a power of two.
        offsets: where each term begins in `chars`.
        chars: bytes of the terms, a separator behind each.
        hashes: receives the hashes, (CHUNK,).
        touched: scratch, (CHUNK,).
    """
    last = np.uint64(len(slots) - 1)
    for s in range(hi - lo):
        hashes[s] = hash_of(line, spans[lo + s, 0], spans[lo + s, 1])
    for s in range(hi - lo):
        touched[s] = slots[hashes[s] & last] & _LOWER
    for s in range(hi - lo):
        touched[s] = offsets[touched[s]]
    for s in range(hi - lo):
        touched[s] = chars[touched[s]]


@njit(nogil=True, cache=True, inline="always")
def slot_of(term: int, hashed: np.uint64) -> np.uint64:
    """The content of a term's slot.

    Args:
        term: number of the term.
        hashed: its hash.

    Returns:
        Upper half of the hash, and the number + 1.
    """
    return hashed & _UPPER | np.uint64(term + 1)


@njit(nogil=True, cache=True)
def index_terms(offsets: np.ndarray, chars: np.ndarray, slots: np.ndarray) -> int:
    """Enter all terms in empty `slots`; returns the first duplicate, or -1.

    Args:
        offsets: where each term begins in `chars`.
        chars: bytes of the terms, a separator behind each.
        slots: empty slots, uint64; receives the terms.

    Returns:
        Number of the term, or -1.
    """
    hashes, touched = np.empty(CHUNK, np.uint64), np.empty(CHUNK, np.uint64)
    last = np.uint64(len(slots) - 1)
    num_terms = len(offsets) - 1
    for begin in range(0, num_terms, CHUNK):
        end = min(begin + CHUNK, num_terms)
        for term in range(begin, end):
            hashes[term - begin] = hash_of(chars, offsets[term], offsets[term + 1] - 1)
        for t in range(end - begin):
            touched[t] = slots[hashes[t] & last]
        for term in range(begin, end):
            lo, hi, hashed = offsets[term], offsets[term + 1] - 1, hashes[term - begin]
            term_or_slot = find(slots, offsets, chars, chars, lo, hi, hashed)
            if term_or_slot >= 0:
                return term
            slots[-1 - term_or_slot] = slot_of(term, hashed)
    return -1


@njit(nogil=True, cache=True)
def copy_terms(
    offsets: np.ndarray, chars: np.ndarray, terms: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`chars` and `offsets` of the terms with these numbers, in their order, with PADDING.

    Args:
        offsets: where each term begins in `chars`.
        chars: bytes of the terms, a separator behind each.
        terms: numbers of terms.

    Returns:
        `chars`, uint8, and `offsets`, int64.
    """
    new_offsets = np.zeros(len(terms) + 1, np.int64)
    for t in range(len(terms)):
        length = offsets[terms[t] + 1] - offsets[terms[t]]
        new_offsets[t + 1] = new_offsets[t] + length
    new_chars = np.zeros(new_offsets[len(terms)] + PADDING, np.uint8)
    for t in range(len(terms)):
        lo, out = offsets[terms[t]], new_offsets[t]
        for i in range(new_offsets[t + 1] - out):
            new_chars[out + i] = chars[lo + i]
    return new_chars, new_offsets


def num_slots_for(num_terms: int) -> int:
    """The smallest power of two that leaves half the slots empty.

    Args:
        num_terms: number of terms.

    Returns:
        At least 16.
    """
    return 1 << max(4, (2 * num_terms - 1).bit_length())


_CHUNK = 7


def sorted_terms(offsets: np.ndarray, chars: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """The numbers `terms` of different terms of a table, in the order of the terms, int64.

    Args:
        offsets: where each term begins in `chars`.
        chars: bytes of the terms, a separator behind each.
        terms: numbers of terms.

    Returns:
        A new array.
    """
    keys = np.empty(len(terms), np.uint64)
    _fill_keys(offsets, chars, terms, 0, keys)
    order = np.argsort(keys)
    terms, keys = terms[order], keys[order]
    _settle_ties(offsets, chars, terms, keys)
    return terms


@njit(nogil=True, cache=True)
def _fill_keys(
    offsets: np.ndarray, chars: np.ndarray, terms: np.ndarray, depth: int, keys: np.ndarray
) -> None:
    for t in range(len(terms)):
        begin = offsets[terms[t]] + depth
        left = offsets[terms[t] + 1] - 1 - begin
        key = np.uint64(0)
        for i in range(_CHUNK):
            key = key << np.uint64(8)
            if i < left:
                key |= np.uint64(chars[begin + i])
        keys[t] = key << np.uint64(8) | np.uint64(min(left, _CHUNK + 1))


@njit(nogil=True, cache=True)
def _settle_ties(
    offsets: np.ndarray, chars: np.ndarray, terms: np.ndarray, keys: np.ndarray
) -> None:
    """Order the runs of equal keys, level by level."""
    runs = np.empty((len(terms) // 2 + 1, 2), np.int64)
    next_runs = np.empty_like(runs)
    num_runs = _find_ties(keys, 0, len(terms), runs, 0)
    depth = 0
    while num_runs:
        depth += _CHUNK
        num_next = 0
        for r in range(num_runs):
            lo, hi = runs[r]
            _fill_keys(offsets, chars, terms[lo:hi], depth, keys[lo:hi])
            order = np.argsort(keys[lo:hi])
            terms[lo:hi] = terms[lo:hi][order]
            keys[lo:hi] = keys[lo:hi][order]
            num_next = _find_ties(keys, lo, hi, next_runs, num_next)
        runs, next_runs, num_runs = next_runs, runs, num_next


@njit(nogil=True, cache=True)
def _find_ties(keys: np.ndarray, lo: int, hi: int, runs: np.ndarray, num_runs: int) -> int:
    """Append the runs of two or more equal keys within lo .. hi; returns the new number of runs."""
    begin = lo
    for i in range(lo + 1, hi + 1):
        if i == hi or keys[i] != keys[begin]:
            if i - begin > 1:
                runs[num_runs, 0], runs[num_runs, 1] = begin, i
                num_runs += 1
            begin = i
    return num_runs


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
        """The terms `strings`.

        Args:
            strings: different terms.

        Returns:
            The terms.

        Raises:
            ValueError: one occurs twice.
        """
        parts = [string.encode() for string in strings]
        lengths = np.fromiter(map(len, parts), np.int64, len(parts)) + 1
        return cls(_padded(b"\n".join([*parts, b""])), np.concatenate([[0], np.cumsum(lengths)]))

    @classmethod
    def from_text(cls, text: bytes) -> "Terms":
        """Read what `to_text` returned.

        Args:
            text: of `to_text`.

        Returns:
            The terms.

        Raises:
            ValueError: it is not such text.
        """
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
        """One term a line, in UTF-8.

        Returns:
            The bytes, with a newline behind each term.
        """
        text = self._bytes()
        if _BACKSLASH not in text and text.count(b"\n") == len(self):
            return text
        return "".join(_escaped(string) + "\n" for string in self.strings()).encode()

    def strings(self) -> list[str]:
        """All terms, in column order.

        Returns:
            A new list.
        """
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
