"""Cells of a catalogue: any value as text, gathered column by column."""

import math
from collections.abc import Iterable
from typing import Any

BATCH_ROWS = 500  # few, so that the cells of a batch stay in the processor's cache
_ROWS_TO_JUDGE = 50_000  # before a column is taken for one of mostly distinct cells


class CellColumns:
    """Columns that grow by batches of rows; equal cells of a column become one string."""

    def __init__(self) -> None:
        self.num_rows = 0
        self._columns: dict[str, list[str]] = {}
        self._seen: dict[str, dict[str, str] | None] = {}
        self._records: list[dict[str, str]] = []

    def add_column(self, name: str, cells: Iterable[str]) -> None:
        """Append a batch of cells to one column."""
        column = self._columns.setdefault(name, [])
        seen = self._seen.setdefault(name, {})
        stripped = list(map(str.strip, cells))
        if seen is not None:
            stripped = list(map(seen.setdefault, stripped, stripped))
        column.extend(stripped)
        if seen is not None and len(column) >= _ROWS_TO_JUDGE and len(seen) > len(column) // 2:
            self._seen[name] = None  # sharing is not worth its memory

    def add_record(self, record: dict[str, str]) -> None:
        """Append one row; columns that it lacks stay empty in it."""
        self._records.append(record)
        self.num_rows += 1
        if len(self._records) == BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        before = self.num_rows - len(self._records)
        for name in {name: None for record in self._records for name in record}:
            if name not in self._columns:
                self._columns[name] = [""] * before
        for name in self._columns:
            self.add_column(name, [record.get(name, "") for record in self._records])
        self._records = []

    def finish(self) -> dict[str, list[str]]:
        """The columns."""
        self._flush()
        return self._columns


class NotText(Exception):
    """A value that has no plain form as text; the message says what it is."""


def cell_text(value: Any) -> str:
    """A value as a cell: null and NaN are '', numbers written out, lists of strings joined."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return " ".join(value)
    raise NotText(f"a {type(value).__name__}")
