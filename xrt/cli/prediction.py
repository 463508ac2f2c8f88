"""`xrt predict`: texts in, JSON lines out, one for one and in order, as they come.

A record or row of the input is read as training read its own (`xrt.cli.text_input`); of what else
it holds only the id is passed on.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from xrt.applications import applications, owner_of
from xrt.cli.text_input import Line, text_input
from xrt.data.collect import BadLines
from xrt.data.labels import LabelTable
from xrt.data.side_tables import id_key, read_side_table
from xrt.errors import DataError
from xrt.storage.outputs import refuse_inputs_as_outputs


def predict(arguments: argparse.Namespace) -> int:
    """Tag every line of the input, or fill a catalogue's attributes; returns the exit code.

    Args:
        arguments: What `xrt predict` was called with.

    Returns:
        0; for the model of an application, what its own command returns.
    """
    refuse_inputs_as_outputs(
        {"--out": arguments.out},
        {
            "FILE": arguments.file,
            "--allowed": arguments.allowed,
            "--forbidden": arguments.forbidden,
        },
        {"MODEL": arguments.model},
    )
    owner = owner_of(arguments.model)
    for application in applications():
        if application is not owner:
            application.refuse_predict_arguments(arguments)
    if owner is not None:
        return owner.predict(arguments)
    from xrt.evaluate import reading_of
    from xrt.predict import Predictor

    predictor = Predictor.load(arguments.model, compute=arguments.compute, expect=arguments.expect)
    min_score = 0.0 if arguments.min_score is None else arguments.min_score
    predictor.threshold(min_score)  # a wrong name is refused before any text is read
    artifact = getattr(predictor, "artifact", None)
    source = text_input(arguments, reading_of({} if artifact is None else artifact.manifest))
    bad = BadLines(source.name, source.options)
    constraints: dict[str, Any] = {
        kind: label_ids(path, predictor.model.labels)
        for kind, path in (("allowed", arguments.allowed), ("forbidden", arguments.forbidden))
        if path is not None
    }
    with _target(arguments.out) as target:
        for batch in source.batches(arguments.batch_size, bad):
            rows = predictor.predict(
                [line.text for line in batch], arguments.k, min_score,
                tail=arguments.tail, **constraints,
            )  # fmt: skip
            for line, suggestions in zip(batch, rows, strict=True):
                target.write(json.dumps(_record(line, suggestions), ensure_ascii=False) + "\n")
            target.flush()
    if bad.rows:
        print(
            f"{source.name}: {len(bad.rows)} bad lines were skipped and written to {bad.write()}",
            file=sys.stderr,
        )
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
    """The ids of a file of labels: one a line, with or without a name behind a tab, or CSV.

    Args:
        path: The file of labels.
        labels: The labels of the model.

    Returns:
        Ids as the model has them, in the order of the file.

    Raises:
        DataError: The model does not know a label; the error names file and line.
    """
    ids = []
    for entry in read_side_table(path):
        column = labels.column_of(entry.id)
        if column is None:
            column = labels.column_of(id_key(entry.id))
        if column is None:
            raise DataError(
                f"{path}: line {entry.number}: label {entry.id!r} is none of the model's "
                f"{len(labels):,}; its labels.tsv has their ids"
            )
        ids.append(labels.ids[column])
    return ids


@contextlib.contextmanager
def _target(out: str | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears under its name only when it is complete."""
    if out is None:
        # half of a surrogate pair is written as the JSON escape it came from
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
        yield sys.stdout
        return
    from xrt.storage.atomic import atomic_file

    with (
        atomic_file(Path(out)) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        yield stream
