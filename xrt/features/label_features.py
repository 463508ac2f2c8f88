"""Label features Z: what the tree clusters.

PIFA (positive instance feature aggregation): a label is the direction of the sum of its instances,

    Z = rownorm( rownorm(Y)^T X )

where each instance shares one unit of length among its labels, so that instances with many labels
say less about each. A label without instances has a row of zeros; the tree places it anywhere.

Shapes: N instances, L labels, F sparse features, H dense features.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numba import njit

from xrt.errors import ConfigError, DataError
from xrt.features.tfidf import TfidfFeatures
from xrt.hybrid import HybridMatrix
from xrt.progress import Progress
from xrt.sparse import as_csr, binarize, normalize_rows
from xrt.threads import run_blocks

# multiply-adds of a block of labels: bounds what a thread holds before pruning (8 bytes each)
_BLOCK_PRODUCTS = 1 << 24


def pifa(
    X: Any,
    Y: Any,
    *,
    max_features_per_label: int | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> sp.csr_array:
    """PIFA of sparse features: X (N, F) and Y (N, L) give csr float32 (L, F), rows of length 1.

    An entry of Y other than 0 makes its row an instance of the label. `max_features_per_label`
    keeps only the entries of largest absolute weight in each row (before it is scaled), which
    bounds the memory of labels with many instances; None keeps all.

    Raises DataError when X and Y differ in rows, ConfigError when the limit is below 1.
    """
    X_NF, shares_LN = as_csr(X, "X"), _label_shares(Y)
    sums_LF = _sum_instances(X_NF, shares_LN, max_features_per_label, num_threads, progress)
    return normalize_rows(sums_LF)


def pifa_dense(E_NH: np.ndarray, Y: Any) -> np.ndarray:
    """PIFA of dense features: float32 (L, H), rows of length 1 (0 for a label without instances).

    Raises DataError when E and Y differ in rows.
    """
    sums_LH = _sum_dense(np.asarray(E_NH, np.float32), _label_shares(Y))
    return _scale(sums_LH, _squared_lengths(sums_LH))


def pifa_hybrid(
    X: HybridMatrix,
    Y: Any,
    *,
    max_features_per_label: int | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> HybridMatrix:
    """PIFA of [sparse | dense] rows: both blocks of a label (L, F) and (L, H) have joint length 1.

    How much each block counts is set by the lengths of the rows of X. Pruning concerns the sparse
    block.

    Raises DataError when X and Y differ in rows, ConfigError when the limit is below 1.
    """
    shares_LN = _label_shares(Y)
    sums_LF = _sum_instances(X.sparse, shares_LN, max_features_per_label, num_threads, progress)
    sums_LH = _sum_dense(X.dense, shares_LN)
    rows = np.repeat(np.arange(sums_LF.shape[0]), np.diff(sums_LF.indptr))
    squares_L = _squared_lengths(sums_LH)
    squares_L += np.bincount(rows, sums_LF.data.astype(np.float64) ** 2, sums_LF.shape[0])
    scale_L = 1.0 / np.sqrt(np.where(squares_L > 0, squares_L, 1.0))
    data = (sums_LF.data * scale_L[rows]).astype(np.float32)
    sparse_LF = sp.csr_array((data, sums_LF.indices, sums_LF.indptr), shape=sums_LF.shape)
    return HybridMatrix(sparse_LF, _scale(sums_LH, squares_L))


def label_text_features(names: Sequence[str], tfidf: TfidfFeatures) -> sp.csr_array:
    """TF-IDF rows of the labels' names, csr float32 (L, F); empty without a known word."""
    return tfidf.transform(list(names))


def _label_shares(Y: Any) -> sp.csr_array:
    """rownorm(Y) transposed, (L, N): the instances of each label and what they give to it."""
    shares_NL = normalize_rows(binarize(as_csr(Y, "Y")))
    return as_csr(shares_NL.T)


def _check_rows(num_rows: int, shares_LN: sp.csr_array) -> None:
    if num_rows != shares_LN.shape[1]:
        raise DataError(
            f"X has {num_rows} rows, Y has {shares_LN.shape[1]}; pass both for the same instances"
        )


