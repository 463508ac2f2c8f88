"""Which rows are scored by a model of which others.

N rows. Rows of the same text stand in the same fold, or each would be scored by a model that has
seen it.
"""

import numpy as np

from xrt.errors import DataError


def fold_of_rows(group_N: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Deal out groups of rows to folds at random, to each fold as many.

    Args:
        group_N: Group of each row, int64 (N,), from 0 without gaps.
        num_folds: Number of folds.
        seed: Seed of the order.

    Returns:
        The fold of each row, int64 (N,), from 0.

    Raises:
        DataError: There are fewer than two different rows, or fewer than folds.
    """
    num_groups = int(group_N.max(initial=-1)) + 1
    if num_groups < 2:
        raise DataError(f"{num_groups} different row(s): an audit needs at least 2; add rows")
    if num_groups < num_folds:
        raise DataError(
            f"{num_folds} folds of {num_groups} different rows: each fold needs one; add rows",
            settings={f"folds={num_groups}": "to make fewer"},
        )
    fold_of_group = np.empty(num_groups, np.int64)
    order = np.random.default_rng(seed).permutation(num_groups)
    fold_of_group[order] = np.arange(num_groups) % num_folds
    fold_N: np.ndarray = fold_of_group[group_N]
    return fold_N
