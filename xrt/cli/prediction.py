"""`xrt predict`: texts in, suggestions out, one for one and in order, as they come: JSON lines, or
a table where a person looks.

The model is a folder, or the address of one behind `xrt serve`. A record or row of the input is
read as training read its own (`xrt.cli.text_input`); of what else it holds only the id is passed
on.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from xrt.applications import applications, owner_of
from xrt.cli.text_input import Line, text_input
from xrt.data.collect import BadLines
from xrt.data.labels import LabelTable
from xrt.data.side_tables import id_key, read_side_table
from xrt.errors import ConfigError, DataError
from xrt.storage.outputs import refuse_inputs_as_outputs

if TYPE_CHECKING:
    from xrt.predict import Suggestion


def predict(arguments: argparse.Namespace) -> int:
    """Tag every line of the input, or fill a catalogue's attributes; returns the exit code.

    Args:
        arguments: What `xrt predict` was called with.

    Returns:
        0; for the model of an application, what its own command returns.
    """
    is_served = arguments.model.lower().startswith(("http://", "https://"))
    refuse_inputs_as_outputs(
        {"--out": arguments.out},
        {
            "FILE": arguments.file,
            "--allowed": arguments.allowed,
            "--forbidden": arguments.forbidden,
        },
        {} if is_served else {"MODEL": arguments.model},
    )
    owner = None if is_served else owner_of(arguments.model)
    for application in applications():
        if application is not owner:
            application.refuse_predict_arguments(arguments)
    if owner is not None:
        _refuse_options_of_servers(arguments)
        return owner.predict(arguments)
    with _server(arguments) if is_served else _folder(arguments) as tagger:
        _tag(arguments, tagger)
    return 0


def _tag(arguments: argparse.Namespace, tagger: "_Tagger") -> None:
    """Read the input and write the suggestions."""
    source = text_input(arguments, tagger.reading)
    bad = BadLines(source.name, source.options)
    with _target(arguments.out) as target:
        write = _writer(arguments, target)
        for batch in source.batches(arguments.batch_size, bad):
            for line, suggestions in zip(
                batch, tagger.tag([line.text for line in batch]), strict=True
            ):
                write(line, suggestions)
            target.flush()
    if bad.rows:
        print(
            f"{source.name}: {len(bad.rows)} bad lines were skipped and written to {bad.write()}",
            file=sys.stderr,
        )


@dataclass(frozen=True)
class _Tagger:
    """What gives texts their suggestions. reading: how training read its file, see `reading_of`."""

    tag: Callable[[list[str]], Sequence[Sequence["Suggestion"]]]
    reading: Mapping[str, Any]


@contextlib.contextmanager
def _folder(arguments: argparse.Namespace) -> Iterator[_Tagger]:
    """The model of a folder."""
    from xrt.evaluate import reading_of
    from xrt.predict import Predictor

    _refuse_options_of_servers(arguments)
    predictor = Predictor.load(arguments.model, compute=arguments.compute, expect=arguments.expect)
    min_score = _least_score(arguments)
    predictor.threshold(min_score)  # a wrong name is refused before any text is read
    constraints: dict[str, Any] = {
        kind: label_ids(path, predictor.model.labels)
        for kind, path in (("allowed", arguments.allowed), ("forbidden", arguments.forbidden))
        if path is not None
    }
    artifact = getattr(predictor, "artifact", None)
    yield _Tagger(
        lambda texts: predictor.predict(
            texts, arguments.k, min_score, tail=arguments.tail, **constraints
        ),
        reading_of({} if artifact is None else artifact.manifest),
    )


@contextlib.contextmanager
def _server(arguments: argparse.Namespace) -> Iterator[_Tagger]:
    """The model behind an address."""
    from xrt.client import Client, read_key_file

    if arguments.compute != "auto":
        raise ConfigError(
            f"--compute {arguments.compute}: the server decides how it computes (xrt serve "
            "--compute); leave it out"
        )
    key = None if arguments.key_file is None else read_key_file(arguments.key_file)
    with Client(arguments.model, key, expect=arguments.expect) as client:
        model = client.model()
        if model.get("kind") != "labels":
            raise ConfigError(
                f"{arguments.model}: a model of attributes; fill rows by xrt.client.Client.fill, "
                "or give xrt predict the model's folder"
            )
        constraints: dict[str, Any] = {
            kind: [entry.id for entry in read_side_table(path)]
            for kind, path in (("allowed", arguments.allowed), ("forbidden", arguments.forbidden))
            if path is not None
        }
        yield _Tagger(
            lambda texts: client.predict(
                texts, arguments.k, _least_score(arguments), tail=arguments.tail, **constraints
            ),
            dict(model.get("reading") or {}),
        )


def _least_score(arguments: argparse.Namespace) -> float | str:
    return 0.0 if arguments.min_score is None else arguments.min_score


def _refuse_options_of_servers(arguments: argparse.Namespace) -> None:
    if arguments.key_file is not None:
        raise ConfigError(
            f"--key-file: {arguments.model} is a folder, which needs no key; leave it out"
        )


def _writer(
    arguments: argparse.Namespace, target: TextIO
) -> Callable[[Line, Sequence["Suggestion"]], None]:
    """Writes the suggestions for a line as the user wants them."""
    wanted = arguments.write_as
    if wanted == "table" or (wanted == "auto" and arguments.out is None and target.isatty()):
        from xrt.cli.suggestion_table import SuggestionTable

        return SuggestionTable(target).write
    # half of a surrogate pair is written as the JSON escape it came from
    target.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[attr-defined]
    return lambda line, suggestions: print(
        json.dumps(_record(line, suggestions), ensure_ascii=False), file=target
    )


def _record(line: Line, suggestions: Sequence["Suggestion"]) -> dict[str, Any]:
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
        yield sys.stdout
        return
    from xrt.storage.atomic import atomic_file

    with (
        atomic_file(Path(out)) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        yield stream
