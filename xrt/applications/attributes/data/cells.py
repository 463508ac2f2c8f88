"""Cells of a catalogue: any value as text, gathered column by column."""

import ast
import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from xrt.data.cells import clean_label, id_text

BATCH_ROWS = 500  # few, so that the cells of a batch stay in the processor's cache
_ROWS_TO_JUDGE = 50_000  # before a column counts as one of mostly distinct cells
_MAX_LIST_SIGNS = 10_000


class CellColumns:
    """Columns that grow by batches of rows; equal cells of a column become one string."""

    def __init__(self) -> None:
        self.num_rows = 0
        self._columns: dict[str, list[str]] = {}
        self._strings: dict[str, dict[str, str] | None] = {}
        self._records: list[dict[str, str]] = []

    def add_column(self, name: str, cells: Iterable[str]) -> None:
        """Append a batch of cells to one column."""
        column = self._columns.setdefault(name, [])
        strings = self._strings.setdefault(name, {})
        texts = list(map(str.strip, cells))
        if strings is not None:
            texts = list(map(strings.setdefault, texts, texts))
        column.extend(texts)
        if (
            strings is not None
            and len(column) >= _ROWS_TO_JUDGE
            and len(strings) > len(column) // 2
        ):
            self._strings[name] = None  # sharing is not worth its memory

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


def format_cell(value: Any) -> str:
    """A value as the text of a cell.

    Null and NaN are empty, numbers are written out, whole ones without a point. Of a list of such
    values the distinct ones count: a list of one is that one, a list of several stays a list,
    written as JSON (see `list_in`).

    Raises:
        NotText: an object, a list with parts of its own, bytes.
    """
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool | int | float | Decimal):
        return id_text(value)
    if isinstance(value, list) and all(
        part is None or isinstance(part, str | bool | int | float | Decimal) for part in value
    ):
        parts = list(dict.fromkeys(filter(None, (format_cell(part).strip() for part in value))))
        return json.dumps(parts, ensure_ascii=False) if len(parts) > 1 else "".join(parts)
    raise NotText(f"a {type(value).__name__}")


def parse_list(cell: str) -> list[str] | None:
    """The distinct parts of a cell that holds a list of texts, as JSON or as Python writes it; None
    for any other cell.
    """
    if cell[:1] != "[" or cell[-1:] != "]" or len(cell) > _MAX_LIST_SIGNS:
        return None
    parts = _parse_list(cell)
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        return None
    return list(dict.fromkeys(filter(None, map(str.strip, parts))))


def _parse_list(cell: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    if cell[1:].lstrip()[:1] not in ("'", '"'):
        return None
    try:
        return ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def join_list(cell: str) -> str:
    """A cell as text to be read: the parts of a list one after the other."""
    parts = parse_list(cell)
    return cell if parts is None else " ".join(parts)


class SeveralValues(Exception):
    """A cell with a list of values where one is needed; the message has the first ones."""


def take_single_value(cell: str) -> str:
    """The one value of a cell, clean; '' where it is empty.

    Raises:
        SeveralValues: the cell holds a list of several.
    """
    parts = parse_list(cell)
    if parts is None:
        return clean_label(cell)
    values = list(dict.fromkeys(filter(None, map(clean_label, parts))))
    if len(values) > 1:
        examples = ", ".join(repr(value[:40]) for value in values[:2])
        raise SeveralValues(
            f"a list of {len(values)} values ({examples}{', ...' * (len(values) > 2)})"
        )
    return "".join(values)


def is_plain_type(dtype: Any) -> bool:
    """Whether cells of a polars column can be written as text, or as lists of text."""
    import polars as pl

    if isinstance(dtype, pl.List | pl.Array):
        return not dtype.inner.is_nested() and is_plain_type(dtype.inner)
    return not (dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Unknown, pl.Duration))


def format_series(series: Any) -> list[str]:
    """The cells of a polars column as text; '' for null, and for all where it has no plain type."""
    import polars as pl

    if not is_plain_type(series.dtype):
        return [""] * len(series)
    dtype = series.dtype.inner if isinstance(series.dtype, pl.List | pl.Array) else series.dtype
    if dtype.is_temporal() or isinstance(dtype, pl.Categorical | pl.Enum):
        series = series.cast(pl.List(pl.String) if series.dtype.is_nested() else pl.String)
    return [
        format_cell(list(cell) if isinstance(cell, tuple) else cell) for cell in series.to_list()
    ]
