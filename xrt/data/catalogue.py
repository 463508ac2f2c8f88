"""A catalogue: the cells of a table with named columns, as text.

CSV and TSV are read with the parser of `xrt.data.tables`, row by row, so that a bad row is named by
its line; Parquet with polars; JSONL line by line. Cells are stripped, an absent one is ''. A line
that is not UTF-8 is read as Windows-1252. Equal cells of a column share one string.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xrt.data.catalogue_cells import BATCH_ROWS, CellColumns, NotText, cell_text
from xrt.data.collect import BadLines
from xrt.data.delimited import Line, csv_rows, read_header, tsv_rows
from xrt.data.formats import CorpusFormat, detect_format
from xrt.data.jsonl import parse_json_line
from xrt.data.options import BadLine, ReadOptions
from xrt.data.records import shown
from xrt.data.sources import numbered_lines, require_file
from xrt.errors import ConfigError, DataError

_TABLES = (CorpusFormat.CSV, CorpusFormat.TSV, CorpusFormat.PARQUET, CorpusFormat.JSONL)


@dataclass(frozen=True)
class CatalogueTable:
    """`columns`: name -> N cells as stripped text, '' where empty, in the order of the file.

    `notes` are findings to tell the user, lines skipped apart: `skipped_rows` are their positions
    among the file's rows, from 0, and `bad_lines_path` is where they were written. `all_names`: the
    columns of the file, where only some were read.
    """

    columns: dict[str, list[str]]
    path: str = ""
    notes: tuple[str, ...] = ()
    all_names: tuple[str, ...] = ()
    skipped_rows: tuple[int, ...] = ()
    bad_lines_path: str = ""

    def __post_init__(self) -> None:
        sizes = {len(cells) for cells in self.columns.values()}
        if len(sizes) > 1:
            raise DataError(f"{self.path}: columns of {sorted(sizes)} cells; make them equal")

    @classmethod
    def from_items(
        cls, items: Iterable[Mapping[str, Any]], path: str = "items"
    ) -> "CatalogueTable":
        """A table of records, such as `{"title": "usb-c charger", "price": 12.5}`.

        Raises DataError: there is none, or one holds what is not text, number or list of strings.
        """
        cells = CellColumns()
        for number, item in enumerate(items, 1):
            try:
                cells.add_record({str(key): cell_text(value) for key, value in item.items()})
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
        """One sentence for each finding, lines skipped included."""
        messages = [f"{self.path}: {note}" for note in self.notes]
        if self.skipped_rows:
            skipped = f"{len(self.skipped_rows)} bad lines were skipped and written to"
            messages.append(f"{self.path}: {skipped} {self.bad_lines_path}")
        return messages

    def require(self, names: Iterable[str], what: str, setting: str) -> None:
        """Raises DataError naming the columns there are, when one of `names` is not among them."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise DataError(
                f"{self.path}: no {what} column {', '.join(missing)}; the columns are "
                f"{shown(self.all_names or self.columns)}: name {setting}"
            )

    def subset(self, rows: np.ndarray) -> "CatalogueTable":
        """The rows at these positions; notes stay those of the whole file."""
        picked = np.asarray(rows, np.int64).tolist()
        columns = {name: [cells[i] for i in picked] for name, cells in self.columns.items()}
        return CatalogueTable(columns, self.path, self.notes, self.all_names)


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
        path: The file; gzip and xz are told by its first bytes.
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
    chosen = _table_format(path, format)
    wanted = None if columns is None else set(columns)
    bad = BadLines(
        path, ReadOptions(skip_bad_lines=skip_bad_lines, bad_lines_folder=bad_lines_folder)
    )
    decode = Decoder()
    if chosen is CorpusFormat.PARQUET:
        found = _read_parquet(path, wanted)
    elif chosen is CorpusFormat.JSONL:
        found = _read_jsonl(path, wanted, bad, decode)
    else:
        rows = csv_rows if chosen is CorpusFormat.CSV else tsv_rows
        found = _read_rows(path, rows(path, decode), wanted, bad)
    names = tuple(found.names)
    if not found.columns and wanted:
        raise DataError(
            f"{path}: no column {', '.join(columns or ())}; the columns are {shown(names)}"
        )
    if not any(found.columns.values()):
        fault = (
            f"{bad.first}; no row is good" if bad.first else f"{path}: no rows; give at least one"
        )
        raise DataError(fault)
    bad_lines_path = bad.write()
    notes = [*decode.notes(), *found.notes]
    return CatalogueTable(
        found.columns, str(path), tuple(notes), names, tuple(bad.rows), bad_lines_path
    )


