"""Which cells of a chunk are filled, and what is known of every cell afterwards.

Shapes: N rows, A attributes, L labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.filling.cell_codes import EMPTY, NONE

MIN_PROBABILITY = 0.5
"""Below it, a value is more likely wrong than right, and its cell stays empty."""


class Predictions(Protocol):
    """Label columns int32 (N, A), -1 for nothing, and probabilities of values and of whole rows."""

    @property
    def columns_NA(self) -> np.ndarray:
        """int32 (N, A)."""

    @property
    def probabilities_NA(self) -> np.ndarray:
        """float32 (N, A)."""

    @property
    def row_probabilities_N(self) -> np.ndarray:
        """float32 (N,)."""


@dataclass(frozen=True, eq=False)
class NoneLabels:
    """bool (L,): labels that say "none", and those of them that are written as an empty cell; the
    positions of the attributes that are levels of the hierarchy, coarse to fine.
    """

    is_none_L: np.ndarray
    is_blank_L: np.ndarray
    levels: Sequence[int] = ()

    @classmethod
    def of(cls, space: AttributeSpace, is_blank_L: np.ndarray | None = None) -> Self:
        """The labels of a space; without `is_blank_L`, "none" is written as an empty cell.

        Args:
            space: The attributes and labels.
            is_blank_L: bool (L,): labels that are written as an empty cell; None: those that say
                "none".

        Returns:
            The labels.
        """
        blank_L = space.is_none_L if is_blank_L is None else is_blank_L
        levels = tuple(space.attributes.index(level) for level in space.hierarchy)
        return cls(space.is_none_L, blank_L, levels)

    def says_none(self, columns_NA: np.ndarray) -> np.ndarray:
        """Whether label columns, or negative codes, are those of "none": bool (N, A).

        Args:
            columns_NA: Label columns or negative codes, int (N, A).

        Returns:
            True where the label says "none" or the code is `NONE`.
        """
        is_label_NA = (columns_NA >= 0) & self.is_none_L[np.maximum(columns_NA, 0)]
        is_none_NA: np.ndarray = is_label_NA | (columns_NA == NONE)
        return is_none_NA


@dataclass(frozen=True)
class CellPredictions:
    """What a model says of rows: `free` from the text alone, `completed` in keeping with the values
    that the rows give, and the probability of each given value, nan where none is known.
    """

    free: Predictions
    completed: Predictions
    cell_probabilities_NA: np.ndarray


@dataclass(frozen=True)
class Decision:
    """Arrays (N, A): the label column `columns_NA` of cells that are written; those whose text
    changes; empty cells that stay empty because the model says none, or is too unsure; the
    probability of what stands in each cell in the end, nan where nothing is known; given cells
    that the model, from the text alone, would fill otherwise.
    """

    columns_NA: np.ndarray
    is_filled_NA: np.ndarray
    is_none_NA: np.ndarray
    is_unsure_NA: np.ndarray
    scores_NA: np.ndarray
    disagrees_NA: np.ndarray


def decide(
    codes_NA: np.ndarray,
    predictions: CellPredictions,
    labels: NoneLabels,
    min_probability: float = MIN_PROBABILITY,
    overwrite: bool = False,
) -> Decision:
    """Fill the empty cells whose value is probable enough; with `overwrite` all such cells.

    No value is written below a level of the hierarchy that has none in the end.

    Args:
        codes_NA: The label column of each cell, EMPTY, UNKNOWN or NONE.
        predictions: What the model says.
        labels: How labels are written, and which attributes are levels.
        min_probability: Least probability of what is written, 0..1.
        overwrite: Whether given cells are replaced, too.

    Returns:
        What becomes of each cell.
    """
    free, source = predictions.free, predictions.free if overwrite else predictions.completed
    columns_NA = source.columns_NA
    is_empty_NA = codes_NA == EMPTY
    may_write_NA = (is_empty_NA | (overwrite & (columns_NA != codes_NA))) & (columns_NA >= 0)
    writes_NA = may_write_NA & (source.probabilities_NA >= min_probability)
    has_value_NA = ~is_empty_NA & ~labels.says_none(codes_NA)
    writes_NA &= ~_below_nothing(writes_NA, columns_NA, has_value_NA, labels)
    is_none_NA = writes_NA & is_empty_NA & labels.is_blank_L[columns_NA]

    probabilities_NA = np.where(codes_NA >= 0, predictions.cell_probabilities_NA, np.nan)
    scores_NA = np.where(writes_NA, source.probabilities_NA, probabilities_NA)
    return Decision(
        columns_NA=columns_NA,
        is_filled_NA=writes_NA & ~is_none_NA,
        is_none_NA=is_none_NA,
        is_unsure_NA=is_empty_NA & may_write_NA & ~writes_NA,
        scores_NA=scores_NA.astype(np.float64),
        disagrees_NA=~is_empty_NA & (free.columns_NA >= 0) & (free.columns_NA != codes_NA),
    )


def find_written_cells(
    predictions: Predictions, labels: NoneLabels, min_probability: float = MIN_PROBABILITY
) -> np.ndarray:
    """The cells that get a value, not "none", where rows give nothing: bool (N, A).

    Args:
        predictions: Predictions of N rows that give nothing.
        labels: The labels that say "none".
        min_probability: The least probability of a value that is written.

    Returns:
        True where a value is written.
    """
    empty_NA = np.full(predictions.columns_NA.shape, EMPTY, np.int32)
    decision = decide(
        empty_NA,
        CellPredictions(predictions, predictions, predictions.probabilities_NA),
        labels,
        min_probability,
    )
    is_gained_NA: np.ndarray = decision.is_filled_NA & ~labels.says_none(decision.columns_NA)
    return is_gained_NA


def _below_nothing(
    writes_NA: np.ndarray, columns_NA: np.ndarray, has_value_NA: np.ndarray, labels: NoneLabels
) -> np.ndarray:
    """Values, not "none", that would be written below a level without a value: bool (N, A).

    `has_value_NA`: cells that give a value as they are.
    """
    is_value_NA = writes_NA & ~labels.says_none(columns_NA)
    is_below_NA = np.zeros(columns_NA.shape, bool)
    is_whole_N = np.ones(len(columns_NA), bool)
    for a in labels.levels:
        is_below_NA[:, a] = is_value_NA[:, a] & ~is_whole_N
        stays_N = ~writes_NA[:, a] | is_below_NA[:, a]
        is_whole_N &= np.where(stays_N, has_value_NA[:, a], is_value_NA[:, a])
    return is_below_NA
