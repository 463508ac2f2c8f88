"""`xrt predict` and `xrt evaluate` on a model of product attributes: catalogues are filled."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from xrt.errors import ConfigError

_SETTINGS = "attributes.json"  # in the folder of such a model
_OF_LABELS = {
    "tail": ("--tail", 0.0),
    "allowed": ("--allowed", None),
    "forbidden": ("--forbidden", None),
    "text_columns": ("--text-columns", None),
    "id_column": ("--id-column", None),
    "k": ("-k", 5),
    "batch_size": ("--batch-size", 256),
}
"""Options of `xrt predict` that mean nothing here, and their defaults."""
_OF_CORPORA = {
    "k": ("-k", [1, 3, 5, 10]),
    "text_columns": ("--text-columns", None),
    "label_columns": ("--label-columns", None),
    "label_separator": ("--label-separator", None),
    "id_column": ("--id-column", None),
    "weight_column": ("--weight-column", None),
}
"""Options of `xrt evaluate` that mean nothing here, and their defaults."""
UNUSED_OPTIONS = {"predict": tuple(_OF_LABELS), "evaluate": tuple(_OF_CORPORA)}
"""By command, the options that mean nothing here."""


def is_attribute_model(folder: str) -> bool:
    """Whether a saved model is one of attributes; nothing is opened."""
    return (Path(folder) / _SETTINGS).is_file()


def predict(arguments: argparse.Namespace) -> int:
    """Fill the missing attributes of a catalogue; counts go to standard error; the exit code."""
    _check(arguments)
    from xrt.applications.attributes.decoding.decisions import MIN_PROBABILITY
    from xrt.applications.attributes.filling.filling import fill
    from xrt.applications.attributes.predictor import AttributePredictor
    from xrt.progress import RichProgress

    way = {} if arguments.decode is None else {"decode": arguments.decode}
    predictor = AttributePredictor.load(
        arguments.model, compute=arguments.compute, expect=arguments.expect, **way
    )
    format = None if arguments.format == "auto" else arguments.format
    counts = fill(
        predictor,
        arguments.file,
        arguments.out,
        min_probability=MIN_PROBABILITY if arguments.min_score is None else arguments.min_score,
        overwrite=arguments.overwrite,
        review_path=arguments.review,
        reading=predictor.reading.asked(format, arguments.skip_bad_lines),
        progress=RichProgress(),
    )
    print(counts.to_text(), file=sys.stderr)
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Print the table of attributes, or all figures as JSON; the exit code."""
    _refuse(arguments, _OF_CORPORA)
    from xrt.applications.attributes.evaluation import evaluate_attribute_model

    found = evaluate_attribute_model(
        arguments.model,
        arguments.file,
        arguments.expect,
        format=arguments.format,
        skip_bad_lines=arguments.skip_bad_lines,
    )
    print(json.dumps(found.to_dict(), indent=2) if arguments.json else found.to_text())
    return 0


def refuse_attribute_options(arguments: argparse.Namespace) -> None:
    """Raise ConfigError where a model of labels is asked for what only one of attributes does."""
    given = (arguments.review, arguments.decode)
    if any(option is not None for option in given) or arguments.overwrite:
        raise ConfigError(
            f"--review, --overwrite, --decode: {arguments.model} is a model of labels, not of "
            "attributes; leave them out"
        )


def _refuse(arguments: argparse.Namespace, options: Mapping[str, tuple[str, object]]) -> None:
    """Raise ConfigError for the first of these options that was given."""
    for name, (option, default) in options.items():
        if getattr(arguments, name) != default:
            raise ConfigError(
                f"{option}: not for a model of attributes, as {arguments.model}; leave it out"
            )


def _check(arguments: argparse.Namespace) -> None:
    model = arguments.model
    if arguments.file == "-" or arguments.out is None:
        raise ConfigError(
            f"{model} fills the attributes of a catalogue: give its file and --out FILE "
            "(.csv, .tsv, .jsonl or .parquet)"
        )
    _refuse(arguments, _OF_LABELS)
    if isinstance(arguments.min_score, str):
        raise ConfigError(
            f"--min-score {arguments.min_score}: a model of attributes takes a probability, 0 to 1"
        )
