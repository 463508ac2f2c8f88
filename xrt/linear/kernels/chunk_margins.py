"""Margins of the children of one cluster: kernels that read a chunk of weights.

C children of the cluster, H dense columns, G rows that ask for the cluster. The columns of a row
are found among those of the chunk by a lookup table, which the chunk fills first, or by a bisection
of all of them in lockstep, which lets the processor fetch many at once; both find the same, and
sums run in the order of the columns, so a row alone gets the very margins it gets among others.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from xrt.jit import njit
from xrt.linear.kernels.dual import SIMD
from xrt.linear.kernels.lanes import prefetch

HALF_SCALE = np.float32(2.0**112)


def as_float(raw: Any) -> Any:
    """A weight as float32; a float16 arrives as its bits, uint16, and must be finite."""
    raise NotImplementedError("for compiled code only")


@overload(as_float, inline="always")  # type: ignore[untyped-decorator]
def _as_float(raw: Any) -> Callable[..., Any]:
    if raw == types.uint16:

        def from_half(raw: Any) -> Any:
            bits = np.uint32(raw)
            sign = np.uint32((bits & np.uint32(0x8000)) << np.uint32(16))
            rest = np.uint32((bits & np.uint32(0x7FFF)) << np.uint32(13))
            return np.uint32(sign | rest).view(np.float32) * HALF_SCALE

        return from_half

    def as_is(raw: Any) -> Any:
        return raw

    return as_is


@njit(nogil=True, cache=True)
def fill_lookup(row_columns: np.ndarray, low: int, high: int, lookup_F: np.ndarray) -> None:
    """Write 1 + position of every column of a chunk into the table."""
    for r in range(np.uint64(low), np.uint64(high)):
        lookup_F[np.uint32(row_columns[r])] = r - np.uint64(low) + np.uint64(1)


@njit(nogil=True, cache=True)
def clear_lookup(row_columns: np.ndarray, low: int, high: int, lookup_F: np.ndarray) -> None:
    """Bring the table back to zeros."""
    for r in range(np.uint64(low), np.uint64(high)):
        lookup_F[np.uint32(row_columns[r])] = 0


@njit(nogil=True, cache=True)
def find_by_lookup(
    lookup_F: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    chunk_row_ptr: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    found: np.ndarray,
) -> np.uint64:
    """Where the weights of a row's columns begin and end, and the row's values there.

    Returns how many columns the chunk has.
    """
    num_found = np.uint64(0)
    for j in range(np.uint64(len(columns))):
        position = lookup_F[np.uint32(columns[j])]
        row = np.uint64(np.uint32(max(position, 1) - 1))
        starts[num_found] = chunk_row_ptr[row]
        ends[num_found] = chunk_row_ptr[row + np.uint64(1)]
        found[num_found] = values[j]
        num_found += np.uint64(position > 0)
    return num_found


@njit(nogil=True, cache=True)
def find_by_bisection(
    chunk_columns: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    chunk_row_ptr: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    found: np.ndarray,
) -> np.uint64:
    """The same for a chunk whose columns ascend, one at least, without a table.

    A lone row meets cold memory: what will be read next is asked for as soon as it is known.
    """
    num_columns, length = np.uint64(len(columns)), np.uint64(len(chunk_columns))
    starts[: len(columns)] = 0
    while length > np.uint64(1):
        half = length >> np.uint64(1)
        for j in range(num_columns):
            place = np.uint64(starts[j])
            ahead = chunk_columns[place + half - np.uint64(1)] < columns[j]
            starts[j] = place + (half if ahead else np.uint64(0))
        length -= half
    last, num_found = np.uint64(len(chunk_columns) - 1), np.uint64(0)
    for j in range(num_columns):
        place = np.uint64(starts[j])
        place += np.uint64(chunk_columns[place] < columns[j] and place < last)
        starts[num_found] = place
        found[num_found] = values[j]
        prefetch(chunk_row_ptr, place)
        num_found += np.uint64(chunk_columns[place] == columns[j])
    for i in range(num_found):
        place = np.uint64(starts[i])
        starts[i] = chunk_row_ptr[place]
        ends[i] = chunk_row_ptr[place + np.uint64(1)]
        prefetch(entry_children, starts[i])
        prefetch(entry_values, starts[i])
    return num_found


@njit(nogil=True, cache=True)
def add_sparse(
    num_found: int,
    starts: np.ndarray,
    ends: np.ndarray,
    found: np.ndarray,
    entry_children: np.ndarray,
    entry_values: np.ndarray,
    margins_C: np.ndarray,
) -> None:
    """Add to the margins what the found columns of a row give."""
    for i in range(np.uint64(num_found)):
        value = found[i]
        for e in range(np.uint64(starts[i]), np.uint64(ends[i])):
            margins_C[np.uint32(entry_children[e])] += value * as_float(entry_values[e])


def float_row(matrix: Any, row: Any, buffer: Any) -> Any:
    """A row of float32 as it is, or a row of float16 turned to float32 in the buffer."""
    raise NotImplementedError("for compiled code only")


@overload(float_row, inline="always")  # type: ignore[untyped-decorator]
def _float_row(matrix: Any, row: Any, buffer: Any) -> Callable[..., Any]:
    if matrix.dtype == types.uint16:

        def from_half(matrix: Any, row: Any, buffer: Any) -> Any:
            for h in range(len(buffer)):
                buffer[h] = as_float(matrix[row, h])
            return buffer

        return from_half

    def as_is(matrix: Any, row: Any, buffer: Any) -> Any:
        return matrix[row]

    return as_is


@njit(nogil=True, cache=True, fastmath=SIMD)
def add_dense(
    dense_nH: np.ndarray,
    rows: np.ndarray,
    places: np.ndarray,
    chunk_dense_CH: np.ndarray,
    scores: np.ndarray,
    floats: np.ndarray,
) -> None:
    """Add to the margins of each row of a group, which start at places[g], its dense products.

    Four children at a time, and all rows for these: their weights stay in the nearest cache.
    `floats`: room for 4 H numbers.
    """
    num_children, width = chunk_dense_CH.shape
    buffer_4H = floats[: 4 * width].reshape(4, width)
    for first in range(0, num_children, 4):
        last = num_children - 1
        w0 = float_row(chunk_dense_CH, first, buffer_4H[0])
        w1 = float_row(chunk_dense_CH, min(first + 1, last), buffer_4H[1])
        w2 = float_row(chunk_dense_CH, min(first + 2, last), buffer_4H[2])
        w3 = float_row(chunk_dense_CH, min(first + 3, last), buffer_4H[3])
        for g in range(len(rows)):
            x_H = dense_nH[rows[g]]
            a = b = c = d = np.float32(0)
            for h in range(width):
                a += x_H[h] * w0[h]
                b += x_H[h] * w1[h]
                c += x_H[h] * w2[h]
                d += x_H[h] * w3[h]
            place = places[g] + first
            scores[place] += a
            if first + 1 < num_children:
                scores[place + 1] += b
            if first + 2 < num_children:
                scores[place + 2] += c
            if first + 3 < num_children:
                scores[place + 3] += d
