"""How good an attribute model is: the table of attributes, paths, both ways of decoding compared.

N rows, A attributes, L labels.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xrt.applications.attributes.catalogue_settings import Reading
from xrt.applications.attributes.data.catalogue import read_catalogue
from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.decoding.decoder import (
    AttributeDecoder,
    BatchPosterior,
    DecodedValues,
)
from xrt.applications.attributes.decoding.way import count_right_values, describe_choice
from xrt.applications.attributes.filling.decision import NoneLabels, find_written_cells
from xrt.applications.attributes.metrics.confusions import count_impossible_paths
from xrt.applications.attributes.metrics.table import AttributeReport, attribute_report
from xrt.applications.attributes.predictor import AttributePredictor
from xrt.applications.attributes.settings import Decode
from xrt.data.records import shown
from xrt.errors import DataError
from xrt.metrics.tables import align
from xrt.report import Table
from xrt.storage.reading import load_array

ALONE = "best score alone"


@dataclass(frozen=True)
class Evaluation:
    """The figures of what was decoded, and beside them those of both ways of decoding and of the
    best-scored value of each attribute alone: `right` and, with a hierarchy, `impossible`, the
    paths that training never saw. `reason` says why the decoder has its way; None where nothing
    was compared.
    """

    report: AttributeReport
    values: DecodedValues
    way: Decode
    right: Mapping[str, Mapping[str, Any]]
    impossible: Mapping[str, int] | None
    reason: str | None = None

    @property
    def num_impossible_paths(self) -> int | None:
        """Rows whose decoded path training never saw; None without a hierarchy."""
        return None if self.impossible is None else self.impossible[self.way.value]

    def to_text(self) -> str:
        """The table, and what each way of decoding gets right.

        Returns:
            The lines, without a line end behind the last.
        """
        header, *rows = self._rows()
        cells = [[_cell(cell) for cell in row] for row in rows]
        lines = [self.report.to_text(), "", align([header, *cells])]
        if self.reason is not None:
            lines.append(self.reason)
        alone = self.right[ALONE]["item accuracy"]
        if alone is not None:
            lines.append(f"each attribute decoded alone: item accuracy {alone:.4f}")
        if self.impossible is not None:
            lines.append(
                f"paths never seen in training: {self.num_impossible_paths:,} "
                f"(each attribute alone: {self.impossible[ALONE]:,})"
            )
        return "\n".join(lines)

    def to_table(self) -> Table:
        """Both ways side by side, for a page.

        Returns:
            The table; its note is `reason`.
        """
        header, *rows = self._rows()
        return Table(
            title="Decoding", columns=header, rows=rows, note=self.reason or "",
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns:
            Those of the report, those of each way of decoding by its name, and those of the
            best-scored value of each attribute alone.
        """
        impossible = self.impossible or {}
        return {
            **self.report.to_dict(),
            "num_impossible_paths": self.num_impossible_paths,
            "decode": self.way.value,
            "decodings": {
                name: {**figures, "num_impossible_paths": impossible.get(name)}
                for name, figures in self.right.items()
            },
            "each attribute alone": {
                "item_accuracy": self.right[ALONE]["item accuracy"],
                "num_impossible_paths": impossible.get(ALONE),
            },
        }

    def _rows(self) -> list[list[Any]]:
        names = list(self.right[ALONE]["accuracy"])
        rows: list[list[Any]] = [["accuracy", "item", *names]]
        for name, figures in self.right.items():
            title = name if name == ALONE else f"decode={name}"
            accuracies = figures["accuracy"]
            rows.append([title, figures["item accuracy"], *(accuracies[n] for n in names)])
        return rows


def evaluate_decoding(
    decoder: AttributeDecoder,
    true_NA: np.ndarray,
    batches: Sequence[BatchPosterior],
    counts_L: np.ndarray | None = None,
) -> Evaluation:
    """Judge what the decoder makes of rows by what they give, int32 (N, A); columns from the number
    of labels on are values that training never saw. `counts_L` are the training rows of each label.

    Args:
        decoder: The decoder.
        true_NA: The label columns that rows give, int32 (N, A), -1 where they give none.
        batches: What the decoder makes of the same rows, in order.
        counts_L: Training rows of each label, int (L,); None where they are unknown.

    Returns:
        The figures of both ways of decoding.
    """
    space, levels = decoder.space, list(decoder.finder.hierarchy)
    values_by_way = {way: decoder.decode_batches(batches, way) for way in (Decode.row, Decode.each)}
    values = values_by_way[decoder.way]
    report = attribute_report(
        space, true_NA, values.columns_NA, len(space.labels), counts_L,
        values.probabilities_NA, values.row_probabilities_N,
        is_written_NA=find_written_cells(values, NoneLabels.of(space)), is_none_L=space.is_none_L,
    )  # fmt: skip
    columns = {way.value: part.columns_NA for way, part in values_by_way.items()}
    columns[ALONE] = np.concatenate([part.scored_NA for part in batches])
    right = {
        name: count_right_values(space.attributes, columns_NA, true_NA)
        for name, columns_NA in columns.items()
    }
    impossible = None
    if levels:
        taxonomy_PD = decoder.finder.taxonomy.paths_PD
        impossible = {
            name: count_impossible_paths(columns_NA[:, levels], taxonomy_PD)
            for name, columns_NA in columns.items()
        }
    comparison = decoder.figures.get("decode")
    reason = None if comparison is None else describe_choice(comparison)
    return Evaluation(report, values, decoder.way, right, impossible, reason)


def _cell(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return "-" if cell is None else str(cell)


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
