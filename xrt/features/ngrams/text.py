"""Texts to n-grams: texts in blocks of bytes, bytes to a line of tokens, the line to spans.

A line is the text reduced to its tokens, in lower case where the settings say so, with one space
before, between and after them: " red shirt ". A span (lo, hi) of it is one n-gram: two words with
the space between them, or a few characters of a word, which may begin or end with the space around
it. T tokens of a text; `starts[t]` is where token t begins, and it ends before `starts[t + 1] - 1`.

What characters mean is in a table (see `characters`). Where it knows scripts without blanks, a run
of such letters is a chain of units, each a token of its own, with no space between.
`joints[t]` says what token t is: a word, the first unit of a run, or a further unit.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xrt.features.ngrams.characters import (
    CODE_POINT,
    CONTINUES,
    HARD_TO_LOWER,
    IN_TOKEN,
    LEADS,
    SKIPPED,
    SPECIAL,
    UNSPACED,
    composed,
)
from xrt.features.tfidf_params import WORDS_AND_SIGNS
from xrt.jit import njit

_WORDS = re.compile(r"(?:\(\?u\))?(?:\\b)?((?:\\w)+)\+(?:\\b)?")


def shortest_word(token_pattern: str) -> int | None:
    r"""Letters a word needs at least where the pattern means whole runs of \w, else None.

    `WORDS_AND_SIGNS` is known, too.

    >>> shortest_word(r"(?u)\b\w\w+\b"), shortest_word(r"\w+"), shortest_word(r"[a-z]+")
    (2, 1, None)

    Args:
        token_pattern: a regular expression.

    Returns:
        The number of letters, or None.
    """
    if token_pattern == WORDS_AND_SIGNS:
        return 1
    match = _WORDS.fullmatch(token_pattern)
    return match[1].count("w") if match else None


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

    def encode(
        self, block: int, lowercase: bool, scripts: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The texts of a block in UTF-8, one after another (uint8), and the number of characters
        of each (int64).

        With `lowercase`, texts with a character that no table can lower are lowered here.

        Args:
            block: number of the block.
            lowercase: whether texts will be made lower-case.
            scripts: whether texts are composed (`characters.composed`).

        Returns:
            Bytes and lengths; one newline where all texts are empty.
        """
        lo, hi = self.bounds[block]
        before, lengths = self.texts[lo:hi], self.lengths_N[lo:hi]
        texts, together = before, "".join(before)
        data = _encoded(together)
        if scripts and not together.isascii():
            texts = composed(texts, data)
        if lowercase and any(char in together for char in HARD_TO_LOWER):
            texts = [_lower(text) for text in texts]
        if texts is not before:
            lengths = np.fromiter(map(len, texts), np.int64, len(texts))
            data = _encoded("".join(texts))
        return np.frombuffer(data or b"\n", np.uint8), lengths


def _encoded(together: str) -> bytes:
    try:
        return together.encode()
    except UnicodeEncodeError:
        return whole(together).encode()


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
    """What to look for: tokens by the table `table` with at least `min_chars` characters, then
    n-grams of `shortest` to `longest` words, or with `of_chars` of so many characters in a word.
    Runs of letters that the table calls UNSPACED give n-grams of 1 to `longest_in_run` units.

    With `signs`, '#' and '++' behind a word of one letter belong to it.
    """

    table: np.ndarray
    min_chars: int
    of_chars: bool
    shortest: int
    longest: int
    longest_in_run: int
    signs: bool


_HASH, _PLUS = np.uint32(ord("#")), np.uint32(ord("+"))
_WORD, _FIRST_UNIT, _NEXT_UNIT = 0, 1, 2
_PLAIN, _IN_RUN, _BEHIND_MARK, _LED = (np.uint32(flag) for flag in (0, 1, 2, 4))


