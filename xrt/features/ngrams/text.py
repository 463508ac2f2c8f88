"""Texts to n-grams: texts in blocks of bytes, bytes to a line of tokens, the line to spans.

A line is the text reduced to its tokens, in lower case where the settings say so, with one space
before, between and after them: " red shirt ". A span (lo, hi) of it is one n-gram: two words with
the space between them, or a few characters of a word, which may begin or end with the space around
it. T tokens of a text; `starts[t]` is where token t begins, and it ends before `starts[t + 1] - 1`.

Which characters belong to tokens, and their lower-case forms, are computed with Python's `re` and
`str.lower`: a table has one entry for each code point, the lower-case code point (or the same one,
where case is kept) plus `IN_TOKEN` where that belongs to a token. Two characters do not fit a
table: 'İ', whose lower-case form is two characters, and 'Σ', whose form depends on its neighbours.
Texts with one of these are lowered by Python first; the table then changes nothing.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from xrt.jit import njit

IN_TOKEN = np.uint32(1 << 31)
CODE_POINT = np.uint32((1 << 21) - 1)
NUM_CODE_POINTS = 0x110000
HARD_TO_LOWER = ("\u0130", "\u03a3")

_WORDS = re.compile(r"(?:\(\?u\))?(?:\\b)?((?:\\w)+)\+(?:\\b)?")


def shortest_word(token_pattern: str) -> int | None:
    r"""Letters a word needs at least where the pattern means whole runs of \w, else None.

    >>> shortest_word(r"(?u)\b\w\w+\b"), shortest_word(r"\w+"), shortest_word(r"[a-z]+")
    (2, 1, None)

    Args:
        token_pattern: a regular expression.

    Returns:
        The number of letters, or None.
    """
    match = _WORDS.fullmatch(token_pattern)
    return match[1].count("w") if match else None


@lru_cache(maxsize=4)
def character_table(token_class: str, lowercase: bool) -> np.ndarray:
    r"""The table for tokens made of `token_class` (a class of `re`: r"\w" or r"\S"), uint32 (code
    points).

    Surrogates, which no UTF-8 holds, are never kept.

    Args:
        token_class: the characters of a token.
        lowercase: whether characters become lower-case.

    Returns:
        The table, read-only.
    """
    every = np.arange(NUM_CODE_POINTS, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    if lowercase:
        every = "".join(_lowered(every[lo : lo + 4096]) for lo in range(0, len(every), 4096))
    table = np.frombuffer(every.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)
    in_token = np.zeros(NUM_CODE_POINTS, np.bool_)
    for run in re.finditer(token_class + "+", every):
        in_token[run.start() : run.end()] = True
    in_token[0xD800:0xE000] = False
    table[in_token] |= IN_TOKEN
    table.flags.writeable = False
    return table


def _lowered(chars: str) -> str:
    """Each character's own lower-case form; one with a longer form stays as it is."""
    if not any(char in chars for char in HARD_TO_LOWER):
        return chars.lower()
    return "".join(low if len(low := char.lower()) == 1 else char for char in chars)


BLOCK_CHARS = 1 << 18
_SURROGATE = re.compile("[\ud800-\udfff]")


