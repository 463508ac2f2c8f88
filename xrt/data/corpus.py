"""The corpus: texts (or bag-of-words rows), labels, label table, and what reading it found.

Shapes: N instances, L labels, F features.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.data.labels import LabelTable as LabelTable
from xrt.data.labels import read_label_table as read_label_table
from xrt.errors import DataError
from xrt.hybrid import as_row_weights


@dataclass(frozen=True, kw_only=True)
class ReadReport:
    """What a reader met. Counts are rows unless the name says otherwise.

    `num_duplicate_rows`: rows equal in text (or features) and labels to an earlier one; kept.
    `num_unseen_labels` distinct labels in `num_unseen_pairs` (row, label) pairs were not in the
    label table given. `skipped_rows` are positions among the file's rows, from 0. `notes` are
    warnings.
    """

    path: str = ""
    num_rows: int = 0
    num_skipped: int = 0
    num_empty_texts: int = 0
    num_without_labels: int = 0
    num_duplicate_rows: int = 0
    num_replaced_surrogates: int = 0
    num_split_cells: int = 0
    num_unseen_labels: int = 0
    num_unseen_pairs: int = 0
    skipped_rows: tuple[int, ...] = ()
    bad_lines_path: str = ""
    notes: tuple[str, ...] = ()

    @property
    def skipped_message(self) -> str:
        """How many lines were skipped, and where they are."""
        where = f"bad lines were skipped and written to {self.bad_lines_path}"
        return f"{self.path}: {self.num_skipped} {where}"

    def messages(self) -> list[str]:
        """One sentence for each finding: notes first, then the row count, then what was counted.

        Returns:
            The sentences, each beginning with the path of the file.
        """
        counted = [
            (self.num_skipped, f"bad lines were skipped and written to {self.bad_lines_path}"),
            (self.num_empty_texts, "rows have an empty text (kept)"),
            (self.num_without_labels, "rows have no label (kept)"),
            (self.num_duplicate_rows, "rows repeat an earlier row (kept)"),
            (
                self.num_replaced_surrogates,
                "rows held half a surrogate pair, replaced by the sign U+FFFD",
            ),
            (
                self.num_split_cells,
                "cells of labels were split at ';', where no label_separator was named",
            ),
            (
                self.num_unseen_labels,
                f"labels were never seen in training; their {self.num_unseen_pairs} "
                "occurrences can only count as misses",
            ),
        ]
        remarks = [f"{self.path}: {count} {what}" for count, what in counted if count]
        notes = [f"{self.path}: {note}" for note in self.notes]
        return [*notes, f"{self.path}: {self.num_rows} rows read", *remarks]


@dataclass(frozen=True)
class Corpus:
    """N instances with L labels.

    Y: (N, L) float32 csr_array, an entry is the label's weight (1 unless the file gives weights):
    the confidence that it applies, or how often it was seen; absent means not known to apply.
    row_weights: (N,) float32, how much each row counts in training; None where all count 1.
    X: (N, F) float32 bag-of-words rows of formats that carry them.
    filters: (M, 2) int64 pairs (row, label column) to strike from rankings before scoring.
    groups: (N,) int64, rows with the same number are on the same side where rows are held out; a
    row with a negative number is in none. None where the file does not say.
    times: (N,) float64, larger is newer, NaN is unknown: the newest rows are held out. None where
    the file does not say.
    """

    texts: list[str] | None
    Y: sp.csr_array
    labels: LabelTable
    X: sp.csr_array | None = None
    filters: np.ndarray | None = None
    ids: list[str] | None = None
    report: ReadReport = field(default_factory=ReadReport)
    row_weights: np.ndarray | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None

    def __post_init__(self) -> None:
        num_rows, num_labels = self.Y.shape
        if num_labels != len(self.labels):
            raise DataError(
                f"corpus: Y has {num_labels} columns but the label table {len(self.labels)} "
                "labels; give the table that belongs to Y"
            )
        if self.texts is None and self.X is None and num_rows:
            raise DataError("corpus: neither texts nor X; give one of them")
        sizes = {
            "texts": None if self.texts is None else len(self.texts),
            "X": None if self.X is None else self.X.shape[0],
            "ids": None if self.ids is None else len(self.ids),
            "row_weights": None if self.row_weights is None else len(self.row_weights),
            "groups": None if self.groups is None else len(self.groups),
            "times": None if self.times is None else len(self.times),
        }
        for what, size in sizes.items():
            if size is not None and size != num_rows:
                raise DataError(f"corpus: {size} rows in {what} but {num_rows} in Y; align them")

    @property
    def num_instances(self) -> int:
        """N."""
        return int(self.Y.shape[0])

    @property
    def num_labels(self) -> int:
        """L, labels without any row included."""
        return int(self.Y.shape[1])

    def subset(self, rows: np.ndarray) -> "Corpus":
        """Some of the rows, with all labels.

        The report stays that of the whole file but for `num_rows`. Filters follow their rows.

        Args:
            rows: Positions from 0, whole numbers (M,), repeated ones too; or a mask (N,) of
                booleans.

        Returns:
            A corpus of M rows, or of those where the mask is true.

        Raises:
            DataError: the mask has not N entries, or a position is not in 0..N-1.
        """
        rows = np.asarray(rows)
        if rows.dtype == bool:
            if rows.shape != (self.num_instances,):
                raise DataError(f"subset: mask of {rows.size} for {self.num_instances} rows")
            rows = np.flatnonzero(rows)
        rows = rows.astype(np.int64)
        if rows.size and not (0 <= rows.min() and rows.max() < self.num_instances):
            raise DataError(
                f"subset: rows {rows.min()}..{rows.max()} asked for, there are 0.."
                f"{self.num_instances - 1}"
            )
        return replace(
            self,
            texts=None if self.texts is None else [self.texts[i] for i in rows],
            Y=self.Y[rows],
            X=None if self.X is None else self.X[rows],
            ids=None if self.ids is None else [self.ids[i] for i in rows],
            row_weights=None if self.row_weights is None else self.row_weights[rows],
            groups=None if self.groups is None else self.groups[rows],
            times=None if self.times is None else self.times[rows],
            filters=None if self.filters is None else move_filters(self.filters, rows),
            report=replace(self.report, num_rows=len(rows)),
        )

    def validate(self) -> None:
        """Check every stored value and index.

        Raises:
            DataError: a value is not finite, a weight not above 0, or an index out of range.
        """
        for what, matrix in (("Y", self.Y), ("X", self.X)):
            if matrix is not None:
                check_matrix(matrix, what)
        if self.Y.nnz and self.Y.data.min() <= 0:
            raise DataError(f"Y: weight {self.Y.data.min()}; label weights must be above 0")
        as_row_weights(self.row_weights, self.num_instances)
        if self.filters is not None:
            check_filters(self.filters, self.Y.shape, "filters")

    def require_trainable(self) -> None:
        """Make sure that there is something to learn.

        Raises:
            DataError: there are no rows, no labels, or all rows carry the same one label.
        """
        where = self.report.path or "corpus"
        if not self.num_instances:
            raise DataError(f"{where}: no rows; training needs at least 2 with different labels")
        num_used = len(np.unique(self.Y.indices[self.Y.data != 0]))
        if num_used == 0:
            raise DataError(f"{where}: no row has a label; name the label column or add labels")
        if num_used == 1:
            only = self.labels.name_of(int(self.Y.indices[0]))
            raise DataError(
                f"{where}: only one distinct label ({only!r}); with nothing to choose between "
                "there is nothing to learn, add rows with other labels"
            )


def check_matrix(matrix: sp.csr_array, what: str | Path) -> None:
    """Check that a CSR matrix may be walked blindly: pointers rise, columns fit, values are finite.

    Args:
        matrix: The matrix (N, L) or (N, F).
        what: The file or matrix, for the message.

    Raises:
        DataError: one of these does not hold; the first bad value is named.
    """
    try:
        matrix.check_format(full_check=True)
    except ValueError as err:
        raise DataError(f"{what}: not a sound sparse matrix ({err}); write it again") from err
    wrong = np.flatnonzero(~np.isfinite(matrix.data))
    if wrong.size:
        row = int(np.searchsorted(matrix.indptr, wrong[0], side="right")) - 1
        column, value = int(matrix.indices[wrong[0]]), matrix.data[wrong[0]]
        raise DataError(f"{what}: value {value} at row {row}, column {column}; remove it")


def check_filters(filters: np.ndarray, shape: tuple[int, ...], what: str | Path) -> None:
    """Check that (row, label) pairs lie within a matrix of this shape.

    Args:
        filters: (M, 2) whole numbers, row and label of each pair.
        shape: Rows and labels of the matrix, (N, L).
        what: The file, for the message.

    Raises:
        DataError: one does not; the first is named with its line, counted from 1.
    """
    for column, kind in ((0, "row"), (1, "label")):
        wrong = np.flatnonzero((filters[:, column] < 0) | (filters[:, column] >= shape[column]))
        if wrong.size:
            raise DataError(
                f"{what}: line {wrong[0] + 1}: {kind} {filters[wrong[0], column]} is outside 0.."
                f"{shape[column] - 1}; is this the filter file of another split?"
            )


def move_filters(filters: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The pairs for a corpus made of some rows of another, in their new numbering.

    Args:
        filters: (M, 2) whole numbers, row and label of each pair.
        rows: The old positions of the new rows, distinct or repeated: int64 (K,).

    Returns:
        int64 (P, 2): a pair for each place that its row has in the new corpus.
    """
    order = np.argsort(rows, kind="stable")
    first = np.searchsorted(rows[order], filters[:, 0], side="left")
    last = np.searchsorted(rows[order], filters[:, 0], side="right")
    counts = last - first
    starts = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    positions = order[starts + np.arange(counts.sum())]
    return np.column_stack([positions, np.repeat(filters[:, 1], counts)]).astype(np.int64)
