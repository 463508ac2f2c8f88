"""A catalogue: the cells of a table with named columns, as text.

CSV and TSV have the grammar of `xrt.data.delimited`, so that a bad row is named by its line;
Parquet is read with polars, JSONL line by line. Names of columns are clean (`clean_label`), cells
are stripped, an absent one is ''. A line that is not UTF-8 is read as Windows-1252. Equal cells of
a column share one string.
"""

import ast
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xrt.data.cells import clean_label, id_text
from xrt.data.collect import BadLines
from xrt.data.delimited import Line, csv_rows, read_header, tsv_rows
from xrt.data.formats import CorpusFormat, detect_format
from xrt.data.frames import frame_faults
from xrt.data.jsonl import parse_json_line
from xrt.data.options import BadLine, ReadOptions
from xrt.data.records import shown
from xrt.data.sources import numbered_lines, require_file
from xrt.errors import ConfigError, DataError

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
        """Append a batch of cells to one column.

        Args:
            name: The column; it is made where there is none of this name.
            cells: Its next cells; blanks around them are cut off.
        """
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
        """Append one row; columns that it lacks stay empty in it.

        Args:
            record: Column -> cell.
        """
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
        """The columns.

        Returns:
            Column -> its cells, one a row.
        """
        self._flush()
        return self._columns


class NotText(Exception):
    """A value that has no plain form as text; the message says what it is."""


def format_cell(value: Any) -> str:
    """A value as the text of a cell.

    Null and NaN are empty, numbers are written out, whole ones without a point. Of a list of such
    values the distinct ones count: a list of one is that one, a list of several stays a list,
    written as JSON (see `list_in`).

    Args:
        value: What a file holds in the cell: text, a number, null or a list of these.

    Returns:
        The text.

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

    Args:
        cell: The text of a cell.

    Returns:
        The parts without blanks around them, empty ones left out; or None.
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
    """A cell as text to be read: the parts of a list one after the other.

    Args:
        cell: The text of a cell.

    Returns:
        The parts with a blank between them; a cell that holds no list as it is.
    """
    parts = parse_list(cell)
    return cell if parts is None else " ".join(parts)


class SeveralValues(Exception):
    """A cell with a list of values where one is needed; the message has the first ones."""


def take_single_value(cell: str) -> str:
    """The one value of a cell, clean; '' where it is empty.

    Args:
        cell: The text of a cell; a list may have one value.

    Returns:
        The value.

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
    """Whether cells of a polars column can be written as text, or as lists of text.

    Args:
        dtype: The type of the column, a polars DataType.

    Returns:
        False for structs, lists of lists, bytes, objects, durations and unknown types.
    """
    import polars as pl

    if isinstance(dtype, pl.List | pl.Array):
        return not dtype.inner.is_nested() and is_plain_type(dtype.inner)
    return not (dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Unknown, pl.Duration))


def format_series(series: Any) -> list[str]:
    """The cells of a polars column as text; '' for null, and for all where it has no plain type.

    Args:
        series: The column, a polars Series.

    Returns:
        One text for each cell.
    """
    import polars as pl

    if not is_plain_type(series.dtype):
        return [""] * len(series)
    dtype = series.dtype.inner if isinstance(series.dtype, pl.List | pl.Array) else series.dtype
    if dtype.is_temporal() or isinstance(dtype, pl.Categorical | pl.Enum):
        series = series.cast(pl.List(pl.String) if series.dtype.is_nested() else pl.String)
    return [
        format_cell(list(cell) if isinstance(cell, tuple) else cell) for cell in series.to_list()
    ]


_TABLES = (CorpusFormat.CSV, CorpusFormat.TSV, CorpusFormat.PARQUET, CorpusFormat.JSONL)


