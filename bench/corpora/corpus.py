"""What a set of the suite is: texts or bag-of-words rows of both splits, and their labels.

N rows, F features, L labels. Columns of Y_trn are the labels that have a training row; Y_tst has
the same and, behind them, those that only test rows have, which nobody can predict.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import scipy.sparse as sp

SAMPLE_SEED = 20260101
"""Of the rows that the short suite keeps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SuiteCorpus:
    """Both splits of a set: texts, or rows X where there are none."""

    Y_trn: sp.csr_matrix
    Y_tst: sp.csr_matrix
    split: str
    """How rows were split, in words."""
    texts_trn: Sequence[str] | None = None
    texts_tst: Sequence[str] | None = None
    X_trn: sp.csr_matrix | None = None
    X_tst: sp.csr_matrix | None = None
    blanks: bool = True
    """Whether blanks stand between words; without them peers get n-grams of characters."""

    @classmethod
    def of_texts(
        cls,
        texts_trn: Sequence[str],
        Y_trn: sp.spmatrix,
        texts_tst: Sequence[str],
        Y_tst: sp.spmatrix,
        split: str,
        *,
        blanks: bool = True,
    ) -> Self:
        """A corpus of texts; labels without a training row are put at the end."""
        Y_trn, Y_tst = trained_first(Y_trn, Y_tst)
        return cls(
            Y_trn=Y_trn, Y_tst=Y_tst, split=split, blanks=blanks,
            texts_trn=list(texts_trn), texts_tst=list(texts_tst),
        )  # fmt: skip

    @classmethod
    def of_rows(
        cls,
        X_trn: sp.spmatrix,
        Y_trn: sp.spmatrix,
        X_tst: sp.spmatrix,
        Y_tst: sp.spmatrix,
        split: str,
    ) -> Self:
        """A corpus of bag-of-words rows, brought to length 1."""
        Y_trn, Y_tst = trained_first(Y_trn, Y_tst)
        return cls(
            Y_trn=Y_trn, Y_tst=Y_tst, split=split, X_trn=unit_rows(X_trn), X_tst=unit_rows(X_tst)
        )

    @property
    def has_texts(self) -> bool:
        """Whether rows are texts."""
        return self.texts_trn is not None

    def sampled(self, num_train: int | None, num_test: int | None) -> Self:
        """At most so many rows of each split, drawn by SAMPLE_SEED, in the order of the files."""
        trn = sampled_rows(self.Y_trn.shape[0], num_train, SAMPLE_SEED)
        tst = sampled_rows(self.Y_tst.shape[0], num_test, SAMPLE_SEED + 1)
        Y_trn, Y_tst = trained_first(self.Y_trn[trn], self.Y_tst[tst])
        return replace(
            self,
            Y_trn=Y_trn,
            Y_tst=Y_tst,
            texts_trn=None if self.texts_trn is None else [self.texts_trn[row] for row in trn],
            texts_tst=None if self.texts_tst is None else [self.texts_tst[row] for row in tst],
            X_trn=None if self.X_trn is None else self.X_trn[trn],
            X_tst=None if self.X_tst is None else self.X_tst[tst],
        )


def sampled_rows(num_rows: int, at_most: int | None, seed: int) -> np.ndarray:
    """Rows drawn at random, ascending; all where there are no more than wanted."""
    if at_most is None or at_most >= num_rows:
        return np.arange(num_rows)
    return np.sort(np.random.default_rng(seed).permutation(num_rows)[:at_most])


def trained_first(Y_trn: sp.spmatrix, Y_tst: sp.spmatrix) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Labels of both splits as ones.

    Args:
        Y_trn: labels of the training rows, (N, L).
        Y_tst: labels of the test rows, in the same columns and maybe further ones.

    Returns:
        Y_trn with the columns that have a row, and Y_tst with these and then the others that it
        has.
    """
    Y_trn, Y_tst = as_ones(Y_trn), as_ones(Y_tst)
    num_labels = max(Y_trn.shape[1], Y_tst.shape[1])
    trained_L = np.bincount(Y_trn.indices, minlength=num_labels) > 0
    tested_L = np.bincount(Y_tst.indices, minlength=num_labels) > 0
    trained = np.flatnonzero(trained_L)
    place_L = np.full(num_labels, -1)
    order = np.concatenate([trained, np.flatnonzero(tested_L & ~trained_L)])
    place_L[order] = np.arange(len(order))
    return renumbered(Y_trn, place_L, len(trained)), renumbered(Y_tst, place_L, len(order))


def renumbered(Y_NL: sp.csr_matrix, place_L: np.ndarray, num_labels: int) -> sp.csr_matrix:
    """The same entries in other columns."""
    shape = (Y_NL.shape[0], num_labels)
    moved = sp.csr_matrix((Y_NL.data, place_L[Y_NL.indices], Y_NL.indptr), shape=shape)
    moved.sort_indices()
    return moved


def as_ones(Y_NL: sp.spmatrix) -> sp.csr_matrix:
    """float32 ones wherever an entry is above 0."""
    ones = sp.csr_matrix(Y_NL, dtype=np.float32, copy=True)
    ones.sum_duplicates()
    ones.data = (ones.data > 0).astype(np.float32)
    ones.eliminate_zeros()
    return ones


def unit_rows(X_NF: sp.spmatrix) -> sp.csr_matrix:
    """Rows brought to length 1, empty ones left: float32."""
    rows = sp.csr_matrix(X_NF, dtype=np.float32, copy=True)
    lengths_N = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows.data /= np.repeat(np.where(lengths_N > 0, lengths_N, 1), np.diff(rows.indptr))
    return rows


def labels_matrix(labels_of_rows: Sequence[Sequence[int]], num_labels: int) -> sp.csr_matrix:
    """Labels of each row as ones (N, L)."""
    indptr = np.cumsum([0, *map(len, labels_of_rows)])
    columns = np.array([label for labels in labels_of_rows for label in labels], np.int64)
    shape = (len(labels_of_rows), num_labels)
    return as_ones(sp.csr_matrix((np.ones(len(columns), np.float32), columns, indptr), shape=shape))
