"""Gathers rows into a corpus: label ids become columns, bad lines go aside, oddities are counted.

Shapes: N rows, L labels.
"""

import json
import math
from array import array
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.data.cells import clean_label
from xrt.data.corpus import Corpus, ReadReport
from xrt.data.labels import LabelTable
from xrt.data.options import BadLine, ReadOptions
from xrt.errors import DataError
from xrt.storage.atomic import write_bytes


class BadLines:
    """Lines that could not be used: the first is an error, or all are kept to be written aside.

    Args:
        path: The file they stand in.
        options: Whether bad lines are skipped, and where they are written.
    """

    def __init__(self, path: str | Path, options: ReadOptions) -> None:
        self.path, self.options = Path(path), options
        self.rows: list[int] = []
        self.first = ""
        self._records: list[bytes] = []

    def refuse(
        self, row: int, line: int, raw: bytes | str, fault: BadLine, num_lines: int = 1
    ) -> None:
        """Note a row that cannot be used.

        Each line that it takes is counted as a row, since it is not known how many rows were meant.

        Args:
            row: The row, counted from 0.
            line: The line it begins on, counted from 1.
            raw: The row as it stands in the file.
            fault: What is wrong with it.
            num_lines: Lines that it takes.

        Raises:
            DataError: bad lines are not to be skipped.
        """
        message = f"{self.path}: line {line}: {fault}"
        if not self.options.skip_bad_lines:
            advice = {**fault.settings, "skip_bad_lines": "to set bad lines aside"}
            raise DataError(message, settings=advice)
        self.first = self.first or message
        self.rows += range(row, row + num_lines)
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
        record = {"line": line, "cause": str(fault), "content": text}
        self._records.append(json.dumps(record).encode())

    def write(self) -> str:
        """Write them to `<file name>.bad-lines.jsonl`.

        Returns:
            The path of that file; '' where there are none, and nothing is written.
        """
        if not self._records:
            return ""
        target = Path(self.options.bad_lines_folder) / f"{self.path.name}.bad-lines.jsonl"
        write_bytes(target, b"\n".join(self._records) + b"\n")
        return str(target)


