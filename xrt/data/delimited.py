r"""CSV and TSV: one grammar of each, used by every reader of tables.

CSV is read row by row with Python's own parser rather than with polars, since a bad row must be
named by its line. Quotes are strict: a row in which they do not fit is a bad row, not a lost file.
The delimiter is ',', ';' or tab, whichever fits the first record, or what a line `sep=;` above the
header names. Where a quoted cell swallowed the next rows, reading goes on at the second line.

TSV is one line a row. It has no quoting, except that a cell wholly in double quotes, with every
quote inside it written twice, is unquoted.

Lines that are blank are passed over, also above the header. Cells are as they are in the file: who
wants them clean cleans them (`xrt.data.cells`).
"""

import contextlib
import csv
import itertools
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xrt.data.cells import clean_label
from xrt.data.sources import lines_with_ends
from xrt.errors import DataError

DELIMITERS = ",;\t"
_SEP_LINE = re.compile(r'\s*"?sep=([^"\r\n])"?\s*', re.IGNORECASE)
_RECORDS_TO_COMPARE = 20
_LINES_TO_COMPARE = 200
_LEAST_SWALLOWED = 4  # lines and columns of a row together: fewer delimiters may be chance
_NEVER_CLOSED = (
    "a double quote is opened here and never closed; close it, or write it twice inside a quoted "
    "cell"
)
_MAC = "lines end in CR alone, as on an old Mac; convert the file: tr '\\r' '\\n' < OLD > NEW"
_BACKSLASH = (
    "a backslash before a double quote does not guard it in CSV; write the quote twice instead"
)


class Line(NamedTuple):
    """A row of a table.

    number: the line of the file it begins on, from 1. cells: what it holds. fault: why it cannot be
    used; '' where it can. raw: its text in the file, without the last line end. num_lines: how many
    lines of the file it takes. note: what is odd about a row that can be used.
    """

    number: int
    cells: Sequence[Any]
    fault: str = ""
    raw: str = ""
    num_lines: int = 1
    note: str = ""


def decode_utf8(raw: bytes) -> str:
    """UTF-8 to text; a byte that is none becomes half a surrogate pair, for the reader to find.

    Args:
        raw: The bytes.

    Returns:
        The text.
    """
    return raw.decode("utf-8", "surrogateescape")


def csv_rows(path: str | Path, decode: Callable[[bytes], str] = decode_utf8) -> Iterator[Line]:
    """The rows of a CSV file, the header first.

    Args:
        path: The file; gzip and xz are unpacked.
        decode: Turns the bytes of a line into text.

    Returns:
        A row for each record. One that cannot be parsed, or has other columns than the header, has
        a fault and its raw text.

    Raises:
        DataError: the file is missing, empty, damaged or UTF-16.
    """
    return parse_csv((number, decode(raw)) for number, raw in lines_with_ends(path))


def tsv_rows(path: str | Path, decode: Callable[[bytes], str] = decode_utf8) -> Iterator[Line]:
    """The rows of a TSV file, the header first.

    Args:
        path: The file; gzip and xz are unpacked.
        decode: Turns the bytes of a line into text.

    Returns:
        A row for each line that is not blank. One with other columns than the header has a fault
        and its raw text.

    Raises:
        DataError: the file is missing, empty, damaged or UTF-16.
    """
    return parse_tsv(lines_with_ends(path), decode)


def parse_tsv(
    lines: Iterable[tuple[int, bytes]], decode: Callable[[bytes], str] = decode_utf8
) -> Iterator[Line]:
    """The rows of numbered lines of TSV, as `tsv_rows` gives them.

    Args:
        lines: Number and bytes of each line, with its end.
        decode: Turns the bytes of a line into text.

    Yields:
        The rows, the header first.
    """
    width = 0
    for number, raw in lines:
        if not raw.strip() and (not width or b"\t" not in raw):
            continue
        text = decode(raw).removesuffix("\n").removesuffix("\r")
        cells = text.split("\t")
        if '"' in text:
            cells = [unquoted(cell) for cell in cells]
        fault = _width_fault(len(cells), width or len(cells))
        if not width:
            width = len(cells)
            fault = _MAC if "\r" in text else ""
        yield Line(number, cells, fault, text)


