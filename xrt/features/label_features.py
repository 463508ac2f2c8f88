"""Label features Z, which the tree clusters.

PIFA (positive instance feature aggregation): a label is the direction of the sum of its instances,

    Z = rownorm( rownorm(Y)^T X )

where each instance shares one unit of length among its labels, so that instances with many labels
count less for each. Entries of Y are confidences: a doubtful label gets a smaller share. An
instance's own weight multiplies all its shares. A label without instances has a row of zeros; the
tree places it anywhere.

Here a sparse column of X is first weighted by its rarity, (1 + log(N / rows that have it))^r, and
each row then brought back to its length. TF-IDF has weighted columns so once already; a second
time groups labels by topic rather than by words that all texts share; trees over such groups rank
held-out rows better. `rarity` = 0 is PIFA as published.

A block of labels is summed at a time, into scratch memory as wide as the matrix: weights are added
column by column, and a bit for each used column lets them come out in order without sorting or
looking at the others.

Shapes: N instances, L labels, F sparse features, H dense features.
"""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from xrt.errors import ConfigError, DataError
from xrt.features.tfidf import TfidfFeatures
from xrt.hybrid import HybridMatrix
from xrt.jit import njit
from xrt.progress import Progress
from xrt.sparse import as_csr, binarize
from xrt.threads import run_blocks

# multiply-adds of a block of labels: about a millisecond of work
_BLOCK_PRODUCTS = 1 << 20
_BLOCK_ROWS = 1 << 14


