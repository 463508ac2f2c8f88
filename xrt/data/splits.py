"""Validation rows that cost training no label.

Shapes: N instances, L labels.
"""

import logging
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from xrt.errors import ConfigError, DataError
from xrt.jit import njit

logger = logging.getLogger(__name__)


class Split(NamedTuple):
    """Sorted row positions (int64); together they are 0..N-1, and no row is in both."""

    train: np.ndarray
    validation: np.ndarray


def validation_split(
    Y_NL: sp.csr_array,
    *,
    fraction: float | None = None,
    size: int | None = None,
    seed: int = 0,
) -> Split:
    """Hold rows out at random such that every label of Y keeps at least one training row.

    Rows are taken in a random order, and a row is passed over when it has no label or is the last
    one left with one of its labels. When too few rows can be spared, fewer are held out, with a
    warning.

    Args:
        Y_NL: Labels; stored zeros count as labels.
        fraction: Share of the N rows to hold out, above 0 and below 1; 0.1 if neither is given.
        size: How many rows to hold out, instead of `fraction`.
        seed: Which random order.

    Returns:
        The rows to train on and the rows held out.

    Raises:
        ConfigError: fraction or size is out of range, or both are given.
        DataError: not a single row can be spared.
    """
    num_rows, num_labels = Y_NL.shape
    size = _wanted_size(num_rows, fraction, size)
    order = np.random.default_rng(seed).permutation(num_rows)
    counts = np.bincount(Y_NL.indices, minlength=num_labels)
    held_out = np.zeros(num_rows, np.bool_)
    num_taken = _hold_out(Y_NL.indptr, Y_NL.indices, order, size, counts, held_out)
    if num_taken == 0:
        raise DataError(
            f"no validation row can be spared: each of the {num_rows} rows has no label or is the "
            "only one with one of its labels; pass a validation file"
        )
    if num_taken < size:
        logger.warning(
            "validation: %d rows wanted, %d held out; no other row can be spared",
            size,
            num_taken,
        )
    return Split(np.flatnonzero(~held_out), np.flatnonzero(held_out))


def _wanted_size(num_rows: int, fraction: float | None, size: int | None) -> int:
    if fraction is not None and size is not None:
        raise ConfigError(f"fraction = {fraction} and size = {size}: give one of them")
    if size is None:
        fraction = 0.1 if fraction is None else fraction
        if not 0 < fraction < 1:
            raise ConfigError(f"fraction = {fraction}: must lie above 0 and below 1")
        return max(1, round(fraction * num_rows))
    if not 1 <= size < max(num_rows, 2):
        raise ConfigError(f"size = {size}: must lie in 1..{num_rows - 1}, below the number of rows")
    return size


@njit(nogil=True, cache=True)
def _hold_out(
    indptr: np.ndarray,
    indices: np.ndarray,
    order: np.ndarray,
    size: int,
    counts: np.ndarray,
    held_out: np.ndarray,
) -> int:
    num_taken = 0
    for row in order:
        if num_taken == size:
            break
        lo, hi = indptr[row], indptr[row + 1]
        spare = hi > lo
        for i in range(lo, hi):
            if counts[indices[i]] < 2:
                spare = False
                break
        if spare:
            for i in range(lo, hi):
                counts[indices[i]] -= 1
            held_out[row] = True
            num_taken += 1
    return num_taken