def unquoted(cell: str) -> str:
    """A TSV cell without the quotes around it, where every quote inside them is written twice.

    Args:
        cell: The cell.

    Returns:
        The cell, unchanged where it is not quoted so.
    """
    if len(cell) >= 2 and cell[0] == cell[-1] == '"':
        inside = cell[1:-1].replace('""', "")
        if '"' not in inside:
            return cell[1:-1].replace('""', '"')
    return cell


def parse_csv(lines: Iterable[tuple[int, str]]) -> Iterator[Line]:
    """The rows of numbered lines of CSV, as `csv_rows` gives them.

    Args:
        lines: Number and text of each line, with its end.

    Yields:
        The rows, the header first.
    """
    csv.field_size_limit(sys.maxsize >> 16)  # Python's own limit is 128 KiB a cell
    source = _Lines(lines)
    delimiter = _delimiter(source)
    if delimiter is None:
        return
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    width, lines_read = 0, source.lines_read
    while True:
        lines_read.clear()
        fault, cells = "", None
        try:
            cells = next(reader, None)
        except csv.Error as err:
            fault = _csv_fault(err)
        if not lines_read:
            return
        if len(lines_read) == 1 and not fault:
            if not lines_read[0].strip():
                continue
            width = width or len(cells or ())
            if cells and len(cells) == width:  # as nearly all rows
                yield Line(source.number, cells, "", _without_end(lines_read[0]))
                continue
        if not width and cells:
            width = len(cells)
        fault = fault or _width_fault(len(cells or ()), width)
        number = source.number - len(lines_read) + 1
        yield _long_or_bad(source, Line(number, cells or (), fault), delimiter, width)


class Head(NamedTuple):
    """What the first lines of CSV tell: the sign between cells, and the row of column names."""

    delimiter: str
    header: Line


def read_head(lines: Iterable[tuple[int, str]]) -> Head | None:
    """Delimiter and header of numbered lines of CSV. A few hundred lines are looked at.

    Args:
        lines: Number and text of each line, with its end.

    Returns:
        Both; None where all lines are blank.
    """
    first = list(itertools.islice(lines, 2 * _LINES_TO_COMPARE))
    delimiter = _delimiter(_Lines(first))
    return None if delimiter is None else Head(delimiter, next(parse_csv(first)))


def parse_rows(lines: Iterable[tuple[int, str]], delimiter: str, width: int) -> Iterator[Line]:
    """The rows of lines of CSV that stand somewhere below a header.

    Args:
        lines: Number and text of each line, with its end.
        delimiter: What stands between the cells.
        width: Columns of the header.

    Returns:
        The rows.
    """
    above = [(-1, f"sep={delimiter}\n"), (0, delimiter.join("x" * width) + "\n")]
    rows = parse_csv(itertools.chain(above, lines))
    next(rows)
    return rows


class _Lines:
    """Lines that are counted, kept while a row is read, and can be put back."""

    def __init__(self, lines: Iterable[tuple[int, str]]) -> None:
        self._lines = iter(lines)
        self._back: deque[str] = deque()
        self.number = 0
        self.lines_read: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self._back:
            self.number += 1
            line = self._back.popleft()
        else:
            self.number, line = next(self._lines)
        self.lines_read.append(line)
        return line

    def put_back(self, lines: Sequence[str]) -> None:
        """Read these once more, before what follows."""
        self._back.extendleft(reversed(lines))
        self.number -= len(lines)


