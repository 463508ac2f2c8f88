"""What a saved attribute model gets right on a catalogue whose attributes are given.

N rows, A attributes, L labels.
"""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from xrt.applications.attributes.catalogue_settings import Reading
from xrt.applications.attributes.data.catalogue import read_catalogue
from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.judging import Evaluation, evaluate_decoding
from xrt.applications.attributes.predictor import AttributePredictor
from xrt.data.records import shown
from xrt.errors import DataError
from xrt.storage.reading import load_array

logger = logging.getLogger(__name__)


def evaluate_attributes(
    predictor: AttributePredictor,
    path: str | Path,
    counts_L: np.ndarray | None = None,
    reading: Reading | None = None,
) -> Evaluation:
    """Judge a model by a catalogue that gives at least one of its attributes.

    Args:
        predictor: The model.
        path: The catalogue.
        counts_L: The training rows of each label; with them there are figures of rare values.
        reading: How the file is read; None: as the training file was.

    Returns:
        The figures.

    Raises:
        DataError: the file cannot be used or gives none of the attributes.
    """
    space, schema = predictor.space, predictor.schema
    reading = reading or predictor.reading
    table = read_catalogue(
        path, format=reading.format_of(path),
        columns=[*schema.input_columns(), *space.attributes],
        skip_bad_lines=reading.skip_bad_lines,
    )  # fmt: skip
    if not set(space.attributes) & set(table.columns):
        raise DataError(
            f"{path}: has none of the attributes {', '.join(space.attributes)}; the columns are "
            f"{shown(table.all_names)}: nothing to judge"
        )
    if table.skipped_rows:
        logger.warning("%s", table.messages()[-1])
    corpus, _, _ = read_attributes(table, labels=space.labels, item_texts=predictor.item_texts)
    true_NA = replace(space, labels=corpus.labels).cells_of(corpus.Y)
    if not (true_NA >= 0).any():
        raise DataError(f"{path}: none of its {table.num_rows:,} rows gives an attribute to judge")
    scores_NL = predictor.scores(table)
    batches = predictor.decoder.weigh(scores_NL, num_threads=predictor.predictor.num_threads)
    return evaluate_decoding(predictor.decoder, true_NA, batches, counts_L)


def evaluate_attribute_model(
    folder: str | Path,
    path: str | Path,
    expect: str | None = None,
    *,
    format: str | None = None,
    skip_bad_lines: bool = False,
) -> Evaluation:
    """As `evaluate_attributes`, of a saved model.

    Args:
        folder: The model.
        path: The catalogue.
        expect: The digest that the model must have; None: any.
        format: Its format; None: detected, or as the training file's.
        skip_bad_lines: Write bad lines aside; done in any case where training did so.

    Returns:
        The figures.

    Raises:
        ArtifactError: the model is damaged, or another one.
        DataError: the file cannot be used.
    """
    predictor = AttributePredictor.load(folder, expect=expect)
    artifact = predictor.predictor.artifact
    assert artifact is not None
    num_labels = len(predictor.predictor.model.labels)
    counts_L = load_array(artifact.path("label_counts.npy"), np.int64, 1, length=num_labels)
    reading = predictor.reading.override(format, skip_bad_lines)
    return evaluate_attributes(predictor, path, counts_L, reading)
