"""Learns and counts terms in blocks of texts: kernels from bytes to streams to rows of a matrix.

A block becomes a stream: the numbers of its n-grams, text after text. When learning, every n-gram
gets a number in the order of appearance; each thread fills a table of its own, so nothing is
locked, and `merge` brings the tables together at the end. A stream is smaller than a matrix of
counts, and becomes one only when the terms are selected. N texts of a block.
"""

from typing import NamedTuple

import numpy as np

from xrt.features.ngrams.table import CHUNK, PADDING, TermTable, find, hash_spans, slot_of
from xrt.features.ngrams.text import NgramPlan, find_spans, scratch_for, write_line
from xrt.jit import njit

_EMPTY = np.uint64(0)


class Learned(NamedTuple):
    """A term table that grows (see `TermTable`), with more about each term.

    `hashes` uint64; `uses` int32, two for each term: the number of texts that hold it, and the last
    of these. All arrays have spare room beyond `num_terms`.
    """

    slots: np.ndarray
    offsets: np.ndarray
    chars: np.ndarray
    hashes: np.ndarray
    uses: np.ndarray
    num_terms: int


def nothing_learned() -> Learned:
    """A table without terms.

    Returns:
        An empty table with some room.
    """
    return Learned(
        np.zeros(1 << 10, np.uint64),
        np.zeros(1 << 9, np.int64),
        np.empty(1 << 12, np.uint8),
        np.empty(1 << 9, np.uint64),
        np.empty(1 << 10, np.int32),
        0,
    )


