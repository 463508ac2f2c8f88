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

from xrt.applications.attributes.catalogue_settings import Reading
from xrt.applications.attributes.data.catalogue import (
    CatalogueTable,
    Decoder,
    NotText,
    clean_column_names,
    format_cell,
    format_series,
    is_plain_type,
)
from xrt.applications.attributes.filling.raw_rows import TableStyle
from xrt.data.collect import BadLines
from xrt.data.delimited import Line, csv_rows, tsv_rows
from xrt.data.formats import CorpusFormat
from xrt.data.frames import frame_faults
from xrt.data.jsonl import parse_json_line
from xrt.data.options import BadLine, ReadOptions
from xrt.data.sources import numbered_lines, require_file
from xrt.errors import DataError

PARQUET_ROWS = 200_000
"""Rows of a Parquet file decoded at once."""


@dataclass(frozen=True)
class Chunk:
    """Rows in a row of a file: `frame` has their cells as they are, `table` as stripped text;
    `lines` are the rows as they stand in a text file, None for Parquet.
    """

    frame: pl.DataFrame
    table: CatalogueTable
    lines: list[str] | None = None

    @property
    def num_rows(self) -> int:
        """N."""
        return self.table.num_rows


class CatalogueChunks:
    """A catalogue file; iterating gives chunks of `num_rows` rows.

    `names` are its columns as they are matched (clean), `keys` how each is called in the file,
    `schema` the types of the columns of the chunks' frames.

    Args:
        path: The file.
        num_rows: Rows of a chunk.
        inputs: Columns that the tables of the chunks hold where they are there.
        values: Such columns in which each cell must have one value.
        reading: How the file is read.
        bad_lines_folder: Where bad lines are written aside, if they are.

    Raises:
        DataError: names file and line of a row that cannot be used.
    """

    def __init__(
        self,
        path: str | Path,
        num_rows: int,
        inputs: Sequence[str],
        values: Sequence[str] = (),
        reading: Reading | None = None,
        bad_lines_folder: str | Path = ".",
    ) -> None:
        self.path, self.num_rows = require_file(path), num_rows
        reading = reading or Reading()
        self.format = reading.format_of(self.path)
        self._decode = Decoder()
        self._bad_options = ReadOptions(
            skip_bad_lines=reading.skip_bad_lines, bad_lines_folder=bad_lines_folder
        )
        self._bad = BadLines(self.path, self._bad_options)
        self.style: TableStyle | None = None
        if self.format is CorpusFormat.PARQUET:
            with frame_faults(self.path):
                self.schema = dict(pl.read_parquet_schema(self.path))
            keys = list(self.schema)
            self.names = tuple(clean_column_names(keys, self.path))
        elif self.format is CorpusFormat.JSONL:
            keys = list(dict.fromkeys(key for line in self._json_lines() for key in line[1]))
            self.names = tuple(clean_column_names(keys, self.path))
        else:
            header = self._header(self._rows())
            self.style = TableStyle.of(self.path, header, self.format)
            keys = clean_column_names(header.cells, self.path)
            self.names = tuple(keys)
        if self.format is not CorpusFormat.PARQUET:
            self.schema = dict.fromkeys(keys, pl.String())
        self.keys = dict(zip(self.names, keys, strict=True))
        self._columns = [name for name in self.names if name in {*inputs, *values}]
        self._values = [name for name in self._columns if name in set(values)]
        self._check_values()
        self._restart()

    def _restart(self) -> None:
        self._decode = Decoder()
        self._bad = BadLines(self.path, self._bad_options)

    def _check_values(self) -> None:
        for name in self._values:
            if not is_plain_type(dtype := self.schema[self.keys[name]]):
                raise DataError(
                    f"{self.path}: column {name!r} has {dtype}, where an attribute has one value "
                    "a row; write the value as text, or leave the column out"
                )

    def notes(self) -> list[str]:
        """Notes on the file: lines that are not UTF-8, lines written aside.

        Returns:
            The notes; none where there is nothing to say. Bad lines are written by this call.
        """
        skipped = len(self._bad.rows)
        aside = [f"{skipped} bad lines were skipped and written to {self._bad.write()}"]
        return [*self._decode.notes(), *(aside if skipped else [])]

    def __iter__(self) -> Iterator[Chunk]:
        self._restart()
        if self.format is CorpusFormat.PARQUET:
            return self._parquet_chunks()
        return self._jsonl_chunks() if self.format is CorpusFormat.JSONL else self._text_chunks()

    def _rows(self) -> Iterator[Line]:
        rows = csv_rows if self.format is CorpusFormat.CSV else tsv_rows
        return rows(self.path, self._decode)

    def _header(self, rows: Iterator[Line]) -> Line:
        first = next(rows, None)
        if first is None or first.fault:
            cause = first.fault if first else "no header; the first line must name the columns"
            raise DataError(f"{self.path}: line {first.number if first else 1}: {cause}")
        return first

    def _good_rows(self) -> Iterator[Line]:
        rows, position = self._rows(), 0
        self._header(rows)
        for line in rows:
            if line.fault:
                self._bad.refuse(
                    position, line.number, line.raw, BadLine(line.fault), line.num_lines
                )
            else:
                yield line
            position += line.num_lines

    def _text_chunks(self) -> Iterator[Chunk]:
        rows = self._good_rows()
        while batch := list(islice(rows, self.num_rows)):
            by_column = zip(*(line.cells for line in batch), strict=True)
            columns = dict(zip(self.names, by_column, strict=True))
            texts = {name: list(map(str.strip, columns[name])) for name in self._columns}
            lines = [line.raw for line in batch]
            yield Chunk(_frame(columns), CatalogueTable(texts, str(self.path)), lines)

    def _json_lines(self) -> Iterator[tuple[int, dict[str, Any], str]]:
        """Number, object and text of each line that is an object."""
        position = 0
        for number, raw in numbered_lines(self.path):
            if not raw or raw.isspace():
                continue
            text = self._decode(raw)
            try:
                yield number, parse_json_line(text.encode()).record, text
            except BadLine as fault:
                self._bad.refuse(position, number, raw, fault)
            position += 1

    def _jsonl_chunks(self) -> Iterator[Chunk]:
        rows = self._json_lines()
        while batch := list(islice(rows, self.num_rows)):
            cells = {key: [record.get(key) for _, record, _ in batch] for key in self.schema}
            numbers = [number for number, _, _ in batch]
            texts = {
                name: self._json_texts(name, cells[self.keys[name]], numbers)
                for name in self._columns
            }
            frame = _frame({key: list(map(_raw, values)) for key, values in cells.items()})
            lines = [text for _, _, text in batch]
            yield Chunk(frame, CatalogueTable(texts, str(self.path)), lines)

    def _json_texts(self, name: str, values: Sequence[Any], numbers: Sequence[int]) -> list[str]:
        texts = []
        for value, number in zip(values, numbers, strict=True):
            try:
                texts.append(format_cell(value).strip())
            except NotText as fault:
                if name in self._values:
                    raise DataError(
                        f"{self.path}: line {number}: column {name!r} has {fault}, where an "
                        "attribute has one value; write it as text, or leave the column out"
                    ) from None
                texts.append("")
        return texts

    def _parquet_chunks(self) -> Iterator[Chunk]:
        start = 0
        while True:
            with frame_faults(self.path):
                part = pl.scan_parquet(self.path).slice(start, PARQUET_ROWS).collect()
            for frame in part.iter_slices(self.num_rows) if len(part) else ():
                texts = {
                    name: list(map(str.strip, format_series(frame[self.keys[name]])))
                    for name in self._columns
                }
                yield Chunk(frame, CatalogueTable(texts, str(self.path)))
            if len(part) < PARQUET_ROWS:
                return
            start += PARQUET_ROWS


def _frame(columns: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Columns of text; an empty cell is null."""
    return pl.DataFrame(
        [pl.Series(name, [c or None for c in cells], pl.String) for name, cells in columns.items()]
    )


def _raw(value: Any) -> str:
    """A value of JSON as the text of a cell; whatever is no text stays JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
