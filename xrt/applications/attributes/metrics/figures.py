"""What is measured of one attribute: averages over values, rare values, trust in probabilities.

Shapes: N rows, M of them judged (they give a value), L label columns.
"""

from dataclasses import dataclass, field

import numpy as np

from xrt.applications.attributes.metrics.choices import ChoiceScores, score_choices
from xrt.metrics.calibration import Reliability, reliability_of_choices
from xrt.metrics.frequency_bins import bin_names, bin_of_labels

TAIL_COUNTS = (5, 20)
"""A tail value was seen at most this often in training, and at least once."""
NUM_BINS = 10
"""Bins of probability behind the ECE."""


@dataclass(frozen=True, kw_only=True)
class ValueBin:
    """Rows whose true value was seen so often in training; `recall` is None where there is none."""

    name: str
    num_values: int
    num_rows: int
    recall: float | None


@dataclass(frozen=True, kw_only=True)
class FillFigures:
    """What a fill would write into the cells of one attribute if all were empty.

    Of `num_written` values, `num_right` are what the row gives, `num_wrong` differ from it, and
    `num_in_empty` stand where the row has none; `num_empty` cells have none. Rows that give no
    attribute at all do not count, nor does an attribute that no row gives.
    """

    num_written: int
    num_right: int
    num_wrong: int
    num_in_empty: int
    num_empty: int


@dataclass(frozen=True, kw_only=True)
class AttributeFigures:
    """What was measured of one attribute.

    `support` rows are judged, with `num_values` distinct true values; `num_unseen_values` of these,
    in `num_unseen_rows` rows, were never seen in training; in `num_abstained` rows nothing was
    predicted, which counts as wrong. `scores` is None when nothing could be judged. `tails` has one
    bin for each of TAIL_COUNTS, `bins` the ranges of training frequency; both are empty without
    training counts. `reliability` is None without probabilities. `fills` is None where what
    a fill would write is not known.
    """

    name: str
    support: int
    num_values: int
    num_unseen_values: int
    num_unseen_rows: int
    num_abstained: int
    scores: ChoiceScores | None
    accuracy_seen: float | None
    tails: list[ValueBin] = field(default_factory=list)
    bins: list[ValueBin] = field(default_factory=list)
    reliability: Reliability | None = None
    fills: FillFigures | None = None


def measure_attribute(
    name: str,
    true_N: np.ndarray,
    predicted_N: np.ndarray,
    training_L: np.ndarray,
    with_bins: bool,
    probabilities_N: np.ndarray | None,
    fills: FillFigures | None = None,
) -> AttributeFigures:
    """The figures of one attribute; -1 in `true_N`: not judged, in `predicted_N`: no prediction.

    `training_L` has the training rows of each column, 0 for values never seen; `with_bins` says
    that these are counts that can be binned.

    Args:
        name: Name of the attribute.
        true_N: Columns of the true values, int (N,), or -1.
        predicted_N: Columns of the predicted values, int (N,), or -1.
        training_L: Training rows of each column, (L,).
        with_bins: Give `tails` and `bins`.
        probabilities_N: Probability of each prediction, (N,); None where there are none.
        fills: What a fill would write; it is passed on as it is.

    Returns:
        The figures; the reliability is over judged rows with a prediction.
    """
    has_value_N = true_N >= 0
    true_M, chosen_M = true_N[has_value_N], predicted_N[has_value_N]
    right_M = true_M == chosen_M
    count_M = training_L[true_M]
    unseen_M = count_M == 0
    return AttributeFigures(
        name=name,
        support=len(true_M),
        num_values=_num_distinct(true_M),
        num_unseen_values=_num_distinct(true_M[unseen_M]),
        num_unseen_rows=int(unseen_M.sum()),
        num_abstained=int((chosen_M < 0).sum()),
        scores=score_choices(true_M, chosen_M) if len(true_M) else None,
        accuracy_seen=compute_share(right_M[~unseen_M]),
        tails=[
            _value_bin(f"1-{most}", true_M, right_M, (count_M >= 1) & (count_M <= most))
            for most in TAIL_COUNTS
        ]
        if with_bins
        else [],
        bins=_frequency_bins(true_M, right_M, count_M) if with_bins else [],
        reliability=measure_reliability(
            probabilities_N, true_N == predicted_N, has_value_N & (predicted_N >= 0)
        ),
        fills=fills,
    )


def count_fills(
    has_value_N: np.ndarray, is_right_N: np.ndarray, is_written_N: np.ndarray
) -> FillFigures:
    """Count what would be written; bool (N,): the row gives a value, the prediction is that value,
    the prediction would be written.

    Args:
        has_value_N: Rows that give a value.
        is_right_N: Rows whose prediction is that value.
        is_written_N: Rows whose prediction would be written.

    Returns:
        The counts; all are 0 where no row gives a value.
    """
    if not has_value_N.any():
        return FillFigures(num_written=0, num_right=0, num_wrong=0, num_in_empty=0, num_empty=0)
    in_value_N = is_written_N & has_value_N
    return FillFigures(
        num_written=int(is_written_N.sum()),
        num_right=int((in_value_N & is_right_N).sum()),
        num_wrong=int((in_value_N & ~is_right_N).sum()),
        num_in_empty=int((is_written_N & ~has_value_N).sum()),
        num_empty=int((~has_value_N).sum()),
    )


def _frequency_bins(true_M: np.ndarray, right_M: np.ndarray, count_M: np.ndarray) -> list[ValueBin]:
    """The ranges of training frequency of the ranking metrics, from unseen to head."""
    bin_M = bin_of_labels(count_M)
    return [
        _value_bin(name, true_M, right_M, bin_M == number)
        for number, name in enumerate(bin_names())
    ]


def _value_bin(name: str, true_M: np.ndarray, right_M: np.ndarray, is_in_M: np.ndarray) -> ValueBin:
    return ValueBin(
        name=name,
        num_values=_num_distinct(true_M[is_in_M]),
        num_rows=int(is_in_M.sum()),
        recall=compute_share(right_M[is_in_M]),
    )


def measure_reliability(
    probabilities_N: np.ndarray | None, right_N: np.ndarray, mask_N: np.ndarray
) -> Reliability | None:
    """The reliability over the rows of the mask; None without probabilities or such rows.

    Args:
        probabilities_N: Probability of each prediction, (N,); None where there are none.
        right_N: Predictions that are right, bool (N,).
        mask_N: Rows that count, bool (N,).

    Returns:
        The reliability in NUM_BINS bins, or None.
    """
    if probabilities_N is None or not mask_N.any():
        return None
    return reliability_of_choices(np.asarray(probabilities_N)[mask_N], right_N[mask_N], NUM_BINS)


def _num_distinct(columns_M: np.ndarray) -> int:
    return int((np.bincount(columns_M) > 0).sum()) if len(columns_M) else 0


def compute_share(is_right: np.ndarray) -> float | None:
    """The mean; None over nothing.

    Args:
        is_right: Which are right, bool, of one dimension.

    Returns:
        A fraction of 1, or None.
    """
    return float(is_right.mean()) if len(is_right) else None
