"""Reads a click log batch by batch: every row checked, queries normalised, items found.

A log is one file or a folder of them (Parquet, CSV, TSV or JSONL; .gz and .xz too, but for
Parquet). Memory is that of one batch.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import polars as pl

from xrt.applications.query_intent.clicks.text import ROW, BrokenLine, TextBlock, TextLog
from xrt.data.cells import clean_label, id_text
from xrt.data.frames import frame_faults
from xrt.data.sources import plain_name, require_file
from xrt.errors import DataError
from xrt.progress import Progress
from xrt.storage.atomic import atomic_file

COLUMNS = ("query", "item", "count", "impressions", "position")
_NEEDED = 2
_LAST_POSITION = 1000
_MAX_NOTES = 20
_SHOWN_COLUMNS = 12
_SHOWN_CHARACTERS = 80
_SUFFIXES = (".parquet", ".pq", ".csv", ".tsv", ".jsonl", ".ndjson")


@dataclass
class ClickLogReport:
    """Counts of a reading. They are rows of the log unless the name says otherwise."""

    num_rows: int = 0
    num_bad: int = 0
    num_unknown_items: int = 0
    clicks_on_unknown_items: float = 0.0
    num_blank_queries: int = 0
    num_more_clicks_than_impressions: int = 0
    num_position_zero: int = 0
    num_odd_positions: int = 0
    num_float_ids: int = 0
    first_bad: str = ""
    bad_lines_path: str = ""
    notes: list[str] = field(default_factory=list)


class ClickLog:
    """Rows of a log as frames with the columns `query` (as typed), `item`, `count`,
    `impressions`, `position`; the last two are null where not known.

    columns: how the file calls them, where it does not call them so. Without a column `count` each
    row is one click.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        batch_rows: int,
        max_count: float,
        skip_bad_lines: bool = False,
        bad_lines_folder: str | Path = ".",
        progress: Progress | None = None,
    ) -> None:
        self.path, self.batch_rows, self.max_count = Path(path), batch_rows, max_count
        self.columns = {name: clean_label((columns or {}).get(name, name)) for name in COLUMNS}
        unknown = sorted(set(columns or {}) - set(COLUMNS))
        if unknown:
            raise DataError(f"columns: {unknown[0]!r} is none of {', '.join(COLUMNS)}")
        self.skip_bad_lines, self.bad_lines_folder = skip_bad_lines, Path(bad_lines_folder)
        self.progress = progress
        self.report = ClickLogReport()
        self._aside: IO[bytes] | None = None

    def batches(self) -> Iterator[pl.DataFrame]:
        """Frames of sound rows, in the order of the log.

        Yields:
            A frame with the columns that the class names.

        Raises:
            DataError: The log has no rows, or lacks a needed column; or a line is no record, or a
                count is missing, negative, absurd or no number. The latter two are set aside where
                bad lines are skipped. The message names file and row.
        """
        try:
            yield from self._batches()
        finally:
            if self._aside is not None:
                self._aside.close()

    def _batches(self) -> Iterator[pl.DataFrame]:
        files = self._files()
        total = sum(file.stat().st_size for file in files)
        if self.progress is not None:
            self.progress.start("read clicks (bytes)", total)
        for file in files:
            done = 0
            for block in self._blocks(file):
                self._take_out_broken(file, block.broken)
                room = _MAX_NOTES - len(self.report.notes)
                self.report.notes += [f"{file}: {note}" for note in block.notes[:room]]
                if len(block.frame):
                    yield self._checked(file, _with_clean_names(block.frame))
                if self.progress is not None:
                    now = int(block.share * file.stat().st_size)
                    self.progress.advance(now - done, rows=self.report.num_rows)
                    done = now
        if self.progress is not None:
            self.progress.finish()
        if not self.report.num_rows:
            raise DataError(f"{self.path}: no rows; a click log needs one at least")
        self._write_bad_lines()

    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            return [require_file(self.path)]
        files = sorted(f for f in self.path.iterdir() if plain_name(f).endswith(_SUFFIXES))
        if not files:
            raise DataError(f"{self.path}: no click file in the folder ({', '.join(_SUFFIXES)})")
        return files

    def _blocks(self, file: Path) -> Iterator[TextBlock]:
        if plain_name(file).endswith((".parquet", ".pq")):
            return self._parquet(file)
        ids = [self.columns[name] for name in COLUMNS[:_NEEDED]]
        return TextLog(file, self.batch_rows, ids).blocks()

    def _parquet(self, file: Path) -> Iterator[TextBlock]:
        with frame_faults(file):
            lazy = pl.scan_parquet(file)
            names = lazy.collect_schema().names()
            rows = int(lazy.select(pl.len()).collect().item())
        self._require_columns(file, list(map(clean_label, names)))
        lazy = lazy.select([n for n in names if clean_label(n) in self.columns.values()])
        for start in range(0, rows, self.batch_rows):
            with frame_faults(file):
                frame = lazy.slice(start, self.batch_rows).collect().with_row_index(ROW, start + 1)
            if not len(frame):
                raise DataError(f"{file}: row {start + 1}: not there; fetch the file again")
            yield TextBlock(frame, (), min(1.0, (start + len(frame)) / rows))

    def _require_columns(self, file: Path, names: list[str]) -> None:
        for name in COLUMNS[:_NEEDED]:
            if self.columns[name] not in names:
                column_list = ", ".join([n for n in names if n != ROW][:_SHOWN_COLUMNS]) or "none"
                raise DataError(
                    f"{file}: no column {self.columns[name]!r} for {name}; the columns are "
                    f"{column_list}: give it that name",
                    settings={"columns": f"where the log calls {name} otherwise"},
                )

    def _selected(self, file: Path, frame: pl.DataFrame) -> pl.DataFrame:
        """The five columns by their own names."""
        self._require_columns(file, frame.columns)
        absent = {"count": 1.0}  # without counts a row is a click; without the others, not known
        columns = []
        for name in COLUMNS:
            source = self.columns[name]
            if source not in frame.columns:
                column = pl.Series([absent.get(name)], dtype=pl.Float64)
                column = column.new_from_index(0, len(frame))
            elif name in COLUMNS[:_NEEDED]:
                column = text_column(frame[source], file)
            else:
                column = number_column(frame[source], file)
            columns.append(column.alias(name))
        return pl.DataFrame(columns)

    def _checked(self, file: Path, source: pl.DataFrame) -> pl.DataFrame:
        frame = self._selected(file, source)
        self.report.num_rows += len(frame)
        count, views = pl.col("count"), pl.col("impressions")
        sound = frame.select(
            (count.is_finite() & (count >= 0) & (count <= self.max_count)).fill_null(False)
            & pl.col("query").is_not_null()
            & pl.col("item").is_not_null()
            & (views.is_finite() & (views >= 0) & (views <= self.max_count)).fill_null(True)
        ).to_series()
        if not sound.all():
            self._take_out(file, frame.filter(~sound), source.filter(~sound))
            frame = frame.filter(sound)
        more = frame.select((views < count).fill_null(False).sum()).item()
        self.report.num_more_clicks_than_impressions += int(more)
        num_views = pl.max_horizontal("impressions", pl.when(views.is_not_null()).then(count))
        return self._with_positions(frame.with_columns(num_views.alias("impressions")))

    def _with_positions(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Positions as whole numbers from 1; others are not known, and counted."""
        position = pl.col("position")
        is_known = (position.is_finite() & (position >= 1)).fill_null(False)
        zero = (position == 0).fill_null(False)
        odd = position.is_not_null() & ((~is_known & ~zero) | (position != position.floor()))
        counts = frame.select(zero.sum().alias("zero"), odd.sum().alias("odd")).row(0, named=True)
        self.report.num_position_zero += int(counts["zero"])
        self.report.num_odd_positions += int(counts["odd"])
        whole = position.clip(1, _LAST_POSITION).cast(pl.Int32, strict=False)
        return frame.with_columns(pl.when(is_known).then(whole).alias("position"))

    def _take_out(self, file: Path, bad: pl.DataFrame, source: pl.DataFrame) -> None:
        """Note rows with a count that cannot be, or raise for the first."""
        first, number = bad.row(0, named=True), source[ROW][0]
        kind = "row" if plain_name(file).endswith((".parquet", ".pq")) else "line"
        self._note(
            len(bad),
            source.rename({ROW: "row"}).to_dicts(),
            file,
            f"{file}: {kind} {number}: query {first['query']!r}, item {first['item']!r}, "
            f"count {first['count']}, impressions {first['impressions']}: query and item are "
            f"needed, and counts from 0 to {self.max_count:g}; correct it",
        )

    def _take_out_broken(self, file: Path, broken: Sequence[BrokenLine]) -> None:
        """Note lines that are no record, or raise for the first."""
        if not broken:
            return
        number = sum(line.num_lines for line in broken)
        self.report.num_rows += number
        self._note(
            number,
            [{"row": b.line, "cause": b.cause, "text": b.text} for b in broken],
            file,
            f"{file}: line {broken[0].line}: {broken[0].cause}: "
            f"{broken[0].text[:_SHOWN_CHARACTERS]!r}",
        )

    def _note(self, number: int, bad: list[dict[str, Any]], file: Path, message: str) -> None:
        if not self.skip_bad_lines:
            raise DataError(message, settings={"skip_bad_lines": "to set bad lines aside"})
        self.report.num_bad += number
        self.report.first_bad = self.report.first_bad or message
        if self._aside is None:
            self._aside = tempfile.TemporaryFile(dir=self.bad_lines_folder)
        for row in bad:
            record = {"file": str(file), **row}
            line = json.dumps(record, ensure_ascii=False, default=str)
            self._aside.write(line.encode("utf-8", "replace") + b"\n")

    def _write_bad_lines(self) -> None:
        if self._aside is not None:
            target = self.bad_lines_folder / f"{self.path.name}.bad-lines.jsonl"
            self._aside.seek(0)
            with atomic_file(target) as temporary, open(temporary, "wb") as file:
                shutil.copyfileobj(self._aside, file)
            self.report.bad_lines_path = str(target)


def _with_clean_names(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with columns called as they look; where two look alike, the first."""
    names = {name: clean_label(name) for name in frame.columns if name != ROW}
    first = {clean: name for name, clean in reversed(names.items())}
    return frame.select(ROW, *(pl.col(name).alias(clean) for clean, name in first.items()))


_TEXTS = (pl.String, pl.Categorical, pl.Enum)


def text_column(column: pl.Series, file: Path) -> pl.Series:
    """Ids or queries as text, empty ones as null; 392.0 is "392", as in every other file.

    Args:
        column: Text or numbers.
        file: Where it stands, for the message.

    Returns:
        The column as text, under its own name.

    Raises:
        DataError: the column is of another type.
    """
    dtype = column.dtype
    if dtype == pl.String:
        return column
    if dtype in _TEXTS or dtype == pl.Null or dtype.is_integer():
        return column.cast(pl.String)
    if not dtype.is_numeric():
        raise DataError(
            f"{file}: column {column.name!r} is of type {dtype}; text or whole numbers are needed: "
            "write it as text"
        )
    values = column.unique()
    texts = [id_text(value) or None for value in values.to_list()]
    return column.replace_strict(values, pl.Series(texts, dtype=pl.String), return_dtype=pl.String)


def number_column(column: pl.Series, file: Path) -> pl.Series:
    """Counts or positions as float64; null where the text of a cell is no number.

    Args:
        column: Numbers, or text.
        file: Where it stands, for the message.

    Returns:
        The column as numbers, under its own name.

    Raises:
        DataError: the column is of another type.
    """
    dtype = column.dtype
    if dtype in _TEXTS:
        texts = column.cast(pl.String).str.strip_chars()
        return texts.cast(pl.Float64, strict=False)
    if not dtype.is_numeric() and dtype != pl.Null:
        raise DataError(
            f"{file}: column {column.name!r} is of type {dtype}; numbers are needed: write it as "
            "numbers"
        )
    return column.cast(pl.Float64, strict=False)
