"""Tables with named columns: CSV, TSV, Parquet.

CSV and TSV have the grammar of `xrt.data.delimited`, Parquet is read with polars.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xrt.data.cells import clean_label
from xrt.data.collect import RowCollector
from xrt.data.corpus import Corpus
from xrt.data.delimited import Line, csv_rows, read_header, tsv_rows
from xrt.data.frames import frame_faults
from xrt.data.options import BadLine, ReadOptions
from xrt.data.records import (
    LABEL_ADVICE,
    TEXT_ADVICE,
    RecordParser,
    default_text_columns,
    missing_labels,
    missing_side_column,
    shown,
)
from xrt.data.sources import require_file
from xrt.errors import DataError
from xrt.inputs import without_surrogates

if TYPE_CHECKING:
    import polars as pl

_PARQUET_BATCH = 50_000


class Table(NamedTuple):
    """The rows of a table, and what its columns are called (as the options call them)."""

    header: list[str]
    rows: Iterator[Line]

    def record(self, line: Line) -> dict[str, Any]:
        """The cells of a row by column.

        Args:
            line: The row.

        Returns:
            Cell by name of the column.

        Raises:
            BadLine: the row has a fault, or is not UTF-8.
        """
        if line.fault:
            raise BadLine(line.fault)
        if not line.raw.isascii() and line.raw != without_surrogates(line.raw):
            raise BadLine("bytes that are not UTF-8; convert the file to UTF-8")
        cells = line.cells
        if line.num_lines > 1:
            cells = [cell.replace("\r\n", "\n") for cell in cells]
        return dict(zip(self.header, cells, strict=True))


def read_csv(path: str | Path, options: ReadOptions) -> Corpus:
    """Read CSV with a header; rows may run over several lines inside quotes.

    Args:
        path: The file; gzip and xz are unpacked.
        options: Which columns are read, and what becomes of bad lines.

    Returns:
        The corpus: N texts and Y (N, L).

    Raises:
        DataError: the file cannot be read, a column that is needed is not there, a row is bad and
            bad lines are not to be skipped, or no row is good.
    """
    return _read(path, options, delimited_table(path, options, csv_rows(path)))


def read_tsv(path: str | Path, options: ReadOptions) -> Corpus:
    """Read TSV with a header, one line a row.

    Args:
        path: The file; gzip and xz are unpacked.
        options: Which columns are read, and what becomes of bad lines.

    Returns:
        The corpus: N texts and Y (N, L).

    Raises:
        DataError: as `read_csv`.
    """
    return _read(path, options, delimited_table(path, options, tsv_rows(path)))


def read_parquet(path: str | Path, options: ReadOptions) -> Corpus:
    """Read Parquet; a label column may also hold lists. Rows are counted from 1 in messages.

    Args:
        path: The file.
        options: Which columns are read, and what becomes of bad rows.

    Returns:
        The corpus: N texts and Y (N, L).

    Raises:
        DataError: as `read_csv`.
    """
    return _read(path, options, parquet_table(path, options))


def delimited_table(path: str | Path, options: ReadOptions, rows: Iterator[Line]) -> Table:
    """A table from rows of CSV or TSV, the header first.

    Args:
        path: The file, for messages.
        options: Which columns are needed.
        rows: As `csv_rows` and `tsv_rows` give them.

    Returns:
        The table; every column is in it.

    Raises:
        DataError: no header can be read, or a column that is needed is not there.
    """
    header = _as_named(read_header(path, rows), options)
    _columns_to_read(path, header, options)
    return Table(header, rows)


def parquet_table(path: str | Path, options: ReadOptions) -> Table:
    """A table from a Parquet file, with the columns that are needed.

    Args:
        path: The file.
        options: Which columns are needed.

    Returns:
        The table; its lines are rows counted from 1.

    Raises:
        DataError: it cannot be read, or a column that is needed is not there.
    """
    import polars as pl

    require_file(path)
    with frame_faults(path):
        columns = list(pl.read_parquet_schema(path))
    header = _as_named(columns, options)
    names = _columns_to_read(path, header, options)
    with frame_faults(path):
        frame = pl.read_parquet(path, columns=[columns[header.index(name)] for name in names])
    return Table(names, _frame_rows(path, frame))


def _frame_rows(path: str | Path, frame: "pl.DataFrame") -> Iterator[Line]:
    with frame_faults(path):
        numbers = itertools.count(1)
        for batch in frame.iter_slices(_PARQUET_BATCH):
            for row in batch.iter_rows():
                yield Line(next(numbers), row)


def _read(path: str | Path, options: ReadOptions, table: Table) -> Corpus:
    collector = RowCollector(path, options)
    parser = RecordParser(options, split_by_default=True)
    odd: list[str] = []
    for line in table.rows:
        try:
            collector.add(*parser.parse(table.record(line)))
        except BadLine as fault:
            collector.refuse(line.number, raw_text(line), fault, line.num_lines)
        if line.note:
            odd.append(line.note)
    more = f" (and {len(odd) - 1} more such rows)" if len(odd) > 1 else ""
    notes = [*(note + more for note in odd[:1]), *parser.notes()]
    return collector.finish(notes=notes, num_split=parser.num_split)


def raw_text(line: Line) -> str:
    """A row as it stands in its file, fit to be written; of Parquet its cells.

    Args:
        line: The row.

    Returns:
        The text; half a surrogate pair in it is replaced.
    """
    return without_surrogates(line.raw or "\t".join(map(str, line.cells)))


def _as_named(columns: Sequence[str], options: ReadOptions) -> list[str]:
    """The columns, called as the options call them where only unseen signs or blanks differ."""
    named = [*(options.text_names or ()), *options.label_names, *options.id_names]
    named += options.side_columns.values()
    by_look = {clean_label(name): name for name in named}
    return [
        name if name in named else by_look.get(clean_label(name), clean_label(name) or name)
        for name in columns
    ]


def _columns_to_read(path: str | Path, columns: Sequence[str], options: ReadOptions) -> list[str]:
    """The columns to read. Raises DataError when a text or label column is not there."""
    text_names = options.text_names or default_text_columns(columns)
    missing = [name for name in text_names if name not in columns]
    if missing or not text_names:
        absent = ", ".join(missing or ("text", "title", "content"))
        raise DataError(
            f"{path}: no text column {absent}; the columns are {shown(columns)}: rename one",
            settings=TEXT_ADVICE,
        )
    missing = [name for name in options.label_names if name not in columns]
    if missing and options.require_labels:
        raise DataError(missing_labels(path, missing, columns), settings=LABEL_ADVICE)
    for what, name in options.side_columns.items():
        if name not in columns:
            raise DataError(missing_side_column(path, what, name, columns))
    if options.id_column is not None and options.id_column not in columns:
        raise DataError(
            f"{path}: no column {options.id_column!r} of ids; the columns are {shown(columns)}: "
            "give one of these"
        )
    named = {*text_names, *options.label_names, *options.side_columns.values(), *options.id_names}
    return [name for name in columns if name in named]
