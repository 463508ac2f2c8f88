"""CSR primitives: the one representation of X, Y, scores and candidates inside xrt.

N rows, M columns. A matrix is a `csr_array` of float32 with sorted int32 (or, when too large,
int64) indices and no duplicates; an absent entry means 0.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.jit import njit
from xrt.storage.atomic import save_array, write_json
from xrt.storage.reading import check_csr, load_array
from xrt.storage.saved_values import SavedValues


def as_csr(matrix: Any, what: str = "matrix") -> sp.csr_array:
    """Bring any two-dimensional matrix, sparse or dense, to the form used inside xrt.

    Compiled code uses columns and row pointers of the result without checking, so all are checked
    here.

    Args:
        matrix: numbers of any real type, (N, M). Its arrays are shared where nothing has to be
            changed.
        what: its name in messages.

    Returns:
        float32 in canonical form: sorted columns, none twice.

    Raises:
        DataError: it is not two-dimensional or not numeric, it holds NaN or an infinity, or its
            parts do not make a matrix.
    """
    csr = numbers_csr(matrix, what)
    if csr.dtype == np.float32:
        return csr
    with np.errstate(over="ignore"):
        narrow = csr.astype(np.float32)
    _require_finite(narrow, csr.data, what)
    return narrow


def numbers_csr(matrix: Any, what: str = "matrix") -> sp.csr_array:
    """As `as_csr`, with the numbers in their own type.

    Args:
        matrix: numbers of any real type, (N, M).
        what: its name in messages.

    Returns:
        The matrix in canonical form.

    Raises:
        DataError: as for `as_csr`.
    """
    if not sp.issparse(matrix) and (hasattr(matrix, "columns") or isinstance(matrix, dict)):
        raise DataError(
            f"{what}: a {type(matrix).__name__}, not a matrix; pass an array, such as "
            "table.to_numpy() gives"
        )
    try:
        csr = _converted(matrix, what)
    except DataError:
        raise
    except (TypeError, ValueError, IndexError, OverflowError) as err:
        raise DataError(
            f"{what}: not a numeric matrix ({_in_short(err)}); pass a scipy sparse or numpy array"
        ) from err
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    _require_finite(csr, csr.data, what)
    return _narrow_indices(csr)


def _converted(matrix: Any, what: str) -> sp.csr_array:
    """A csr_array whose parts are sound, without cached flags about their order."""
    matrix = matrix if sp.issparse(matrix) else np.asarray(matrix)
    if matrix.dtype.kind not in "fiub":
        raise TypeError(f"values of type {matrix.dtype}")
    if matrix.ndim != 2:
        raise DataError(f"{what}: {matrix.ndim} dimension(s) where 2 are needed (rows, columns)")
    if not sp.issparse(matrix):
        dtype = np.dtype(np.float32) if matrix.dtype == np.float16 else matrix.dtype
        return sp.csr_array(matrix.astype(dtype.newbyteorder("="), copy=False))  # scipy takes these
    if matrix.format in ("csr", "csc", "bsr"):
        _require_pointers(matrix, what)
        return sp.csr_array(matrix)
    if matrix.format == "coo":
        _require_places(matrix, what)
    csr = sp.csr_array(matrix)
    _require_pointers(csr, what)
    return csr


def _require_pointers(matrix: Any, what: str) -> None:
    """Check the parts of a csr, csc or bsr matrix: scipy does not check them, and they can be
    changed.
    """
    blocks = matrix.blocksize if matrix.format == "bsr" else (1, 1)
    rows, columns = (size // block for size, block in zip(matrix.shape, blocks, strict=True))
    if matrix.format == "csc":
        rows, columns = columns, rows
    indptr, indices, data = matrix.indptr, matrix.indices, matrix.data
    if indptr.ndim != 1 or indices.ndim != 1 or {indptr.dtype.kind, indices.dtype.kind} != {"i"}:
        raise DataError(f"{what}: row pointers or column numbers are no whole numbers")
    end = int(indptr[-1]) if len(indptr) else -1
    if len(indptr) != rows + 1 or not 0 <= end <= min(len(indices), len(data)):
        raise DataError(
            f"{what}: {len(indptr)} row pointers up to {end}, {len(indices)} column numbers and "
            f"{len(data)} values do not make a matrix of {rows} rows; build it again"
        )
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise DataError(f"{what}: row pointers must rise from 0 to {end}; build it again")
    indices = indices[:end]
    if end and not (indices.min() >= 0 and indices.max() < columns):
        wrong = int(np.flatnonzero((indices < 0) | (indices >= columns))[0])
        row = int(np.searchsorted(indptr, wrong, side="right")) - 1
        raise DataError(
            f"{what}: column {indices[wrong]} at row {row} is outside 0..{columns - 1}; correct it"
        )


def _require_places(coo: Any, what: str) -> None:
    """Check the entries of a coo matrix."""
    for places, size in zip(coo.coords, coo.shape, strict=True):
        if len(places) != len(coo.data):
            raise DataError(f"{what}: {len(places)} places for {len(coo.data)} values")
        if len(places) and not (places.min() >= 0 and places.max() < size):
            raise DataError(f"{what}: an entry lies outside 0..{size - 1}; correct it")


def _require_finite(csr: sp.csr_array, values: np.ndarray, what: str) -> None:
    """Raise DataError, with the original value, where a number is not finite (any more)."""
    if np.isfinite(csr.data).all():
        return
    position = int(np.flatnonzero(~np.isfinite(csr.data))[0])
    row = int(np.searchsorted(csr.indptr, position, side="right")) - 1
    value, column = values[position], int(csr.indices[position])
    raise DataError(f"{what}: value {value} at row {row}, column {column}; remove or replace it")


def _in_short(err: Exception) -> str:
    """The first words of a library's message, which may hold all the data."""
    text = " ".join(str(err).split())
    return text if len(text) <= 120 else f"{text[:120]}..."


