"""`xrt predict` and `xrt evaluate` on a model of product attributes: catalogues are filled."""

import argparse
import sys
from collections.abc import Mapping

from xrt.errors import ConfigError

_OF_LABELS = {
    "tail": ("--tail", 0.0),
    "allowed": ("--allowed", None),
    "forbidden": ("--forbidden", None),
    "text_columns": ("--text-columns", None),
    "id_column": ("--id-column", None),
    "k": ("-k", 5),
    "batch_size": ("--batch-size", 256),
    "write_as": ("--as", "auto"),
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


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `xrt predict` that only models of attributes take.

    Args:
        parser: The parser of `xrt predict`; a group of options is added to it.
    """
    filling = parser.add_argument_group(
        "for a model of attributes",
        "FILE is a catalogue; --min-score leaves cells empty below this probability (default 0.5: "
        "never write what is more likely wrong)",
    )
    filling.add_argument(
        "--review",
        metavar="FILE",
        help="given values that the model doubts (default: OUT's name .review.jsonl)",
    )
    filling.add_argument("--overwrite", action="store_true", help="replace given values, too")
    filling.add_argument(
        "--decode",
        choices=("row", "each"),
        help="row: the most probable row, values that go together; each: each attribute's most "
        "probable value, for when one level counts rather than the row (default: as training "
        "chose)",
    )


def predict(arguments: argparse.Namespace) -> int:
    """Fill the missing attributes of a catalogue; counts go to standard error; the exit code.

    Args:
        arguments: The arguments of `xrt predict`.

    Returns:
        0.
    """
    from xrt.storage.outputs import refuse_inputs_as_outputs

    refuse_inputs_as_outputs(
        {"--out": arguments.out, "--review": arguments.review},
        {"FILE": arguments.file},
        {"MODEL": arguments.model},
    )
    _check(arguments)
    from xrt.applications.attributes.filling.decision import MIN_PROBABILITY
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
        reading=predictor.reading.override(format, arguments.skip_bad_lines),
        progress=RichProgress(),
    )
    print(counts.to_text(), file=sys.stderr)
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Print the table of attributes, or all figures as JSON; the exit code.

    Args:
        arguments: The arguments of `xrt evaluate`.

    Returns:
        0.
    """
    import json

    _refuse(arguments, _OF_CORPORA)
    from xrt.applications.attributes.evaluation import evaluate_attribute_model

    evaluation = evaluate_attribute_model(
        arguments.model,
        arguments.file,
        arguments.expect,
        format=arguments.format,
        skip_bad_lines=arguments.skip_bad_lines,
    )
    print(json.dumps(evaluation.to_dict(), indent=2) if arguments.json else evaluation.to_text())
    return 0


def refuse_attribute_options(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for options that only a model of attributes has.

    Args:
        arguments: The arguments of `xrt predict`.

    Raises:
        ConfigError: `--review`, `--overwrite` or `--decode` was given.
    """
    options = (arguments.review, arguments.decode)
    if any(option is not None for option in options) or arguments.overwrite:
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
