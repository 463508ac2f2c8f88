"""`xrt predict`: lines in, JSON lines out, one for one and in order, as they come.

A line of JSONL input is an object with `text`, or with `title` and `content`; of what else it holds
only `id` is passed on. A line of plain text is the text itself, even when it is empty.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from xrt.errors import DataError

_CHUNK_BYTES = 1 << 20


def predict(arguments: argparse.Namespace) -> int:
    """Tag every line of the input; returns the exit code."""
    from xrt.predict import Predictor

    predictor = Predictor.load(arguments.model)
    with _opened(arguments.file) as stream, _target(arguments.out) as target:
        for batch in read_batches(stream, arguments.file, arguments.batch_size, arguments.format):
            rows = predictor.predict([text for text, _ in batch], k=arguments.k)
            for (text, line_id), suggestions in zip(batch, rows, strict=True):
                record: dict[str, Any] = (
                    {"text": text} if line_id is None else {"id": line_id, "text": text}
                )
                record["suggestions"] = [
                    {"label": s.label, "name": s.name, "score": round(float(s.score), 6)}
                    for s in suggestions
                    if arguments.min_score is None or s.score >= arguments.min_score
                ]
                target.write(json.dumps(record, ensure_ascii=False) + "\n")
            target.flush()
    return 0


def read_batches(
    stream: BinaryIO, name: str, batch_size: int, format: str = "auto"
) -> Iterator[list[tuple[str, Any]]]:
    """Pairs (text, id or None) in lists of at most `batch_size`.

    A pipe that pauses does not hold back the lines that came before the pause.
    Raises DataError naming file and line for bad UTF-8, bad JSON and records without a text.
    """
    number = 0
    for lines in _line_blocks(stream):
        records = []
        for line in lines:
            number += 1
            where = f"{'standard input' if name == '-' else name}, line {number}"
            text = _decoded(line, where)
            if format == "auto":
                format = "jsonl" if text.lstrip().startswith("{") else "text"
            if format == "text":
                records.append((text, None))
            elif text.strip():
                records.append(_json_record(text, where))
        for start in range(0, len(records), batch_size):
            yield records[start : start + batch_size]


def _line_blocks(stream: BinaryIO) -> Iterator[list[bytes]]:
    """The complete lines among the bytes that are there, again and again until the end."""
    read = getattr(stream, "read1", stream.read)
    rest = b""
    while chunk := read(_CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        yield lines
    if rest:
        yield [rest]


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8").removesuffix("\r").removeprefix("\ufeff")
    except UnicodeDecodeError as err:
        raise DataError(
            f"{where}: not UTF-8 at byte {err.start + 1}; convert the file first"
        ) from None


def _json_record(line: str, where: str) -> tuple[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise DataError(f"{where}: not JSON ({err}); for plain text say --format text") from None
    if not isinstance(record, dict):
        raise DataError(
            f"{where}: {type(record).__name__} where an object with `text` or `title` is needed"
        )
    parts = [record["text"]] if "text" in record else [record.get("title"), record.get("content")]
    parts = [part for part in parts if part is not None]
    if not parts or not all(isinstance(part, str) for part in parts):
        raise DataError(f"{where}: no string in `text`, nor in `title` and `content`")
    return " ".join(map(str, parts)), record.get("id")


@contextlib.contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with open(file, "rb") as stream:
        yield stream


@contextlib.contextmanager
def _target(out: str | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears under its name only when it is complete."""
    if out is None:
        # half of a surrogate pair is written as the JSON escape it came from
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
        yield sys.stdout
        return
    from xrt.atomic import atomic_file

    with (
        atomic_file(Path(out)) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        yield stream