def _narrow_indices(csr: sp.csr_array) -> sp.csr_array:
    """int32 indices where they fit; int64 only where nonzeros or columns exceed 2^31."""
    fits = csr.nnz < 2**31 - 1 and csr.shape[1] < 2**31 - 1
    dtype = np.int32 if fits else np.int64
    if csr.indices.dtype == dtype and csr.indptr.dtype == dtype:
        return csr
    parts = (csr.data, csr.indices.astype(dtype), csr.indptr.astype(dtype))
    return sp.csr_array(parts, shape=csr.shape)


def normalize_rows(X_NM: sp.csr_array) -> sp.csr_array:
    """Scale each row to Euclidean length 1; rows of zeros stay as they are.

    Args:
        X_NM: any matrix, which is not changed.

    Returns:
        A matrix with the same entries, scaled.
    """
    values = X_NM.data.view()
    values.flags.writeable = False  # one kernel, whether the matrix is mapped or not
    scaled = copy.copy(X_NM)
    scaled.data = _scaled(X_NM.indptr.astype(np.int64), values)
    return scaled


@njit(nogil=True, cache=True)
def _scaled(indptr: np.ndarray, data: np.ndarray) -> np.ndarray:
    scaled = np.empty(len(data), np.float32)
    for row in range(len(indptr) - 1):
        length = 0.0
        for j in range(indptr[row], indptr[row + 1]):
            value = np.float64(data[j])
            length += value * value
        length = np.sqrt(length)
        if length == 0.0:
            length = 1.0
        for j in range(indptr[row], indptr[row + 1]):
            scaled[j] = np.float64(data[j]) / length
    return scaled


def binarize(X_NM: sp.csr_array) -> sp.csr_array:
    """The pattern of a matrix: 1 where an entry is not 0, and no stored zeros.

    Args:
        X_NM: any matrix.

    Returns:
        csr float32 (N, M).
    """
    keep = X_NM.data != 0
    if keep.all():
        ones = np.ones(X_NM.nnz, np.float32)
        return sp.csr_array((ones, X_NM.indices, X_NM.indptr), shape=X_NM.shape)
    rows = np.repeat(np.arange(X_NM.shape[0]), np.diff(X_NM.indptr))[keep]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=X_NM.shape[0]))])
    ones = np.ones(int(keep.sum()), np.float32)
    return _narrow_indices(sp.csr_array((ones, X_NM.indices[keep], indptr), shape=X_NM.shape))


def top_k_rows(scores_NM: sp.csr_array, k: int) -> sp.csr_array:
    """The `k` highest stored entries of each row; among equals the lower column comes first.

    The result has sorted column indices; use `ranked_columns` for the order of the scores.

    Args:
        scores_NM: any matrix.
        k: entries of a row, at most; at least 1.

    Returns:
        csr float32 (N, M).

    Raises:
        DataError: `k` is below 1.
    """
    if k < 1:
        raise DataError(f"k = {k}: at least 1 is needed")
    if not scores_NM.has_sorted_indices:
        scores_NM = scores_NM.sorted_indices()
    counts = np.minimum(np.diff(scores_NM.indptr), k)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(scores_NM.indptr.dtype)
    indices = np.empty(indptr[-1], scores_NM.indices.dtype)
    data = np.empty(indptr[-1], np.float32)
    _top_k(scores_NM.indptr, scores_NM.indices, scores_NM.data, indptr, indices, data)
    return sp.csr_array((data, indices, indptr), shape=scores_NM.shape)