@dataclass(frozen=True)
class CatalogueTable:
    """`columns`: name -> N cells as stripped text, '' where empty, in the order of the file.

    `notes` are findings to tell the user, lines skipped apart: `skipped_rows` are their positions
    among the file's rows, from 0, and `bad_lines_path` is where they were written. `all_names`: the
    columns of the file, where only some were read. `no_text`: columns with cells that are neither
    text nor number -> what they hold.
    """

    columns: dict[str, list[str]]
    path: str = ""
    notes: tuple[str, ...] = ()
    all_names: tuple[str, ...] = ()
    skipped_rows: tuple[int, ...] = ()
    bad_lines_path: str = ""
    no_text: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = {len(cells) for cells in self.columns.values()}
        if len(sizes) > 1:
            raise DataError(f"{self.path}: columns of {sorted(sizes)} cells; make them equal")

    @classmethod
    def from_items(
        cls, items: Iterable[Mapping[str, Any]], path: str = "items"
    ) -> "CatalogueTable":
        """A table of records, such as `{"title": "usb-c charger", "price": 12.5}`.

        Raises DataError: there is none, or one holds what is not text, number or list of such.

        Args:
            items: Mappings from column to cell, one a row.
            path: What messages name as the source.

        Returns:
            The table.
        """
        cells = CellColumns()
        for number, item in enumerate(items, 1):
            if not isinstance(item, Mapping):
                raise DataError(
                    f"{path}: item {number} is a {type(item).__name__}; give a mapping of column "
                    "to cell"
                )
            try:
                texts = ((clean_label(str(key)), format_cell(value)) for key, value in item.items())
                cells.add_record(dict(texts))
            except NotText as fault:
                raise DataError(f"{path}: item {number} holds {fault}; give text") from None
        if not cells.num_rows:
            raise DataError(f"{path}: no items; give at least one")
        return cls(cells.finish(), path)

    @property
    def num_rows(self) -> int:
        """N."""
        return len(next(iter(self.columns.values()), ()))

    @property
    def names(self) -> tuple[str, ...]:
        """The column names in the order of the file."""
        return tuple(self.columns)

    def messages(self) -> list[str]:
        """One sentence for each finding, lines skipped included.

        Returns:
            The sentences, each with the path of the file.
        """
        messages = [f"{self.path}: {note}" for note in self.notes]
        if self.skipped_rows:
            skipped = f"{len(self.skipped_rows)} bad lines were skipped and written to"
            messages.append(f"{self.path}: {skipped} {self.bad_lines_path}")
        return messages

    def require(self, names: Iterable[str], what: str, setting: str) -> None:
        """Raises DataError naming the columns there are, when one of `names` is not among them.

        Args:
            names: The columns that have to be there.
            what: The role of the columns, for the message.
            setting: The setting that names them, for the message.
        """
        missing = [name for name in names if name not in self.columns]
        if unreadable := [f"{n} ({self.no_text[n]})" for n in missing if n in self.no_text]:
            raise DataError(
                f"{self.path}: {what} column {', '.join(unreadable)} holds neither text nor "
                f"numbers; write it as text: name {setting}"
            )
        if missing:
            raise DataError(
                f"{self.path}: no {what} column {', '.join(missing)}; the columns are "
                f"{shown(self.all_names or self.columns)}: name {setting}"
            )

    def subset(self, rows: np.ndarray) -> "CatalogueTable":
        """The rows at these positions; notes stay those of the whole file.

        Args:
            rows: Positions of rows, from 0.

        Returns:
            A table of these rows, in this order, without skipped lines.
        """
        positions = np.asarray(rows, np.int64).tolist()
        columns = {name: [cells[i] for i in positions] for name, cells in self.columns.items()}
        return replace(self, columns=columns, skipped_rows=(), bad_lines_path="")


def read_catalogue(
    path: str | Path,
    *,
    format: CorpusFormat | str | None = None,
    columns: Sequence[str] | None = None,
    skip_bad_lines: bool = False,
    bad_lines_folder: str | Path = ".",
) -> CatalogueTable:
    """Read the cells of a CSV, TSV, Parquet or JSONL file; CSV, TSV and JSONL may be packed.

    Args:
        path: The file; gzip and xz are detected by its first bytes.
        format: One of csv, tsv, parquet, jsonl; None tells it from name and content.
        columns: Keep only those of these columns that are there; None keeps all.
        skip_bad_lines: Write bad lines to `<file name>.bad-lines.jsonl` instead of raising.
        bad_lines_folder: The folder of that file.

    Returns:
        The table; `messages()` tell of lines that were not UTF-8 and of lines skipped.

    Raises:
        DataError: the file cannot be used; the message names file, line, cause and what to do.
    """
    path = require_file(path)
    file_format = detect_table_format(path, format)
    selection = None if columns is None else set(columns)
    bad = BadLines(
        path, ReadOptions(skip_bad_lines=skip_bad_lines, bad_lines_folder=bad_lines_folder)
    )
    decode = Decoder()
    if file_format is CorpusFormat.PARQUET:
        content = _read_parquet(path, selection)
    elif file_format is CorpusFormat.JSONL:
        content = _read_jsonl(path, selection, bad, decode)
    else:
        rows = csv_rows if file_format is CorpusFormat.CSV else tsv_rows
        content = _read_rows(path, rows(path, decode), selection, bad)
    names = tuple(content.names)
    if not content.columns and selection:
        raise DataError(
            f"{path}: no column {', '.join(columns or ())}; the columns are {shown(names)}"
        )
    if not any(content.columns.values()):
        fault = (
            f"{bad.first}; no row is good" if bad.first else f"{path}: no rows; give at least one"
        )
        raise DataError(fault)
    bad_lines_path = bad.write()
    notes = [*decode.notes(), *content.notes]
    return CatalogueTable(
        content.columns,
        str(path),
        tuple(notes),
        names,
        tuple(bad.rows),
        bad_lines_path,
        content.no_text,
    )


def is_table(path: Path) -> bool:
    """Whether name and content tell a format with named columns.

    Args:
        path: The file, which has to be there.

    Returns:
        False, too, where nothing tells the format.
    """
    require_file(path)
    try:
        return detect_format(path) in _TABLES
    except DataError:  # nothing fits, or the file is damaged, which reading it will tell
        return False


