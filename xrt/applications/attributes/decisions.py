"""Which cells of a chunk are filled, and what is known of every cell afterwards.

Shapes: N rows, A attributes, L labels.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from xrt.applications.attributes.given_cells import EMPTY


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


@dataclass(frozen=True)
class Judged:
    """What a model says of rows: `free` from the text alone, `completed` in keeping with the values
    that the rows give, and the probability of each given value, nan where none is known.
    """

    free: Predictions
    completed: Predictions
    given_probabilities_NA: np.ndarray


@dataclass(frozen=True)
class Decision:
    """Arrays (N, A): the label column `chosen_NA` of cells that are written; those whose text
    changes; empty cells that stay empty because the model says none, or is too unsure; the
    probability of what stands in each cell in the end, nan where nothing is known; given cells
    that the model, from the text alone, would fill otherwise.
    """

    chosen_NA: np.ndarray
    is_filled_NA: np.ndarray
    is_none_NA: np.ndarray
    is_unsure_NA: np.ndarray
    scores_NA: np.ndarray
    disagrees_NA: np.ndarray


def decide(
    codes_NA: np.ndarray,
    judged: Judged,
    is_blank_L: np.ndarray,
    min_probability: float = 0.0,
    overwrite: bool = False,
) -> Decision:
    """Fill the empty cells whose value is probable enough; with `overwrite` all such cells.

    `codes_NA` holds the label column of each cell, EMPTY, or UNKNOWN for a value that the model
    never saw; `is_blank_L` tells labels that are written as an empty cell.
    """
    free, source = judged.free, judged.free if overwrite else judged.completed
    chosen_NA = source.columns_NA
    is_empty_NA = codes_NA == EMPTY
    is_wanted_NA = (is_empty_NA | (overwrite & (chosen_NA != codes_NA))) & (chosen_NA >= 0)
    is_sure_NA = source.probabilities_NA >= min_probability
    is_decided_NA = is_wanted_NA & is_sure_NA
    is_none_NA = is_decided_NA & is_empty_NA & is_blank_L[chosen_NA]

    given_NA = np.where(codes_NA >= 0, judged.given_probabilities_NA, np.nan)
    scores_NA = np.where(is_decided_NA, source.probabilities_NA, given_NA)
    return Decision(
        chosen_NA=chosen_NA,
        is_filled_NA=is_decided_NA & ~is_none_NA,
        is_none_NA=is_none_NA,
        is_unsure_NA=is_empty_NA & is_wanted_NA & ~is_sure_NA,
        scores_NA=scores_NA.astype(np.float64),
        disagrees_NA=~is_empty_NA & (free.columns_NA >= 0) & (free.columns_NA != codes_NA),
    )
