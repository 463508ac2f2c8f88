"""Tables with named columns: CSV, TSV, Parquet.

CSV and TSV have the grammar of `xrt.data.delimited`, Parquet is read with polars.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from xrt.data.cells import without_surrogates
from xrt.data.collect import RowCollector
from xrt.data.corpus import Corpus
from xrt.data.delimited import Line, csv_rows, read_header, tsv_rows
from xrt.data.frames import frame_faults
from xrt.data.options import BadLine, ReadOptions
from xrt.data.records import (
    RecordParser,
    default_text_columns,
    missing_labels,
    missing_weights,
    shown,
)
from xrt.data.sources import require_file
from xrt.errors import DataError

_PARQUET_BATCH = 50_000


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
    with frame_faults(path):
        columns = list(pl.read_parquet_schema(path))
        wanted = _wanted_columns(path, columns, options)
        frame = pl.read_parquet(path, columns=wanted)
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
    notes = []
    for row in rows:
        _add_row(collector, parser, header, row)
        if row.note:
            notes.append(row.note)
    return collector.finish(notes=notes)


def _add_row(collector: RowCollector, parser: RecordParser, header: list[str], line: Line) -> None:
    try:
        if line.fault:
            raise BadLine(line.fault)
        for cell in line.cells:
            if isinstance(cell, str) and not cell.isascii() and cell != without_surrogates(cell):
                raise BadLine("bytes that are not UTF-8; convert the file to UTF-8")
        cells = line.cells
        if line.num_lines > 1:
            cells = [cell.replace("\r\n", "\n") for cell in cells]
        collector.add(*parser.parse(dict(zip(header, cells, strict=True))))
    except BadLine as fault:
        raw = line.raw or "\t".join(map(str, line.cells))
        collector.refuse(line.number, without_surrogates(raw), fault, line.num_lines)


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
