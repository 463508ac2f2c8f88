"""Click logs as text: blocks of lines parsed by polars, and the lines that it cannot read alone.

CSV and TSV have the grammar of `xrt.data.delimited`, JSON lines that of `xrt.data.jsonl`. Every row
has the number of the line it begins on. What polars would read in another way than those does not
reach it, so the rows are the same whoever read them.
"""

import contextlib
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from xrt.applications.query_intent.clicks.lines import LineKinds, kinds_of_lines
from xrt.data.cells import clean_label, id_text
from xrt.data.delimited import (
    Line,
    decode_utf8,
    parse_rows,
    parse_tsv,
    read_head,
    read_header,
    tsv_rows,
)
from xrt.data.frames import frame_faults
from xrt.data.jsonl import parse_json_line
from xrt.data.options import BadLine
from xrt.data.sources import lines_with_ends, open_unpacked, plain_name
from xrt.errors import DataError
from xrt.inputs import without_surrogates

ROW = "__row"  # no column of a log is called so
_BYTES_PER_ROW = 64
_MAX_LINES_OF_A_RECORD = 100
_MAX_LINES_AT_ONCE = 1000
_MAX_LINE_BYTES = 1 << 26
_ROWS_ONE_BY_ONE = 500
_EXACT_AS_FLOAT = 1 << 53
_MARK = b"\xef\xbb\xbf"
_NOT_CLOSED = "a double quote is opened here and not closed within 100 lines; close it"
_HALF_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)


class BrokenLine(NamedTuple):
    """A line that is no record: where, what it holds, why, and how many lines of the file it is."""

    line: int
    text: str
    cause: str
    num_lines: int = 1


@dataclass(frozen=True)
class TextBlock:
    """frame: ROW (the line a row begins on) and columns as the file calls them, those of CSV and
    TSV as text. broken: lines that are not in it. share: of the file, read so far. notes: what is
    odd about rows that are in it.
    """

    frame: pl.DataFrame
    broken: Sequence[BrokenLine]
    share: float
    notes: Sequence[str] = ()


class _Part(NamedTuple):
    """What a piece of the file holds, and how many of its bytes were read."""

    blocks: list[TextBlock]
    num_bytes: int


