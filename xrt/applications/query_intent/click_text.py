"""Click logs as text: blocks of lines parsed by polars, and line by line where that cannot be.

Every row has the number of the line it begins on. A quote opens a field only at its start, so that
`50" tv` is what it looks like; a quoted field may hold line ends, a few.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from xrt.data.sources import open_unpacked, plain_name
from xrt.errors import DataError

ROW = "__row"  # no column of a log is called so
_BYTES_PER_ROW = 64
_MAX_LINES_OF_A_RECORD = 100
_MAX_TAIL_BYTES = 1 << 16
_BLANK_LINES = (b"\n\n", b"\n\r\n")


class BrokenLine(NamedTuple):
    """A line that is no record: where, what it holds, and why."""

    line: int
    text: str
    cause: str


@dataclass(frozen=True)
class TextBlock:
    """frame: ROW (the line a row begins on) and columns as the file calls them, those of CSV and
    TSV as text. broken: lines that are not in it. share: of the file, read so far.
    """

    frame: pl.DataFrame
    broken: Sequence[BrokenLine]
    share: float


class TextLog:
    """One file of CSV, TSV or JSONL, plain or packed."""

    def __init__(self, file: Path, batch_rows: int) -> None:
        self.file = file
        self.chunk_bytes = batch_rows * _BYTES_PER_ROW
        self.is_json = plain_name(file).endswith((".jsonl", ".ndjson"))
        self.separator = "\t" if plain_name(file).endswith(".tsv") else ","

    def blocks(self) -> Iterator[TextBlock]:
        """The file from its first line to its last.

        Raises DataError when the header of CSV or TSV cannot be read.
        """
        size = self.file.stat().st_size
        with open_unpacked(self.file) as stream:
            header = b"" if self.is_json else stream.readline().removeprefix(b"\xef\xbb\xbf")
            names = self._names(header)
            line, read, rest = 1 if self.is_json else 2, len(header), b""
            while chunk := stream.read(self.chunk_bytes):
                read += len(chunk)
                block, rest = _whole_records(rest + chunk)
                if block:
                    yield self._block(line, header, names, block, min(1.0, read / size))
                    line += block.count(b"\n")
            if rest.strip():
                yield self._block(line, header, names, rest, 1.0)

    def _names(self, header: bytes) -> list[str]:
        if self.is_json:
            return []
        try:
            return next(csv.reader([header.decode().rstrip("\r\n")], delimiter=self.separator), [])
        except (UnicodeDecodeError, csv.Error) as err:
            raise DataError(
                f"{self.file}: line 1: no header can be read ({err}); it must name the columns"
            ) from err

    def _block(
        self, line: int, header: bytes, names: list[str], block: bytes, share: float
    ) -> TextBlock:
        frame = self._at_once(header, block)
        if frame is not None and len(frame) == block.count(b"\n") + (not block.endswith(b"\n")):
            return TextBlock(frame.with_row_index(ROW, line), (), share)
        rows, broken = self._one_by_one(line, names, block)
        return TextBlock(rows, broken, share)

    def _at_once(self, header: bytes, block: bytes) -> pl.DataFrame | None:
        """The block as polars reads it; None where it cannot, or where lines are blank."""
        if any(blank in block for blank in _BLANK_LINES) or block[:1] in b"\r\n":
            return None
        try:
            if self.is_json:
                return pl.read_ndjson(io.BytesIO(block), infer_schema_length=None)
            return pl.read_csv(
                io.BytesIO(header + block), separator=self.separator, infer_schema=False
            )
        except pl.exceptions.PolarsError:
            return None

    def _one_by_one(
        self, first: int, names: list[str], block: bytes
    ) -> tuple[pl.DataFrame, list[BrokenLine]]:
        """The same rows as text, line by line, and the lines that are none."""
        lines = block.split(b"\n")
        records: list[dict[str, str | None]] = []
        broken: list[BrokenLine] = []
        place = 0
        while place < len(lines):
            taken = 1
            if lines[place].strip():
                try:
                    if self.is_json:
                        record = _json_record(lines[place])
                    else:
                        record, taken = _csv_record(lines, place, names, self.separator)
                    records.append({ROW: str(first + place), **record})
                except ValueError as err:
                    text = lines[place].decode("utf-8", "replace").rstrip("\r")
                    broken.append(BrokenLine(first + place, text, str(err)))
            place += taken
        columns = dict.fromkeys(name for record in records for name in record)
        schema = dict.fromkeys(columns or [ROW, *names], pl.String)
        frame = pl.DataFrame(records, schema=schema)
        return frame.with_columns(pl.col(ROW).cast(pl.UInt32)), broken


def _whole_records(data: bytes) -> tuple[bytes, bytes]:
    """The data up to its last line end that is not within quotes, and the rest.

    Where stray quotes leave no such line end near the end of the data, up to its last line end.
    """
    last = end = data.rfind(b"\n")
    while end >= 0 and data.count(b'"', 0, end) % 2:
        end = data.rfind(b"\n", 0, end)
        if last - end > _MAX_TAIL_BYTES:
            end = last
            break
    return data[: end + 1], data[end + 1 :]


def _csv_record(
    lines: list[bytes], place: int, names: list[str], separator: str
) -> tuple[dict[str, str | None], int]:
    """The record that begins on a line, and how many lines it takes.

    Raises ValueError: not UTF-8, more cells than columns, a quote that is not closed.
    """
    try:
        text, taken = lines[place].decode().rstrip("\r"), 1
        while (cells := _cells(text, separator)) is None:
            if place + taken >= len(lines) or taken == _MAX_LINES_OF_A_RECORD:
                raise ValueError("a quote is opened and not closed")
            text += "\n" + lines[place + taken].decode().rstrip("\r")
            taken += 1
    except UnicodeDecodeError as err:
        raise ValueError(f"not UTF-8 (byte {err.start + 1} of the record)") from err
    if len(cells) > len(names):
        raise ValueError(f"{len(cells)} cells, the header has {len(names)}")
    padded = [*cells, *[""] * (len(names) - len(cells))]
    return {name: cell or None for name, cell in zip(names, padded, strict=True)}, taken


def _cells(text: str, separator: str) -> list[str] | None:
    """The cells of one record; None when a quoted cell is still open at its end."""
    cells: list[str] = []
    start = 0
    while True:
        if not text.startswith('"', start):
            end = text.find(separator, start)
            if end < 0:
                return [*cells, text[start:]]
            cells.append(text[start:end])
            start = end + 1
            continue
        end = start + 1
        while True:
            end = text.find('"', end)
            if end < 0:
                return None
            if not text.startswith('""', end):
                break
            end += 2
        after = text.find(separator, end)
        cell = text[start + 1 : end].replace('""', '"')
        if after < 0:
            return [*cells, cell + text[end + 1 :]]
        cells.append(cell + text[end + 1 : after])
        start = after + 1


def _json_record(line: bytes) -> dict[str, str | None]:
    """Values as text. Raises ValueError for anything but an object."""
    try:
        record = json.loads(line)
    except UnicodeDecodeError as err:
        raise ValueError("not UTF-8") from err
    except json.JSONDecodeError as err:
        raise ValueError(f"not JSON ({err.msg} at character {err.pos + 1})") from err
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    return {
        name: value if value is None or isinstance(value, str) else json.dumps(value)
        for name, value in record.items()
    }