def _long_or_bad(source: _Lines, line: Line, delimiter: str, width: int) -> Line:
    """A row of several lines, or one with a fault, with the note or the fault to report."""
    raw_lines = list(source.lines_read)
    note, fault = "", line.fault
    if (
        not fault
        and len(raw_lines) + width > _LEAST_SWALLOWED
        and _are_rows(raw_lines, delimiter, width)
    ):
        note = (
            f"line {line.number}: a quoted cell runs over {len(raw_lines)} lines that look like "
            "rows of their own; is a double quote missing or left over?"
        )
    if fault and '\\"' in raw_lines[0]:
        fault = _BACKSLASH
    below = raw_lines[1:] if fault else []
    source.put_back(below)
    if below and (line.fault == _NEVER_CLOSED or _begins_row(source, delimiter, width)):
        if line.fault != _NEVER_CLOSED:
            last = line.number + len(below)
            fault = f"a double quote is opened here and takes in the rows up to line {last}; " + (
                fault if fault == _BACKSLASH else "close it, or write it twice"
            )
        raw_lines = raw_lines[:1]
    else:
        for _ in below:
            next(source)
    raw = _without_end("".join(raw_lines))
    return Line(line.number, line.cells, fault, raw, len(raw_lines), note)


def _are_rows(lines: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether each line has the delimiters of a row, those within the quoted cell included."""
    return width > 1 and all(line.count(delimiter) == width - 1 for line in lines)


def _begins_row(source: _Lines, delimiter: str, width: int) -> bool:
    """Whether a row of the table comes next: with the header's columns, and no quote left over.

    What is read is put back.
    """
    source.lines_read.clear()
    lines = itertools.islice(source, _LINES_TO_COMPARE)
    cells: Sequence[str] = ()
    with contextlib.suppress(csv.Error):
        cells = next(filter(None, csv.reader(lines, delimiter=delimiter, strict=True)), ())
    text = "".join(source.lines_read)
    source.put_back(source.lines_read)
    source.lines_read.clear()
    return len(cells) == width > 1 and text.count('"') % 2 == 0


def _csv_fault(err: csv.Error) -> str:
    """What Python's parser found, in plain words."""
    words = str(err)
    if "unexpected end" in words:
        return _NEVER_CLOSED
    if "new-line character" in words:
        return _MAC
    return f"{words}; quote the cell, double any quote in it"


def _width_fault(found: int, width: int) -> str:
    if found == width:
        return ""
    return f"{found} columns where the header has {width}; correct the row"


def _without_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _delimiter(source: _Lines) -> str | None:
    """The sign between cells, as the first records have it; None where there is none at all.

    What was read is put back, but for blank lines and a line `sep=;`.
    """
    first = next((line for line in source if line.strip()), None)
    if first is None:
        return None
    named = _SEP_LINE.fullmatch(first)
    if named is not None:
        return named[1]
    source.put_back([first])
    widths = {mark: _first_widths(source, mark) for mark in DELIMITERS}
    marks = [mark for mark in DELIMITERS if widths[mark][:1] > [1]]
    if not marks:
        return DELIMITERS[0]
    return max(marks, key=lambda mark: _agreement(widths[mark]))


def _agreement(widths: Sequence[int]) -> float:
    """The share of the first records that have the columns of the header."""
    return sum(width == widths[0] for width in widths) / len(widths)


def _first_widths(source: _Lines, delimiter: str) -> list[int]:
    """How many cells the first records have with this delimiter, the header's first."""
    source.lines_read.clear()
    widths: list[int] = []
    lines = itertools.islice(source, _LINES_TO_COMPARE)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    with contextlib.suppress(csv.Error):  # the records before it tell enough
        for cells in itertools.islice(filter(None, reader), _RECORDS_TO_COMPARE):
            widths.append(len(cells))
    source.put_back(source.lines_read)
    source.lines_read.clear()
    return widths


def read_header(path: str | Path, rows: Iterator[Line]) -> list[str]:
    """The column names, taken from the first row.

    Args:
        path: The file, for messages.
        rows: Its rows; the first is taken.

    Returns:
        The names without outer blanks.

    Raises:
        DataError: there is no row, it is broken, or a name stands there twice.
    """
    first = next(rows, None)
    if first is None or first.fault:
        cause = first.fault if first else "no header; the first line must name the columns"
        raise DataError(f"{path}: line {first.number if first else 1}: {cause}")
    header = [str(name).strip() for name in first.cells]
    names = [clean_label(name) for name in header]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{path}: line {first.number}: column {twice!r} stands there twice; rename one"
        )
    return header