class TextLog:
    """One file of CSV, TSV or JSONL, plain or packed.

    ids: the columns whose values are ids or queries, which must be exact.
    """

    def __init__(self, file: Path, batch_rows: int, ids: Sequence[str] = ()) -> None:
        self.file, self.ids = file, tuple(ids)
        self.chunk_bytes = batch_rows * _BYTES_PER_ROW
        self.is_json = plain_name(file).endswith((".jsonl", ".ndjson"))
        self.is_tsv = plain_name(file).endswith(".tsv")
        self.delimiter = "\t" if self.is_tsv else ","
        self.names: list[str] = []

    def blocks(self) -> Iterator[TextBlock]:
        """The file from its first line to its last.

        Yields:
            Rows of some lines of the file, and the broken lines among them.

        Raises:
            DataError: The header of CSV or TSV cannot be read, or a line is longer than all bounds.
        """
        size = self.file.stat().st_size
        line = 1 + self._read_head()
        with open_unpacked(self.file) as stream:
            num_read = sum(len(stream.readline()) for _ in range(line - 1))
            remainder, is_last = b"", False
            while not is_last:
                chunk = stream.read(max(self.chunk_bytes, len(remainder)))
                num_read, is_last = num_read + len(chunk), not chunk
                data = remainder + chunk
                if line == 1:
                    data = data.removeprefix(_MARK)
                if is_last and data and not data.endswith(b"\n"):
                    data += b"\n"
                whole = data.rfind(b"\n") + 1
                if len(data) - whole > _MAX_LINE_BYTES:
                    line += data.count(b"\n")
                    raise DataError(
                        f"{self.file}: line {line}: more than {_MAX_LINE_BYTES >> 20} MiB in one "
                        "line; correct it"
                    )
                part = self._part(line, data[:whole], is_last)
                for block in part.blocks:
                    share = 1.0 if is_last else min(1.0, num_read / size)
                    yield TextBlock(block.frame, block.broken, share, block.notes)
                line += data.count(b"\n", 0, part.num_bytes)
                remainder = data[part.num_bytes :]

    def _read_head(self) -> int:
        """Read the delimiter and the names of columns; the lines that they take, 0 of JSON.

        Raises DataError where there is no header.
        """
        with contextlib.closing(lines_with_ends(self.file)) as lines:  # type: ignore[type-var]
            if self.is_json:
                next(lines)  # refuses what is no text at all
                return 0
            if self.is_tsv:
                header = next(tsv_rows(self.file), None)
            else:
                head = read_head((number, decode_utf8(raw)) for number, raw in lines)
                header = None if head is None else head.header
                self.delimiter = "," if head is None else head.delimiter
        self.names = read_header(self.file, iter([] if header is None else [header]))
        number = 1 if header is None else header.number
        if any(name != without_surrogates(name) for name in self.names):
            raise DataError(
                f"{self.file}: line {number}: column names that are not UTF-8; convert the file to "
                "UTF-8"
            )
        return number - 1 + (1 if header is None else header.num_lines)

    def _part(self, line: int, data: bytes, is_last: bool) -> _Part:
        if not data:
            return _Part([], 0)
        if self.is_json:
            return _Part(list(self._json_blocks(line, data)), len(data))
        frame = self._at_once(data)
        if frame is not None:
            block = TextBlock(frame.with_row_index(ROW, line), (), 1.0)
            return _Part([block], len(data))
        return self._by_kinds(line, data, is_last)

    def _at_once(self, data: bytes) -> pl.DataFrame | None:
        """Rows of CSV or TSV, all as polars reads them; None where a line may be odd."""
        mark = self.delimiter.encode()
        num_lines = data.count(b"\n")
        if data.count(mark) != num_lines * (len(self.names) - 1) or b"\0" in data:
            return None
        if data.startswith((b"\n", b"\r\n")) or b"\n\n" in data or b"\n\r\n" in data:
            return None
        if data.count(b"\r") != data.count(b"\r\n"):
            return None
        if not self.is_tsv and (data[:1] == b'"' or b'\n"' in data or mark + b'"' in data):
            return None  # a quote elsewhere is a sign like any other
        frame = self._polars_csv(data, None)
        return frame if frame is not None and len(frame) == num_lines else None

    def _polars_csv(self, data: bytes, quote: str | None) -> pl.DataFrame | None:
        """Lines of as many cells as there are names; columns without a name are left out."""
        numbers = [str(number) for number in range(len(self.names))]
        try:
            with frame_faults(self.file):
                frame = pl.read_csv(
                    io.BytesIO(data), has_header=False, separator=self.delimiter, quote_char=quote,
                    schema=dict.fromkeys(numbers, pl.String),
                )  # fmt: skip
        except DataError:
            return None
        name_of = {number: name for number, name in zip(numbers, self.names, strict=True) if name}
        frame = frame.select(list(name_of)).rename(name_of)
        if self.is_tsv and b'"' in data:
            frame = frame.select(_unquoted_cells(name) for name in frame.columns)
        if b'""' in data:
            frame = frame.with_columns(pl.all().replace("", None))
        return frame

    def _by_kinds(self, first: int, data: bytes, is_last: bool) -> _Part:
        """Plain lines by polars, the others one by one; up to a row that may go on below."""
        can_be_plain = len(self.delimiter.encode()) == 1
        kinds = kinds_of_lines(
            data, self.delimiter if can_be_plain else ",", len(self.names),
            has_quotes=not self.is_tsv,
        )  # fmt: skip
        if not can_be_plain:
            kinds.plain_T[:] = False
        odd = _OddLines(self, first, data, kinds, is_last)
        rows = list(odd.rows())
        plain_T = kinds.plain_T & ~odd.read_T
        plain_T[odd.end :] = False
        frame = self._polars_csv(_joined(data, kinds, plain_T), None if self.is_tsv else '"')
        if frame is None or len(frame) != int(plain_T.sum()):
            kinds.plain_T[:] = False
            odd = _OddLines(self, first, data, kinds, is_last)
            rows, plain_T = list(odd.rows()), kinds.plain_T
            frame = pl.DataFrame(schema={name: pl.String for name in self.names if name})
        numbers = pl.Series(ROW, first + np.flatnonzero(plain_T), pl.UInt32)
        frame = pl.concat([frame.insert_column(0, numbers), self._frame_of(rows)]).sort(ROW)
        num_bytes = int(kinds.starts_T[odd.end]) if odd.end < len(kinds.starts_T) else len(data)
        return _Part([TextBlock(frame, odd.broken, 1.0, odd.notes)], num_bytes)

    def _frame_of(self, rows: Sequence[Line]) -> pl.DataFrame:
        columns: dict[str, Any] = {ROW: [row.number for row in rows]}
        for place, name in enumerate(self.names):
            if name:
                columns[name] = [row.cells[place] or None for row in rows]
        schema: dict[str, Any] = {name: pl.String for name in columns} | {ROW: pl.UInt32}
        return pl.DataFrame(columns, schema=schema)

    def _json_blocks(self, first: int, data: bytes) -> Iterator[TextBlock]:
        frame = self._polars_json(data, data.count(b"\n"))
        if frame is not None:
            yield TextBlock(frame.with_row_index(ROW, first), (), 1.0)
            return
        lines = data.split(b"\n")[:-1]
        places = [number for number, line in enumerate(lines) if line.strip()]
        yield from self._json_pieces(first, lines, places)

    def _json_pieces(
        self, first: int, lines: Sequence[bytes], places: Sequence[int]
    ) -> Iterator[TextBlock]:
        """Lines by polars in halves, and halves of halves, until the odd one stands among few."""
        if not places:
            return
        frame = self._polars_json(b"\n".join(lines[n] for n in places) + b"\n", len(places))
        if frame is not None:
            numbers = pl.Series(ROW, first + np.array(places), pl.UInt32)
            yield TextBlock(frame.insert_column(0, numbers), (), 1.0)
            return
        if len(places) <= _ROWS_ONE_BY_ONE:
            yield self._json_one_by_one(first, lines, places)
            return
        half = len(places) // 2
        yield from self._json_pieces(first, lines, places[:half])
        yield from self._json_pieces(first, lines, places[half:])

    def _polars_json(self, data: bytes, num_rows: int) -> pl.DataFrame | None:
        """The lines as polars reads them; None where Python's reader would see something else."""
        if b"\\u" in data and _HALF_PAIR.search(data):
            return None
        try:
            with frame_faults(self.file):
                frame = pl.read_ndjson(io.BytesIO(data), infer_schema_length=None)
        except DataError:
            return None
        if len(frame) != num_rows or ROW in frame.columns:
            return None
        ids = [name for name in frame.columns if clean_label(name) in self.ids]
        exact = all(_is_exact(frame[name]) for name in ids)
        return frame if exact else None

    def _json_one_by_one(
        self, first: int, lines: Sequence[bytes], places: Sequence[int]
    ) -> TextBlock:
        records: list[dict[str, str | None]] = []
        broken: list[BrokenLine] = []
        for number in places:
            try:
                record = parse_json_line(lines[number].removesuffix(b"\r")).record
                values = {name: _json_value(name, value) for name, value in record.items()}
                records.append(values | {ROW: str(first + number)})
            except BadLine as fault:
                text = lines[number].decode("utf-8", "replace").rstrip("\r")
                broken.append(BrokenLine(first + number, text, str(fault)))
        names = dict.fromkeys(name for record in records for name in record)
        schema = dict.fromkeys([ROW, *names], pl.String)
        frame = pl.DataFrame(records, schema=schema)
        return TextBlock(frame.with_columns(pl.col(ROW).cast(pl.UInt32)), broken, 1.0)


