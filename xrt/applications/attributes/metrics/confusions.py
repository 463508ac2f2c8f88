"""Where predicted categories go wrong: between siblings, or along paths that do not exist.

Shapes: N rows, H levels of the hierarchy, L label columns.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from xrt.errors import DataError


@dataclass(frozen=True, kw_only=True)
class SiblingConfusion:
    """A value taken for another child of the same parent, all three as label columns.

    `share_of_true` is over the rows of the true value, `share_of_errors` over all wrong cells.
    """

    true: int
    predicted: int
    parent: int
    count: int
    share_of_true: float
    share_of_errors: float


@dataclass(frozen=True, kw_only=True)
class SiblingConfusions:
    """The most frequent `pairs`; of `num_errors` wrong cells `num_among_siblings` hit a sibling."""

    num_errors: int
    num_among_siblings: int
    pairs: list[SiblingConfusion]


def sibling_confusions(
    true_values: np.ndarray,
    predicted_values: np.ndarray,
    parent_of_column: np.ndarray,
    top: int = 20,
) -> SiblingConfusions:
    """The most frequent (true, predicted) pairs that share a parent, most frequent first.

    `true_values` and `predicted_values` are label columns of equal shape, -1 for no value.
    `parent_of_column` (L,) has the parent of each column, -1 for columns without; columns beyond it
    (never seen in training) have none. Give the values of the top level one number that is no
    column, such as L, where they are to count as siblings.

    Args:
        true_values: Label columns of the true values, of any shape, -1 for no value; such cells do
            not count.
        predicted_values: Label columns of the predicted values, in the same shape, -1 for no value.
        parent_of_column: The parent of each column, (L,), or -1.
        top: Pairs at most.

    Returns:
        The pairs, and how many wrong cells there are in all and among siblings.

    Raises:
        DataError: The shapes are unequal.
    """
    true_values, predicted_values = np.asarray(true_values), np.asarray(predicted_values)
    if true_values.shape != predicted_values.shape:
        raise DataError(
            f"given values of shape {true_values.shape}, predicted of {predicted_values.shape}"
        )
    has_value = true_values >= 0
    true_M, chosen_M = (
        true_values[has_value].astype(np.int64),
        predicted_values[has_value].astype(np.int64),
    )
    num_columns = max(len(parent_of_column), int(true_M.max(initial=-1)) + 1)
    # the place behind the last column is the parent of -1, "nothing predicted"
    parent_L = np.full(num_columns + 1, -1, np.int64)
    parent_L[: len(parent_of_column)] = parent_of_column

    is_wrong_M = true_M != chosen_M
    parent_M = parent_L[true_M]
    is_sibling_M = is_wrong_M & (parent_M >= 0) & (parent_M == parent_L[chosen_M])
    pairs_M = true_M[is_sibling_M] * num_columns + chosen_M[is_sibling_M]
    pairs_C, count_C = np.unique(pairs_M, return_counts=True)
    best = np.argsort(-count_C, kind="stable")[:top]
    num_true_L = np.bincount(true_M, minlength=num_columns)
    num_errors = int(is_wrong_M.sum())
    return SiblingConfusions(
        num_errors=num_errors,
        num_among_siblings=int(is_sibling_M.sum()),
        pairs=[
            SiblingConfusion(
                true=int(true),
                predicted=int(chosen),
                parent=int(parent_L[true]),
                count=int(count),
                share_of_true=float(count / num_true_L[true]),
                share_of_errors=float(count / num_errors),
            )
            for true, chosen, count in zip(
                *np.divmod(pairs_C[best], max(num_columns, 1)), count_C[best], strict=True
            )
        ],
    )


def count_impossible_paths(predicted_NH: np.ndarray, training_paths: Any) -> int:
    """Count rows with a path that is none of `training_paths` (P, H), those of the training rows.

    A path is the label columns of its levels, coarse to fine; -1 (no value) is a value like others.

    Args:
        predicted_NH: Label columns of the predicted levels, coarse to fine, (N, H).
        training_paths: Label columns of the paths of training rows, (P, H).

    Returns:
        The number of rows; all of them where there are no training paths.

    Raises:
        DataError: The paths have another number of levels than the rows.
    """
    predicted_NH = np.asarray(predicted_NH)
    if not len(training_paths) or not len(predicted_NH):
        return len(predicted_NH)
    training_PH = np.asarray(training_paths, np.int64)
    if training_PH.shape[1] != predicted_NH.shape[1]:
        raise DataError(
            f"paths of {predicted_NH.shape[1]} levels are predicted, those seen in training have "
            f"{training_PH.shape[1]}"
        )
    # two paths are equal where their bytes are
    as_bytes = [
        np.ascontiguousarray(paths, np.int64).view(f"V{8 * paths.shape[1]}").ravel()
        for paths in (predicted_NH, training_PH)
    ]
    training_bytes = {path.tobytes() for path in as_bytes[1]}
    distinct, count = np.unique(as_bytes[0], return_counts=True)
    return int(
        sum(
            n
            for path, n in zip(distinct, count, strict=True)
            if path.tobytes() not in training_bytes
        )
    )