class RowCollector:
    """Rows of text with label columns, in the order of the file.

    Args:
        path: The file the rows stand in.
        options: What becomes of bad lines, and whether rows have weights.
    """

    def __init__(self, path: str | Path, options: ReadOptions) -> None:
        self.path, self.options = str(path), options
        self.bad = BadLines(path, options)
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.num_seen = 0
        self.num_surrogates = 0
        self._columns, self._weights, self._ends = array("q"), array("f"), array("q", [0])
        self._row_weights, self._times = array("f"), array("d")
        self._groups = array("q")
        self._group_numbers: dict[str, int] = {"": -1}
        self._fingerprints: set[int] = set()
        self._num_duplicates = 0
        self._column_of: dict[Hashable, int] = {}
        self._label_ids: dict[str, int] = {}

    def add(
        self,
        text: str,
        labels: Sequence[str | int],
        weights: Sequence[float] | None,
        id: str = "",
        weight: float = 1.0,
        group: str = "",
        time: float = math.nan,
    ) -> None:
        """Add a row whose labels are ids. A label that is there twice counts once, at its top
        weight.

        Args:
            text: The text.
            labels: Ids of the row's labels.
            weights: The weight of each label; None: all 1.
            id: The row's own id; '' for none.
            weight: How much the row counts.
            group: The group that the row stays with where rows are held out; '' for none.
            time: The row's time; NaN for none.
        """
        if self.options.group_column is not None:
            number = self._group_numbers.setdefault(group, len(self._group_numbers) - 1)
            self._groups.append(number)
        if self.options.time_column is not None:
            self._times.append(time)
        columns = [self._column(label) for label in labels]
        self.add_columns(text, columns, weights, id, weight)

    def add_columns(
        self,
        text: str,
        columns: list[int],
        weights: Sequence[float] | None,
        id: str = "",
        weight: float = 1.0,
    ) -> None:
        """Add a row whose labels are columns.

        Args:
            text: The text.
            columns: Columns of the row's labels; -1 stands for an empty label and is dropped.
            weights: The weight of each label, dropped where it is not above 0; None: all 1.
            id: The row's own id; '' for none.
            weight: How much the row counts.
        """
        if weights is not None or -1 in columns or len(set(columns)) != len(columns):
            best: dict[int, float] = {}
            for column, confidence in zip(columns, weights or [1.0] * len(columns), strict=True):
                if column >= 0 and confidence > 0:
                    best[column] = max(confidence, best.get(column, 0.0))
            columns, weights = list(best), list(best.values())
        self.num_seen += 1
        self.texts.append(text)
        self.ids.append(id)
        if self.options.weight_column is not None:
            self._row_weights.append(weight)
        self._columns.extend(columns)
        self._weights.extend(weights if weights is not None else [1.0] * len(columns))
        self._ends.append(len(self._columns))
        fingerprint = hash((text, tuple(sorted(columns))))
        if fingerprint in self._fingerprints:
            self._num_duplicates += 1
        self._fingerprints.add(fingerprint)

    def refuse(self, line: int, raw: bytes | str, fault: BadLine, num_lines: int = 1) -> None:
        """Count the row on `line` as bad; see `BadLines.refuse`.

        Args:
            line: The line it begins on, counted from 1.
            raw: The row as it stands in the file.
            fault: What is wrong with it.
            num_lines: Lines that it takes.

        Raises:
            DataError: bad lines are not to be skipped.
        """
        self.bad.refuse(self.num_seen, line, raw, fault, num_lines)
        self.num_seen += num_lines

    def _column(self, label: str | int) -> int:
        column = self._column_of.get(label)
        if column is None:
            id = clean_label(str(label))
            column = self._label_ids.setdefault(id, len(self._label_ids)) if id else -1
            self._column_of[label] = column
        return column

    def finish(
        self, labels: LabelTable | None = None, notes: Sequence[str] = (), num_split: int = 0
    ) -> Corpus:
        """The corpus of the rows so far.

        Args:
            labels: The labels of the columns; None: the ids that were added, sorted.
            notes: Remarks for the report.
            num_split: Cells that were split unasked, for the report.

        Returns:
            The corpus: N texts and Y (N, L).

        Raises:
            DataError: there is no row.
        """
        if not self.texts:
            if self.bad.first:
                raise DataError(f"{self.bad.first}; none of the {self.num_seen} rows is good")
            raise DataError(f"{self.path}: no rows; a file with at least one is needed")
        columns = np.frombuffer(self._columns, np.int64) if self._columns else np.zeros(0, np.int64)
        if labels is None:
            ids = sorted_ids(self._label_ids)
            labels = LabelTable.from_ids(ids)
            columns = labels_in_order(list(self._label_ids), labels)[columns]
        groups, times = self._sides()
        Y = csr_from_parts(
            np.frombuffer(self._weights, np.float32) if self._weights else np.zeros(0, np.float32),
            columns,
            np.frombuffer(self._ends, np.int64),
            len(labels),
        )
        return Corpus(
            texts=self.texts,
            Y=Y,
            labels=labels,
            ids=self.ids if any(self.ids) else None,
            row_weights=np.array(self._row_weights, np.float32) if self._row_weights else None,
            groups=groups,
            times=times,
            report=ReadReport(
                path=self.path,
                num_rows=len(self.texts),
                num_empty_texts=self.texts.count(""),
                num_without_labels=int((np.diff(Y.indptr) == 0).sum()),
                num_duplicate_rows=self._num_duplicates,
                num_replaced_surrogates=self.num_surrogates,
                num_skipped=len(self.bad.rows),
                skipped_rows=tuple(self.bad.rows),
                bad_lines_path=self.bad.write(),
                num_split_cells=num_split,
                notes=(*notes, *self._side_notes(groups, times)),
            ),
        )

    def _sides(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Groups and times of the rows. Raises DataError where a column is named and no row has
        it.
        """
        groups = np.array(self._groups, np.int64) if self._groups else None
        times = np.array(self._times, np.float64) if self._times else None
        for what, name, there in (
            ("group", self.options.group_column, groups is None or (groups >= 0).any()),
            ("time", self.options.time_column, times is None or not np.isnan(times).all()),
        ):
            if not there:
                raise DataError(
                    f"{self.path}: none of the {len(self.texts)} rows has a {what} under {name!r}; "
                    "name another column, or none"
                )
        return groups, times

    def _side_notes(self, groups: np.ndarray | None, times: np.ndarray | None) -> list[str]:
        num_rows, notes = len(self.texts), []
        if groups is not None and (groups < 0).any():
            notes.append(
                f"{(groups < 0).sum()} of {num_rows} rows have no group under "
                f"{self.options.group_column!r}; they stay with rows of the same text"
            )
        if times is not None and np.isnan(times).any():
            notes.append(
                f"{np.isnan(times).sum()} of {num_rows} rows have no time under "
                f"{self.options.time_column!r}; they count as the oldest"
            )
        return notes


def csr_from_parts(
    data: np.ndarray, columns: np.ndarray, indptr: np.ndarray, num_columns: int
) -> sp.csr_array:
    """A float32 csr_array with sorted indices; the parts are copied.

    Args:
        data: Values of the entries, (nnz,).
        columns: Their columns, (nnz,).
        indptr: Where each row begins, (N + 1,).
        num_columns: Columns of the matrix.

    Returns:
        The matrix (N, num_columns); its indices are int32 where they fit, else int64.
    """
    fits = len(columns) < 2**31 - 1 and num_columns < 2**31 - 1
    dtype = np.int32 if fits else np.int64
    matrix = sp.csr_array(
        (data.astype(np.float32), columns.astype(dtype), indptr.astype(dtype)),
        shape=(len(indptr) - 1, num_columns),
    )
    matrix.sort_indices()
    return matrix


def labels_in_order(ids: Sequence[str], table: LabelTable) -> np.ndarray:
    """The column of each id.

    Args:
        ids: Ids, all of them in the table.
        table: The labels.

    Returns:
        int64 (len(ids),).
    """
    return np.fromiter((table.index[id] for id in ids), np.int64, len(ids))


def sorted_ids(ids: Iterable[str]) -> list[str]:
    """Ids in an order that does not depend on the rows: by number where all are, else as text.

    Args:
        ids: The ids.

    Returns:
        A new list.
    """
    ids = list(ids)
    if all(id.isascii() and id.isdigit() for id in ids):
        return sorted(ids, key=lambda id: (int(id) if len(id) < 4000 else 0, id))
    return sorted(ids)
