"""The rows of a cluster in a space of their own, with only the columns that they use.

n rows of the cluster, f columns they use; cost does not depend on the number of columns in all.
"""

import numpy as np

from xrt.jit import njit
from xrt.linear.kernels.dual import SIMD


@njit(nogil=True, cache=True)
def gather(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    rows: np.ndarray,
    column_map: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row pointers, local columns and values of the given rows, and the columns, ascending.

    `column_map` is int32 scratch, one entry a column of the matrix: all -1 when called and left.
    """
    n = len(rows)
    local_ptr = np.zeros(n + 1, np.int64)
    for r in range(n):
        local_ptr[r + 1] = local_ptr[r] + indptr[rows[r] + 1] - indptr[rows[r]]
    used = np.empty(min(local_ptr[n], len(column_map)), np.int32)
    num_used = 0
    for r in range(n):
        for j in range(indptr[rows[r]], indptr[rows[r] + 1]):
            if column_map[indices[j]] < 0:
                column_map[indices[j]] = 0
                used[num_used] = indices[j]
                num_used += 1
    used = np.sort(used[:num_used])
    for c in range(num_used):
        column_map[used[c]] = c
    columns, values = np.empty(local_ptr[n], np.int32), np.empty(local_ptr[n], np.float32)
    for r in range(n):
        start = indptr[rows[r]]
        for j in range(local_ptr[r + 1] - local_ptr[r]):
            columns[local_ptr[r] + j] = column_map[indices[start + j]]
            values[local_ptr[r] + j] = data[start + j]
    for c in range(num_used):
        column_map[used[c]] = -1
    return local_ptr, columns, values, used


@njit(nogil=True, cache=True, fastmath=SIMD)
def squared_norms(
    indptr: np.ndarray, values: np.ndarray, dense_nH: np.ndarray, bias: np.float32
) -> np.ndarray:
    """|x_i|^2 of each row, the bias column included: float32 (n,)."""
    norms = np.empty(len(indptr) - 1, np.float32)
    for i in range(len(norms)):
        total = bias * bias
        for h in range(dense_nH.shape[1]):
            total += dense_nH[i, h] * dense_nH[i, h]
        for j in range(indptr[i], indptr[i + 1]):
            total += values[j] * values[j]
        norms[i] = total
    return norms