def detect_table_format(path: Path, format: CorpusFormat | str | None) -> CorpusFormat:
    """The format of a catalogue.

    Args:
        path: The file.
        format: What the user says of it; None tells it from name and content.

    Returns:
        One of csv, tsv, parquet, jsonl.

    Raises:
        ConfigError: there is no such format, or it has no named columns.
        DataError: name and content tell no format, or one without named columns.
    """
    names = ", ".join(f.value for f in _TABLES)
    if format is None:
        file_format = detect_format(path)
        if file_format not in _TABLES:
            raise DataError(
                f"{path}: {file_format.value} has no named columns; a catalogue is {names}"
            )
        return file_format
    if format not in [f.value for f in _TABLES]:
        raise ConfigError(f"format = {format!r}: no format of a catalogue; choose one of {names}")
    return CorpusFormat(format)


class _FileColumns(NamedTuple):
    """What a reader took from a file: columns, the names of all there are, notes, and columns of
    which cells are no text -> what they hold.
    """

    columns: dict[str, list[str]]
    names: Iterable[str]
    notes: list[str]
    no_text: Mapping[str, str] = {}


class Decoder:
    """Lines to text: UTF-8, or for a line that is not, Windows-1252 (its five unused bytes become
    U+FFFD).
    """

    def __init__(self) -> None:
        self.num_converted = 0

    def __call__(self, raw: bytes) -> str:
        """The text of a line."""
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.num_converted += 1
            return raw.decode("cp1252", "replace")

    def notes(self) -> list[str]:
        """How many lines were not UTF-8, where there were any.

        Returns:
            One note, or none.
        """
        if not self.num_converted:
            return []
        lines = "line was" if self.num_converted == 1 else "lines were"
        return [f"{self.num_converted} {lines} not UTF-8 and read as Windows-1252"]


def _read_rows(
    path: Path, rows: Iterator[Line], selection: set[str] | None, bad: BadLines
) -> _FileColumns:
    """The columns of a file whose first row names them."""
    header = clean_column_names(read_header(path, rows), path)
    places = [i for i, name in enumerate(header) if selection is None or name in selection]
    cells = CellColumns()
    position = 0
    while batch := list(islice(rows, BATCH_ROWS)):
        good: list[Sequence[str]] = []
        for line in batch:
            if line.fault:
                bad.refuse(position, line.number, line.raw, BadLine(line.fault), line.num_lines)
            else:
                good.append(line.cells)
            position += line.num_lines
        by_column = list(zip(*good, strict=True)) or [()] * len(header)
        for i in places:
            cells.add_column(header[i], by_column[i])
    return _FileColumns(cells.finish(), header, [])


def clean_column_names(names: Iterable[str], path: str | Path) -> list[str]:
    """The names of columns as they are matched: clean, and `column 3` for one without a name.

    Raises DataError: two are alike then.

    Args:
        names: The names as the file has them.
        path: The file, for the message.

    Returns:
        The clean names, in the same order.
    """
    clean_names = [clean_label(name) or f"column {i}" for i, name in enumerate(names, 1)]
    if twice := next((name for name in clean_names if clean_names.count(name) > 1), None):
        raise DataError(f"{path}: column {twice!r} stands there twice; rename one")
    return clean_names


def _read_jsonl(
    path: Path, selection: set[str] | None, bad: BadLines, decode: Callable[[bytes], str]
) -> _FileColumns:
    cells = CellColumns()
    names: dict[str, str] = {}
    no_text_places: dict[str, list[str]] = {}
    position = 0
    for number, raw in numbered_lines(path):
        if not raw or raw.isspace():
            continue
        try:
            record = parse_json_line(decode(raw).encode()).record
            texts = {}
            for key, value in record.items():
                name = names[key] if key in names else names.setdefault(key, clean_label(key))
                if selection is None or name in selection:
                    try:
                        texts[name] = format_cell(value)
                    except NotText as fault:
                        no_text_places.setdefault(name, []).append(f"line {number} has {fault}")
            cells.add_record(texts)
        except BadLine as fault:
            bad.refuse(position, number, raw, fault)
        position += 1
    notes = [
        f"column {name!r}: {len(places)} cells are neither text nor number and were left empty"
        for name, places in no_text_places.items()
    ]
    no_text = {name: places[0] for name, places in no_text_places.items()}
    return _FileColumns(cells.finish(), clean_column_names(names, path), notes, no_text)


def _read_parquet(path: Path, selection: set[str] | None) -> _FileColumns:
    import polars as pl

    cells = CellColumns()
    with frame_faults(path):
        schema = pl.read_parquet_schema(path)
        name_of = dict(zip(schema, clean_column_names(schema, path), strict=True))
        keys = [key for key in schema if selection is None or name_of[key] in selection]
        plain = [key for key in keys if is_plain_type(schema[key])]
        frame = pl.read_parquet(path, columns=plain)
        for batch in frame.iter_slices(BATCH_ROWS):
            for series in batch:
                cells.add_column(name_of[series.name], format_series(series))
    no_text = {name_of[key]: str(schema[key]) for key in keys if key not in plain}
    notes = [f"columns left out, neither text nor number: {shown(no_text)}"] if no_text else []
    return _FileColumns(cells.finish(), name_of.values(), notes, no_text)