@njit(nogil=True, cache=True)
def learn(
    text: np.ndarray, lengths_N: np.ndarray, first_row: int, plan: NgramPlan, learned: Learned
) -> tuple[Learned, np.ndarray, np.ndarray]:
    """Learn the n-grams of texts of `lengths_N` characters that stand in the bytes `text`.

    `first_row` is the number of the first text. Returns the table, the stream of term numbers
    (int32), and where each text ends in it.

    Args:
        text: texts in UTF-8, one after another, uint8.
        lengths_N: characters of each text.
        first_row: number of the first text.
        plan: which n-grams are wanted.
        learned: the table so far.

    Returns:
        Table, stream and ends.
    """
    slots, offsets, chars, hashes, uses, num_terms = learned
    line, starts, joints, spans = scratch_for(lengths_N)
    chunk_hashes, touched = np.empty(CHUNK, np.uint64), np.empty(CHUNK, np.int64)
    stream = np.empty(len(text) // 4 + 16, np.int32)
    ends_N = np.empty(len(lengths_N), np.int64)
    size, at = 0, 0
    for n in range(len(lengths_N)):
        num_tokens, at, has_units = write_line(text, at, lengths_N[n], plan, line, starts, joints)
        spans, num_spans = find_spans(line, num_tokens, starts, joints, has_units, plan, spans)
        stream = _grown(stream, size, size + num_spans)
        slots = _half_empty(slots, hashes, num_terms, num_terms + num_spans)
        hashes = _grown(hashes, num_terms, num_terms + num_spans)
        uses = _grown(uses, 2 * num_terms, 2 * (num_terms + num_spans))
        offsets = _grown(offsets, num_terms + 1, num_terms + num_spans + 1)
        for s in range(num_spans):
            if s % CHUNK == 0:
                end = min(s + CHUNK, num_spans)
                hash_spans(line, spans, s, end, slots, offsets, chars, chunk_hashes, touched)
            lo, hi, hashed = spans[s, 0], spans[s, 1], chunk_hashes[s % CHUNK]
            term = find(slots, offsets, chars, line, lo, hi, hashed)
            if term < 0:
                slots[-1 - term] = slot_of(num_terms, hashed)
                term = num_terms
                chars = _append(chars, offsets, term, line, lo, hi)
                hashes[term] = hashed
                uses[2 * term], uses[2 * term + 1] = 0, -1
                num_terms += 1
            if uses[2 * term + 1] != first_row + n:
                uses[2 * term] += 1
                uses[2 * term + 1] = first_row + n
            stream[size] = term
            size += 1
        ends_N[n] = size
    learned = Learned(slots, offsets, chars, hashes, uses, num_terms)
    return learned, stream[:size].copy(), ends_N


@njit(nogil=True, cache=True)
def merge(learned: Learned, other: Learned) -> tuple[Learned, np.ndarray]:
    """Add the terms of `other`, learned from other texts; returns the table and their new numbers
    (int32).

    Args:
        learned: the table to add to.
        other: a table of other texts.

    Returns:
        Table, and the new number of each term of `other`.
    """
    slots, offsets, chars, hashes, uses, num_terms = learned
    _, other_offsets, other_chars, other_hashes, other_uses, num_others = other
    slots = _half_empty(slots, hashes, num_terms, num_terms + num_others)
    hashes = _grown(hashes, num_terms, num_terms + num_others)
    uses = _grown(uses, 2 * num_terms, 2 * (num_terms + num_others))
    offsets = _grown(offsets, num_terms + 1, num_terms + num_others + 1)
    numbers = np.empty(num_others, np.int32)
    for o in range(num_others):
        begin, end, hashed = other_offsets[o], other_offsets[o + 1] - 1, other_hashes[o]
        term = find(slots, offsets, chars, other_chars, begin, end, hashed)
        if term < 0:
            slots[-1 - term] = slot_of(num_terms, hashed)
            term = num_terms
            chars = _append(chars, offsets, term, other_chars, begin, end)
            hashes[term] = hashed
            uses[2 * term], uses[2 * term + 1] = 0, -1
            num_terms += 1
        uses[2 * term] += other_uses[2 * o]
        numbers[o] = term
    return Learned(slots, offsets, chars, hashes, uses, num_terms), numbers


@njit(nogil=True, cache=True)
def _append(
    chars: np.ndarray, offsets: np.ndarray, term: int, source: np.ndarray, begin: int, end: int
) -> np.ndarray:
    """Write source[begin:end] and a newline as term number `term`; returns `chars`, or longer."""
    out = offsets[term]
    chars = _grown(chars, out, out + end - begin + 1 + PADDING)
    for i in range(end - begin):
        chars[out + i] = source[begin + i]
    chars[out + end - begin] = 10
    offsets[term + 1] = out + end - begin + 1
    return chars


@njit(nogil=True, cache=True)
def _grown(array: np.ndarray, used: int, needed: int) -> np.ndarray:
    """The array, or a longer one with the same first `used` items, with room for `needed`."""
    if needed <= len(array):
        return array
    longer = np.empty(needed + needed // 2, array.dtype)
    longer[:used] = array[:used]
    return longer


@njit(nogil=True, cache=True)
def _half_empty(slots: np.ndarray, hashes: np.ndarray, num_terms: int, needed: int) -> np.ndarray:
    """The slots, or more of them with the same terms, at most half full with `needed` terms."""
    num_slots = len(slots)
    while num_slots < 2 * needed:
        num_slots *= 2
    if num_slots == len(slots):
        return slots
    more = np.zeros(num_slots, np.uint64)
    last = np.uint64(num_slots - 1)
    for term in range(num_terms):
        at = hashes[term] & last
        while more[at] != _EMPTY:
            at = (at + np.uint64(1)) & last
        more[at] = slot_of(term, hashes[term])
    return more


@njit(nogil=True, cache=True)
def look_up(
    text: np.ndarray, lengths_N: np.ndarray, plan: NgramPlan, table: TermTable
) -> tuple[np.ndarray, np.ndarray]:
    """The stream of a block with nothing but the terms of `table` in it.

    Args:
        text: texts in UTF-8, one after another, uint8.
        lengths_N: characters of each text.
        plan: which n-grams are wanted.
        table: the terms.

    Returns:
        Stream (int32), and where each text ends in it (int64).
    """
    slots, offsets, chars = table
    line, starts, joints, spans = scratch_for(lengths_N)
    hashes, touched = np.empty(CHUNK, np.uint64), np.empty(CHUNK, np.int64)
    stream = np.empty(len(text) // 4 + 16, np.int32)
    ends_N = np.empty(len(lengths_N), np.int64)
    size, at = 0, 0
    for n in range(len(lengths_N)):
        num_tokens, at, has_units = write_line(text, at, lengths_N[n], plan, line, starts, joints)
        spans, num_spans = find_spans(line, num_tokens, starts, joints, has_units, plan, spans)
        if size + num_spans > len(stream):
            longer = np.empty(size + num_spans + len(stream) // 2, np.int32)
            longer[:size] = stream[:size]
            stream = longer
        for s in range(num_spans):
            if s % CHUNK == 0:
                end = min(s + CHUNK, num_spans)
                hash_spans(line, spans, s, end, slots, offsets, chars, hashes, touched)
            lo, hi = spans[s, 0], spans[s, 1]
            term = find(slots, offsets, chars, line, lo, hi, hashes[s % CHUNK])
            if term >= 0:
                stream[size] = term
                size += 1
        ends_N[n] = size
    return stream[:size], ends_N


@njit(nogil=True, cache=True)
def count_columns(
    stream: np.ndarray, ends_N: np.ndarray, counts: np.ndarray, row_ends_N: np.ndarray
) -> int:
    """Turn a stream of columns into rows, in place; returns how many entries they have.

    Columns below 0 are dropped. The columns of each row are sorted, and `counts` (float32, as long
    as the stream) says how often each was there.

    Args:
        stream: columns, int32; receives the columns of the rows.
        ends_N: where each row ends in the stream.
        counts: receives the counts.
        row_ends_N: receives where each row ends.

    Returns:
        Number of entries.
    """
    lo, out = 0, 0
    for n in range(len(ends_N)):
        hi = ends_N[n]
        columns = stream[lo:hi]
        columns.sort()
        last = np.int32(-1)
        for i in range(lo, hi):
            if stream[i] < 0:
                continue
            if stream[i] == last:
                counts[out - 1] += 1
                continue
            last = stream[i]
            stream[out], counts[out] = last, 1
            out += 1
        row_ends_N[n] = out
        lo = hi
    return out
