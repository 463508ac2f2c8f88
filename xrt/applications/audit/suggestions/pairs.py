"""The pairs (row, label) that an audit looks at, and what is known of each.

N rows, L labels, P pairs: the best-scored labels of each row, and every given label. Pairs stand
row by row.
"""

from dataclasses import dataclass, fields

import numpy as np
import scipy.sparse as sp

from xrt.jit import njit


@dataclass(frozen=True, eq=False)
class LabelPairs:
    """Pairs (row, label), row by row, labels rising.

    `ptr_N` int64 (N + 1,): the pairs of each row. `scores_P` are out-of-fold scores in [0, 1],
    `ranks_P` the place among the row's best from 1 (of a given label beyond them: one more than
    are looked for), `given_P` whether the corpus has the label.
    """

    ptr_N: np.ndarray
    rows_P: np.ndarray
    labels_P: np.ndarray
    scores_P: np.ndarray
    ranks_P: np.ndarray
    given_P: np.ndarray

    def __len__(self) -> int:
        return len(self.rows_P)

    def take(self, selected: np.ndarray) -> "LabelPairs":
        """Some of the pairs.

        Args:
            selected: Which to take, bool (P,).

        Returns:
            The pairs where it is true, for the same rows.
        """
        counts_N = np.bincount(self.rows_P[selected], minlength=len(self.ptr_N) - 1)
        ptr_N = np.concatenate([[0], np.cumsum(counts_N)]).astype(np.int64)
        per_pair = [field.name for field in fields(self) if field.name != "ptr_N"]
        return LabelPairs(ptr_N, *(getattr(self, name)[selected] for name in per_pair))


def join_pairs(best_NL: sp.csr_array, given_NL: sp.csr_array, num_candidates: int) -> LabelPairs:
    """The pairs of the best-scored labels, at most `num_candidates` a row, and of the given ones.

    A label in both has the score that it was given, which differs where a beam left it out.

    Args:
        best_NL: Best-scored labels of each row, (N, L).
        given_NL: Scores of the given labels, (N, L).
        num_candidates: Most best-scored labels of a row.

    Returns:
        The pairs, row by row.
    """
    num_rows = best_NL.shape[0]
    ptr_N, labels, scores, ranks, given = _join(
        num_rows, num_candidates, best_NL.indptr, best_NL.indices, best_NL.data,
        given_NL.indptr, given_NL.indices, given_NL.data,
    )  # fmt: skip
    rows = np.repeat(np.arange(num_rows, dtype=np.int32), np.diff(ptr_N))
    return LabelPairs(ptr_N, rows, labels, scores, ranks, given)


@njit(nogil=True, cache=True)
def _join(
    num_rows: int,
    num_candidates: int,
    ptr_a: np.ndarray,
    labels_a: np.ndarray,
    scores_a: np.ndarray,
    ptr_b: np.ndarray,
    labels_b: np.ndarray,
    scores_b: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    size = len(labels_a) + len(labels_b)
    ptr = np.zeros(num_rows + 1, np.int64)
    labels, scores = np.empty(size, np.int32), np.empty(size, np.float32)
    ranks, given = np.empty(size, np.int16), np.empty(size, np.bool_)
    place = 0
    for row in range(num_rows):
        a, end_a, b, end_b = ptr_a[row], ptr_a[row + 1], ptr_b[row], ptr_b[row + 1]
        rank_of = np.empty(end_a - a, np.int16)
        order = np.argsort(-scores_a[a:end_a], kind="mergesort")
        for rank in range(len(order)):
            rank_of[order[rank]] = rank + 1
        first = a
        while a < end_a or b < end_b:
            take_a = b == end_b or (a < end_a and labels_a[a] <= labels_b[b])
            take_b = a == end_a or (b < end_b and labels_b[b] <= labels_a[a])
            given[place] = take_b
            ranks[place] = rank_of[a - first] if take_a else num_candidates + 1
            labels[place] = labels_a[a] if take_a else labels_b[b]
            scores[place] = scores_b[b] if take_b else scores_a[a]
            if take_a:
                a += 1
            if take_b:
                b += 1
            place += 1
        ptr[row + 1] = place
    return (
        ptr, labels[:place].copy(), scores[:place].copy(), ranks[:place].copy(),
        given[:place].copy(),
    )  # fmt: skip


def values_at(matrix_NM: sp.csr_array, rows_P: np.ndarray, columns_P: np.ndarray) -> np.ndarray:
    """The values of some cells of a csr matrix with sorted columns.

    Args:
        matrix_NM: The matrix.
        rows_P: Row of each cell, int (P,).
        columns_P: Column of each cell, int (P,).

    Returns:
        (P,); 0 for a cell that is not stored.
    """
    num_columns = matrix_NM.shape[1]
    rows_E = np.repeat(np.arange(matrix_NM.shape[0], dtype=np.int64), np.diff(matrix_NM.indptr))
    keys_E = np.append(rows_E * num_columns + matrix_NM.indices, np.iinfo(np.int64).max)
    values_E = np.append(matrix_NM.data, 0)
    keys_P = np.asarray(rows_P, np.int64) * num_columns + columns_P
    places_P = np.searchsorted(keys_E, keys_P)
    values_P: np.ndarray = np.where(keys_E[places_P] == keys_P, values_E[places_P], 0)
    return values_P
