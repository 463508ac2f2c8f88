"""Tables with named columns: CSV, TSV, Parquet.

CSV is read row by row with Python's own parser rather than with polars, since a bad row must be
named by its line; quotes are strict, so a quote that is never closed is an error and not a lost
file. The delimiter is ',' or, where the header has none, ';' or tab. TSV is one line a row with no
quoting, except that a field wholly in double quotes is unquoted. Parquet is read with polars.
"""

import csv
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xrt.data.collect import RowCollector, without_surrogates
from xrt.data.corpus import Corpus
from xrt.data.options import BadLine, ReadOptions
from xrt.data.records import (
    RecordParser,
    default_text_columns,
    missing_labels,
    missing_weights,
    shown,
)
from xrt.data.sources import numbered_lines, require_file
from xrt.errors import DataError

_PARQUET_BATCH = 50_000


class Line(NamedTuple):
    """A row of the table: the line it starts on, its cells, or why there are none."""

    number: int
    cells: Sequence[Any]
    fault: str = ""


def read_csv(path: str | Path, options: ReadOptions) -> Corpus:
    """Read CSV with a header; rows may run over several lines inside quotes."""
    return _read_rows(path, options, csv_rows(path))


def read_tsv(path: str | Path, options: ReadOptions) -> Corpus:
    """Read TSV with a header, one line a row."""
    return _read_rows(path, options, tsv_rows(path))


def read_parquet(path: str | Path, options: ReadOptions) -> Corpus:
    """Read Parquet; a label column may also hold lists. Lines are counted from 1."""
    import polars as pl

    require_file(path)
    try:
        columns = list(pl.read_parquet_schema(path))
        wanted = _wanted_columns(path, columns, options)
        frame = pl.read_parquet(path, columns=wanted)
    except (pl.exceptions.PolarsError, OSError) as err:
        cause = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise DataError(f"{path}: not a readable Parquet file ({cause}); write it again") from err
    collector = RowCollector(path, options)
    parser = RecordParser(options, split_by_default=True)
    for batch in frame.iter_slices(_PARQUET_BATCH):
        for row in batch.iter_rows():
            _add_row(collector, parser, wanted, Line(collector.num_seen + 1, row))
    return collector.finish()


def _read_rows(path: str | Path, options: ReadOptions, rows: Iterator[Line]) -> Corpus:
    header = read_header(path, rows)
    _wanted_columns(path, header, options)
    collector = RowCollector(path, options)
    parser = RecordParser(options, split_by_default=True)
    for row in rows:
        _add_row(collector, parser, header, row)
    return collector.finish()


def _add_row(collector: RowCollector, parser: RecordParser, header: list[str], line: Line) -> None:
    try:
        if line.fault:
            raise BadLine(line.fault)
        if len(line.cells) != len(header):
            raise BadLine(
                f"{len(line.cells)} columns where the header has {len(header)}; correct the row"
            )
        for cell in line.cells:
            if isinstance(cell, str) and not cell.isascii() and cell != without_surrogates(cell):
                raise BadLine("bytes that are not UTF-8; convert the file to UTF-8")
        collector.add(*parser.parse(dict(zip(header, line.cells, strict=True))))
    except BadLine as fault:
        raw = "\t".join(str(cell) for cell in line.cells)
        collector.refuse(line.number, without_surrogates(raw), fault)


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def tsv_rows(path: str | Path, decode: Callable[[bytes], str] = _decoded) -> Iterator[Line]:
    """The lines of a TSV file that are not blank, the header first."""
    for number, raw in numbered_lines(path):
        if raw.strip():
            yield Line(number, [_unquoted(cell) for cell in decode(raw).split("\t")])


def csv_rows(path: str | Path, decode: Callable[[bytes], str] = _decoded) -> Iterator[Line]:
    """The rows of a CSV file, the header first; a row that cannot be parsed has a fault.

    Raises DataError: a quote is never closed.
    """
    csv.field_size_limit(sys.maxsize >> 16)  # Python's own limit is 128 KiB a cell
    lines = ((number, decode(raw)) for number, raw in numbered_lines(path))
    first = next(((number, line) for number, line in lines if line.strip()), None)
    if first is None:
        return
    offset = first[0] - 1
    texts = (line + "\n" for _, line in itertools.chain([first], lines))
    reader = csv.reader(texts, delimiter=_delimiter(first[1]), strict=True)
    while True:
        number = offset + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as err:
            if "unexpected end" in str(err):
                raise DataError(
                    f"{path}: line {number}: a double quote is opened here and never closed; "
                    "close it, or write it twice inside a quoted cell"
                ) from err
            yield Line(number, [], f"{err}; quote the cell, double any quote in it")
            continue
        if cells is None:
            return
        if cells:
            yield Line(number, cells)


def _delimiter(header: str) -> str:
    return next((mark for mark in ",;\t" if mark in header), ",")


def _unquoted(cell: str) -> str:
    if len(cell) >= 2 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"')
    return cell


def read_header(path: str | Path, rows: Iterator[Line]) -> list[str]:
    """The column names, taken from the first row. Raises DataError: none, broken, or one twice."""
    first = next(rows, None)
    if first is None or first.fault:
        cause = first.fault if first else "no header; the first line must name the columns"
        raise DataError(f"{path}: line {first.number if first else 1}: {cause}")
    header = [str(name).strip() for name in first.cells]
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: line 1: column {twice!r} stands there twice; rename one")
    return header


def _wanted_columns(path: str | Path, columns: Sequence[str], options: ReadOptions) -> list[str]:
    """The columns to read. Raises DataError when a text or label column is not there."""
    text_names = options.text_names or default_text_columns(columns)
    missing = [name for name in text_names if name not in columns]
    if missing or not text_names:
        wanted = ", ".join(missing or ("text", "title", "content"))
        raise DataError(
            f"{path}: no text column {wanted}; the columns are {shown(columns)}: name text_columns"
        )
    missing = [name for name in options.label_names if name not in columns]
    if missing and options.require_labels:
        raise DataError(missing_labels(path, missing, columns))
    weight_name = options.weight_column
    if weight_name is not None and weight_name not in columns:
        raise DataError(missing_weights(path, weight_name, columns))
    if options.id_column is not None and options.id_column not in columns:
        raise DataError(
            f"{path}: no column {options.id_column!r} of ids; the columns are {shown(columns)}: "
            "name id_column"
        )
    named = {*text_names, *options.label_names, weight_name, *options.id_names}
    return [name for name in columns if name in named]
