"""Lexical evidence: how much of a label's name a text has.

N rows, L labels, F TF-IDF columns, P pairs (row, label). Words count by the square of their TF-IDF
weight in the name, so that its rare words say most; words that the vocabulary lacks do not count.
"""

import numpy as np
import scipy.sparse as sp

from xrt.features.tfidf import TfidfFeatures
from xrt.jit import njit


def name_matches(
    X_NF: sp.csr_array, names_LF: sp.csr_array, rows_P: np.ndarray, labels_P: np.ndarray
) -> np.ndarray:
    """The share of the weight of a label's name that lies on words of the row.

    Args:
        X_NF: Rows, (N, F).
        names_LF: A row of length 1 for each label, empty where it has no name; (L, F).
        rows_P: Row of each pair, int (P,).
        labels_P: Label of each pair, int (P,).

    Returns:
        float32 (P,) in [0, 1].
    """
    return np.asarray(
        _shares(
            X_NF.indptr, X_NF.indices, names_LF.indptr, names_LF.indices, names_LF.data, rows_P,
            labels_P,
        )
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _shares(
    indptr: np.ndarray,
    columns: np.ndarray,
    name_ptr: np.ndarray,
    name_columns: np.ndarray,
    name_data: np.ndarray,
    rows_P: np.ndarray,
    labels_P: np.ndarray,
) -> np.ndarray:
    shares_P = np.zeros(len(rows_P), np.float32)
    for p in range(len(rows_P)):
        low, high = indptr[rows_P[p]], indptr[rows_P[p] + 1]
        total = 0.0
        for j in range(name_ptr[labels_P[p]], name_ptr[labels_P[p] + 1]):
            place = low + np.searchsorted(columns[low:high], name_columns[j])
            if place < high and columns[place] == name_columns[j]:
                total += np.float64(name_data[j]) * name_data[j]
        shares_P[p] = min(total, 1.0)
    return shares_P


def matched_terms(
    X_NF: sp.csr_array,
    names_LF: sp.csr_array,
    features: TfidfFeatures,
    row: int,
    label: int,
) -> list[str]:
    """The words of the label's name that the text has.

    Args:
        X_NF: Rows, (N, F).
        names_LF: Rows of the labels' names, (L, F).
        features: Knows the words of the columns.
        row: The row.
        label: The label.

    Returns:
        The words, in the order of their columns.
    """
    own = X_NF.indices[X_NF.indptr[row] : X_NF.indptr[row + 1]]
    name = names_LF.indices[names_LF.indptr[label] : names_LF.indptr[label + 1]]
    return [features.feature_name(int(column)) for column in np.intersect1d(own, name)]
