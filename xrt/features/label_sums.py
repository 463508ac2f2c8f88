"""Sums of each label's instances, scaled to length 1: the kernels behind PIFA.

A block of labels at a time, into scratch as wide as the matrix: weights are added column by column,
and a bit for each used column lets them come out in order without sorting or looking at the others.

N instances, L labels, F sparse columns, H dense columns.
"""

import numpy as np

from xrt.jit import njit

# What lets the compiler use SIMD; NaN and infinities keep their meaning.
_SIMD = {"reassoc", "contract", "nsz"}

# The lowest set bit b of a word: _BIT_OF[((word & -word) * _DE_BRUIJN) >> 58] = b.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_BIT_OF = np.empty(64, np.int64)
_BIT_OF[[((0x03F79D71B4CB0A89 << b) & (2**64 - 1)) >> 58 for b in range(64)]] = np.arange(64)


class LabelScratch:
    """What one thread needs to sum labels over F columns; all zeros between calls."""

    def __init__(self, num_features: int) -> None:
        num_words = num_features // 64 + 1
        self.words = np.zeros(num_words, np.uint64)
        words_of_words = np.zeros(num_words // 64 + 1, np.uint64)
        sums_F, columns_F = np.zeros(num_features, np.float32), np.empty(num_features, np.int32)
        self.arrays = (sums_F, columns_F, self.words, words_of_words)


@njit(nogil=True, cache=True)
def count_rows(indices: np.ndarray, counts_F: np.ndarray) -> None:
    """Add to each column how many entries it has."""
    for column in indices:
        counts_F[column] += 1


@njit(nogil=True, cache=True, fastmath=_SIMD)
def keep_lengths(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    weights_F: np.ndarray,
    lo: int,
    hi: int,
    scales_N: np.ndarray,
) -> None:
    """What brings each row lo .. hi-1 back to its length when its columns have been weighted."""
    for row in range(lo, hi):
        before, after = 0.0, 0.0
        for j in range(indptr[row], indptr[row + 1]):
            weighted = data[j] * weights_F[indices[j]]
            before += np.float64(data[j]) * np.float64(data[j])
            after += np.float64(weighted) * np.float64(weighted)
        scales_N[row] = np.sqrt(before / after) if after > 0 else 1.0


@njit(nogil=True, cache=True)
def count_columns(
    indptr: np.ndarray,
    indices: np.ndarray,
    label_ptr: np.ndarray,
    label_rows: np.ndarray,
    lo: int,
    hi: int,
    limit: int,
    words: np.ndarray,
    counts_L: np.ndarray,
) -> None:
    """Different columns among the instances of each label lo .. hi-1, at most `limit`."""
    for label in range(lo, hi):
        count = 0
        for r in range(label_ptr[label], label_ptr[label + 1]):
            row = label_rows[r]
            for j in range(indptr[row], indptr[row + 1]):
                column = np.uint64(indices[j])
                bit = np.uint64(1) << (column & np.uint64(63))
                word = words[column >> np.uint64(6)]
                count += (word & bit) == 0
                words[column >> np.uint64(6)] = word | bit
        for r in range(label_ptr[label], label_ptr[label + 1]):
            row = label_rows[r]
            for j in range(indptr[row], indptr[row + 1]):
                words[np.uint64(indices[j]) >> np.uint64(6)] = 0
        counts_L[label] = min(count, limit)


@njit(nogil=True, cache=True, fastmath=_SIMD)
def sum_labels(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    dense_NH: np.ndarray,
    weights_F: np.ndarray,
    sparse_shares_N: np.ndarray,
    shares_N: np.ndarray,
    confidences: np.ndarray | None,
    label_ptr: np.ndarray,
    label_rows: np.ndarray,
    lo: int,
    hi: int,
    scratch: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    out_ptr: np.ndarray,
    out_indices: np.ndarray,
    out_data: np.ndarray,
    out_LH: np.ndarray,
) -> None:
    """Rows lo .. hi-1 of the labels' features, each of length 1 over both blocks.

    Rows add what they share, times the entry of `confidences` that stands beside them in
    `label_rows` (None: 1 everywhere), then columns are multiplied by `weights_F`, then the heaviest
    stay.
    `scratch` is the arrays of a `LabelScratch`; `out_ptr` is made from `count_columns`.
    """
    sums_F, columns_F, words, words_of_words = scratch
    for label in range(lo, hi):
        sums_H = out_LH[label]
        for r in range(label_ptr[label], label_ptr[label + 1]):
            row = label_rows[r]
            share, dense_share = sparse_shares_N[row], shares_N[row]
            if confidences is not None:
                share, dense_share = share * confidences[r], dense_share * confidences[r]
            for j in range(indptr[row], indptr[row + 1]):
                column = np.uint64(indices[j])
                word = column >> np.uint64(6)
                sums_F[column] += share * data[j]
                words[word] |= np.uint64(1) << (column & np.uint64(63))
                words_of_words[word >> np.uint64(6)] |= np.uint64(1) << (word & np.uint64(63))
            for h in range(dense_NH.shape[1]):
                sums_H[h] += dense_share * dense_NH[row, h]
        used = columns_F[: _used_columns(words, words_of_words, columns_F)]
        for column in used:
            sums_F[column] *= weights_F[column]
        out, end = out_ptr[label], out_ptr[label + 1]
        _keep_heaviest(sums_F, used, out_indices[out:end], out_data[out:end])
        _scale_together(out_data[out:end], sums_H)


@njit(nogil=True, cache=True)
def _used_columns(words: np.ndarray, words_of_words: np.ndarray, columns_F: np.ndarray) -> int:
    """Write the columns whose bit is set, ascending, and clear all bits; how many there were."""
    num_used = 0
    for upper in range(len(words_of_words)):
        used_words = words_of_words[upper]
        words_of_words[upper] = 0
        while used_words:
            word = 64 * upper + _lowest_bit(used_words)
            used_words &= used_words - np.uint64(1)
            used_columns = words[word]
            words[word] = 0
            while used_columns:
                columns_F[num_used] = 64 * word + _lowest_bit(used_columns)
                used_columns &= used_columns - np.uint64(1)
                num_used += 1
    return num_used


@njit(nogil=True, cache=True, inline="always")
def _lowest_bit(word: np.uint64) -> np.uint64:
    bit: np.uint64 = _BIT_OF[((word & -word) * _DE_BRUIJN) >> np.uint64(58)]
    return bit


@njit(nogil=True, cache=True)
def _keep_heaviest(
    sums_F: np.ndarray, used: np.ndarray, out_indices: np.ndarray, out_data: np.ndarray
) -> None:
    """Move the sums of largest absolute value to the output, as many as it holds, and clear all.

    Among equals the lower column stays.
    """
    bar, num_at_bar = np.float32(-1), 0
    if len(out_data) < len(used):
        weights = np.abs(sums_F[used])
        bar = np.partition(weights, len(used) - len(out_data))[len(used) - len(out_data)]
        num_at_bar = len(out_data) - np.sum(weights > bar)
    out = 0
    for column in used:
        weight = sums_F[column]
        sums_F[column] = 0
        at_bar = abs(weight) == bar
        if abs(weight) > bar or (at_bar and num_at_bar > 0):
            num_at_bar -= at_bar
            out_indices[out], out_data[out] = column, weight
            out += 1


@njit(nogil=True, cache=True, fastmath=_SIMD)
def _scale_together(data: np.ndarray, sums_H: np.ndarray) -> None:
    """Divide both parts of a row by their joint length; a row of zeros stays."""
    squares = 0.0
    for j in range(len(data)):
        squares += np.float64(data[j]) * np.float64(data[j])
    for h in range(len(sums_H)):
        squares += np.float64(sums_H[h]) * np.float64(sums_H[h])
    if squares > 0:
        scale = np.float32(1 / np.sqrt(squares))
        for j in range(len(data)):
            data[j] *= scale
        for h in range(len(sums_H)):
            sums_H[h] *= scale
