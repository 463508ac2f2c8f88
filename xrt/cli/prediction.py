"""`xrt predict`: lines in, JSON lines out, one for one and in order, as they come.

A line of JSONL input is an object, read as training reads it: `text`, or `title` and `content`, or
the columns named; of what else it holds only `id` is passed on. A line of plain text is the text
itself, even when it is empty.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from xrt.cli.outputs import refuse_inputs_as_outputs
from xrt.data.jsonl import parse_json_line
from xrt.data.labels import LabelTable
from xrt.data.options import BadLine, ReadOptions
from xrt.data.records import RecordParser
from xrt.data.sources import numbered_lines, open_unpacked
from xrt.errors import DataError

_CHUNK_BYTES = 1 << 20


class Line(NamedTuple):
    """One text to tag, and the id it came with (None where it had none)."""

    text: str
    id: str | None


def predict(arguments: argparse.Namespace) -> int:
    """Tag every line of the input, or fill a catalogue's attributes; returns the exit code."""
    from xrt.cli import attributes

    refuse_inputs_as_outputs(
        {"--out": arguments.out, "--review": arguments.review},
        {
            "FILE": arguments.file,
            "--allowed": arguments.allowed,
            "--forbidden": arguments.forbidden,
        },
        {"MODEL": arguments.model},
    )
    if attributes.is_attribute_model(arguments.model):
        return attributes.predict(arguments)
    attributes.refuse_attribute_options(arguments)
    from xrt.predict import Predictor

    predictor = Predictor.load(arguments.model, compute=arguments.compute)
    min_score = 0.0 if arguments.min_score is None else arguments.min_score
    predictor.threshold(min_score)  # a wrong name is told before any text is read
    name = "standard input" if arguments.file == "-" else arguments.file
    reader = LineReader(name, arguments.format, arguments.text_columns)
    constraints: dict[str, Any] = {
        kind: label_ids(path, predictor.model.labels)
        for kind, path in (("allowed", arguments.allowed), ("forbidden", arguments.forbidden))
        if path is not None
    }
    with _target(arguments.out) as target:
        for batch in reader.batches(read_chunks(arguments.file), arguments.batch_size):
            rows = predictor.predict(
                [line.text for line in batch], arguments.k, min_score,
                tail=arguments.tail, **constraints,
            )  # fmt: skip
            for line, suggestions in zip(batch, rows, strict=True):
                target.write(json.dumps(_record(line, suggestions), ensure_ascii=False) + "\n")
            target.flush()
    return 0


def _record(line: Line, suggestions: Sequence[Any]) -> dict[str, Any]:
    return {
        **({} if line.id is None else {"id": line.id}),
        "text": line.text,
        "suggestions": [
            {"label": s.label, "name": s.name, "score": round(float(s.score), 6)}
            for s in suggestions
        ],
    }


def label_ids(path: str, labels: LabelTable) -> list[str]:
    """The ids of a file of labels, one a line, with or without a name behind a tab.

    Raises DataError naming file and line for a label that the model does not know.
    """
    ids = []
    for number, line in numbered_lines(path):
        id = line.split(b"\t")[0].decode("utf-8", "replace")
        if id and id not in labels.index:
            raise DataError(
                f"{path}: line {number}: label {id!r} is none of the model's {len(labels):,}; its "
                "labels.tsv has their ids"
            )
        ids += [id] if id else []
    return ids


def read_chunks(file: str) -> Iterator[bytes]:
    """The bytes that are there, again and again until the end; gzip and xz files are unpacked."""
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
    """Takes lines out of bytes; `format` is auto (by the first line), text or jsonl."""

    def __init__(
        self, name: str, format: str = "auto", text_columns: Sequence[str] | None = None
    ) -> None:
        self.name, self.format, self.number = name, format, 0
        options = ReadOptions(text_columns=text_columns, require_labels=False)
        self.parser = RecordParser(options, split_by_default=False)

    def batches(self, chunks: Iterable[bytes], batch_size: int) -> Iterator[list[Line]]:
        """Lists of at most `batch_size` lines.

        A pipe that pauses does not hold back the lines that came before the pause.
        Raises DataError naming file and line for bad UTF-8, bad JSON and records without a text.
        """
        for block in _complete_lines(chunks):
            lines = [line for raw in block if (line := self._line(raw)) is not None]
            for start in range(0, len(lines), batch_size):
                yield lines[start : start + batch_size]

    def _line(self, raw: bytes) -> Line | None:
        self.number += 1
        raw = raw.removesuffix(b"\r")
        if self.number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if self.format == "auto":
            self.format = "jsonl" if raw.lstrip().startswith(b"{") else "text"
        try:
            if self.format == "text":
                return Line(raw.decode("utf-8"), None)
            if not raw.strip():
                return None
            row = self.parser.parse(parse_json_line(raw).record)
            return Line(row.text, row.id or None)
        except UnicodeDecodeError as err:
            fault = f"byte {err.start + 1} is not UTF-8; convert the input to UTF-8"
        except BadLine as err:
            fault = f"{err} (for plain text: --format text)"
        raise DataError(f"{self.name}: line {self.number}: {fault}")


def _complete_lines(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield lines
    if rest:
        yield [rest]


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
