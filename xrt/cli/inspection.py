"""`xrt evaluate` and `xrt inspect`: what a model scores on a labelled file, and what it is."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from xrt.applications import owner_of

_LATER = (
    "files",
    "checksum",
    "configuration",
    "metrics",
    "versions",
)  # in the manifest, shown apart


def evaluate(arguments: argparse.Namespace) -> int:
    """Print the metrics of a model on a labelled file, as a table or as JSON; the exit code.

    Args:
        arguments: What `xrt evaluate` was called with.

    Returns:
        0; for the model of an application, what its own command returns.
    """
    owner = owner_of(arguments.model)
    if owner is not None:
        return owner.evaluate(arguments)
    from xrt.evaluate import evaluate_model

    reading = reading_arguments(arguments)
    report = evaluate_model(
        arguments.model,
        arguments.file,
        ks=tuple(arguments.k),
        reading=reading,
        expect=arguments.expect,
    )
    print(json.dumps(report.to_dict(), indent=2) if arguments.json else report.to_text())
    return 0


def reading_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `read_corpus` that stand on the command line.

    Args:
        arguments: What a command with the arguments of `add_reading_arguments` was called with.

    Returns:
        Names and values of those that were given; `label_column` is a name, or a list of several.
    """
    names = ("format", "text_columns", "label_separator", "id_column", "weight_column")
    options = {name: getattr(arguments, name) for name in names if getattr(arguments, name)}
    if arguments.label_columns:
        one = len(arguments.label_columns) == 1
        options["label_column"] = arguments.label_columns[0] if one else arguments.label_columns
    if arguments.skip_bad_lines:
        options["skip_bad_lines"] = True
    return options


def inspect(arguments: argparse.Namespace) -> int:
    """Print what the manifest of a model tells, and its sizes; the exit code.

    Sizes are checked, hashes are not: it is a look, not a use.

    Args:
        arguments: What `xrt inspect` was called with.

    Returns:
        0.
    """
    from xrt.storage.artifact import open_artifact

    # half of a surrogate pair in a file's name is written as an escape
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    artifact = open_artifact(arguments.model, verify="sizes", expect=arguments.expect)
    manifest = artifact.manifest
    sizes: Counter[str] = Counter()
    for name, record in artifact.files.items():
        sizes[name.split("/")[0]] += record.size
    if arguments.json:
        about = {key: value for key, value in manifest.items() if key not in ("files", "checksum")}
        print(json.dumps({**about, "digest": artifact.digest, "bytes": dict(sizes)}, indent=2))
        return 0
    print(f"{artifact.folder}: {artifact.kind} model, {_bytes(artifact.num_bytes)}")
    print(f"  digest  {artifact.digest}")
    for title, part in (
        ("", {key: value for key, value in manifest.items() if key not in _LATER}),
        ("metrics", manifest["metrics"]),
        ("written with", manifest["versions"]),
        ("sizes", {name: _bytes(size) for name, size in sizes.most_common()}),
    ):
        if title and part:
            print(title)
        for name, value in _flat(part):
            print(f"  {name}  {value}")
    return 0


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested names joined by dots; lists on one line."""
    for key, part in value.items():
        name = f"{prefix}{key}"
        if isinstance(part, Mapping):
            yield from _flat(part, f"{name}.")
        elif isinstance(part, float):
            yield name, f"{part:.4g}"
        else:
            yield name, part if isinstance(part, str) else json.dumps(part)


def _bytes(size: int) -> str:
    amount, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.0f} {units[0]}" if units[0] == "B" else f"{amount:.1f} {units[0]}"
