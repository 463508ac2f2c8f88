"""Reads a click log batch by batch: every row checked, queries normalised, items found.

A log is one file or a folder of them (Parquet, CSV, TSV or JSONL; .gz and .xz too, but for
Parquet). Memory is that of one batch.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from xrt.applications.query_intent.click_text import ROW, BrokenLine, TextBlock, TextLog
from xrt.atomic import write_text
from xrt.data.sources import plain_name, require_file
from xrt.errors import DataError
from xrt.progress import Progress

COLUMNS = ("query", "item", "count", "impressions", "position")
_NEEDED = 2
_MAX_BAD_KEPT = 10_000
_SHOWN_COLUMNS = 12
_SHOWN_CHARACTERS = 80
_SUFFIXES = (".parquet", ".pq", ".csv", ".tsv", ".jsonl", ".ndjson")


@dataclass
class ClickLogReport:
    """What reading met. Counts are rows of the log unless the name says otherwise."""

    num_rows: int = 0
    num_bad: int = 0
    num_unknown_items: int = 0
    clicks_on_unknown_items: float = 0.0
    num_blank_queries: int = 0
    num_more_clicks_than_impressions: int = 0
    first_bad: str = ""
    bad_lines_path: str = ""
    bad: list[dict[str, Any]] = field(default_factory=list)


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
        self.columns = {name: (columns or {}).get(name, name) for name in COLUMNS}
        unknown = sorted(set(columns or {}) - set(COLUMNS))
        if unknown:
            raise DataError(f"columns: {unknown[0]!r} is none of {', '.join(COLUMNS)}")
        self.skip_bad_lines, self.bad_lines_folder = skip_bad_lines, Path(bad_lines_folder)
        self.progress = progress
        self.report = ClickLogReport()

    def batches(self) -> Iterator[pl.DataFrame]:
        """Frames of sound rows, in the order of the log.

        Raises DataError naming file and row: a line is no record, a count is missing, negative,
        absurd or not a number (unless bad lines are skipped); a needed column is not there.
        """
        files = self._files()
        total = sum(file.stat().st_size for file in files)
        if self.progress is not None:
            self.progress.start("read clicks (bytes)", total)
        for file in files:
            done = 0
            for block in self._blocks(file):
                self._take_out_broken(file, block.broken)
                if len(block.frame):
                    yield self._checked(file, self._selected(file, block.frame))
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
        found = sorted(f for f in self.path.iterdir() if plain_name(f).endswith(_SUFFIXES))
        if not found:
            raise DataError(f"{self.path}: no click file in the folder ({', '.join(_SUFFIXES)})")
        return found

    def _blocks(self, file: Path) -> Iterator[TextBlock]:
        if not plain_name(file).endswith((".parquet", ".pq")):
            return TextLog(file, self.batch_rows).blocks()
        return self._parquet(file)

    def _parquet(self, file: Path) -> Iterator[TextBlock]:
        try:
            lazy = pl.scan_parquet(file)
            names = lazy.collect_schema().names()
            rows = int(lazy.select(pl.len()).collect().item())
            self._require_columns(file, names)
            lazy = lazy.select([n for n in names if n in self.columns.values()])
            for start in range(0, rows, self.batch_rows):
                frame = lazy.slice(start, self.batch_rows).collect()
                share = min(1.0, (start + len(frame)) / rows)
                yield TextBlock(frame.with_row_index(ROW, start + 1), (), share)
        except pl.exceptions.PolarsError as err:
            cause = str(err).splitlines()[0]
            raise DataError(f"{file}: not readable as Parquet ({cause}); write it again") from err

    def _require_columns(self, file: Path, names: list[str]) -> None:
        for name in COLUMNS[:_NEEDED]:
            if self.columns[name] not in names:
                shown = ", ".join([n for n in names if n != ROW][:_SHOWN_COLUMNS]) or "none"
                raise DataError(
                    f"{file}: no column {self.columns[name]!r} for {name}; the columns are "
                    f"{shown}: name it with --columns {name}=..."
                )

    def _selected(self, file: Path, frame: pl.DataFrame) -> pl.DataFrame:
        """The row's number and the five columns by their own names."""
        self._require_columns(file, frame.columns)
        absent = {"count": pl.lit(1.0), "impressions": pl.lit(None), "position": pl.lit(None)}
        chosen = [pl.col(ROW)]
        for name in COLUMNS:
            present = self.columns[name] in frame.columns
            source = pl.col(self.columns[name]) if present else absent[name]
            kind = pl.String if name in COLUMNS[:_NEEDED] else pl.Float64
            chosen.append(source.cast(kind, strict=False).alias(name))
        return frame.select(chosen)

    def _checked(self, file: Path, frame: pl.DataFrame) -> pl.DataFrame:
        self.report.num_rows += len(frame)
        count, views = pl.col("count"), pl.col("impressions")
        sound = (
            (count.is_finite() & (count >= 0) & (count <= self.max_count)).fill_null(False)
            & pl.col("query").is_not_null()
            & pl.col("item").is_not_null()
            & (views.is_finite() & (views >= 0) & (views <= self.max_count)).fill_null(True)
        )
        bad = frame.filter(~sound)
        if len(bad):
            self._take_out(file, bad.rename({ROW: "row"}))
            frame = frame.filter(sound)
        frame = frame.drop(ROW)
        more = frame.select((views < count).fill_null(False).sum()).item()
        self.report.num_more_clicks_than_impressions += int(more)
        return frame.with_columns(
            pl.max_horizontal("impressions", pl.when(views.is_not_null()).then(count)).alias(
                "impressions"
            ),
            pl.when(pl.col("position") >= 1)
            .then(pl.col("position").clip(1, 1000))
            .cast(pl.Int32)
            .alias("position"),
        )

    def _take_out(self, file: Path, bad: pl.DataFrame) -> None:
        """Note rows with a count that cannot be, or raise for the first."""
        first = bad.row(0, named=True)
        kind = "row" if plain_name(file).endswith((".parquet", ".pq")) else "line"
        self._note(
            len(bad),
            bad.head(_MAX_BAD_KEPT).to_dicts(),
            file,
            f"{file}: {kind} {first['row']}: query {first['query']!r}, item {first['item']!r}, "
            f"count {first['count']}, impressions {first['impressions']}: query and item are "
            f"needed, and counts from 0 to {self.max_count:g}; correct it",
        )

    def _take_out_broken(self, file: Path, broken: Sequence[BrokenLine]) -> None:
        """Note lines that are no record, or raise for the first."""
        if not broken:
            return
        self.report.num_rows += len(broken)
        self._note(
            len(broken),
            [{"row": b.line, "cause": b.cause, "text": b.text} for b in broken],
            file,
            f"{file}: line {broken[0].line}: {broken[0].cause}: "
            f"{broken[0].text[:_SHOWN_CHARACTERS]!r}; correct it",
        )

    def _note(self, number: int, bad: list[dict[str, Any]], file: Path, message: str) -> None:
        if not self.skip_bad_lines:
            raise DataError(f"{message} (or pass --skip-bad-lines)")
        self.report.num_bad += number
        self.report.first_bad = self.report.first_bad or message
        room = _MAX_BAD_KEPT - len(self.report.bad)
        self.report.bad += [{"file": str(file), **row} for row in bad[:room]]

    def _write_bad_lines(self) -> None:
        if self.report.bad:
            target = self.bad_lines_folder / f"{self.path.name}.bad-lines.jsonl"
            lines = [json.dumps(row, ensure_ascii=False, default=str) for row in self.report.bad]
            write_text(target, "\n".join(lines) + "\n")
            self.report.bad_lines_path = str(target)
