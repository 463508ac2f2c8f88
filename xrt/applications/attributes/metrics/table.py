"""Several attributes of an item, one value each: a line of figures an attribute, and whole rows.

A cell is judged where the row gives a value ("none" is a value like any other). Values that
training never saw count as wrong, and are counted apart.

Shapes: N rows, A attributes, L label columns, M judged rows of one attribute.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from xrt.applications.attributes.metrics.figures import (
    TAIL_COUNTS,
    AttributeFigures,
    compute_share,
    count_fills,
    measure_attribute,
    measure_reliability,
)
from xrt.errors import DataError
from xrt.metrics.calibration import Reliability
from xrt.metrics.tables import align

AVERAGES = {
    "macro P": "macro_precision",
    "macro R": "macro_recall",
    "macro F1": "macro_f1",
    "weighted P": "weighted_precision",
    "weighted R": "weighted_recall",
    "weighted F1": "weighted_f1",
}
"""The columns of averages, and the figures of `ChoiceScores` in them."""
FILLS = ["a fill writes", "cells", "right", "wrong", "where the file is empty", "of empty cells"]
"""The columns of what a fill would write."""
FILLS_NOTE = "with every cell of these rows empty, and values more likely right than wrong"


class NamesAttributes(Protocol):
    """What has the names of attributes in the order of the columns (an AttributeSpace)."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names."""


