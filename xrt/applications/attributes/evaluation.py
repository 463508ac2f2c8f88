"""What a saved attribute model gets right on a catalogue whose attributes are given.

N rows, A attributes, L labels.
"""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from xrt.applications.attributes.judging import Evaluation, judge
from xrt.applications.attributes.predictor import AttributePredictor
from xrt.data.attribute_corpus import read_attributes
from xrt.data.catalogue import read_catalogue
from xrt.data.records import shown
from xrt.errors import DataError
from xrt.reading import load_array

logger = logging.getLogger(__name__)


def evaluate_attributes(
    predictor: AttributePredictor, path: str | Path, counts_L: np.ndarray | None = None
) -> Evaluation:
    """Judge a model by a catalogue that gives at least one of its attributes.

    `counts_L` are the training rows of each label; with them there are figures of rare values.

    Raises DataError when the file cannot be used or gives none of the attributes.
    """
    space, schema = predictor.space, predictor.schema
    reading = predictor.reading
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
    given_NA = replace(space, labels=corpus.labels).given_NA(corpus.Y)
    if not (given_NA >= 0).any():
        raise DataError(f"{path}: none of its {table.num_rows:,} rows gives an attribute to judge")
    scores_NL = predictor.scores(table)
    weighed = predictor.decoder.weigh(scores_NL, num_threads=predictor.predictor.num_threads)
    return judge(predictor.decoder, given_NA, weighed, counts_L)


def evaluate_attribute_model(
    folder: str | Path, path: str | Path, expect: str | None = None
) -> Evaluation:
    """As `evaluate_attributes`, of a saved model, which must have the digest `expect` if given.

    Raises ArtifactError for a damaged model, or another one, DataError for an unusable file.
    """
    predictor = AttributePredictor.load(folder, expect=expect)
    artifact = predictor.predictor.artifact
    assert artifact is not None
    num_labels = len(predictor.predictor.model.labels)
    counts_L = load_array(artifact.path("label_counts.npy"), np.int64, 1, length=num_labels)
    return evaluate_attributes(predictor, path, counts_L)
