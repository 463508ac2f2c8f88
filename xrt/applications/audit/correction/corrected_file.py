"""A labelled file with other labels in some rows; every other byte stays as it is.

Lines of JSONL, CSV and TSV that do not change are copied: bad ones, blank ones, the byte order
mark, line ends. In a row that changes only the value of its label columns does. Parquet keeps
columns, types and the order of rows. So the corrected file is read with the settings of the old.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from xrt.applications.audit.correction.label_values import CannotHoldError, LabelValues, RowChange
from xrt.data.cells import clean_label
from xrt.data.corpus import Corpus
from xrt.data.delimited import Line, decode_utf8, parse_csv, parse_rows, parse_tsv, read_head
from xrt.data.formats import CorpusFormat
from xrt.data.frames import frame_faults
from xrt.data.jsonl import parse_json_line
from xrt.data.options import BadLine, ReadOptions
from xrt.data.raw_cells import replace_in_csv, replace_in_json, replace_in_tsv
from xrt.data.records import RecordParser
from xrt.data.sources import lines_with_ends, open_packed, open_unpacked
from xrt.data.tables import delimited_table, parquet_table
from xrt.errors import DataError
from xrt.storage.atomic import atomic_file

COPIED = (CorpusFormat.JSONL, CorpusFormat.CSV, CorpusFormat.TSV, CorpusFormat.PARQUET)
_MARK = b"\xef\xbb\xbf"


@dataclass
class CorrectedFile:
    """Copies a file and changes the labels of some rows.

    changes: by row of the corpus. left_out: (row, label) that a cell could not hold, in the order
    of the file.
    """

    source: Path
    options: ReadOptions
    corpus: Corpus
    changes: Mapping[int, RowChange]
    left_out: list[tuple[int, str]] = field(default_factory=list)

    def write(self, out: Path, format: CorpusFormat) -> None:
        """Write the corrected file, whole or not at all.

        Args:
            out: The new file, packed when its name ends in `.gz` or `.xz`.
            format: The format of both files, one of COPIED.

        Raises:
            DataError: the file is not the one that the corpus was read from; or labels get weights
                in a format that holds none.
        """
        weighted = next((row for row, c in self.changes.items() if c.needs_weights), None)
        if weighted is not None and format is not CorpusFormat.JSONL:
            raise DataError(f"{out}: {format.value} holds no weights of labels; name a file .jsonl")
        self._num_rows = 0
        self._parser = RecordParser(self.options, split_by_default=format != CorpusFormat.JSONL)
        self._values = LabelValues(self.options, self._parser, format == CorpusFormat.JSONL)
        if format is CorpusFormat.PARQUET:
            self._write_parquet(out)
        else:
            with open_packed(out) as file:
                self._write_mark(file)
                if format is CorpusFormat.JSONL:
                    self._write_jsonl(file)
                else:
                    self._write_table(file, is_tsv=format is CorpusFormat.TSV)
        if self._num_rows != self.corpus.num_instances:
            raise self._changed_meanwhile()

    def _changed_meanwhile(self) -> DataError:
        return DataError(
            f"{self.source}: its rows are not those that were read before; run again when nobody "
            "writes it"
        )

    def _write_mark(self, file: BinaryIO) -> None:
        with open_unpacked(self.source) as old:
            if old.read(len(_MARK)) == _MARK:
                file.write(_MARK)

    def _new_values(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the label columns that change in the next row.

        Raises BadLine where the record is no row of the corpus.
        """
        text = self._parser.parse(record).text
        row, self._num_rows = self._num_rows, self._num_rows + 1
        texts = self.corpus.texts
        if row >= self.corpus.num_instances or (texts is not None and texts[row] != text):
            raise self._changed_meanwhile()
        change = self.changes.get(row)
        while change is not None:
            try:
                values = self._values.changed(record, change)
                self._check(row, record, values, change)
            except CannotHoldError as error:
                self.left_out += [(row, label) for label in error.labels]
                additions = {k: w for k, w in change.added.items() if k not in error.labels}
                change = RowChange(additions, change.removed, change.doubted)
            else:
                return values
        return {}

    def _check(
        self, row: int, record: Mapping[str, Any], values: dict[str, Any], change: RowChange
    ) -> None:
        """Raises CannotHoldError where the new record would be read with other labels."""
        old, new = self._labels(record), self._labels({**record, **values})
        expected = (old - change.removed) | change.added.keys()
        if new != expected:
            odd = sorted((expected - new) & change.added.keys())
            if odd:
                raise CannotHoldError(odd)
            raise DataError(
                f"{self.source}: row {row}: its labels cannot be changed in place; write it "
                "anew, to a file that ends in .jsonl or .csv"
            )

    def _labels(self, record: Mapping[str, Any]) -> set[str]:
        row = self._parser.parse(record)
        weights = row.weights or [1.0] * len(row.labels)
        pairs = zip(row.labels, weights, strict=True)
        return {clean_label(str(label)) for label, weight in pairs if weight > 0} - {""}

    def _write_jsonl(self, file: BinaryIO) -> None:
        for _, raw in lines_with_ends(self.source):
            body = raw.removesuffix(b"\n").removesuffix(b"\r")
            new = raw
            if body and not body.isspace():
                try:
                    values = self._new_values(parse_json_line(body).record)
                except BadLine:
                    values = {}
                if values:
                    new = replace_in_json(body.decode(), values).encode() + raw[len(body) :]
            file.write(new)

    def _write_table(self, file: BinaryIO, *, is_tsv: bool) -> None:
        lines = _LineBuffer(self.source)
        head = read_head((n, decode_utf8(raw)) for n, raw in lines_with_ends(self.source))
        delimiter = head.delimiter if head is not None and not is_tsv else "\t"
        rows = parse_tsv(lines) if is_tsv else parse_csv((n, decode_utf8(raw)) for n, raw in lines)
        table = delimited_table(self.source, self.options, rows)
        for line in table.rows:
            file.write(lines.before(line.number))
            raw = lines.before(line.number + line.num_lines)
            try:
                values = self._new_values(table.record(line))
            except BadLine:
                values = {}
            if values:
                cells = {table.header.index(name): str(value) for name, value in values.items()}
                raw = self._changed_row(line, raw, delimiter, cells, is_tsv=is_tsv)
            file.write(raw)
        file.write(lines.before(None))

    def _changed_row(
        self, line: Line, raw: bytes, delimiter: str, cells: Mapping[int, str], *, is_tsv: bool
    ) -> bytes:
        """The bytes of a row with other text in some cells, its line end as it was."""
        text = raw.decode()
        body = text.removesuffix("\n").removesuffix("\r")
        if is_tsv:
            return (replace_in_tsv(body, cells) + text[len(body) :]).encode()
        new = replace_in_csv(body, delimiter, cells) + text[len(body) :]
        expected = [cells.get(place, cell) for place, cell in enumerate(line.cells)]
        parsed = next(parse_rows(_numbered(new), delimiter, len(expected)), None)
        if parsed is None or parsed.fault or list(parsed.cells) != expected:
            raise DataError(
                f"{self.source}: line {line.number}: its labels cannot be changed in place; write "
                "it anew, to a file that ends in .jsonl"
            )
        return new.encode()

    def _write_parquet(self, out: Path) -> None:
        import polars as pl

        table = parquet_table(self.source, self.options)
        with frame_faults(self.source):
            frame = pl.read_parquet(self.source)
            metadata = pl.read_parquet_metadata(self.source)
        own = [name for name in self.options.label_names if name in table.header]
        places = {name: _place(frame.columns, name) for name in own}
        _require_label_types(self.source, frame.select(places.values()))
        new: dict[str, dict[int, Any]] = {name: {} for name in own}
        for line in table.rows:
            record = table.record(line)
            for name in own:
                if record[name] is None and frame[places[name]].dtype == pl.List:
                    record[name] = []
            try:
                values = self._new_values(record)
            except BadLine:
                continue
            for name, value in values.items():
                new[name][line.number - 1] = value
        for name, cells in new.items():
            if cells:
                frame = frame.with_columns(_with_values(frame[places[name]], cells))
        metadata.pop("ARROW:schema", None)
        with atomic_file(out) as temporary, frame_faults(out, "cannot be written"):
            frame.write_parquet(temporary, metadata=metadata or None)