class _OddLines:
    """Reads the lines of a block that are not plain, row by row.

    read_T: lines that belong to rows read here. end: the line from which on nothing was read,
    since a row there may go on below the block.
    """

    def __init__(
        self, log: TextLog, first: int, data: bytes, kinds: LineKinds, is_last: bool
    ) -> None:
        self.log, self.first, self.data, self.kinds = log, first, data, kinds
        self.is_last = is_last
        self.read_T = np.zeros(len(kinds.plain_T), bool)
        self.end = len(kinds.plain_T)
        self.broken: list[BrokenLine] = []
        self.notes: list[str] = []

    def rows(self) -> Iterator[Line]:
        """The sound rows; broken ones are noted."""
        odd = np.flatnonzero(~self.kinds.plain_T & ~self.kinds.blank_T)
        place = 0
        while True:
            at = int(np.searchsorted(odd, place))
            if at == len(odd) or place >= self.end:
                return
            start = int(odd[at])
            run = odd[at : at + _MAX_LINES_AT_ONCE] - start
            stop = start + int((run == np.arange(len(run))).sum())
            for place, row in self._run(start, stop):  # noqa: B007
                if row is not None:
                    yield row

    def _run(self, start: int, stop: int) -> Iterator[tuple[int, Line | None]]:
        """Rows that begin in a run of odd lines, each with the line behind it."""
        far = min(stop + _MAX_LINES_OF_A_RECORD, len(self.kinds.plain_T))
        place = start
        for row in self._parsed(start, far):
            place = row.number - self.first
            if place >= stop:
                return
            is_near_end = place > len(self.kinds.plain_T) - _MAX_LINES_OF_A_RECORD
            if row.fault and is_near_end and not self.is_last and not self.log.is_tsv:
                self.end = place
                yield place, None
                return
            if row.num_lines > _MAX_LINES_OF_A_RECORD:
                self._refuse(place, 1, _NOT_CLOSED)
                yield place + 1, None
                return
            place += row.num_lines
            yield place, self._checked(row)
        yield max(place, stop), None

    def _parsed(self, start: int, stop: int) -> Iterator[Line]:
        raws = ((n, self.kinds.line(self.data, n - self.first))
                for n in range(self.first + start, self.first + stop))  # fmt: skip
        width = len(self.log.names)
        if self.log.is_tsv:
            rows = parse_tsv(itertools.chain([(0, b"x\t" * (width - 1) + b"x\n")], raws))
            return itertools.islice(rows, 1, None)
        texts = ((number, decode_utf8(raw)) for number, raw in raws)
        return parse_rows(texts, self.log.delimiter, width)

    def _checked(self, row: Line) -> Line | None:
        place = row.number - self.first
        fault = row.fault
        if not fault and any(not c.isascii() and c != without_surrogates(c) for c in row.cells):
            fault = "bytes that are not UTF-8; convert the file to UTF-8"
        if fault:
            self._refuse(place, row.num_lines, fault)
            return None
        self.read_T[place : place + row.num_lines] = True
        if row.note:
            self.notes.append(row.note)
        if row.num_lines > 1:
            return row._replace(cells=[cell.replace("\r\n", "\n") for cell in row.cells])
        return row

    def _refuse(self, place: int, num_lines: int, cause: str) -> None:
        self.read_T[place : place + num_lines] = True
        lines = (self.kinds.line(self.data, place + n) for n in range(num_lines))
        text = b"".join(lines).decode("utf-8", "replace").rstrip("\r\n")
        self.broken.append(BrokenLine(self.first + place, text, cause, num_lines))


