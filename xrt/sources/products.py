"""Inner products of given pairs of a row and a vector: the cost is that of the pairs alone.

N rows, K vectors, H columns, P pairs. One kernel sums all of them, so that a product has the same
bits whether it is looked up for a pair or decides which vectors are nearest, in a batch and alone.
"""

import numpy as np
import scipy.sparse as sp

from xrt.jit import njit
from xrt.linear.kernels.simd import SIMD
from xrt.threads import run_blocks

ROWS_PER_BLOCK = 256


def given_products(
    rows_NH: np.ndarray,
    vectors_KH: np.ndarray,
    pairs_NK: sp.csr_array,
    num_threads: int | None = None,
) -> np.ndarray:
    """The inner products of the stored entries of a matrix of pairs.

    Args:
        rows_NH: rows, (N, H).
        vectors_KH: vectors, float32 (K, H).
        pairs_NK: the pairs are its stored entries, csr_array (N, K).
        num_threads: threads; None for the default.

    Returns:
        float32 (P,), in the order of the entries.
    """
    rows_NH = np.ascontiguousarray(rows_NH, np.float32)
    products_P = np.empty(pairs_NK.nnz, np.float32)
    indptr, indices = pairs_NK.indptr, pairs_NK.indices
    starts = range(0, len(rows_NH), ROWS_PER_BLOCK)

    def multiply(block: int) -> None:
        low = starts[block]
        high = min(len(rows_NH), low + ROWS_PER_BLOCK)
        _given_products(rows_NH, vectors_KH, indptr, indices, low, high, products_P)

    run_blocks(multiply, len(starts), num_threads)
    return products_P


@njit(nogil=True, cache=True)
def _given_products(
    rows_NH: np.ndarray,
    vectors_KH: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    low: int,
    high: int,
    products_P: np.ndarray,
) -> None:
    for row in range(low, high):
        for p in range(indptr[row], indptr[row + 1]):
            products_P[p] = dot(rows_NH[row], vectors_KH[indices[p]])


@njit(nogil=True, cache=True, fastmath=SIMD)
def dot(x_H: np.ndarray, y_H: np.ndarray) -> np.float32:
    """The inner product of two vectors.

    Args:
        x_H: float32 (H,).
        y_H: float32 (H,).

    Returns:
        float32.
    """
    total = np.float32(0)
    for h in range(len(x_H)):
        total += x_H[h] * y_H[h]
    return total