@njit(nogil=True, cache=True)
def best_places(values: np.ndarray, k: int) -> np.ndarray:
    """Positions of the `k` highest values, best first, the lower position among equals.

    Args:
        values: numbers (n,).
        k: positions, at most.

    Returns:
        int64 (min(k, n),).
    """
    return np.argsort(-values, kind="mergesort")[:k]


@njit(nogil=True, cache=True)
def best_columns(values_NM: np.ndarray, k: int) -> np.ndarray:
    """The columns of the `k` highest values of each row of a dense matrix, ascending.

    Among equals the lower column is taken. Faster than sorting where k is much below M.

    Args:
        values_NM: numbers, (N, M).
        k: columns of a row, at most M.

    Returns:
        int64 (N, k).
    """
    num_rows, width = values_NM.shape
    columns_NK = np.empty((num_rows, k), np.int64)
    for row in range(num_rows):
        values = values_NM[row]
        if k == 0:
            continue
        least = np.partition(values, width - k)[width - k]
        equals = k  # of those as low as the k-th, so many are taken
        for column in range(width):
            equals -= values[column] > least
        place = 0
        for column in range(width):
            if values[column] > least:
                columns_NK[row, place] = column
                place += 1
            elif equals > 0 and not values[column] < least:
                columns_NK[row, place] = column
                place += 1
                equals -= 1
    return columns_NK


@njit(nogil=True, cache=True)
def _top_k(
    in_ptr: np.ndarray,
    in_indices: np.ndarray,
    in_data: np.ndarray,
    out_ptr: np.ndarray,
    out_indices: np.ndarray,
    out_data: np.ndarray,
) -> None:
    for row in range(len(in_ptr) - 1):
        lo, hi = in_ptr[row], in_ptr[row + 1]
        k = out_ptr[row + 1] - out_ptr[row]
        if k == hi - lo:
            places = np.arange(hi - lo)
        else:
            places = np.sort(best_places(in_data[lo:hi], k))
        for j in range(k):
            out_indices[out_ptr[row] + j] = in_indices[lo + places[j]]
            out_data[out_ptr[row] + j] = in_data[lo + places[j]]


def ranked_columns(scores_NM: sp.csr_array, k: int) -> np.ndarray:
    """Columns of the `k` best entries of each row, best first, padded with -1: int64 (N, k).

    Args:
        scores_NM: any matrix.
        k: columns of a row.

    Returns:
        int64 (N, k).
    """
    ranked_NK = np.full((scores_NM.shape[0], k), -1, np.int64)
    if not scores_NM.has_sorted_indices:
        scores_NM = scores_NM.sorted_indices()
    _rank(scores_NM.indptr, scores_NM.indices, scores_NM.data, ranked_NK)
    return ranked_NK


@njit(nogil=True, cache=True)
def _rank(indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, ranked_NK: np.ndarray) -> None:
    k = ranked_NK.shape[1]
    for row in range(len(indptr) - 1):
        lo, hi = indptr[row], indptr[row + 1]
        best = best_places(data[lo:hi], k)
        for j in range(len(best)):
            ranked_NK[row, j] = indices[lo + best[j]]


def pattern_of(X_NM: sp.csr_array) -> sp.csr_array:
    """The same entries, those of 0 too, all 1.

    Args:
        X_NM: any matrix.

    Returns:
        csr float32 (N, M), with shared indices.
    """
    return count_entries([X_NM], [1.0])


def sum_csr(parts: Sequence[sp.csr_array]) -> sp.csr_array:
    """The sum of matrices with an entry wherever one of them has one: entries of 0 stay.

    Args:
        parts: matrices of one shape, at least one; columns of each row ascend.

    Returns:
        csr float32 (N, M); a single part as it is.
    """
    if len(parts) == 1:
        return parts[0]
    return _summed([part.data for part in parts], parts)


