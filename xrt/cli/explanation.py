"""`xrt explain`: why a model suggests the labels that it suggests for a text, or does not."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from xrt.errors import ConfigError, DataError

DEFAULT_K = 5


def explain(arguments: argparse.Namespace) -> int:
    """Print the explanation of one text, to read or as JSON; the exit code.

    Args:
        arguments: What `xrt explain` was called with.

    Returns:
        0.

    Raises:
        ConfigError: `-k` was given with `--labels`.
        DataError: Standard input is not UTF-8, or the training corpus has rows of features.
    """
    from xrt.predict import Predictor

    if arguments.labels is not None and arguments.k is not None:
        raise ConfigError("-k: has no effect with --labels; leave one of them out")
    predictor = Predictor.load(arguments.model, expect=arguments.expect)
    text = _text_of_standard_input() if arguments.text == "-" else arguments.text
    artifact = predictor.artifact
    assert artifact is not None
    texts = None
    if arguments.training is not None:
        texts = _training_texts(arguments.training, artifact.manifest)
    explanation = predictor.explain(
        text, arguments.k or DEFAULT_K, labels=arguments.labels, texts=texts
    )
    if arguments.json:
        print(json.dumps(explanation.to_dict(), indent=2))
    else:
        print(explanation.to_text(), end="")
    return 0


def _training_texts(path: str, manifest: Mapping[str, Any]) -> list[str]:
    """The texts of a corpus. Raises DataError when it has rows of features instead."""
    from xrt.evaluate import read_as_trained

    texts = read_as_trained(path, manifest).texts
    if texts is None:
        raise DataError(f"{path}: has rows of features, not texts; leave --training out")
    return list(texts)


def _text_of_standard_input() -> str:
    """All of standard input as one text. Raises DataError where it is not UTF-8."""
    try:
        source = getattr(sys.stdin, "buffer", sys.stdin)  # a stand-in may have texts only
        content = source.read()
        return (content if isinstance(content, str) else content.decode("utf-8")).rstrip("\r\n")
    except UnicodeDecodeError as err:
        raise DataError(
            f"standard input: byte {err.start + 1} is not UTF-8; convert it to UTF-8"
        ) from err
