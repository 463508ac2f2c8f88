"""Terms as a hash table of their UTF-8 bytes, and the kernels that look up and add terms.

The terms lie one after another in `chars`, a newline after each; term i is
chars[offsets[i] : offsets[i + 1] - 1]. `slots` is an open-addressing table, a power of two long and
at most half full; a slot is 0 when empty, else the upper half of the term's hash and its number
plus 1. Equal hashes are no trouble: bytes are compared before a term counts as found.
"""

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
    """Eight bytes as one number, the first lowest; `at` is uint64."""
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
    """64-bit hash of chars[lo:hi]; both halves of it are well mixed."""
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
    """Whether a[a_lo : a_lo + length] and b[b_lo : b_lo + length] hold the same bytes."""
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
    """The number of the term chars[lo:hi], or -1 - s when it is absent, s being its free slot."""
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
    """Hash spans lo .. hi-1 (at most CHUNK) into `hashes`, and touch all that `find` will read.

    Reading what many terms need, step by step, lets the processor wait for all of them at once; one
    term after the other would wait for each. That halves the time of a large table.
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
    """What stands in the slot of a term."""
    return hashed & _UPPER | np.uint64(term + 1)


@njit(nogil=True, cache=True)
def index_terms(offsets: np.ndarray, chars: np.ndarray, slots: np.ndarray) -> int:
    """Enter all terms in empty `slots`; returns the first that stands twice, or -1."""
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
            found = find(slots, offsets, chars, chars, lo, hi, hashed)
            if found >= 0:
                return term
            slots[-1 - found] = slot_of(term, hashed)
    return -1


@njit(nogil=True, cache=True)
def copy_terms(
    offsets: np.ndarray, chars: np.ndarray, terms: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`chars` and `offsets` of the terms with these numbers, in their order, with PADDING."""
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
    """The smallest power of two that leaves half the slots empty."""
    return 1 << max(4, (2 * num_terms - 1).bit_length())
