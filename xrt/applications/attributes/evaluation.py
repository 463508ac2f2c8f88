"""What a saved attribute model gets right on a catalogue whose attributes are given.

N rows, A attributes, L labels.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xrt.applications.attributes.predictor import AttributePredictor
from xrt.data.attribute_corpus import read_attributes
from xrt.data.catalogue import read_catalogue
from xrt.data.records import shown
from xrt.errors import DataError
from xrt.metrics.attribute_confusions import impossible_paths
from xrt.metrics.attributes import AttributeReport, attribute_report
from xrt.reading import load_array


@dataclass(frozen=True)
class Evaluation:
    """The figures, and the predicted paths of the hierarchy that training never saw (None without
    one).
    """

    report: AttributeReport
    num_impossible_paths: int | None

    def to_text(self) -> str:
        """The table, and a line on paths."""
        if self.num_impossible_paths is None:
            return self.report.to_text()
        return (
            f"{self.report.to_text()}\npaths never seen in training: {self.num_impossible_paths:,}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self.report.to_dict(), "num_impossible_paths": self.num_impossible_paths}


def evaluate_attributes(
    predictor: AttributePredictor, path: str | Path, counts_L: np.ndarray | None = None
) -> Evaluation:
    """Judge a model by a catalogue that gives at least one of its attributes.

    `counts_L` are the training rows of each label; with them there are figures of rare values.

    Raises DataError when the file cannot be used or gives none of the attributes.
    """
    space, schema = predictor.space, predictor.schema
    table = read_catalogue(path, columns=[*schema.input_columns(), *space.attributes])
    if not set(space.attributes) & set(table.columns):
        raise DataError(
            f"{path}: has none of the attributes {', '.join(space.attributes)}; the columns are "
            f"{shown(table.all_names)}: nothing to judge"
        )
    corpus, _, _ = read_attributes(table, labels=space.labels, item_texts=predictor.item_texts)
    given_NA = replace(space, labels=corpus.labels).given_NA(corpus.Y)
    found = predictor.predict(table)
    report = attribute_report(
        space,
        given_NA,
        found.columns_NA,
        len(space.labels),
        counts_L,
        found.probabilities_NA,
        found.row_probabilities_N,
    )
    if not report.num_judged:
        raise DataError(f"{path}: none of its {table.num_rows:,} rows gives an attribute to judge")
    taxonomy, levels = predictor.decoder.finder.taxonomy, predictor.decoder.finder.hierarchy
    if not levels:
        return Evaluation(report, None)
    paths_ND = found.columns_NA[:, list(levels)]
    return Evaluation(report, impossible_paths(paths_ND, taxonomy.paths_PD))


def evaluate_attribute_model(folder: str | Path, path: str | Path) -> Evaluation:
    """As `evaluate_attributes`, of a saved model.

    Raises ArtifactError for a damaged model, DataError for an unusable file.
    """
    predictor = AttributePredictor.load(folder)
    artifact = predictor.predictor.artifact
    assert artifact is not None
    counts_L = load_array(artifact.path("label_counts.npy"), np.int64, 1)
    return evaluate_attributes(predictor, path, counts_L)