@njit(nogil=True, cache=True)
def scratch_for(lengths_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`line`, `starts`, `joints` and `spans` for texts of at most so many characters.

    Args:
        lengths_N: characters of each text.

    Returns:
        Arrays that are not filled: uint8, int64, int64, int64 (256, 2).
    """
    longest = 0
    for length in lengths_N:
        longest = max(longest, length)
    line = np.empty(4 * longest + 32, np.uint8)  # it is read up to 8 bytes beyond its end
    starts = np.empty(longest + 3, np.int64)
    return line, starts, np.empty(len(line), np.int64), np.empty((256, 2), np.int64)


@njit(nogil=True, cache=True)
def write_line(  # noqa: C901 (one loop over bytes)
    text: np.ndarray,
    at: int,
    length: int,
    plan: NgramPlan,
    line: np.ndarray,
    starts: np.ndarray,
    joints: np.ndarray,
) -> tuple[int, int, bool]:
    """Write the tokens of the next `length` characters of `text` (valid UTF-8) to `line`.

    Reading begins at byte `at`. Fills `starts` and `joints`; returns T, where reading ended, and
    whether there are units.

    Args:
        text: texts in UTF-8, uint8.
        at: the byte to begin at.
        length: characters to read.
        plan: what tokens are made of.
        line: receives the tokens, with a space before and behind each word and run.
        starts: receives where each token begins, and where the next one would.
        joints: receives what each token is; one more behind the last.

    Returns:
        Number of tokens, the byte behind the last one read, and whether a token is a unit.
    """
    table, min_chars = plan.table, plan.min_chars
    line[0] = _SPACE
    num_tokens, out, num_chars = 0, 1, 0
    state, has_units = _PLAIN, False
    starts[0], joints[0] = 1, _WORD
    i = at
    for c in range(length):
        first = np.uint32(text[i])
        if first < 0x80:
            code, i = first, i + 1
        else:
            code, i = _read_long(text, i)
        form = table[code]
        if form & SPECIAL | state:
            in_run = state & _IN_RUN
            if form & SKIPPED and (state & _BEHIND_MARK or not form & CONTINUES):
                continue
            if form & UNSPACED:
                if num_chars >= min_chars:
                    line[out] = _SPACE
                    num_tokens += 1
                    starts[num_tokens] = out + 1
                if num_chars:
                    out, num_chars = starts[num_tokens], 0
                if not in_run:
                    joints[num_tokens] = _FIRST_UNIT
                elif not (state & _LED or form & CONTINUES):
                    num_tokens += 1
                    starts[num_tokens], joints[num_tokens] = out, _NEXT_UNIT
                out = _write(line, out, form & CODE_POINT)
                state, has_units = _IN_RUN | _led(form), True
                continue
            if form & CONTINUES and not form & SKIPPED and (num_chars or in_run):
                out = _write(line, out, form & CODE_POINT)
                num_chars += not in_run
                state = in_run | _BEHIND_MARK | _led(form)
                continue
            if in_run:
                line[out] = _SPACE
                out += 1
                num_tokens += 1
                starts[num_tokens], joints[num_tokens] = out, _WORD
            state = _PLAIN
        if form & IN_TOKEN:
            out = _write(line, out, form & CODE_POINT)
            num_chars += 1
        elif num_chars:
            if plan.signs and num_chars == 1:
                out = _write_signs(line, out, form & CODE_POINT, text, i, c + 1 < length, table)
            if num_chars >= min_chars:
                line[out] = _SPACE
                out += 1
                num_tokens += 1
                starts[num_tokens], joints[num_tokens] = out, _WORD
            out = starts[num_tokens]
            num_chars = 0
    if (num_chars and num_chars >= min_chars) or state & _IN_RUN:
        line[out] = _SPACE
        num_tokens += 1
        starts[num_tokens], joints[num_tokens] = out + 1, _WORD
    return num_tokens, i, has_units


@njit(nogil=True, cache=True, inline="always")
def _led(form: np.uint32) -> np.uint32:
    return _LED if form & LEADS else _PLAIN


@njit(nogil=True, cache=True)
def _read_long(text: np.ndarray, i: int) -> tuple[np.uint32, int]:
    """A code point of two bytes or more, and where the next one begins."""
    first = np.uint32(text[i])
    if first < 0xE0:
        return (first & np.uint32(0x1F)) << np.uint32(6) | _low_bits(text[i + 1]), i + 2
    if first < 0xF0:
        code = (first & np.uint32(0x0F)) << np.uint32(12) | _low_bits(text[i + 2])
        return code | _low_bits(text[i + 1]) << np.uint32(6), i + 3
    code = (first & np.uint32(0x07)) << np.uint32(18) | _low_bits(text[i + 3])
    code |= _low_bits(text[i + 1]) << np.uint32(12) | _low_bits(text[i + 2]) << np.uint32(6)
    return code, i + 4


@njit(nogil=True, cache=True)
def _write_signs(
    line: np.ndarray,
    out: int,
    sign: np.uint32,
    text: np.ndarray,
    i: int,
    more: bool,
    table: np.ndarray,
) -> int:
    """Write '#', or '++' where another plus stands at byte `i`; returns where to go on."""
    if sign == _HASH:
        out = _write(line, out, sign)
    if sign != _PLUS or not more:
        return out
    code = np.uint32(text[i])
    if code >= 0x80:
        code, _ = _read_long(text, i)
    if table[code] & CODE_POINT == _PLUS:
        out = _write(line, _write(line, out, sign), sign)
    return out


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
        return min(max(plan.longest, plan.longest_in_run), num_tokens) * num_tokens
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
    joints: np.ndarray,
    has_units: bool,
    plan: NgramPlan,
    spans: np.ndarray,
) -> tuple[np.ndarray, int]:
    """Fill `spans` (room, 2), or a longer one, with the n-grams of a line; returns it, and how
    many there are.

    Args:
        line: bytes of the tokens.
        num_tokens: number of tokens.
        starts: where each token begins in the line.
        joints: what each token is; overwritten where n-grams are of characters.
        has_units: whether a token is a unit.
        plan: which n-grams are wanted.
        spans: receives first byte, and the byte behind the last, of each n-gram.

    Returns:
        The array, and the number of n-grams.
    """
    room = _room_for_spans(num_tokens, starts, plan)
    if room > len(spans):
        spans = np.empty((room + room // 2, 2), np.int64)
    if plan.of_chars:
        return spans, _find_char_spans(line, num_tokens, starts, plan, joints, spans)
    if has_units:
        return spans, _find_mixed_spans(num_tokens, starts, joints, plan, spans)
    count = 0
    for n in range(plan.shortest, min(plan.longest, num_tokens) + 1):
        for t in range(num_tokens - n + 1):
            spans[count, 0], spans[count, 1] = starts[t], starts[t + n] - 1
            count += 1
    return spans, count


@njit(nogil=True, cache=True)
def _find_mixed_spans(
    num_tokens: int, starts: np.ndarray, joints: np.ndarray, plan: NgramPlan, spans: np.ndarray
) -> int:
    """N-grams of words, which no run stands between, and of units of one run."""
    count = 0
    for t in range(num_tokens):
        is_word = joints[t] == _WORD
        follower = _WORD if is_word else _NEXT_UNIT
        for n in range(1, (plan.longest if is_word else plan.longest_in_run) + 1):
            end = t + n
            if end > num_tokens or (n > 1 and joints[end - 1] != follower):
                break
            spans[count, 0] = starts[t]
            spans[count, 1] = starts[end] - (joints[end] != _NEXT_UNIT)
            count += 1
    return count


@njit(nogil=True, cache=True)
def _find_char_spans(
    line: np.ndarray,
    num_tokens: int,
    starts: np.ndarray,
    plan: NgramPlan,
    marks: np.ndarray,
    spans: np.ndarray,
) -> int:
    """N-grams of the characters of each word; `marks` is scratch."""
    count = 0
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
    return count
