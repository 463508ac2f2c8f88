"""Precision, recall and F1 of choices: each row has one true value, and one chosen or none.

The definitions are scikit-learn's with `zero_division=0`, over the values that are true or chosen
in at least one row: a value chosen but never true has recall 0, one true but never chosen has
precision 0, and both count in the macro mean. A row without a choice is a miss of its true value
and no value's false alarm.

Shapes: M rows that are judged, L columns of values.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class ChoiceScores:
    """Averages over values, each a fraction of 1.

    `macro` is the plain mean over values, `weighted` the mean over values weighted by their rows,
    `micro` pools the rows: with a choice in every row its three figures are the accuracy.
    """

    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    micro_precision: float
    micro_recall: float
    micro_f1: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float


def score_choices(true_M: np.ndarray, chosen_M: np.ndarray) -> ChoiceScores:
    """The scores of choices: columns from 0, in `chosen_M` -1 where nothing was chosen; M > 0.

    Args:
        true_M: Columns of the true values, int (M,).
        chosen_M: Columns of the chosen values, int (M,), or -1.

    Returns:
        The scores, fractions of 1.
    """
    num_columns = int(max(true_M.max(), chosen_M.max())) + 1
    num_true_L, num_chosen_L, num_right_L = (
        np.bincount(columns, minlength=num_columns).astype(np.float64)
        for columns in (true_M, chosen_M[chosen_M >= 0], true_M[true_M == chosen_M])
    )
    occurs_L = (num_true_L + num_chosen_L) > 0
    true_K, chosen_K, right_K = num_true_L[occurs_L], num_chosen_L[occurs_L], num_right_L[occurs_L]

    precision_K = right_K / np.maximum(chosen_K, 1)
    recall_K = right_K / np.maximum(true_K, 1)
    f1_K = 2 * right_K / (true_K + chosen_K)
    num_rows, num_chosen, num_right = true_K.sum(), chosen_K.sum(), right_K.sum()
    return ChoiceScores(
        accuracy=float(num_right / num_rows),
        macro_precision=float(precision_K.mean()),
        macro_recall=float(recall_K.mean()),
        macro_f1=float(f1_K.mean()),
        micro_precision=float(num_right / max(num_chosen, 1)),
        micro_recall=float(num_right / num_rows),
        micro_f1=float(2 * num_right / (num_rows + num_chosen)),
        weighted_precision=float(precision_K @ true_K / num_rows),
        weighted_recall=float(recall_K @ true_K / num_rows),
        weighted_f1=float(f1_K @ true_K / num_rows),
    )
