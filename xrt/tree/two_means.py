"""Balanced spherical 2-means of the points under one node.

n points with F sparse columns, of which f are used, and H dense columns. Each round, a point's
nearness to one centroid rather than the other is its product with one vector,

    w = sum_1 / |sum_1| - sum_0 / |sum_0|,

and the half of the points where that is lowest becomes cluster 0. Only points that changed sides
touch the sums. Everything happens in the columns that the points use, renumbered, so that no step
costs more in a wider matrix.
"""

import numpy as np

from xrt.jit import njit

# Lets the compiler turn a dot product into SIMD; NaN and infinities keep their meaning.
_SIMD = {"reassoc", "contract", "nsz"}


@njit(nogil=True, cache=True)
def halve(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    dense_LH: np.ndarray,
    order: np.ndarray,
    bounds: np.ndarray,
    rounds: int,
    tolerance: float,
    seeds: np.ndarray,
    column_map: np.ndarray,
) -> None:
    """Reorder the members `order[bounds[k]:bounds[k + 1]]` of each node k: its cluster 0, then 1.

    Cluster 0 has the odd point of a node. `seeds` has one number a node; `column_map` is int32
    scratch, one entry a column: all -1 when called and left.

    Args:
        indptr: where each point's entries begin, of a csr matrix.
        indices: columns of the entries.
        data: values of the entries, float32.
        dense_LH: dense part of each point, float32 (L, H).
        order: the points of all nodes; reordered in place.
        bounds: where each node's members begin in `order`, (nodes + 1,).
        rounds: most rounds of two-means.
        tolerance: share of the members that may still change sides at the end.
        seeds: a seed for each node, (nodes,).
        column_map: int32 scratch, one entry a column.
    """
    for node in range(len(seeds)):
        members = order[bounds[node] : bounds[node + 1]]
        if len(members) > 1:
            values, _, _, _ = two_means(
                indptr, indices, data, dense_LH, members, rounds, tolerance, seeds[node], column_map
            )
            side = np.zeros(len(members), np.int8)
            halve_at_median(values, side)
            reorder(members, side)


