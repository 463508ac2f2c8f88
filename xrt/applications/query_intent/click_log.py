"""Reads a click log batch by batch: every row checked, queries normalised, items found.

A log is one file or a folder of them (Parquet, CSV, TSV or JSONL; .gz and .xz too, but for
Parquet). Memory is that of one batch.
"""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from xrt.atomic import write_text
from xrt.data.sources import open_unpacked, plain_name, require_file
from xrt.errors import DataError
from xrt.progress import Progress

COLUMNS = ("query", "item", "count", "impressions", "position")
_NEEDED = 2
_BYTES_PER_ROW = 64
_MAX_BAD_KEPT = 10_000
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

        Raises DataError naming file and row: a count is missing, negative, absurd or not a number
        (unless bad lines are skipped); a needed column is not there.
        """
        files = self._files()
        total = sum(file.stat().st_size for file in files)
        if self.progress is not None:
            self.progress.start("read clicks (bytes)", total)
        for file in files:
            done = 0
            for first_row, share, raw in self._raw(file):
                yield self._checked(file, first_row, raw)
                if self.progress is not None:
                    now = int(share * file.stat().st_size)
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

    def _raw(self, file: Path) -> Iterator[tuple[int, float, pl.DataFrame]]:
        """(number of the first row or line, share of the file read so far, raw columns)."""
        if plain_name(file).endswith((".parquet", ".pq")):
            yield from self._parquet(file)
        else:
            yield from self._text(file)

    def _parquet(self, file: Path) -> Iterator[tuple[int, float, pl.DataFrame]]:
        try:
            lazy = pl.scan_parquet(file)
            names = lazy.collect_schema().names()
            rows = int(lazy.select(pl.len()).collect().item())
            lazy = lazy.select(self._selection(file, names))
            for start in range(0, rows, self.batch_rows):
                frame = lazy.slice(start, self.batch_rows).collect()
                yield start + 1, min(1.0, (start + len(frame)) / rows), frame
        except pl.exceptions.PolarsError as err:
            cause = str(err).splitlines()[0]
            raise DataError(f"{file}: not readable as Parquet ({cause}); write it again") from err

    def _text(self, file: Path) -> Iterator[tuple[int, float, pl.DataFrame]]:
        """Blocks of whole lines, parsed by polars; a block it cannot parse is read line by line."""
        is_json = plain_name(file).endswith((".jsonl", ".ndjson"))
        separator = "\t" if plain_name(file).endswith(".tsv") else ","
        size = file.stat().st_size
        with open_unpacked(file) as stream:
            header = b"" if is_json else stream.readline().removeprefix(b"\xef\xbb\xbf")
            line, read, rest = 1 if is_json else 2, len(header), b""
            while chunk := stream.read(self.batch_rows * _BYTES_PER_ROW):
                read += len(chunk)
                block, rest = _whole_lines(rest + chunk)
                if block:
                    frame = self._parse(file, line, header, block, separator, is_json)
                    yield line, min(1.0, read / size), frame
                    line += block.count(b"\n")
            if rest.strip():
                yield line, 1.0, self._parse(file, line, header, rest, separator, is_json)

    def _parse(
        self, file: Path, line: int, header: bytes, block: bytes, separator: str, is_json: bool
    ) -> pl.DataFrame:
        try:
            if is_json:
                frame = pl.read_ndjson(io.BytesIO(block))
            else:
                frame = pl.read_csv(
                    io.BytesIO(header + block), separator=separator, infer_schema=False
                )
        except pl.exceptions.PolarsError as err:
            cause = str(err).splitlines()[0][:120]
            last = line + block.count(b"\n")
            raise DataError(
                f"{file}: lines {line} to {last} cannot be read ({cause}); correct them, or write "
                "the log as Parquet"
            ) from err
        return frame.select(self._selection(file, frame.columns))

    def _selection(self, file: Path, names: list[str]) -> list[pl.Expr]:
        """The five columns by their own names."""
        for name in COLUMNS[:_NEEDED]:
            if self.columns[name] not in names:
                raise DataError(
                    f"{file}: no column {self.columns[name]!r} for {name}; the columns are "
                    f"{', '.join(names[:12])}: name it with --columns {name}=..."
                )
        absent = {"count": pl.lit(1.0), "impressions": pl.lit(None), "position": pl.lit(None)}
        chosen = []
        for name in COLUMNS:
            present = self.columns[name] in names
            source = pl.col(self.columns[name]) if present else absent[name]
            kind = pl.String if name in COLUMNS[:_NEEDED] else pl.Float64
            chosen.append(source.cast(kind, strict=False).alias(name))
        return chosen

    def _checked(self, file: Path, first_row: int, frame: pl.DataFrame) -> pl.DataFrame:
        self.report.num_rows += len(frame)
        count, views = pl.col("count"), pl.col("impressions")
        sound = (
            (count.is_finite() & (count >= 0) & (count <= self.max_count)).fill_null(False)
            & pl.col("query").is_not_null()
            & pl.col("item").is_not_null()
            & (views.is_finite() & (views >= 0) & (views <= self.max_count)).fill_null(True)
        )
        bad = frame.with_row_index("row", first_row).filter(~sound)
        if len(bad):
            self._refuse(file, bad)
            frame = frame.filter(sound)
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

    def _refuse(self, file: Path, bad: pl.DataFrame) -> None:
        first = bad.row(0, named=True)
        kind = "row" if plain_name(file).endswith((".parquet", ".pq")) else "line"
        message = (
            f"{file}: {kind} {first['row']}: query {first['query']!r}, item {first['item']!r}, "
            f"count {first['count']}, impressions {first['impressions']}: query and item are "
            f"needed, and counts from 0 to {self.max_count:g}; correct it"
        )
        if not self.skip_bad_lines:
            raise DataError(f"{message} (or pass --skip-bad-lines)")
        self.report.num_bad += len(bad)
        self.report.first_bad = self.report.first_bad or message
        room = _MAX_BAD_KEPT - len(self.report.bad)
        self.report.bad += [{"file": str(file), **row} for row in bad.head(room).to_dicts()]

    def _write_bad_lines(self) -> None:
        if self.report.bad:
            target = self.bad_lines_folder / f"{self.path.name}.bad-lines.jsonl"
            lines = [json.dumps(row, ensure_ascii=False, default=str) for row in self.report.bad]
            write_text(target, "\n".join(lines) + "\n")
            self.report.bad_lines_path = str(target)


def _whole_lines(block: bytes) -> tuple[bytes, bytes]:
    """The block up to the last line end outside quotes, and the rest."""
    end = block.rfind(b"\n")
    while end >= 0 and block.count(b'"', 0, end) % 2:
        end = block.rfind(b"\n", 0, end)
    return block[: end + 1], block[end + 1 :]
