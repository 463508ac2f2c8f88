"""One chunk of a catalogue at a time: predict its cells, fill them, note disagreements.

Shapes: N rows of a chunk, A attributes, L labels.
"""

from typing import Protocol

import numpy as np
import polars as pl

from xrt.applications.attributes.catalogue_settings import Reading
from xrt.applications.attributes.data.catalogue import CatalogueTable
from xrt.applications.attributes.data.schema import NONE_VALUE, AttributeSchema
from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.filling.cell_codes import CellCodes
from xrt.applications.attributes.filling.chunks import Chunk
from xrt.applications.attributes.filling.decision import (
    MIN_PROBABILITY,
    CellPredictions,
    Decision,
    NoneLabels,
    Predictions,
    decide,
)
from xrt.applications.attributes.filling.filled_rows import OutputRows
from xrt.applications.attributes.filling.review import Review

DECIMALS = 6
"""Of scores, in every format."""
ROW_SCORE = "row_score"


class FillPredictor(Protocol):
    """What filling asks of a model (an AttributePredictor)."""

    @property
    def reading(self) -> Reading:
        """How the training file was read."""

    @property
    def schema(self) -> AttributeSchema:
        """The roles of the columns, resolved."""

    @property
    def space(self) -> AttributeSpace:
        """The attributes and their values."""

    def predict(self, table: CatalogueTable, cells_NA: np.ndarray | None = None) -> Predictions:
        """The most probable values; with `cells_NA`, int32 (N, A) or -1, those that go with it.

        Args:
            table: N rows.
            cells_NA: Label columns that are given, -1 where none is; None: nothing is given.

        Returns:
            The values and their probabilities.
        """

    def probability_of(self, table: CatalogueTable, columns_NA: np.ndarray) -> np.ndarray:
        """The probability of these values: float32 (N, A), nan where a column is -1.

        Args:
            table: N rows.
            columns_NA: Label columns int32 (N, A), or -1.

        Returns:
            The probabilities (N, A).
        """


class Filler:
    """Fills one chunk after the other and keeps the counts."""

    def __init__(
        self,
        predictor: FillPredictor,
        rows: OutputRows,
        min_probability: float = MIN_PROBABILITY,
        overwrite: bool = False,
    ) -> None:
        self.predictor, self.rows = predictor, rows
        self.min_probability, self.overwrite = min_probability, overwrite
        self.attributes = predictor.space.attributes
        self.codes = CellCodes(predictor.schema, predictor.space)
        is_blank_L = np.array([not text for text in self.codes.text_L], bool)
        self.labels = NoneLabels.of(predictor.space, is_blank_L)
        self.review = Review(self.attributes)
        self.counts = {
            kind: dict.fromkeys(self.attributes, 0) for kind in ("filled", "none", "unsure")
        }
        self.text_names = [column.name for column in predictor.schema.texts]

    def fill(self, chunk: Chunk, num_before: int) -> tuple[pl.DataFrame, list[str] | None]:
        """The rows of the output, as `OutputRows` gives them.

        Args:
            chunk: Rows of the input.
            num_before: Rows of the file before these.

        Returns:
            A frame, and lines where the output is written as the input is.

        Raises:
            DataError: an attribute's cell holds several values.
        """
        codes_NA = self.codes.codes_NA(chunk.table, num_before)
        predictions = predict_cells(self.predictor, chunk.table, codes_NA)
        decision = decide(codes_NA, predictions, self.labels, self.min_probability, self.overwrite)
        for kind, is_such_NA in (
            ("filled", decision.is_filled_NA),
            ("none", decision.is_none_NA),
            ("unsure", decision.is_unsure_NA),
        ):
            for name, count in zip(self.attributes, is_such_NA.sum(axis=0).tolist(), strict=True):
                self.counts[kind][name] += count
        self._add_disagreements(chunk, num_before, decision, predictions)
        source = predictions.free if self.overwrite else predictions.completed
        texts = {name: self._cell_texts(decision, a) for a, name in enumerate(self.attributes)}
        return self.rows.of(chunk, texts, self._extra_columns(decision, source.row_probabilities_N))

    def _cell_texts(self, decision: Decision, a: int) -> dict[int, str]:
        """Row -> what is written into the attribute's cell there."""
        rows = np.flatnonzero(decision.is_filled_NA[:, a])
        columns = decision.columns_NA[rows, a].tolist()
        return {
            row: self.codes.text_L[column]
            for row, column in zip(rows.tolist(), columns, strict=True)
        }

    def _extra_columns(self, decision: Decision, row_scores_N: np.ndarray) -> pl.DataFrame:
        scores = {
            f"{name}_score": _scores(decision.scores_NA[:, a])
            for a, name in enumerate(self.attributes)
        }
        filled = {
            f"{name}_filled": pl.Series(decision.is_filled_NA[:, a])
            for a, name in enumerate(self.attributes)
        }
        return pl.DataFrame({**scores, ROW_SCORE: _scores(row_scores_N), **filled})

    def _add_disagreements(
        self, chunk: Chunk, num_before: int, decision: Decision, predictions: CellPredictions
    ) -> None:
        texts = _join_texts(
            chunk.table, self.text_names, np.flatnonzero(decision.disagrees_NA.any(axis=1))
        )
        for a, name in enumerate(self.attributes):
            rows = np.flatnonzero(decision.disagrees_NA[:, a])
            places = rows.tolist()
            if not places:
                continue
            predicted = predictions.free.columns_NA[rows, a].tolist()
            self.review.add(
                name,
                num_before + rows + 1,
                [chunk.table.columns[name][row] for row in places],
                _rounded(predictions.cell_probabilities_NA[rows, a]),
                [self.codes.text_L[column] or NONE_VALUE for column in predicted],
                _rounded(predictions.free.probabilities_NA[rows, a]),
                [texts[row] for row in places],
            )


def predict_cells(
    predictor: FillPredictor, table: CatalogueTable, codes_NA: np.ndarray
) -> CellPredictions:
    """What the model says of the rows, with and without what they give; rows that give nothing, or
    everything, are completed by their free prediction.

    Args:
        predictor: The model.
        table: N rows.
        codes_NA: What they give: label columns or negative codes, int32 (N, A).

    Returns:
        The free prediction, the one that goes with what is given, and the probability of what is
        given, float32 (N, A), nan where nothing is.
    """
    cells_NA = np.maximum(codes_NA, -1)
    free = predictor.predict(table)
    if not (cells_NA >= 0).any():
        return CellPredictions(free, free, np.full(cells_NA.shape, np.nan, np.float32))
    completed = predictor.predict(table, cells_NA=cells_NA)
    return CellPredictions(free, completed, predictor.probability_of(table, cells_NA))


def _scores(scores_N: np.ndarray) -> pl.Series:
    return pl.Series(_rounded(scores_N)).fill_nan(None)


def _rounded(scores: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = np.round(scores.astype(np.float64), DECIMALS)
    return rounded


def _join_texts(table: CatalogueTable, names: list[str], rows: np.ndarray) -> dict[int, str]:
    """The text columns of some rows, one after the other, as one line."""
    columns = [table.columns[name] for name in names if name in table.columns]
    return {
        row: " | ".join(" ".join(cells[row].split()) for cells in columns if cells[row])
        for row in rows.tolist()
    }