def count_entries(parts: Sequence[sp.csr_array], values: Sequence[float]) -> sp.csr_array:
    """The union of the entries of matrices, those of 0 too.

    Args:
        parts: matrices of one shape, at least one; columns of each row ascend.
        values: what an entry of each of them counts.

    Returns:
        csr float32 (N, M): the sum of what the entries at a place count.
    """
    data = [np.full(p.nnz, v, np.float32) for p, v in zip(parts, values, strict=True)]
    return _summed(data, parts)


def _summed(data: Sequence[np.ndarray], parts: Sequence[sp.csr_array]) -> sp.csr_array:
    """The sum of matrices with other values than their own."""
    indptr, indices, values = parts[0].indptr, parts[0].indices, data[0]
    for more, part in zip(data[1:], parts[1:], strict=True):
        indptr, indices, values = _add(indptr, indices, values, part.indptr, part.indices, more)
    total = sp.csr_array(parts[0].shape, dtype=np.float32)
    total.indptr, total.indices, total.data = indptr, indices, values
    return total


@njit(nogil=True, cache=True)
def _add(
    ptr_a: np.ndarray,
    columns_a: np.ndarray,
    values_a: np.ndarray,
    ptr_b: np.ndarray,
    columns_b: np.ndarray,
    values_b: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sum of two csr matrices, row by row like a zip fastener; stored zeros are kept."""
    num_rows = len(ptr_a) - 1
    indptr = np.zeros_like(ptr_a)
    columns = np.empty(len(columns_a) + len(columns_b), columns_a.dtype)
    values = np.empty(len(columns), np.float32)
    place = 0
    for row in range(num_rows):
        a, end_a = ptr_a[row], ptr_a[row + 1]
        b, end_b = ptr_b[row], ptr_b[row + 1]
        while a < end_a or b < end_b:
            take_a = b == end_b or (a < end_a and columns_a[a] <= columns_b[b])
            take_b = a == end_a or (b < end_b and columns_b[b] <= columns_a[a])
            columns[place] = columns_a[a] if take_a else columns_b[b]
            values[place] = 0.0
            if take_a:
                values[place] += values_a[a]
                a += 1
            if take_b:
                values[place] += values_b[b]
                b += 1
            place += 1
        indptr[row + 1] = place
    return indptr, columns[:place].copy(), values[:place].copy()


def widen(X_NM: sp.csr_array, num_columns: int) -> sp.csr_array:
    """The same matrix with empty columns added at the end up to `num_columns`.

    Args:
        X_NM: any matrix.
        num_columns: at least M.

    Returns:
        csr (N, num_columns), with shared arrays.

    Raises:
        DataError: there are more columns than that.
    """
    if X_NM.shape[1] > num_columns:
        raise DataError(f"{X_NM.shape[1]} columns do not fit in {num_columns}")
    return sp.csr_array((X_NM.data, X_NM.indices, X_NM.indptr), shape=(X_NM.shape[0], num_columns))


def save_csr(folder: Path, name: str, X_NM: sp.csr_array) -> None:
    """Write the matrix as three npy arrays and a shape file, to be memory-mapped by `load_csr`.

    Args:
        folder: a folder.
        name: the first part of the files' names.
        X_NM: csr.
    """
    for part in ("indptr", "indices", "data"):
        save_array(folder / f"{name}.{part}.npy", getattr(X_NM, part))
    write_json(folder / f"{name}.shape.json", {"shape": [int(n) for n in X_NM.shape]})


def load_csr(folder: Path, name: str, mmap: bool = True) -> sp.csr_array:
    """Read what `save_csr` wrote: a float32 matrix in canonical form, safe to walk blindly.

    Args:
        folder: a folder.
        name: as given to `save_csr`.
        mmap: whether arrays are memory-mapped.

    Returns:
        csr float32 (N, M).

    Raises:
        ArtifactError: the parts do not make such a matrix.
    """
    what = folder / name
    shape = SavedValues.read(folder / f"{name}.shape.json").whole_numbers("shape", length=2)
    data = load_array(folder / f"{name}.data.npy", np.float32, 1, mmap)
    indices = load_array(folder / f"{name}.indices.npy", [np.int32, np.int64], 1, mmap)
    indptr = load_array(folder / f"{name}.indptr.npy", [np.int32, np.int64], 1, mmap)
    check_csr(indptr, indices, data, (shape[0], shape[1]), what)
    matrix = sp.csr_array(shape, dtype=np.float32)
    matrix.data, matrix.indices, matrix.indptr = data, indices, indptr
    return matrix