def pifa(
    X: Any,
    Y: Any,
    *,
    max_features_per_label: int | None = None,
    rarity: float = 1.0,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> sp.csr_array:
    """PIFA of sparse features: X (N, F) and Y (N, L) give csr float32 (L, F), rows of length 1.

    An entry of Y other than 0 makes its row an instance of the label, with that confidence.
    `max_features_per_label` keeps only the entries of largest absolute weight in each row (before
    it is scaled), which bounds the memory of labels with many instances; None keeps all. `rarity`
    is the exponent r above; 0 leaves X as it is.

    Args:
        X: sparse features (N, F).
        Y: labels (N, L); entries are confidences.
        max_features_per_label: entries of largest absolute weight that a row keeps, before it is
            scaled; bounds the memory of labels with many instances. None keeps all.
        rarity: the exponent r above; 0 leaves X as it is.
        num_threads: threads; None for the default.
        progress: receives the progress; None for none.

    Returns:
        csr float32 (L, F), rows of length 1.

    Raises:
        DataError: X and Y differ in rows.
        ConfigError: the limit is below 1 or the rarity below 0.
    """
    X_NF = as_csr(X, "X")
    no_dense = np.zeros((X_NF.shape[0], 0), np.float32)
    X = HybridMatrix(X_NF, no_dense)
    return _aggregate(X, Y, max_features_per_label, rarity, num_threads, progress).sparse


def pifa_hybrid(
    X: HybridMatrix,
    Y: Any,
    *,
    max_features_per_label: int | None = None,
    rarity: float = 1.0,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> HybridMatrix:
    """PIFA of [sparse | dense] rows: both blocks of a label (L, F) and (L, H) have joint length 1.

    Each block counts by the lengths of its rows in X, each row by its weight. Pruning and rarity
    concern the sparse block.

    Args:
        X: features (N, F + H), with the weights of their rows.
        Y: labels (N, L); entries are confidences.
        max_features_per_label: as in `pifa`.
        rarity: as in `pifa`.
        num_threads: threads; None for the default.
        progress: receives the progress; None for none.

    Returns:
        Rows (L, F + H) of length 1.

    Raises:
        DataError: X and Y differ in rows.
        ConfigError: the limit is below 1 or the rarity below 0.
    """
    return _aggregate(X, Y, max_features_per_label, rarity, num_threads, progress)


def label_text_features(names: Sequence[str], tfidf: TfidfFeatures) -> sp.csr_array:
    """TF-IDF rows of the labels' names, csr float32 (L, F); empty without a known word.

    Args:
        names: of the labels.
        tfidf: fitted.

    Returns:
        csr float32 (L, F).
    """
    return tfidf.transform(list(names))


class _Instances(NamedTuple):
    """The rows of each label, as in csc, the share of each row in any of its labels, and the
    confidence of each entry; None where all are 1.
    """

    indptr: np.ndarray
    rows: np.ndarray
    shares_N: np.ndarray
    confidences: np.ndarray | None

    @classmethod
    def of(cls, Y_NL: sp.csr_array, weights_N: np.ndarray | None) -> "_Instances":
        labels_NL = binarize(Y_NL)
        squares_N = np.diff(labels_NL.indptr).astype(np.float64)
        certain = ((Y_NL.data == 1) | (Y_NL.data == 0)).all()
        if not certain:
            labels_NL.data = Y_NL.data[Y_NL.data != 0]
            rows = np.repeat(np.arange(len(squares_N)), np.diff(labels_NL.indptr))
            squares_N = np.bincount(rows, labels_NL.data.astype(float) ** 2, len(squares_N))
        columns = labels_NL.tocsc()
        shares_N = (1.0 / np.sqrt(np.where(squares_N > 0, squares_N, 1))).astype(np.float32)
        if weights_N is not None:
            shares_N *= weights_N
        return cls(columns.indptr, columns.indices, shares_N, None if certain else columns.data)

    @property
    def num_labels(self) -> int:
        return len(self.indptr) - 1


def _aggregate(
    X: HybridMatrix,
    Y: Any,
    limit: int | None,
    rarity: float,
    num_threads: int | None,
    progress: Progress | None,
) -> HybridMatrix:
    """Both blocks of Z, in blocks of labels: columns are counted first, then rows are written."""
    X_NF, E_NH = X.sparse, X.dense
    Y_NL = as_csr(Y, "Y")
    _check(X_NF.shape[0], Y_NL.shape[0], limit, rarity)
    instances = _Instances.of(Y_NL, X.weights_N)
    L, F = instances.num_labels, X_NF.shape[1]
    bounds = _label_blocks(X_NF, E_NH.shape[1], instances)
    num_blocks = len(bounds) - 1
    weights_F, scales_N = _weigh_columns(X_NF, rarity, num_threads)
    shares = (weights_F, instances.shares_N * scales_N, instances.shares_N)
    label_ptr, label_rows = instances.indptr, instances.rows
    counts_L = np.empty(L, np.int64)
    scratch = threading.local()

    def of_thread() -> LabelScratch:
        if not hasattr(scratch, "value"):
            scratch.value = LabelScratch(F)
        value: LabelScratch = scratch.value
        return value

    def count(block: int) -> None:
        words, at_most = of_thread().words, F if limit is None else limit
        block_of_labels = (label_ptr, label_rows, bounds[block], bounds[block + 1])
        count_columns(X_NF.indptr, X_NF.indices, *block_of_labels, at_most, words, counts_L)

    def fill(block: int) -> None:
        block_of_labels = (label_ptr, label_rows, bounds[block], bounds[block + 1])
        rows = (X_NF.indptr, X_NF.indices, X_NF.data, E_NH)
        out = (Z_LF.indptr, Z_LF.indices, Z_LF.data, Z_LH)
        sum_labels(
            *rows, *shares, instances.confidences, *block_of_labels, of_thread().arrays, *out
        )

    if progress is not None:
        progress.start("label features", L)
    run_blocks(count, num_blocks, num_threads)
    Z_LF, Z_LH = _empty_csr(counts_L, F), np.zeros((L, E_NH.shape[1]), np.float32)
    run_blocks(fill, num_blocks, num_threads, progress, lambda b: int(bounds[b + 1] - bounds[b]))
    if progress is not None:
        progress.finish()
    return HybridMatrix(Z_LF, Z_LH)


def _check(num_rows: int, num_rows_of_y: int, limit: int | None, rarity: float) -> None:
    if num_rows != num_rows_of_y:
        raise DataError(
            f"X has {num_rows} rows, Y has {num_rows_of_y}; pass both for the same instances"
        )
    if limit is not None and limit < 1:
        raise ConfigError(f"max_features_per_label = {limit}: at least 1 or none is needed")
    if not rarity >= 0:
        raise ConfigError(f"rarity = {rarity}: must not be below 0")


def _weigh_columns(
    X_NF: sp.csr_array, rarity: float, num_threads: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of columns, and factors that keep the lengths of rows under them: float32 (F,) and
    (N,).
    """
    N, F = X_NF.shape
    scales_N = np.ones(N, np.float32)
    if rarity == 0:
        return np.ones(F, np.float32), scales_N
    counts_F = np.zeros(F, np.int64)
    count_rows(X_NF.indices, counts_F)
    weights_F = ((1 + np.log(N / np.maximum(1, counts_F))) ** rarity).astype(np.float32)

    def scale(block: int) -> None:
        lo, hi = block * _BLOCK_ROWS, min((block + 1) * _BLOCK_ROWS, N)
        keep_lengths(X_NF.indptr, X_NF.indices, X_NF.data, weights_F, lo, hi, scales_N)

    run_blocks(scale, -(-N // _BLOCK_ROWS), num_threads)
    return weights_F, scales_N


def _label_blocks(X_NF: sp.csr_array, num_dense: int, instances: _Instances) -> np.ndarray:
    """First label of each block and the end: blocks of about `_BLOCK_PRODUCTS` multiply-adds."""
    widths = np.diff(X_NF.indptr)[instances.rows] + np.int64(num_dense)
    products_before_L = np.concatenate([[0], np.cumsum(widths)])[instances.indptr]
    marks = np.arange(_BLOCK_PRODUCTS, products_before_L[-1], _BLOCK_PRODUCTS)
    inner = np.searchsorted(products_before_L, marks)
    bounds: np.ndarray = np.unique(np.concatenate([[0], inner, [instances.num_labels]]))
    return bounds


def _empty_csr(counts_L: np.ndarray, num_columns: int) -> sp.csr_array:
    """A matrix with room for so many entries a row, not filled yet."""
    indptr = np.concatenate([[0], np.cumsum(counts_L)])
    wide = indptr[-1] >= 2**31 - 1 or num_columns >= 2**31 - 1
    dtype = np.int64 if wide else np.int32
    indices, data = np.empty(indptr[-1], dtype), np.empty(indptr[-1], np.float32)
    return sp.csr_array((data, indices, indptr.astype(dtype)), shape=(len(counts_L), num_columns))


# Lets the compiler use SIMD; NaN and infinities keep their meaning.
_SIMD = {"reassoc", "contract", "nsz"}

# The lowest set bit b of a word: _BIT_OF[((word & -word) * _DE_BRUIJN) >> 58] = b.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_BIT_OF = np.empty(64, np.int64)
_BIT_OF[[((0x03F79D71B4CB0A89 << b) & (2**64 - 1)) >> 58 for b in range(64)]] = np.arange(64)


class LabelScratch:
    """Scratch memory of one thread to sum labels over F columns; zeros between calls."""

    def __init__(self, num_features: int) -> None:
        num_words = num_features // 64 + 1
        self.words = np.zeros(num_words, np.uint64)
        words_of_words = np.zeros(num_words // 64 + 1, np.uint64)
        sums_F, columns_F = np.zeros(num_features, np.float32), np.empty(num_features, np.int32)
        self.arrays = (sums_F, columns_F, self.words, words_of_words)


@njit(nogil=True, cache=True)
def count_rows(indices: np.ndarray, counts_F: np.ndarray) -> None:
    """Add to each column how many entries it has.

    Args:
        indices: columns of the entries.
        counts_F: numbers, added to, (F,).
    """
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
    """Fill in the factors that keep the length of each row lo .. hi-1 under weights of columns.

    Args:
        indptr: where each row's entries begin, of a csr matrix (N, F).
        indices: columns of the entries.
        data: values of the entries.
        weights_F: weight of each column, (F,).
        lo: first row.
        hi: the row behind the last.
        scales_N: receives the factors, (N,); 1 for a row without length.
    """
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
    """Different columns among the instances of each label lo .. hi-1, at most `limit`.

    Args:
        indptr: where each row's entries begin, of a csr matrix (N, F).
        indices: columns of the entries.
        label_ptr: where the instances of each label begin, (L + 1,).
        label_rows: instances of the labels.
        lo: first label.
        hi: the label behind the last.
        limit: largest number that is written.
        words: scratch, a bit for each column, uint64: zeros when called and left.
        counts_L: receives the numbers, (L,).
    """
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

    A row adds its share, times its entry of `confidences`, aligned with `label_rows` (None: 1
    everywhere); then columns are multiplied by `weights_F`, then the heaviest stay.
    `scratch` is the arrays of a `LabelScratch`; `out_ptr` is made from `count_columns`.

    Args:
        indptr: where each row's entries begin, of a csr matrix (N, F).
        indices: columns of the entries.
        data: values of the entries.
        dense_NH: dense features, (N, H).
        weights_F: weight of each column, (F,).
        sparse_shares_N: how much each row adds to sparse columns, (N,).
        shares_N: how much each row adds to dense columns, (N,).
        confidences: confidence of each instance in its label, or None.
        label_ptr: where the instances of each label begin, (L + 1,).
        label_rows: instances of the labels.
        lo: first label.
        hi: the label behind the last.
        scratch: sums, columns, and two bit maps of columns.
        out_ptr: where each label's entries begin, (L + 1,).
        out_indices: receives columns.
        out_data: receives values.
        out_LH: receives dense features, (L, H).
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
    """Write the columns whose bit is set, ascending, and clear all bits; returns their number."""
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