class _LineBuffer:
    """Numbered lines of a file; their bytes are held until `before` returns them."""

    def __init__(self, path: Path) -> None:
        self._lines = lines_with_ends(path)
        self._buffer: deque[tuple[int, bytes]] = deque()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for number, raw in self._lines:
            self._buffer.append((number, raw))
            yield number, raw

    def before(self, number: int | None) -> bytes:
        """Return and forget the lines before a number; all of them for None."""
        lines = []
        while self._buffer and (number is None or self._buffer[0][0] < number):
            lines.append(self._buffer.popleft()[1])
        return b"".join(lines)


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    parts = text.split("\n")
    ends = itertools.chain(itertools.repeat("\n", len(parts) - 1), [""])
    lines = (part + end for part, end in zip(parts, ends, strict=True))
    return ((number, line) for number, line in enumerate(lines, 1) if line)


def _place(columns: list[str], name: str) -> str:
    """A column as the file calls it."""
    return next(c for c in columns if c == name or clean_label(c) == clean_label(name))


def _require_label_types(path: Path, frame: Any) -> None:
    """Raises DataError for label columns of a type that labels cannot be changed in."""
    import polars as pl

    for column in frame.iter_columns():
        inner = column.dtype.inner if column.dtype == pl.List else column.dtype
        texts = (pl.String, pl.Categorical, pl.Enum)
        if inner not in texts and not inner.is_integer():
            raise DataError(
                f"{path}: labels of column {column.name!r} are of type {column.dtype}, which "
                "cannot be changed in place; write it anew, to a file that ends in .jsonl"
            )


def _with_values(column: Any, values: Mapping[int, Any]) -> Any:
    """A column of Parquet with other values in some rows, of the same type."""
    import polars as pl

    dtype = column.dtype
    cells = column.to_list()
    for place, value in values.items():
        cells[place] = value
    inner = dtype.inner if dtype == pl.List else dtype
    if inner.is_integer():
        to_number: Callable[[Any], Any] = lambda v: None if v in (None, "") else int(v)  # noqa: E731
        cells = [[*map(to_number, c)] if isinstance(c, list) else to_number(c) for c in cells]
    return pl.Series(column.name, cells, dtype=dtype)