def _table_format(path: Path, format: CorpusFormat | str | None) -> CorpusFormat:
    names = ", ".join(f.value for f in _TABLES)
    try:
        chosen = CorpusFormat(format) if format is not None else detect_format(path)
    except ValueError:
        raise ConfigError(f"format {format!r} is unknown; choose one of {names}") from None
    if chosen not in _TABLES:
        raise DataError(f"{path}: {chosen.value} has no named columns; a catalogue is {names}")
    return chosen


class _Found(NamedTuple):
    """What a reader took from a file: columns, the names of all there are, notes."""

    columns: dict[str, list[str]]
    names: Iterable[str]
    notes: list[str]


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
        """How many lines were not UTF-8, where there were any."""
        if not self.num_converted:
            return []
        lines = "line was" if self.num_converted == 1 else "lines were"
        return [f"{self.num_converted} {lines} not UTF-8 and read as Windows-1252"]


def _read_rows(path: Path, rows: Iterator[Line], wanted: set[str] | None, bad: BadLines) -> _Found:
    """The columns of a file whose first row names them."""
    header = [name or f"column {i}" for i, name in enumerate(read_header(path, rows), 1)]
    kept = [i for i, name in enumerate(header) if wanted is None or name in wanted]
    cells = CellColumns()
    num_seen = 0
    while batch := list(islice(rows, BATCH_ROWS)):
        good: list[Sequence[str]] = []
        for line in batch:
            if line.fault:
                bad.refuse(num_seen, line.number, line.raw, BadLine(line.fault), line.num_lines)
            else:
                good.append(line.cells)
            num_seen += line.num_lines
        by_column = list(zip(*good, strict=True)) or [()] * len(header)
        for i in kept:
            cells.add_column(header[i], by_column[i])
    return _Found(cells.finish(), header, [])


def _read_jsonl(
    path: Path, wanted: set[str] | None, bad: BadLines, decode: Callable[[bytes], str]
) -> _Found:
    cells = CellColumns()
    names: dict[str, None] = {}
    dropped: dict[str, int] = {}
    num_seen = 0
    for number, raw in numbered_lines(path):
        if not raw or raw.isspace():
            continue
        try:
            record = parse_json_line(decode(raw).encode()).record
            names.update(dict.fromkeys(record))
            texts = {}
            for name, value in record.items():
                if wanted is None or name in wanted:
                    try:
                        texts[name] = cell_text(value)
                    except NotText:
                        dropped[name] = dropped.get(name, 0) + 1
            cells.add_record(texts)
        except BadLine as fault:
            bad.refuse(num_seen, number, raw, fault)
        num_seen += 1
    notes = [
        f"column {name!r}: {count} cells are neither text nor number and were left empty"
        for name, count in dropped.items()
    ]
    return _Found(cells.finish(), names, notes)


def _read_parquet(path: Path, wanted: set[str] | None) -> _Found:
    import polars as pl

    try:
        schema = pl.read_parquet_schema(path)
        names = [name for name in schema if wanted is None or name in wanted]
        texts = {name: _is_text(schema[name]) for name in names}
        frame = pl.read_parquet(path, columns=[name for name in names if texts[name]])
    except (pl.exceptions.PolarsError, OSError) as err:
        cause = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise DataError(f"{path}: not a readable Parquet file ({cause}); write it again") from err
    cells = CellColumns()
    for batch in frame.iter_slices(BATCH_ROWS):
        for series in batch:
            dtype = series.dtype
            plain = dtype.is_temporal() or isinstance(dtype, pl.Categorical | pl.Enum | pl.Decimal)
            values = series.cast(pl.String) if plain else series
            cells.add_column(series.name, map(cell_text, values.to_list()))
    left_out = [name for name in names if not texts[name]]
    notes = [f"columns left out, neither text nor number: {shown(left_out)}"] if left_out else []
    return _Found(cells.finish(), schema, notes)


def _is_text(dtype: Any) -> bool:
    """Whether cells of a Parquet column can be written as text; a list needs text in it."""
    import polars as pl

    if isinstance(dtype, pl.List):
        return dtype.inner == pl.String
    nested = (pl.Struct, pl.Array, pl.Binary, pl.Object)
    return not isinstance(dtype, nested)
