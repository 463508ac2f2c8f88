"""Counts known terms in blocks of texts: kernels from bytes to rows of a CSR matrix.

N texts of a block.
"""

import numpy as np

from xrt.features.ngrams.spans import NgramPlan, find_spans, scratch_for, write_line
from xrt.features.ngrams.table import CHUNK, TermTable, find, hash_spans
from xrt.jit import njit


@njit(nogil=True, cache=True)
def look_up(
    text: np.ndarray, lengths_N: np.ndarray, plan: NgramPlan, table: TermTable
) -> tuple[np.ndarray, np.ndarray]:
    """The stream of a block (see `term_learning`) with nothing but the terms of `table` in it."""
    slots, offsets, chars = table
    line, starts, marks, spans = scratch_for(lengths_N)
    hashes, touched = np.empty(CHUNK, np.uint64), np.empty(CHUNK, np.int64)
    stream = np.empty(len(text) // 4 + 16, np.int32)
    ends_N = np.empty(len(lengths_N), np.int64)
    size, at = 0, 0
    for n in range(len(lengths_N)):
        num_tokens, at = write_line(text, at, lengths_N[n], plan, line, starts)
        spans, num_spans = find_spans(line, num_tokens, starts, plan, marks, spans)
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
