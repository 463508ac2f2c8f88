"""Compiled passes over arrays that were read from disk: each says whether the array can be trusted.

Compiled code indexes without looking, so one wrong number in a pointer or a column would have it
read, or write, where it should not. A pass runs at the speed of memory, on the thread that calls.
"""

from typing import Any

import numpy as np

from xrt.jit import njit

_EXPONENT: dict[int, Any] = {
    2: np.uint16(0x7C00),
    4: np.uint32(0x7F800000),
    8: np.uint64(0x7FF0000000000000),
}
"""The bits that are all set in NaN and infinity, by the bytes of a float."""


MAX_WEIGHT = np.float32(2.0**40)
"""A trained weight is far smaller; the third power of a margin made of larger ones overflows."""


def has_strange_float(array: np.ndarray, largest: np.float32 | None = None) -> bool:
    """Whether an array of float16, float32 or float64 holds NaN or infinity; or, of float32, a
    number whose magnitude is `largest`, a power of two, or more.

    Args:
        array: float16, float32 or float64, of any shape.
        largest: a power of two; None: magnitudes are not looked at.

    Returns:
        True where there is such a number.
    """
    flat = read_only(array.ravel(order="K"))
    bits: np.ndarray = flat.view(f"u{array.dtype.itemsize}")
    exponent, limit = exponents_of(bits.dtype, largest)
    return bool(has_bits(bits, exponent, limit))


def exponents_of(dtype: np.dtype, largest: np.float32 | None = None) -> tuple[Any, Any]:
    """The bits of the exponent of a float of this width, and how many of them are too many: numbers
    are ordered as their bits are.

    Args:
        dtype: uint16, uint32 or uint64: the bits of a float.
        largest: as in `has_strange_float`.

    Returns:
        Both numbers, for `has_bits`.
    """
    exponent = _EXPONENT[dtype.itemsize]
    if largest is None or dtype.itemsize != 4:
        return exponent, exponent
    return exponent, largest.view(np.uint32)


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written through: compiled code then sees one type of array.

    Args:
        array: any array; one that is not contiguous is copied.

    Returns:
        The view.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def rises(pointers: np.ndarray, end: int, least: int = 0) -> bool:
    """Whether pointers rise from 0 to `end`, each by `least` or more.

    Args:
        pointers: whole numbers (n + 1,).
        end: what the last one must be.
        least: by how much each must be above the one before, at least.

    Returns:
        False where one of these does not hold.
    """
    return bool(_rises(read_only(pointers), end, least))


def csr_fault(indptr: np.ndarray, indices: np.ndarray, num_columns: int) -> int:
    """What is wrong with a matrix that should be in canonical form.

    Args:
        indptr: row pointers, (N + 1,).
        indices: columns of the entries, (nnz,).
        num_columns: columns of the matrix.

    Returns:
        0: nothing; 1: row pointers do not rise from 0 to the number of entries; 2: a column is out
        of range; 3: columns of a row do not ascend.
    """
    return int(_csr_fault(read_only(indptr), read_only(indices), num_columns))


def table_fits(child_ptr: np.ndarray, children: np.ndarray, parents: np.ndarray) -> bool:
    """Whether `children[child_ptr[p] : child_ptr[p + 1]]` are the nodes whose parent is p,
    ascending, for each p.

    Args:
        child_ptr: where each parent's children begin, (parents + 1,).
        children: the children of all parents, (children,).
        parents: the parent of each child, (children,).

    Returns:
        False also where lengths do not fit.
    """
    same = len(children) == len(parents) and rises(child_ptr, len(children))
    return same and bool(_table_fits(*map(read_only, (child_ptr, children, parents))))


@njit(nogil=True, cache=True)
def has_bits(bits: np.ndarray, exponent: int, limit: int) -> bool:
    """Whether a float, given as its bits, has as large an exponent as the limit, or a larger.

    Args:
        bits: the bits of the floats, unsigned (n,).
        exponent: the bits of the exponent.
        limit: the limit, as bits in the same place.

    Returns:
        True where there is one.
    """
    for low in range(0, len(bits), 4096):
        strange = False
        for each in bits[low : low + 4096]:
            strange |= (each & exponent) >= limit
        if strange:
            return True
    return False


@njit(nogil=True, cache=True)
def _rises(pointers: np.ndarray, end: int, least: int) -> bool:
    if len(pointers) == 0 or pointers[0] != 0 or pointers[-1] != end:
        return False
    falls = False
    for i in range(len(pointers) - 1):
        falls |= pointers[i + 1] < pointers[i] + least
    return not falls


@njit(nogil=True, cache=True)
def _csr_fault(indptr: np.ndarray, indices: np.ndarray, num_columns: int) -> int:
    if not _rises(indptr, len(indices), 0):
        return 1
    outside = falls = False
    for row in range(len(indptr) - 1):
        before = -1
        for column in indices[indptr[row] : indptr[row + 1]]:
            outside |= column < 0 or column >= num_columns
            falls |= column <= before
            before = column
    if outside:
        return 2
    return 3 if falls else 0


@njit(nogil=True, cache=True)
def _table_fits(child_ptr: np.ndarray, children: np.ndarray, parents: np.ndarray) -> bool:
    for parent in range(len(child_ptr) - 1):
        before = -1
        for child in children[child_ptr[parent] : child_ptr[parent + 1]]:
            if child <= before or child >= len(parents) or parents[child] != parent:
                return False
            before = child
    return True