class TextBlocks:
    """Texts cut into blocks of about `block_chars` characters, with at least one text each."""

    def __init__(self, texts: Sequence[str], block_chars: int = BLOCK_CHARS) -> None:
        self.texts = texts if isinstance(texts, list) else list(texts)
        self.lengths_N = np.fromiter(map(len, texts), np.int64, len(texts))
        self.bounds: list[tuple[int, int]] = []
        ends_N = np.cumsum(self.lengths_N)
        lo, before = 0, 0
        while lo < len(texts):
            hi = max(lo + 1, int(np.searchsorted(ends_N, before + block_chars, side="right")))
            self.bounds.append((lo, hi))
            lo, before = hi, int(ends_N[hi - 1])

    def __len__(self) -> int:
        return len(self.bounds)

    def num_texts(self, block: int) -> int:
        """Texts of a block.

        Args:
            block: number of the block.

        Returns:
            At least 1.
        """
        lo, hi = self.bounds[block]
        return hi - lo

    def encode(self, block: int, lowercase: bool) -> tuple[np.ndarray, np.ndarray]:
        """The texts of a block in UTF-8, one after another (uint8), and the number of characters
        of each (int64).

        With `lowercase`, texts with a character that no table can lower are lowered here.

        Args:
            block: number of the block.
            lowercase: whether texts will be made lower-case.

        Returns:
            Bytes and lengths; one newline where all texts are empty.
        """
        lo, hi = self.bounds[block]
        texts, lengths = self.texts[lo:hi], self.lengths_N[lo:hi]
        together = "".join(texts)
        if lowercase and any(char in together for char in HARD_TO_LOWER):
            texts = [_lower(text) for text in texts]
            lengths = np.fromiter(map(len, texts), np.int64, len(texts))
            together = "".join(texts)
        try:
            data = together.encode()
        except UnicodeEncodeError:
            data = whole(together).encode()
        return np.frombuffer(data or b"\n", np.uint8), lengths


def whole(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which no UTF-8 could hold.

    Args:
        text: the text.

    Returns:
        The text itself where it has no lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def _lower(text: str) -> str:
    return text.lower() if any(char in text for char in HARD_TO_LOWER) else text


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
    """`line`, `starts`, `marks` and `spans` for texts of at most so many characters.

    Args:
        lengths_N: characters of each text.

    Returns:
        Arrays that are not filled: uint8, int64, int64, int64 (256, 2).
    """
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

    Args:
        text: texts in UTF-8, uint8.
        at: the byte to begin at.
        length: characters to read.
        plan: what tokens are made of.
        line: receives the tokens, with a space before, between and behind them.
        starts: receives where each token begins, and where the next one would.

    Returns:
        Number of tokens, and the byte behind the last one read.
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
            code = (first & np.uint32(0x1F)) << np.uint32(6) | _low_bits(text[i + 1])
            i += 2
        elif first < 0xF0:
            code = (first & np.uint32(0x0F)) << np.uint32(12) | _low_bits(text[i + 2])
            code |= _low_bits(text[i + 1]) << np.uint32(6)
            i += 3
        else:
            code = (first & np.uint32(0x07)) << np.uint32(18) | _low_bits(text[i + 3])
            code |= _low_bits(text[i + 1]) << np.uint32(12) | _low_bits(text[i + 2]) << np.uint32(6)
            i += 4
        form = folded[code]
        if form & IN_TOKEN:
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
def _low_bits(byte: int) -> np.uint32:
    return np.uint32(byte) & np.uint32(0x3F)


@njit(nogil=True, cache=True)
def _write(line: np.ndarray, out: int, code: np.uint64) -> int:
    """Write one code point as UTF-8; returns where the next one goes."""
    if code < 0x80:
        line[out] = code
        return out + 1
    if code < 0x800:
        line[out] = np.uint32(0xC0) | code >> np.uint32(6)
        line[out + 1] = np.uint32(0x80) | _low_bits(code)
        return out + 2
    if code < 0x10000:
        line[out] = np.uint32(0xE0) | code >> np.uint32(12)
        line[out + 1] = np.uint32(0x80) | _low_bits(code >> np.uint32(6))
        line[out + 2] = np.uint32(0x80) | _low_bits(code)
        return out + 3
    line[out] = np.uint32(0xF0) | code >> np.uint32(18)
    line[out + 1] = np.uint32(0x80) | _low_bits(code >> np.uint32(12))
    line[out + 2] = np.uint32(0x80) | _low_bits(code >> np.uint32(6))
    line[out + 3] = np.uint32(0x80) | _low_bits(code)
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

    Args:
        line: bytes of the tokens.
        num_tokens: number of tokens.
        starts: where each token begins in the line.
        plan: which n-grams are wanted.
        marks: scratch.
        spans: receives first byte, and the byte behind the last, of each n-gram.

    Returns:
        The array, and the number of n-grams.
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
