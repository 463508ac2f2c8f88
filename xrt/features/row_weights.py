"""From counts to TF-IDF: the idf of each term, and rows of length 1.

N texts, F terms.
"""

import numpy as np
import scipy.sparse as sp

from xrt.jit import njit


def idf_of(counts_NF: sp.csr_array) -> np.ndarray:
    """ln((1 + n) / (1 + df)) + 1 of every column, float32 (F,)."""
    df_F = np.bincount(counts_NF.indices, minlength=counts_NF.shape[1])
    idf_F: np.ndarray = np.log((1.0 + counts_NF.shape[0]) / (1.0 + df_F)) + 1.0
    return idf_F.astype(np.float32)


def weigh(counts_NF: sp.csr_array, idf_F: np.ndarray, sublinear_tf: bool) -> None:
    """Turn counts (float32) into TF-IDF rows of length 1, in place."""
    if sublinear_tf:
        np.log(counts_NF.data, out=counts_NF.data)
        counts_NF.data += 1.0
    _weigh_rows(counts_NF.indptr, counts_NF.indices, counts_NF.data, idf_F)


@njit(nogil=True, cache=True)
def _weigh_rows(
    indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, idf_F: np.ndarray
) -> None:
    for row in range(len(indptr) - 1):
        squares = 0.0
        for i in range(indptr[row], indptr[row + 1]):
            data[i] *= idf_F[indices[i]]
            squares += np.float64(data[i]) * np.float64(data[i])
        length = np.sqrt(squares)
        for i in range(indptr[row], indptr[row + 1]):
            data[i] = np.float64(data[i]) / length
