"""Finds the n-grams of one text: kernels that read UTF-8 and write a line with spans in it.

A line is the text reduced to its tokens, in lower case where asked for, with one space before,
between and after them: " red shirt ". A span (lo, hi) of it is one n-gram: two words with the space
between them, or a few characters of a word, which may begin or end with the space around it.

T tokens of a text; `starts[t]` is where token t begins, and it ends before `starts[t + 1] - 1`.
"""

from typing import NamedTuple

import numpy as np

from xrt.features.ngrams.characters import CODE_POINT, KEPT
from xrt.jit import njit

_SPACE = np.uint8(32)


class NgramPlan(NamedTuple):
    """What to look for: tokens by the table `folded` with at least `min_chars` characters, then
    n-grams of `shortest` to `longest` words, or with `of_chars` of so many characters in a word.
    """

    folded: np.ndarray
    min_chars: int
    of_chars: bool
    shortest: int
    longest: int


@njit(nogil=True, cache=True)
def scratch_for(lengths_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`line`, `starts`, `marks` and `spans` for texts of at most so many characters."""
    longest = 0
    for length in lengths_N:
        longest = max(longest, length)
    line = np.empty(4 * longest + 32, np.uint8)  # it is read up to 8 bytes beyond its end
    starts = np.empty(longest // 2 + 3, np.int64)
    return line, starts, np.empty(len(line), np.int64), np.empty((256, 2), np.int64)


@njit(nogil=True, cache=True)
def write_line(
    text: np.ndarray, at: int, length: int, plan: NgramPlan, line: np.ndarray, starts: np.ndarray
) -> tuple[int, int]:
    """Write the tokens of the next `length` characters of `text` (valid UTF-8) to `line`.

    Reading begins at byte `at`. Fills `starts`; returns T and where reading ended.
    """
    folded, min_chars = plan.folded, plan.min_chars
    line[0] = _SPACE
    num_tokens, out, num_chars = 0, 1, 0
    starts[0] = 1
    i = at
    for _ in range(length):
        first = np.uint32(text[i])
        if first < 0x80:
            code, i = first, i + 1
        elif first < 0xE0:
            code = (first & np.uint32(0x1F)) << np.uint32(6) | _rest(text[i + 1])
            i += 2
        elif first < 0xF0:
            code = (first & np.uint32(0x0F)) << np.uint32(12) | _rest(text[i + 2])
            code |= _rest(text[i + 1]) << np.uint32(6)
            i += 3
        else:
            code = (first & np.uint32(0x07)) << np.uint32(18) | _rest(text[i + 3])
            code |= _rest(text[i + 1]) << np.uint32(12) | _rest(text[i + 2]) << np.uint32(6)
            i += 4
        form = folded[code]
        if form & KEPT:
            out = _write(line, out, form & CODE_POINT)
            num_chars += 1
        elif num_chars:
            if num_chars >= min_chars:
                line[out] = _SPACE
                out += 1
                num_tokens += 1
                starts[num_tokens] = out
            out = starts[num_tokens]
            num_chars = 0
    if num_chars and num_chars >= min_chars:
        line[out] = _SPACE
        num_tokens += 1
        starts[num_tokens] = out + 1
    return num_tokens, i


@njit(nogil=True, cache=True)
def _rest(byte: int) -> np.uint32:
    return np.uint32(byte) & np.uint32(0x3F)


@njit(nogil=True, cache=True)
def _write(line: np.ndarray, out: int, code: np.uint64) -> int:
    """Write one code point as UTF-8; returns where the next one goes."""
    if code < 0x80:
        line[out] = code
        return out + 1
    if code < 0x800:
        line[out] = np.uint32(0xC0) | code >> np.uint32(6)
        line[out + 1] = np.uint32(0x80) | _rest(code)
        return out + 2
    if code < 0x10000:
        line[out] = np.uint32(0xE0) | code >> np.uint32(12)
        line[out + 1] = np.uint32(0x80) | _rest(code >> np.uint32(6))
        line[out + 2] = np.uint32(0x80) | _rest(code)
        return out + 3
    line[out] = np.uint32(0xF0) | code >> np.uint32(18)
    line[out + 1] = np.uint32(0x80) | _rest(code >> np.uint32(12))
    line[out + 2] = np.uint32(0x80) | _rest(code >> np.uint32(6))
    line[out + 3] = np.uint32(0x80) | _rest(code)
    return out + 4


@njit(nogil=True, cache=True)
def _room_for_spans(num_tokens: int, starts: np.ndarray, plan: NgramPlan) -> int:
    """Spans that `find_spans` may find at most."""
    if not plan.of_chars:
        longest = min(plan.longest, num_tokens)
        return longest * num_tokens
    room = 0
    for t in range(num_tokens):
        num_bytes = starts[t + 1] - starts[t] + 1
        room += max(1, min(plan.longest, num_bytes) - plan.shortest + 1) * num_bytes
    return room


@njit(nogil=True, cache=True)
def find_spans(
    line: np.ndarray,
    num_tokens: int,
    starts: np.ndarray,
    plan: NgramPlan,
    marks: np.ndarray,
    spans: np.ndarray,
) -> tuple[np.ndarray, int]:
    """Fill `spans` (room, 2), or a longer one, with the n-grams of a line; returns it, and how
    many there are.

    `marks` is scratch, as long as the line.
    """
    room = _room_for_spans(num_tokens, starts, plan)
    if room > len(spans):
        spans = np.empty((room + room // 2, 2), np.int64)
    count = 0
    if not plan.of_chars:
        for n in range(plan.shortest, min(plan.longest, num_tokens) + 1):
            for t in range(num_tokens - n + 1):
                spans[count, 0], spans[count, 1] = starts[t], starts[t + n] - 1
                count += 1
        return spans, count
    for t in range(num_tokens):
        num_chars = 0
        for i in range(starts[t] - 1, starts[t + 1]):
            if line[i] & 0xC0 != 0x80:
                marks[num_chars] = i
                num_chars += 1
        marks[num_chars] = starts[t + 1]
        for n in range(plan.shortest, plan.longest + 1):
            if n >= num_chars:  # the whole word, once
                spans[count, 0], spans[count, 1] = marks[0], marks[num_chars]
                count += 1
                break
            for c in range(num_chars - n + 1):
                spans[count, 0], spans[count, 1] = marks[c], marks[c + n]
                count += 1
    return spans, count