def _joined(data: bytes, kinds: LineKinds, chosen_T: np.ndarray) -> bytes:
    """The chosen lines, one behind the other."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen_T.astype(np.int8), [0]])))
    return b"".join(
        data[kinds.starts_T[start] : kinds.ends_T[stop - 1] + 1]
        for start, stop in edges.reshape(-1, 2).tolist()
    )


def _unquoted_cells(name: str) -> pl.Expr:
    """A column of TSV as `xrt.data.delimited.unquoted` leaves its cells."""
    cell = pl.col(name)
    inside = cell.str.slice(1, cell.str.len_chars() - 2)
    is_quoted = cell.str.starts_with('"') & cell.str.ends_with('"') & (cell.str.len_bytes() > 1)
    is_quoted &= ~inside.str.replace_all('""', "", literal=True).str.contains('"', literal=True)
    whole = inside.str.replace_all('""', '"', literal=True)
    return pl.when(is_quoted).then(whole).otherwise(cell).alias(name)


def _is_exact(column: pl.Series) -> bool:
    """Whether ids that polars took from JSON are surely those in the file."""
    if column.dtype.is_float():
        largest = column.abs().max()
        return largest is None or float(str(largest)) < _EXACT_AS_FLOAT
    if column.dtype == pl.String:  # numbers, lists and objects among texts were written out
        return not column.str.contains(r"^(\[|\{|true$|false$|-?[0-9.]+[eE])").any()
    return column.dtype == pl.Null or column.dtype.is_integer()


def _json_value(name: str, value: Any) -> str | None:
    """A value as text. Raises BadLine for a value with parts."""
    if value is None or isinstance(value, str):
        return value
    try:
        return id_text(value) or None
    except BadLine:
        kind = "an object" if isinstance(value, dict) else "a list"
        raise BadLine(f"{name!r} holds {kind}; give text or a number") from None