@njit(nogil=True, cache=True)
def two_means(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    dense_LH: np.ndarray,
    members: np.ndarray,
    rounds: int,
    tolerance: float,
    seed: np.uint64,
    column_map: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values of the members (those of cluster 0 are the lower half) and w: columns, sparse, dense.

    Ends after `rounds`, or when no more than `tolerance` of the members change sides in one.

    Args:
        indptr: where each point's entries begin, of a csr matrix.
        indices: columns of the entries.
        data: values of the entries, float32.
        dense_LH: dense part of each point, float32 (L, H).
        members: the points to split, at least two.
        rounds: most rounds.
        tolerance: share of the members that may still change sides at the end.
        seed: seed of the two starting points.
        column_map: int32 scratch, one entry a column: all -1 when called and left.

    Returns:
        Values (members,), the columns that the members use, and w: its part in those columns, and
        its dense part (H,).
    """
    n = len(members)
    local_ptr, columns, used = renumber(indptr, indices, members, column_map)
    sums_f, sums_H = (
        np.zeros((len(used), 2), np.float32),
        np.zeros((2, dense_LH.shape[1]), np.float32),
    )
    w_f, w_H = np.zeros(len(used), np.float32), np.zeros(dense_LH.shape[1], np.float32)
    values, side, last_side = np.empty(n, np.float32), np.full(n, -1, np.int8), np.empty(n, np.int8)
    first, second = two_of(n, seed)
    for c, m in ((0, first), (1, second)):
        _add(indptr, data, dense_LH, members[m], columns[local_ptr[m] :], c, 1.0, sums_f, sums_H)
    for done in range(rounds):
        _direction(sums_f, sums_H, w_f, w_H)
        for m in range(n):
            i = members[m]
            values[m] = _dot(
                data[indptr[i] : indptr[i + 1]], columns[local_ptr[m] : local_ptr[m + 1]], w_f
            ) + _dense_dot(dense_LH[i], w_H)
        last_side[:] = side
        halve_at_median(values, side)
        num_moved = np.sum(side != last_side)
        if num_moved <= tolerance * n or done == rounds - 1:
            break
        if done == 0:  # the two starting points were not clusters yet
            sums_f[:], sums_H[:] = 0, 0
        for m in range(n):
            if side[m] != last_side[m]:
                i, local_columns = members[m], columns[local_ptr[m] :]
                _add(indptr, data, dense_LH, i, local_columns, side[m], 1.0, sums_f, sums_H)
                if last_side[m] >= 0:
                    _add(
                        indptr, data, dense_LH, i, local_columns, last_side[m], -1.0, sums_f, sums_H
                    )
    return values, used, w_f, w_H


@njit(nogil=True, cache=True)
def renumber(
    indptr: np.ndarray, indices: np.ndarray, members: np.ndarray, column_map: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row pointers and local columns of the members, and the columns in the order of first use.

    Args:
        indptr: where each point's entries begin, of a csr matrix.
        indices: columns of the entries.
        members: the points.
        column_map: int32 scratch, one entry a column: all -1 when called and left.

    Returns:
        Row pointers int64 (members + 1,), local columns of the entries, and the columns used.
    """
    n = len(members)
    local_ptr = np.zeros(n + 1, np.int64)
    for m in range(n):
        local_ptr[m + 1] = local_ptr[m] + indptr[members[m] + 1] - indptr[members[m]]
    columns = np.empty(local_ptr[n], np.int32)
    used = np.empty(min(local_ptr[n], len(column_map)), np.int32)
    num_used = 0
    for m in range(n):
        shift = indptr[members[m]] - local_ptr[m]
        for j in range(local_ptr[m], local_ptr[m + 1]):
            column = indices[j + shift]
            local = column_map[column]
            if local < 0:
                local = num_used
                column_map[column] = local
                used[num_used] = column
                num_used += 1
            columns[j] = local
    for column in used[:num_used]:
        column_map[column] = -1
    return local_ptr, columns, used[:num_used]


@njit(nogil=True, cache=True, inline="always")
def _add(
    indptr: np.ndarray,
    data: np.ndarray,
    dense_LH: np.ndarray,
    i: int,
    columns: np.ndarray,
    c: int,
    sign: int,
    sums_f: np.ndarray,
    sums_H: np.ndarray,
) -> None:
    """Add point i, times `sign`, to the sum of cluster c."""
    factor = np.float32(sign)
    start = indptr[i]
    for j in range(indptr[i + 1] - start):
        sums_f[columns[j], c] += factor * data[start + j]
    for h in range(dense_LH.shape[1]):
        sums_H[c, h] += factor * dense_LH[i, h]


@njit(nogil=True, cache=True, fastmath=_SIMD)
def _direction(sums_f: np.ndarray, sums_H: np.ndarray, w_f: np.ndarray, w_H: np.ndarray) -> None:
    """Write w from the sums of both clusters; a sum of zeros counts as it is."""
    square_0, square_1 = 0.0, 0.0
    for f in range(len(sums_f)):
        square_0 += np.float64(sums_f[f, 0]) * np.float64(sums_f[f, 0])
        square_1 += np.float64(sums_f[f, 1]) * np.float64(sums_f[f, 1])
    for h in range(sums_H.shape[1]):
        square_0 += np.float64(sums_H[0, h]) * np.float64(sums_H[0, h])
        square_1 += np.float64(sums_H[1, h]) * np.float64(sums_H[1, h])
    scale_0 = np.float32(1 / np.sqrt(square_0) if square_0 > 0 else 0)
    scale_1 = np.float32(1 / np.sqrt(square_1) if square_1 > 0 else 0)
    for f in range(len(sums_f)):
        w_f[f] = sums_f[f, 1] * scale_1 - sums_f[f, 0] * scale_0
    for h in range(sums_H.shape[1]):
        w_H[h] = sums_H[1, h] * scale_1 - sums_H[0, h] * scale_0


@njit(nogil=True, cache=True, fastmath=_SIMD)
def _dot(data: np.ndarray, columns: np.ndarray, w_f: np.ndarray) -> np.float32:
    total = np.float32(0)
    for j in range(len(data)):
        total += data[j] * w_f[columns[j]]
    return total


@njit(nogil=True, cache=True, fastmath=_SIMD)
def _dense_dot(x_H: np.ndarray, w_H: np.ndarray) -> np.float32:
    total = np.float32(0)
    for h in range(len(x_H)):
        total += x_H[h] * w_H[h]
    return total


@njit(nogil=True, cache=True)
def values_of(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    dense_LH: np.ndarray,
    members: np.ndarray,
    used: np.ndarray,
    w_f: np.ndarray,
    w_H: np.ndarray,
    w_F: np.ndarray,
    values: np.ndarray,
) -> None:
    """Write each member's product with w. `w_F` is scratch: zeros when called and left.

    Args:
        indptr: where each point's entries begin, of a csr matrix.
        indices: columns of the entries.
        data: values of the entries, float32.
        dense_LH: dense part of each point, float32 (L, H).
        members: the points.
        used: the columns where w is not 0.
        w_f: w in the columns `used`.
        w_H: dense part of w, (H,).
        w_F: scratch, one entry a column.
        values: receives the products, (members,).
    """
    for f in range(len(used)):
        w_F[used[f]] = w_f[f]
    for m in range(len(members)):
        i = members[m]
        row = slice(indptr[i], indptr[i + 1])
        values[m] = _dot(data[row], indices[row], w_F) + _dense_dot(dense_LH[i], w_H)
    for f in range(len(used)):
        w_F[used[f]] = 0


@njit(nogil=True, cache=True)
def halve_at_median(values: np.ndarray, side: np.ndarray) -> None:
    """Side 0 for the lower half (rounded up), else 1; among equals the first are lower.

    Args:
        values: a value for each point, (n,), n at least 1.
        side: receives 0 or 1 for each point, (n,).
    """
    half = (len(values) + 1) // 2
    bar = np.partition(values, half - 1)[half - 1]
    num_at_bar = half - np.sum(values < bar)
    for m in range(len(values)):
        if values[m] == bar:
            side[m] = 0 if num_at_bar > 0 else 1
            num_at_bar -= 1
        else:
            side[m] = 0 if values[m] < bar else 1


@njit(nogil=True, cache=True)
def reorder(members: np.ndarray, side: np.ndarray) -> None:
    """Members of side 0, then those of side 1, each in the order they had.

    Args:
        members: the points, (n,); reordered in place.
        side: the side of each, 0 or 1, (n,).
    """
    ones = members[side == 1]
    num_zeros = 0
    for m in range(len(members)):
        if side[m] == 0:
            members[num_zeros] = members[m]
            num_zeros += 1
    members[num_zeros:] = ones


@njit(nogil=True, cache=True)
def splitmix(state: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The next state of a generator, and 64 random bits (splitmix64).

    Args:
        state: the state; at first the seed.

    Returns:
        The next state, and the bits.
    """
    state = state + np.uint64(0x9E3779B97F4A7C15)
    bits = state
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, bits ^ (bits >> np.uint64(31))


@njit(nogil=True, cache=True)
def two_of(n: int, seed: np.uint64) -> tuple[np.int64, np.int64]:
    """Two different positions below n from a seed (splitmix64).

    Args:
        n: number of positions, at least 2.
        seed: the seed.

    Returns:
        The first and the second position.
    """
    state, draw = splitmix(np.uint64(seed))
    _, next_draw = splitmix(state)
    first = np.int64(draw % np.uint64(n))
    second = (first + 1 + np.int64(next_draw % np.uint64(n - 1))) % n
    return first, second
