"""What `xrt predict` reads: texts, one for each line, record or row of a table, as they come.

A file that training would read as a table (CSV, TSV, Parquet) or as JSON lines is read so, by the
columns that training used; any other is plain text, in which a line is a text, even an empty one.
Standard input and pipes are JSON lines where the first line that is not blank opens with {, else
plain text; with a format named, CSV and TSV too.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from xrt.data.bow import Header, parse_counts, parse_line
from xrt.data.collect import BadLines
from xrt.data.delimited import Line as Row
from xrt.data.delimited import csv_rows, decode_utf8, parse_csv, parse_tsv, read_header, tsv_rows
from xrt.data.formats import CorpusFormat, format_by_name
from xrt.data.jsonl import parse_json_line
from xrt.data.options import BadLine, ReadOptions
from xrt.data.records import RecordParser
from xrt.data.sources import first_line, numbered_lines, open_unpacked, require_file, stream_lines
from xrt.data.tables import Table, delimited_table, parquet_table, raw_text
from xrt.errors import ConfigError, DataError

AUTO, TEXT = "auto", "text"
FORMATS = (AUTO, TEXT, "jsonl", "csv", "tsv", "parquet")
_CHUNK_BYTES = 1 << 20
_JSON_LISTS = (b"[{", b'["', b"[[")


class Line(NamedTuple):
    """One text to tag, and the id it came with (None where it had none)."""

    text: str
    id: str | None


@dataclass(frozen=True)
class TextInput:
    """Where texts come from, and how they are read.

    file: a path, or - for standard input. format: one of FORMATS. options: columns, and whether bad
    lines are set aside. trained_as: the format of the training file, None where it is not known.
    """

    file: str
    format: str = AUTO
    options: ReadOptions = field(default_factory=lambda: ReadOptions(require_labels=False))
    trained_as: CorpusFormat | None = None

    @property
    def name(self) -> str:
        """The file, as messages call it."""
        return "standard input" if self.file == "-" else self.file

    def batches(self, batch_size: int, bad: BadLines) -> Iterator[list[Line]]:
        """Lists of at most `batch_size` texts, in order.

        Args:
            batch_size: Most texts of a list.
            bad: Takes lines that cannot be used.

        Yields:
            The lists. A pipe that pauses does not hold back the lines that came before the pause.

        Raises:
            DataError: The file cannot be read so, or a line that cannot be used is not skipped.
            ConfigError: The format cannot be read from standard input.
        """
        format = self._format_of_file()
        if format in (TEXT, "jsonl", AUTO):
            reader = LineReader(self.name, format, self.options, bad)
            yield from reader.batches(read_chunks(self.file), batch_size)
            return
        lines = _table_lines(self._table(format), self.options, bad)
        while batch := list(islice(lines, batch_size)):
            yield batch

    def _format_of_file(self) -> str:
        if self.format != AUTO or self.file == "-" or Path(self.file).is_fifo():
            return self.format
        by_name = format_by_name(self.file)
        if by_name is CorpusFormat.NPZ and self.file.lower().endswith(".npz"):
            raise DataError(f"{self.file}: npz holds rows of features, not texts; give the texts")
        if by_name in (CorpusFormat.CSV, CorpusFormat.TSV, CorpusFormat.PARQUET):
            name: str = by_name.value
            return name
        first = first_line(require_file(self.file))
        if first.startswith(b"PAR1"):
            return CorpusFormat.PARQUET.value
        if by_name is CorpusFormat.JSONL or first.startswith(b"{"):
            return CorpusFormat.JSONL.value
        if self.trained_as and self._has_header():
            return self.trained_as.value
        self._refuse_rows_of_features()
        return AUTO

    def _refuse_rows_of_features(self) -> None:
        """Raise DataError for a bag of words: `N D L` above lines such as `0,1 3:0.5`."""
        lines = [raw for _, raw in islice(numbered_lines(self.file), 2)]
        first, second = [*lines, b""][:2]
        counts = parse_counts(first)
        if counts is None or len(counts) != 3:
            return
        with contextlib.suppress(BadLine):
            if parse_line(second, Header(*counts))[0]:
                raise DataError(
                    f"{self.file}: a bag of words, that is rows of features, not texts; give the "
                    "texts (if it is plain text: --format text)"
                )

    def _has_header(self) -> bool:
        """Whether the file, whose name tells nothing, begins as a table that training read."""
        if self.trained_as not in (CorpusFormat.CSV, CorpusFormat.TSV):
            return False
        rows = csv_rows if self.trained_as is CorpusFormat.CSV else tsv_rows
        try:
            header = read_header(self.file, rows(self.file))
            delimited_table(self.file, self.options, iter([Row(1, header)]))
        except DataError:
            return False
        return len(header) > 1

    def _table(self, format: str) -> Table:
        if format == CorpusFormat.PARQUET.value:
            if self.file == "-":
                raise ConfigError("--format parquet: standard input cannot be Parquet; give a file")
            return parquet_table(self.file, self.options)
        is_csv = format == CorpusFormat.CSV.value
        if self.file != "-" and not Path(self.file).is_fifo():
            rows = csv_rows(self.file) if is_csv else tsv_rows(self.file)
        else:
            lines = stream_lines(self.name, _stream(self.file))
            texts = ((number, decode_utf8(raw)) for number, raw in lines)
            rows = parse_csv(texts) if is_csv else parse_tsv(lines)
        return delimited_table(self.name, self.options, rows)


def text_input(arguments: argparse.Namespace, reading: Mapping[str, Any]) -> TextInput:
    """The input of `xrt predict`: options given there, else what the model's training used.

    Args:
        arguments: Of the command line: file, format, text_columns, id_column, skip_bad_lines.
        reading: How training read its file, as `xrt.evaluate.reading_of` tells.

    Returns:
        The input.
    """
    trained_as = reading.get("format")
    options = ReadOptions(
        text_columns=arguments.text_columns or reading.get("text_columns"),
        id_column=arguments.id_column,
        skip_bad_lines=arguments.skip_bad_lines or bool(reading.get("skip_bad_lines")),
        require_labels=False,
        id_when_there=reading.get("id_column"),
    )
    format = CorpusFormat(trained_as) if trained_as else None
    return TextInput(arguments.file, arguments.format, options, format)


def _table_lines(table: Table, options: ReadOptions, bad: BadLines) -> Iterator[Line]:
    parser = RecordParser(options, split_by_default=False)
    num_seen = 0
    for row in table.rows:
        try:
            record = table.record(row)
            yield Line(parser.text(record), parser.id(record) or None)
            num_seen += 1
        except BadLine as fault:
            bad.refuse(num_seen, row.number, raw_text(row), fault, row.num_lines)
            num_seen += row.num_lines


def _stream(file: str) -> Iterator[bytes]:
    """The lines of a pipe."""
    if file == "-":
        yield from sys.stdin.buffer
        return
    with open(file, "rb") as pipe:
        yield from pipe


def read_chunks(file: str) -> Iterator[bytes]:
    """The bytes that are there, again and again until the end; gzip and xz files are unpacked.

    Args:
        file: A path, or `-` for standard input.

    Yields:
        Bytes, at most 1 MiB at once and never none.
    """
    if file == "-":
        while chunk := sys.stdin.buffer.read1(_CHUNK_BYTES):  # type: ignore[union-attr]
            yield chunk
    elif Path(file).is_fifo():
        with open(file, "rb") as pipe:
            while chunk := pipe.read1(_CHUNK_BYTES):
                yield chunk
    else:
        with open_unpacked(file) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk


class LineReader:
    """Takes lines out of bytes; `format` is auto (by the first line that is not blank), text or
    jsonl. `bad` takes lines that cannot be used; without it the first is an error.
    """

    def __init__(
        self,
        name: str,
        format: str = AUTO,
        options: ReadOptions | None = None,
        bad: BadLines | None = None,
    ) -> None:
        self.name, self.format, self.number = name, format, 0
        self.options = options or ReadOptions(require_labels=False)
        self.parser = RecordParser(self.options, split_by_default=False)
        self.bad = bad or BadLines(name, self.options)
        self._num_blank, self._num_seen = 0, 0

    def batches(self, chunks: Iterable[bytes], batch_size: int) -> Iterator[list[Line]]:
        """Lists of at most `batch_size` lines.

        A pipe that pauses does not hold back the lines that came before the pause.

        Args:
            chunks: The bytes of the input, cut anywhere.
            batch_size: Lines of a list at most.

        Yields:
            The lines in order, with their texts and ids; blank lines are texts in the format text,
            and left out in JSONL. In the format auto, an input of blank lines only is one list of
            as many empty texts, however long.

        Raises:
            DataError: Bad UTF-8, bad JSON, or a record without a text; the error names file and
                line.
        """
        for block in _complete_lines(chunks):
            lines = [line for raw in block for line in self._lines(raw)]
            for start in range(0, len(lines), batch_size):
                yield lines[start : start + batch_size]
        if self._num_blank:  # nothing but blank lines: they are texts
            yield [Line("", None)] * self._num_blank

    def _lines(self, raw: bytes) -> list[Line]:
        """The text of a line, with those of blank lines before it that had to wait for the format;
        none where the line is no text.
        """
        self.number += 1
        raw = raw.removesuffix(b"\r")
        if self.number == 1:
            raw = self._without_mark(raw)
        if self.format == AUTO:
            if not raw.strip():
                self._num_blank += 1
                return []
            self._decide(raw.strip())
        blank_lines = [Line("", None)] * (self._num_blank if self.format == TEXT else 0)
        self._num_blank = 0
        try:
            line = self._line(raw)
        except BadLine as fault:
            self.bad.refuse(self._num_seen, self.number, raw, fault)
            line = None
            self._num_seen += 1
        if line is None:
            return blank_lines
        self._num_seen += 1
        return [*blank_lines, line]

    def _without_mark(self, raw: bytes) -> bytes:
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(
                f"{self.name}: line 1: UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW"
            )
        return raw.removeprefix(b"\xef\xbb\xbf")

    def _decide(self, first: bytes) -> None:
        """Tell the format by the first line that is not blank."""
        if first == b"[" or first.replace(b" ", b"").startswith(_JSON_LISTS):
            raise DataError(
                f"{self.name}: line {self.number}: a JSON list; write one object a line, e.g. "
                "jq -c '.[]' FILE (for plain text: --format text)"
            )
        self.format = "jsonl" if first.startswith(b"{") else TEXT

    def _line(self, raw: bytes) -> Line | None:
        if self.format == TEXT:
            try:
                return Line(raw.decode("utf-8"), None)
            except UnicodeDecodeError as err:
                at = err.start + 1
                raise BadLine(f"byte {at} is not UTF-8; convert the input to UTF-8") from err
        if not raw.strip():
            return None
        try:
            record = parse_json_line(raw).record
            return Line(self.parser.text(record), self.parser.id(record) or None)
        except BadLine as fault:
            raise BadLine(f"{fault} (for plain text: --format text)", fault.settings) from fault


def _complete_lines(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    unfinished = b""
    for chunk in chunks:
        *lines, unfinished = (unfinished + chunk).split(b"\n")
        yield lines
    if unfinished:
        yield [unfinished]
