"""Sorts terms as Python sorts strings: by code point, which is the order of their UTF-8 bytes.

Seven bytes at a time: they and the number of bytes left (8: more than seven) make one 64-bit key.
Different terms with equal keys go on with their next seven bytes.
"""

import numpy as np

from xrt.jit import njit

_CHUNK = 7


def sorted_terms(offsets: np.ndarray, chars: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """The numbers `terms` of different terms of a table, in the order of the terms, int64."""
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