@dataclass(frozen=True, kw_only=True)
class AttributeReport:
    """What `attribute_report` measured; fractions of 1, None where there was nothing to judge.

    `item_accuracy` is the share of rows with all their judged attributes right, over `num_judged`
    rows that have any; `item_accuracy_seen` is over the `num_seen` of them that hold no value
    unseen in training. `row_reliability` is over rows that give every attribute.
    """

    num_rows: int
    num_judged: int
    num_seen: int
    item_accuracy: float | None
    item_accuracy_seen: float | None
    attributes: list[AttributeFigures]
    row_reliability: Reliability | None = None

    def __getitem__(self, name: str) -> AttributeFigures:
        return next(figures for figures in self.attributes if figures.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; each ECE stands beside its bins.

        Returns:
            The fields of the report by name, with `ece` in each attribute and `row_ece`.
        """
        result = asdict(self)
        for figures, content in zip(self.attributes, result["attributes"], strict=True):
            content["ece"] = _ece(figures.reliability)
        result["row_ece"] = _ece(self.row_reliability)
        return result

    def to_text(self) -> str:
        """A line an attribute, fractions of 1 with four decimals; the item accuracy below.

        Returns:
            Lines for a terminal, without a line end behind the last; the table of fills stands last
            where fills were counted.
        """
        with_tails = any(figures.tails for figures in self.attributes)
        with_ece = any(figures.reliability for figures in self.attributes)
        header = ["", "accuracy", *AVERAGES, "support", "values", "unseen", "unseen rows"]
        header += [f"tail<={count}" for count in TAIL_COUNTS] if with_tails else []
        header += ["ECE"] if with_ece else []
        rows = [_line(figures, with_tails, with_ece) for figures in self.attributes]
        parts = [align([header, *rows]), "\n".join(self._notes(with_tails))]
        fills = format_fill_rows(self.attributes)
        return "\n\n".join([*parts, f"{align([FILLS, *fills])}\n{FILLS_NOTE}"] if fills else parts)

    def _notes(self, with_tails: bool) -> list[str]:
        lines = [f"item accuracy  {_number(self.item_accuracy)}  ({self.num_judged:,} rows)"]
        if self.num_seen < self.num_judged:
            lines.append(
                f"item accuracy  {_number(self.item_accuracy_seen)}  ({self.num_seen:,} rows "
                "whose values were all seen in training)"
            )
        if self.row_reliability is not None:
            lines.append(f"ECE of rows    {_number(_ece(self.row_reliability))}")
        if self.num_judged < self.num_rows:
            lines.append(f"{self.num_rows - self.num_judged:,} rows give no value: not judged")
        lines.append(
            "P, R, F1: means over values (macro), and weighted by their rows; values never seen in "
            "training count as wrong"
        )
        if with_tails:
            lines.append(f"tail<={TAIL_COUNTS[0]}: recall of values seen 1-{TAIL_COUNTS[0]} times")
        return lines


def attribute_report(
    attributes: NamesAttributes | Sequence[str],
    true_NA: np.ndarray,
    predicted_NA: np.ndarray,
    num_known: int,
    counts_L: np.ndarray | None = None,
    probabilities_NA: np.ndarray | None = None,
    row_probabilities_N: np.ndarray | None = None,
    is_written_NA: np.ndarray | None = None,
    is_none_L: np.ndarray | None = None,
) -> AttributeReport:
    """Measure the values predicted for several attributes against those that the rows give.

    Args:
        attributes: Their names, or what has them, in the order of the columns.
        true_NA: Label columns; -1 where a row gives no value (the cell is not judged), from
            `num_known` on for values never seen in training.
        predicted_NA: Label columns below `num_known`, -1 where nothing is predicted.
        num_known: The number of labels.
        counts_L: Training rows of each known label; adds rare values.
        probabilities_NA: Of the predicted values; adds their ECE.
        row_probabilities_N: Of whole rows, likewise.
        is_written_NA: The cells that a fill would write; adds `fills`.
        is_none_L: The labels that say "none": for `fills`, a cell without a value.

    Returns:
        The figures.

    Raises:
        DataError: shapes or columns do not belong together.
    """
    names = attributes if isinstance(attributes, Sequence) else attributes.attributes
    true_NA, predicted_NA = np.asarray(true_NA), np.asarray(predicted_NA)
    _check(names, true_NA, predicted_NA, num_known, counts_L)
    _check_shape("probabilities", probabilities_NA, true_NA.shape)
    _check_shape("row probabilities", row_probabilities_N, true_NA.shape[:1])
    _check_shape("cells written", is_written_NA, true_NA.shape)

    num_columns = max(num_known, int(true_NA.max(initial=-1)) + 1)
    training_L = _training_counts(counts_L, num_known, num_columns)
    has_value_NA = true_NA >= 0
    is_right_NA = (true_NA == predicted_NA) | ~has_value_NA
    is_unseen_NA = has_value_NA & (training_L[true_NA] == 0)

    is_judged_N = has_value_NA.any(axis=1)
    is_seen_N = is_judged_N & ~is_unseen_NA.any(axis=1)
    right_N = np.all(is_right_NA, axis=1)
    full_N = np.all(has_value_NA & (predicted_NA >= 0), axis=1)
    says_none_NA = np.zeros_like(has_value_NA)
    if is_none_L is not None:
        is_none = np.concatenate([is_none_L, np.zeros(num_columns - num_known + 1, bool)])
        says_none_NA = has_value_NA & is_none[true_NA]
    return AttributeReport(
        num_rows=len(true_NA),
        num_judged=int(is_judged_N.sum()),
        num_seen=int(is_seen_N.sum()),
        item_accuracy=compute_share(right_N[is_judged_N]),
        item_accuracy_seen=compute_share(right_N[is_seen_N]),
        attributes=[
            measure_attribute(
                name,
                true_NA[:, a],
                predicted_NA[:, a],
                training_L,
                counts_L is not None,
                None if probabilities_NA is None else np.asarray(probabilities_NA)[:, a],
                None
                if is_written_NA is None
                else count_fills(
                    (has_value_NA & ~says_none_NA)[is_judged_N, a],
                    is_right_NA[is_judged_N, a],
                    np.asarray(is_written_NA)[is_judged_N, a],
                ),
            )
            for a, name in enumerate(names)
        ],
        row_reliability=measure_reliability(row_probabilities_N, right_N, full_N),
    )


def _training_counts(counts_L: np.ndarray | None, num_known: int, num_columns: int) -> np.ndarray:
    """Training rows of each column, 0 for those never seen; without counts, 1 for those known."""
    training_L = np.zeros(max(num_columns, 1), np.int64)
    training_L[:num_known] = 1 if counts_L is None else np.asarray(counts_L)[:num_known]
    return training_L


def _check(
    names: Sequence[str],
    true_NA: np.ndarray,
    predicted_NA: np.ndarray,
    num_known: int,
    counts_L: np.ndarray | None,
) -> None:
    if true_NA.ndim != 2 or true_NA.shape != predicted_NA.shape:
        raise DataError(
            f"given values of shape {true_NA.shape}, predicted ones of {predicted_NA.shape}; "
            "both must be rows x attributes"
        )
    if true_NA.shape[1] != len(names):
        raise DataError(
            f"{true_NA.shape[1]} columns of values for {len(names)} attributes; give one for each"
        )
    highest = int(predicted_NA.max(initial=-1))
    if highest >= num_known:
        raise DataError(
            f"label column {highest} is predicted, but training knew only {num_known}; pass the "
            "number of labels of the model"
        )
    if counts_L is not None and len(counts_L) < num_known:
        raise DataError(
            f"{len(counts_L)} training counts for {num_known} known labels; give one for each"
        )


def _check_shape(what: str, values: np.ndarray | None, shape: tuple[int, ...]) -> None:
    if values is not None and np.shape(values) != shape:
        raise DataError(f"{what} of shape {np.shape(values)}; {shape} is needed")


def _line(figures: AttributeFigures, with_tails: bool, with_ece: bool) -> list[str]:
    scores = figures.scores
    values = [None if scores is None else getattr(scores, name) for name in AVERAGES.values()]
    cells = [figures.name, _number(None if scores is None else scores.accuracy)]
    cells += [_number(value) for value in values]
    counts = (
        figures.support, figures.num_values, figures.num_unseen_values, figures.num_unseen_rows,
    )  # fmt: skip
    cells += [f"{count:,}" for count in counts]
    cells += [_number(tail.recall) for tail in figures.tails] if with_tails else []
    return cells + ([_number(_ece(figures.reliability))] if with_ece else [])


def format_fill_rows(attributes: Sequence[AttributeFigures]) -> list[list[str]]:
    """The cells of the table under `FILLS`, a row an attribute; none where it was not counted.

    Args:
        attributes: Figures of the attributes.

    Returns:
        Texts of the cells: the attribute's name and five counts in each row.
    """
    return [
        [
            figures.name,
            *(
                f"{count:,}"
                for count in (
                    figures.fills.num_written,
                    figures.fills.num_right,
                    figures.fills.num_wrong,
                    figures.fills.num_in_empty,
                    figures.fills.num_empty,
                )
            ),
        ]
        for figures in attributes
        if figures.fills is not None
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _ece(reliability: Reliability | None) -> float | None:
    return None if reliability is None else reliability.expected_error
