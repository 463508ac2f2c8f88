"""Held-out rows: training rows that are like the rows a model will meet.

Rows of a group (equal and nearly equal texts, or a column of the file) stand on one side. A row is
held out whether or not another row has its labels: the labels that no training row has left stand
for those that a model never saw, in their true share. Where times are known, the newest rows are
held out.

Shapes: N instances, L labels.
"""

import logging
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from xrt.errors import ConfigError, DataError
from xrt.jit import njit

logger = logging.getLogger(__name__)

MOST_SHARE = 0.5
"""Share of the labelled rows that a single group may take where none is small enough."""


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
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
) -> Split:
    """Hold rows out, group by group: at random, or the newest.

    A row without a label is never held out. A group that is larger than what is still wanted is
    passed over. Where all groups are larger than wanted, the smallest is taken, if it has at most
    half of the rows.

    Args:
        Y_NL: Labels; stored zeros count as labels.
        fraction: Share of the N rows to hold out, above 0 and below 1; 0.1 if neither is given.
        size: How many rows to hold out, instead of `fraction`.
        seed: Which random order.
        groups: A number of at least 0 for each row, whole (N,): rows with the same number stay
            together. A row with a negative one stands alone. None: all rows do.
        times: A time for each row, (N,), larger is newer, NaN is older than all others: the newest
            rows are held out. A group is as old as its oldest row; among groups of the same time
            the order is random. None: the order is random.

    Returns:
        The rows to train on and the rows held out.

    Raises:
        ConfigError: fraction or size is out of range, or both are given.
        DataError: not a single row can be held out, or groups or times are not N.
    """
    num_rows = Y_NL.shape[0]
    size = _wanted_size(num_rows, fraction, size)
    members_N, starts_G = _by_group(Y_NL, groups)
    order_G = _spread(np.diff(starts_G), np.random.default_rng(seed))
    if times is not None:
        order_G = _newest_first(order_G, members_N, starts_G, _checked(times, num_rows, "times"))
    held_out = np.zeros(num_rows, np.bool_)
    num_taken = _take(order_G, members_N, starts_G, size, held_out)
    if num_taken == 0:
        num_taken = _take_smallest(order_G, members_N, starts_G, held_out)
    if num_taken < size:
        logger.warning("validation: %d rows wanted, %d held out; other groups of rows that stay "
                       "together are larger than what is missing", size, num_taken)  # fmt: skip
    elif num_taken > size:
        logger.warning("validation: %d rows wanted, %d held out, the smallest group of rows that "
                       "stay together", size, num_taken)  # fmt: skip
    return Split(np.flatnonzero(~held_out), np.flatnonzero(held_out))


def can_hold_out(Y_NL: sp.csr_array, groups: np.ndarray | None = None) -> bool:
    """Whether `validation_split` finds a row to hold out.

    Args:
        Y_NL: Labels; stored zeros count as labels.
        groups: As for `validation_split`.

    Returns:
        False where it would raise DataError.
    """
    members_N, starts_G = _by_group(Y_NL, groups)
    smallest = np.diff(starts_G).min(initial=len(members_N))
    return len(starts_G) > 2 and bool(smallest <= MOST_SHARE * len(members_N))


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


def _checked(values: np.ndarray, num_rows: int, what: str) -> np.ndarray:
    if len(values) != num_rows:
        raise DataError(f"{len(values)} {what} for {num_rows} rows; give one for each row")
    return np.asarray(values)


def _by_group(Y_NL: sp.csr_array, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The rows that have labels, group after group, and where each group starts."""
    num_rows = Y_NL.shape[0]
    labelled = np.flatnonzero(np.diff(Y_NL.indptr) > 0)
    if groups is not None:
        groups = _checked(groups, num_rows, "groups")
    if groups is None or not len(labelled):
        return labelled, np.arange(len(labelled) + 1)
    group_N = groups.astype(np.int64)
    alone_N = group_N.max(initial=0) + 1 + np.arange(num_rows)
    group_N = np.where(group_N < 0, alone_N, group_N)[labelled]
    order = np.argsort(group_N, kind="stable")
    changes = np.flatnonzero(np.diff(group_N[order])) + 1
    return labelled[order], np.concatenate([[0], changes, [len(order)]]).astype(np.int64)


def _spread(sizes_G: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order in which groups of every size, by powers of two, come evenly: any beginning of
    it has large and small ones in their shares.
    """
    order_G = rng.permutation(len(sizes_G))
    kind_G = np.log2(np.maximum(sizes_G, 1)).astype(np.int64)
    place_G = np.empty(len(sizes_G))
    for kind in np.unique(kind_G):
        of_kind = order_G[kind_G[order_G] == kind]
        place_G[of_kind] = (np.arange(len(of_kind)) + rng.random()) / len(of_kind)
    spread_G: np.ndarray = order_G[np.argsort(place_G[order_G], kind="stable")]
    return spread_G


def _newest_first(
    order_G: np.ndarray, members_N: np.ndarray, starts_G: np.ndarray, times_N: np.ndarray
) -> np.ndarray:
    """The groups by their oldest rows, newest first; the order given decides among equals."""
    known_N = np.where(np.isnan(times_N), -np.inf, times_N)[members_N]
    oldest_G = np.minimum.reduceat(known_N, starts_G[:-1]) if len(known_N) else known_N
    newest_first: np.ndarray = order_G[np.argsort(-oldest_G[order_G], kind="stable")]
    return newest_first


@njit(nogil=True, cache=True)
def _take(
    order_G: np.ndarray,
    members_N: np.ndarray,
    starts_G: np.ndarray,
    size: int,
    held_out: np.ndarray,
) -> int:
    """Hold groups out in their order, those that are not too large; one stays at least."""
    num_taken, num_groups = 0, 0
    for group in order_G:
        low, high = starts_G[group], starts_G[group + 1]
        if num_groups + 1 < len(order_G) and num_taken + high - low <= size:
            held_out[members_N[low:high]] = True
            num_taken += high - low
            num_groups += 1
        if num_taken == size:
            break
    return num_taken


def _take_smallest(
    order_G: np.ndarray, members_N: np.ndarray, starts_G: np.ndarray, held_out: np.ndarray
) -> int:
    """Hold out the first of the smallest groups. Raises DataError where that leaves too little."""
    sizes = np.diff(starts_G)[order_G]
    smallest = int(sizes.min(initial=len(members_N)))
    if len(order_G) < 2 or smallest > MOST_SHARE * len(members_N):
        raise DataError(
            f"no row can be held out: the {len(members_N)} rows that have a label are "
            f"{len(order_G)} group(s) of rows that stay together, of {smallest} rows at least; "
            "give more rows"
        )
    group = order_G[int(sizes.argmin())]
    held_out[members_N[starts_G[group] : starts_G[group + 1]]] = True
    return smallest