def _sum_instances(
    X_NF: sp.csr_array,
    shares_LN: sp.csr_array,
    max_features: int | None,
    num_threads: int | None,
    progress: Progress | None,
) -> sp.csr_array:
    """Shares @ X, in blocks of labels so that only pruned rows are held for long."""
    _check_rows(X_NF.shape[0], shares_LN)
    if max_features is not None and max_features < 1:
        raise ConfigError(f"max_features_per_label = {max_features}: at least 1 or none is needed")
    bounds = _label_blocks(X_NF, shares_LN)
    num_blocks = len(bounds) - 1

    def sum_block(block: int) -> sp.csr_array:
        sums_BF = shares_LN[bounds[block] : bounds[block + 1]] @ X_NF
        sums_BF.sort_indices()
        return sums_BF if max_features is None else _keep_heaviest(sums_BF, max_features)

    if progress is not None:
        progress.start("label features", shares_LN.shape[0])
    blocks = run_blocks(
        sum_block, num_blocks, num_threads, progress, lambda b: int(bounds[b + 1] - bounds[b])
    )
    if progress is not None:
        progress.finish()
    return as_csr(sp.vstack(blocks, format="csr"))


def _label_blocks(X_NF: sp.csr_array, shares_LN: sp.csr_array) -> np.ndarray:
    """First label of each block and the end: blocks of about `_BLOCK_PRODUCTS` multiply-adds."""
    products = np.concatenate([[0], np.cumsum(np.diff(X_NF.indptr)[shares_LN.indices])])
    products_before_L = products[shares_LN.indptr]
    marks = np.arange(_BLOCK_PRODUCTS, products_before_L[-1], _BLOCK_PRODUCTS)
    inner = np.searchsorted(products_before_L, marks)
    bounds: np.ndarray = np.unique(np.concatenate([[0], inner, [shares_LN.shape[0]]]))
    return bounds


def _keep_heaviest(X_NF: sp.csr_array, max_entries: int) -> sp.csr_array:
    """The entries of largest absolute value of each row; among equals the lower column stays."""
    counts = np.minimum(np.diff(X_NF.indptr), max_entries)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(X_NF.indptr.dtype)
    kept = np.empty(indptr[-1], np.int64)
    _fill_heaviest(X_NF.indptr, X_NF.data, indptr, kept)
    return sp.csr_array((X_NF.data[kept], X_NF.indices[kept], indptr), shape=X_NF.shape)


@njit(nogil=True, cache=True)
def _fill_heaviest(in_ptr, in_data, out_ptr, kept):  # type: ignore[no-untyped-def]
    """Positions of the entries to keep, in rising order within each row."""
    for row in range(len(in_ptr) - 1):
        lo, hi, out = in_ptr[row], in_ptr[row + 1], out_ptr[row]
        num_kept = out_ptr[row + 1] - out
        if num_kept == hi - lo:
            kept[out : out + num_kept] = np.arange(lo, hi)
            continue
        weights = np.abs(in_data[lo:hi])
        bar = np.partition(weights, hi - lo - num_kept)[hi - lo - num_kept]
        num_at_bar = num_kept - np.sum(weights > bar)
        for j in range(hi - lo):
            at_bar = weights[j] == bar
            if weights[j] > bar or (at_bar and num_at_bar > 0):
                num_at_bar -= at_bar
                kept[out] = lo + j
                out += 1


def _sum_dense(E_NH: np.ndarray, shares_LN: sp.csr_array) -> np.ndarray:
    """Shares @ E, float32 (L, H)."""
    if E_NH.ndim != 2:
        raise DataError(f"dense features: {E_NH.ndim} dimension(s) where 2 are needed")
    _check_rows(E_NH.shape[0], shares_LN)
    sums_LH: np.ndarray = shares_LN @ E_NH
    return sums_LH


def _squared_lengths(rows_LH: np.ndarray) -> np.ndarray:
    """Squared Euclidean length of each row, float64."""
    squares_L: np.ndarray = np.einsum("lh,lh->l", rows_LH, rows_LH, dtype=np.float64)
    return squares_L


def _scale(rows_LH: np.ndarray, squares_L: np.ndarray) -> np.ndarray:
    """Rows divided by the root of `squares_L`; those of length 0 stay."""
    lengths_L = np.sqrt(np.where(squares_L > 0, squares_L, 1.0))
    return (rows_LH / lengths_L[:, None]).astype(np.float32)
