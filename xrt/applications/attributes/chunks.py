"""A catalogue read in chunks of rows: its cells as they are, and as the text that models read.

However long the file, one chunk is in memory. JSONL is gone through twice, first for its keys.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from xrt.data.catalogue import CatalogueTable, Decoder
from xrt.data.catalogue_cells import NotText, cell_text
from xrt.data.delimited import csv_rows, read_header, tsv_rows
from xrt.data.formats import CorpusFormat, detect_format
from xrt.data.jsonl import parse_json_line
from xrt.data.options import BadLine
from xrt.data.sources import numbered_lines, require_file
from xrt.errors import DataError

PARQUET_ROWS = 200_000
"""Rows of a Parquet file decoded at once."""


@dataclass(frozen=True)
class Chunk:
    """Rows in a row of a file: `frame` has their cells as they are, `table` as stripped text;
    `records` are the objects of JSONL, None for other formats.
    """

    frame: pl.DataFrame
    table: CatalogueTable
    records: list[dict[str, Any]] | None = None

    @property
    def num_rows(self) -> int:
        """N."""
        return self.table.num_rows


class CatalogueChunks:
    """A catalogue file; `names` are its columns. Iterating gives chunks of `num_rows` rows, whose
    tables hold the columns `wanted` that are there.

    Raises DataError naming file and line for a row that cannot be used.
    """

    def __init__(self, path: str | Path, num_rows: int, wanted: Sequence[str]) -> None:
        self.path, self.num_rows = require_file(path), num_rows
        self.format = detect_format(self.path)
        self._decode = Decoder()
        if self.format is CorpusFormat.PARQUET:
            self.names = tuple(self._parquet_schema())
        elif self.format is CorpusFormat.JSONL:
            self.names = tuple(dict.fromkeys(key for row in self._records() for key in row))
        elif self.format in (CorpusFormat.CSV, CorpusFormat.TSV):
            self.names = tuple(named(read_header(self.path, self._rows())))
        else:
            raise DataError(
                f"{self.path}: {self.format.value} has no named columns; a catalogue is csv, tsv, "
                "parquet or jsonl"
            )
        self._decode = Decoder()
        self._wanted = [name for name in self.names if name in set(wanted)]

    @property
    def notes(self) -> list[str]:
        """What was found on the way, such as lines that are not UTF-8."""
        return self._decode.notes()

    def __iter__(self) -> Iterator[Chunk]:
        if self.format is CorpusFormat.PARQUET:
            return self._parquet_chunks()
        return self._jsonl_chunks() if self.format is CorpusFormat.JSONL else self._text_chunks()

    def _rows(self) -> Iterator[Any]:
        rows = csv_rows if self.format is CorpusFormat.CSV else tsv_rows
        return rows(self.path, self._decode)

    def _text_chunks(self) -> Iterator[Chunk]:
        rows = self._rows()
        read_header(self.path, rows)
        while batch := list(islice(rows, self.num_rows)):
            for line in batch:
                if line.fault or len(line.cells) != len(self.names):
                    fault = line.fault or (
                        f"{len(line.cells)} columns where the header has {len(self.names)}; "
                        "correct the row"
                    )
                    raise DataError(f"{self.path}: line {line.number}: {fault}")
            by_column = zip(*(line.cells for line in batch), strict=True)
            columns = dict(zip(self.names, by_column, strict=True))
            texts = {name: list(map(str.strip, columns[name])) for name in self._wanted}
            yield Chunk(_frame(columns), CatalogueTable(texts, str(self.path)))

    def _records(self) -> Iterator[dict[str, Any]]:
        for number, raw in numbered_lines(self.path):
            if not raw or raw.isspace():
                continue
            try:
                yield parse_json_line(self._decode(raw).encode()).record
            except BadLine as fault:
                raise DataError(f"{self.path}: line {number}: {fault}") from None

    def _jsonl_chunks(self) -> Iterator[Chunk]:
        rows = self._records()
        while batch := list(islice(rows, self.num_rows)):
            cells = {name: [row.get(name) for row in batch] for name in self.names}
            texts = {name: [_text(value).strip() for value in cells[name]] for name in self._wanted}
            raw = {name: [_raw(value) for value in cells[name]] for name in self.names}
            yield Chunk(_frame(raw), CatalogueTable(texts, str(self.path)), batch)

    def _parquet_schema(self) -> dict[str, Any]:
        try:
            return dict(pl.read_parquet_schema(self.path))
        except (pl.exceptions.PolarsError, OSError) as err:
            raise self._unreadable(err) from err

    def _parquet_chunks(self) -> Iterator[Chunk]:
        start = 0
        while True:
            try:
                part = pl.scan_parquet(self.path).slice(start, PARQUET_ROWS).collect()
            except (pl.exceptions.PolarsError, OSError) as err:
                raise self._unreadable(err) from err
            for frame in part.iter_slices(self.num_rows) if len(part) else ():
                texts = {name: series_texts(frame[name]) for name in self._wanted}
                yield Chunk(frame, CatalogueTable(texts, str(self.path)))
            if len(part) < PARQUET_ROWS:
                return
            start += PARQUET_ROWS

    def _unreadable(self, err: Exception) -> DataError:
        cause = str(err).splitlines()[0] if str(err) else type(err).__name__
        return DataError(f"{self.path}: not a readable Parquet file ({cause}); write it again")


def named(header: Sequence[str]) -> list[str]:
    """The header, columns without a name called by their number."""
    return [name or f"column {number}" for number, name in enumerate(header, 1)]


def series_texts(series: pl.Series) -> list[str]:
    """The cells of a Parquet column as stripped text, '' for null and for what is no text."""
    if series.dtype == pl.String:
        return [(cell or "").strip() for cell in series.to_list()]
    dtype = series.dtype
    if dtype.is_temporal() or isinstance(dtype, pl.Categorical | pl.Enum | pl.Decimal):
        return [(cell or "").strip() for cell in series.cast(pl.String).to_list()]
    return [_text(cell).strip() for cell in series.to_list()]


def _frame(columns: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Columns of text; an empty cell is null."""
    return pl.DataFrame(
        [pl.Series(name, [c or None for c in cells], pl.String) for name, cells in columns.items()]
    )


def _raw(value: Any) -> str:
    """A value of JSON as the text of a cell; lists and objects stay JSON."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return cell_text(value)


def _text(value: Any) -> str:
    try:
        return cell_text(value)
    except NotText:
        return ""
