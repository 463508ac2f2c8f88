"""Rows written chunk by chunk to CSV, TSV, JSONL or Parquet: the file appears whole or not at all.

An empty cell is nothing in CSV and TSV and null in JSONL and Parquet. TSV has no quoting that its
readers agree on, so tabs and line ends inside of a cell become blanks there.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from xrt.atomic import atomic_file, scratch_folder
from xrt.data.sources import COMPRESSED_SUFFIXES, open_packed, plain_name
from xrt.errors import ConfigError, DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")

Write = Callable[[pl.DataFrame, list[dict[str, Any]] | None], None]
"""Takes a chunk of rows, and the same rows as JSON objects where they came as such."""


def row_suffix(path: str | Path) -> str:
    """The format that a name asks for, one of SUFFIXES. Raises ConfigError for another name."""
    suffix = Path(plain_name(path)).suffix
    packed = Path(path).suffix.lower() in COMPRESSED_SUFFIXES
    if suffix not in SUFFIXES or (packed and suffix == ".parquet"):
        raise ConfigError(
            f"{path}: rows are written to {', '.join(SUFFIXES)} (all but .parquet may end in .gz "
            "or .xz); choose such a name"
        )
    return suffix


@contextlib.contextmanager
def row_writer(path: str | Path) -> Iterator[Write]:
    """Give a function that appends rows; the file has its name once all is written.

    Raises ConfigError for a name of no known format; the function raises DataError for columns that
    the format cannot hold.
    """
    suffix = row_suffix(path)
    if suffix == ".parquet":
        with _parquet_writer(Path(path)) as write:
            yield write
        return
    is_first = True
    with open_packed(path) as file:

        def append(frame: pl.DataFrame, records: list[dict[str, Any]] | None) -> None:
            nonlocal is_first
            if suffix == ".jsonl" and records is not None:
                lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in records]
                file.write("".join(lines).encode())
            elif suffix == ".jsonl":
                file.write(frame.write_ndjson().encode())
            else:
                file.write(_separated(frame, suffix, is_first, path).encode())
            is_first = False

        yield append


def _separated(frame: pl.DataFrame, suffix: str, with_header: bool, path: str | Path) -> str:
    if nested := [series.name for series in frame if series.dtype.is_nested()]:
        raise DataError(
            f"{path}: columns {', '.join(nested)} hold lists or records, which {suffix[1:]} cannot "
            "hold; write .parquet or .jsonl"
        )
    if suffix == ".tsv":
        frame = frame.with_columns(pl.col(pl.String).str.replace_all(r"\r\n|[\t\r\n]", " "))
        return frame.write_csv(include_header=with_header, separator="\t")
    return frame.write_csv(include_header=with_header)


@contextlib.contextmanager
def _parquet_writer(path: Path) -> Iterator[Write]:
    """Chunks go to files of their own, which are put together at the end."""
    with atomic_file(path) as temporary, scratch_folder(path) as scratch:
        parts: list[Path] = []

        def append(frame: pl.DataFrame, records: list[dict[str, Any]] | None) -> None:
            parts.append(scratch / f"{len(parts):06d}.parquet")
            frame.write_parquet(parts[-1], compression="lz4")

        yield append
        if parts:
            pl.scan_parquet(parts).sink_parquet(temporary)
        else:
            pl.DataFrame().write_parquet(temporary)
