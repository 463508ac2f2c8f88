"""Rows written chunk by chunk to CSV, TSV, JSONL or Parquet: the file appears whole or not at all.

An empty cell is nothing in CSV and TSV and null in JSONL and Parquet. TSV has no quoting that its
readers agree on, so tabs and line ends inside of a cell become blanks there.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl

from xrt.applications.attributes.filling.row_types import require_writable
from xrt.data.frames import frame_faults
from xrt.data.sources import COMPRESSED_SUFFIXES, open_packed, plain_name
from xrt.errors import ConfigError
from xrt.storage.atomic import atomic_file, scratch_folder

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")

Write = Callable[[pl.DataFrame, Sequence[str] | None], None]
"""Takes a chunk of rows, and the same rows as lines of the file where they are such already."""


def parse_row_suffix(path: str | Path) -> str:
    """The format that a name asks for, one of SUFFIXES. Raises ConfigError for another name.

    Args:
        path: The file; for all but Parquet its name may end in .gz or .xz.

    Returns:
        The suffix with its point, such as `.csv`.
    """
    suffix = Path(plain_name(path)).suffix
    packed = Path(path).suffix.lower() in COMPRESSED_SUFFIXES
    if suffix not in SUFFIXES or (packed and suffix == ".parquet"):
        raise ConfigError(
            f"{path}: rows are written to {', '.join(SUFFIXES)} (all but .parquet may end in .gz "
            "or .xz); choose such a name"
        )
    return suffix


@contextlib.contextmanager
def open_row_writer(path: str | Path) -> Iterator[Write]:
    """Give a function that appends rows; the file has its name once all is written.

    Raises ConfigError for a name of no known format; the function raises DataError for columns that
    the format cannot hold.

    Args:
        path: The file to write.

    Yields:
        The function, which takes a frame of rows, and the same rows as lines or None.
    """
    suffix = parse_row_suffix(path)
    if suffix == ".parquet":
        with _parquet_writer(Path(path)) as write:
            yield write
        return
    is_first = True
    with open_packed(path) as file:

        def append(frame: pl.DataFrame, lines: Sequence[str] | None) -> None:
            nonlocal is_first
            if lines is not None:
                file.write("".join(lines).encode())
            else:
                file.write(_text(frame, suffix, is_first, path).encode())
            is_first = False

        yield append


def _text(frame: pl.DataFrame, suffix: str, with_header: bool, path: str | Path) -> str:
    require_writable(frame.schema, suffix, path)
    with frame_faults(path, f"cannot be written as {suffix[1:]}"):
        if suffix == ".jsonl":
            return frame.write_ndjson()
        if suffix == ".csv":
            return frame.write_csv(include_header=with_header)
        frame = frame.with_columns(pl.col(pl.String).str.replace_all(r"\r\n|[\t\r\n]", " "))
        return frame.write_csv(include_header=with_header, separator="\t")


@contextlib.contextmanager
def _parquet_writer(path: Path) -> Iterator[Write]:
    """Chunks go to files of their own, which are put together at the end."""
    with atomic_file(path) as temporary, scratch_folder(path) as scratch:
        parts: list[Path] = []

        def append(frame: pl.DataFrame, _: Sequence[str] | None) -> None:
            require_writable(frame.schema, ".parquet", path)
            parts.append(scratch / f"{len(parts):06d}.parquet")
            with frame_faults(path, "cannot be written as parquet"):
                frame.write_parquet(parts[-1], compression="lz4")

        yield append
        with frame_faults(path, "cannot be written as parquet"):
            if parts:
                pl.scan_parquet(parts).sink_parquet(temporary)
            else:
                pl.DataFrame().write_parquet(temporary)
