"""Rows of a text file with some cells replaced and others added; all else keeps every sign.

A row of CSV, TSV or JSON lines is changed as text, not parsed and written anew: quotes, line ends
inside of cells, blanks, and the digits of numbers stay as they were.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from xrt.data.delimited import DELIMITERS, Line
from xrt.data.formats import CorpusFormat
from xrt.data.raw_cells import replace_in_json
from xrt.data.sources import lines_with_ends, open_unpacked

_MARK = "\ufeff"
_MAX_LINE = 1 << 24
_SEP_LINE = re.compile(r'\s*"?sep=([^"\r\n])"?\s*', re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\r\n]*")
_TSV_BREAKS = re.compile(r"\r\n|[\t\r\n]")


@dataclass(frozen=True)
class TableStyle:
    """How a CSV or TSV file is written: what stands before its header (a byte order mark, a line
    `sep=;`), the header, the sign between cells, and the end of a line (that of its first one).
    """

    before: str
    header: str
    delimiter: str
    end: str
    is_tsv: bool

    @classmethod
    def of(cls, path: str | Path, header: Line, format: CorpusFormat) -> "TableStyle":
        """That of a file.

        Args:
            path: The file.
            header: Its first row.
            format: CSV or TSV.

        Returns:
            Its style.
        """
        mark, end = read_file_edges(path)
        last = header.number + header.num_lines - 1
        lines = [raw for _, raw in islice(lines_with_ends(path), last)]
        before = b"".join(lines[: header.number - 1]).decode("utf-8", "replace")
        is_tsv = format is CorpusFormat.TSV
        delimiter = "\t" if is_tsv else _delimiter(before, header)
        return cls(mark + before, header.raw, delimiter, end, is_tsv)

    def head(self, extra: Sequence[str]) -> str:
        """The header with more columns behind the others, and what stands before it.

        Args:
            extra: The names of the columns that are added.

        Returns:
            The text, from the begin of the file to the end of the header.
        """
        return self.before + self.row(self.header, {}, extra)

    def row(self, raw: str, changes: Mapping[int, str], extra: Sequence[str]) -> str:
        """A row as text.

        Args:
            raw: The row as it stands in the file, without line end.
            changes: New cells by position.
            extra: Cells behind the others.

        Returns:
            The row with its line end.
        """
        if changes:
            cells = self.split(raw)
            for place, cell in changes.items():
                cells[place] = self._format_cell(cell)
            raw = self.delimiter.join(cells)
        more = [self._format_cell(cell) for cell in extra]
        return self.delimiter.join([raw, *more]) + self.end

    def split(self, raw: str) -> list[str]:
        """The cells of a row with their quotes.

        Args:
            raw: The row as the file has it.

        Returns:
            The cells, as the file has them.
        """
        if self.is_tsv or '"' not in raw:
            return raw.split(self.delimiter)
        cells, place = [], 0
        while True:
            match = self._cell.match(raw, place)
            assert match is not None  # an empty cell matches anywhere
            cells.append(match.group())
            place = match.end() + 1
            if place > len(raw):
                return cells

    @cached_property
    def _cell(self) -> re.Pattern[str]:
        return re.compile(rf'"[^"]*(?:""[^"]*)*"|[^{re.escape(self.delimiter)}]*')

    def _format_cell(self, cell: str) -> str:
        if self.is_tsv:
            cell = _TSV_BREAKS.sub(" ", cell)
            needs_quotes = len(cell) > 1 and cell[0] == cell[-1] == '"'
        else:
            needs_quotes = any(sign in cell for sign in (self.delimiter, '"', "\r", "\n"))
        return '"' + cell.replace('"', '""') + '"' if needs_quotes else cell


def read_file_edges(path: str | Path) -> tuple[str, str]:
    """The byte order mark at the begin of a text file, or ''; and how its first line ends.

    Args:
        path: The file, which may be compressed.

    Returns:
        The mark and the line end, a line feed with or without a carriage return.
    """
    with open_unpacked(path) as file:
        line = file.readline(_MAX_LINE)
    mark = _MARK if line.startswith(_MARK.encode()) else ""
    return mark, "\r\n" if line.endswith(b"\r\n") else "\n"


def _delimiter(before: str, header: Line) -> str:
    """The sign between the cells of a header, the one that gives its cells."""
    named = _SEP_LINE.fullmatch(before.strip("\r\n"))
    if named is not None:
        return named[1]
    for mark in DELIMITERS:
        reader = csv.reader(io.StringIO(header.raw, newline=""), delimiter=mark)
        if next(reader, None) == list(header.cells):
            return mark
    return DELIMITERS[0]


def rewrite_json_row(
    raw: str, changes: Mapping[str, Any], extra: Mapping[str, Any], end: str = "\n"
) -> str:
    """A line of JSON with other values under some keys, and more keys behind the others.

    Args:
        raw: The line, an object.
        changes: New values; keys that are not there are put behind the others.
        extra: Values of new keys.
        end: The end of a line.

    Returns:
        The line with its end.
    """
    return replace_in_json(raw.rstrip("\r\n"), {**changes, **extra}) + end
