"""Spherical k-means of the points under one node: clusters of the sizes that the points give.

n points with F sparse columns, of which f are used, and H dense columns; k clusters. Each round a
point joins the centroid that its inner product is highest with, the lower one among equals, and a
centroid becomes the sum of its points, brought to length 1. Everything happens in the columns that
the points use, renumbered, so that no step costs more in a wider matrix.
"""

import numpy as np

from xrt.jit import njit
from xrt.tree.two_means import renumber, splitmix

# Lets the compiler use SIMD; NaN and infinities keep their meaning.
_SIMD = {"reassoc", "contract", "nsz"}


@njit(nogil=True, cache=True)
def k_means(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    dense_LH: np.ndarray,
    members: np.ndarray,
    k: int,
    rounds: int,
    tolerance: float,
    seed: np.uint64,
    column_map: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The cluster of each member, 0 .. k - 1, and the last centroids; a cluster may be empty.

    Ends after `rounds`, or when no more than `tolerance` of the members change clusters in one. The
    first centroids are k different members, drawn by the seed.

    Args:
        indptr: where each point's entries begin, of a csr matrix.
        indices: columns of the entries.
        data: values of the entries, float32.
        dense_LH: dense part of each point, float32 (L, H).
        members: the points to cluster, at least k.
        k: number of clusters, at least 1.
        rounds: most rounds.
        tolerance: share of the members that may still change clusters at the end.
        seed: seed of the starting points.
        column_map: int32 scratch, one entry a column: all -1 when called and left.

    Returns:
        Clusters int32 (members,), the columns that the members use, and the centroids that gave
        the clusters: float32 (columns, k) and (H, k).
    """
    n = len(members)
    local_ptr, columns, used = renumber(indptr, indices, members, column_map)
    centroids_fk = np.zeros((len(used), k), np.float32)
    centroids_Hk = np.zeros((dense_LH.shape[1], k), np.float32)
    cluster, scores_k = np.full(n, -1, np.int32), np.empty(k, np.float32)
    starts = draw_distinct(n, k, seed)
    for c in range(k):
        m = starts[c]
        row = slice(indptr[members[m]], indptr[members[m] + 1])
        _add(
            data[row], columns[local_ptr[m] :], dense_LH[members[m]], c, centroids_fk, centroids_Hk
        )
    for done in range(rounds):
        if done > 0:
            centroids_fk[:] = 0
            centroids_Hk[:] = 0
            for m in range(n):
                row = slice(indptr[members[m]], indptr[members[m] + 1])
                _add(
                    data[row], columns[local_ptr[m] :], dense_LH[members[m]], cluster[m],
                    centroids_fk, centroids_Hk,
                )  # fmt: skip
        _to_length_1(centroids_fk, centroids_Hk)
        num_moved = 0
        for m in range(n):
            row = slice(indptr[members[m]], indptr[members[m] + 1])
            here = columns[local_ptr[m] : local_ptr[m + 1]]
            best = nearest(
                data[row], here, dense_LH[members[m]], centroids_fk, centroids_Hk, scores_k
            )
            if best != cluster[m]:
                cluster[m] = best
                num_moved += 1
        if num_moved <= tolerance * n:
            break
    return cluster, used, centroids_fk, centroids_Hk


@njit(nogil=True, cache=True)
def assign(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    dense_LH: np.ndarray,
    members: np.ndarray,
    place_F: np.ndarray,
    centroids_fk: np.ndarray,
    centroids_Hk: np.ndarray,
    cluster: np.ndarray,
) -> None:
    """Write the nearest centroid of each member.

    Args:
        indptr: where each point's entries begin, of a csr matrix.
        indices: columns of the entries.
        data: values of the entries, float32.
        dense_LH: dense part of each point, float32 (L, H).
        members: the points.
        place_F: row of `centroids_fk` of each column, -1 where there is none, int32 (F,).
        centroids_fk: sparse part of the centroids.
        centroids_Hk: dense part of the centroids.
        cluster: receives the clusters, int32 (members,).
    """
    scores_k = np.empty(centroids_fk.shape[1], np.float32)
    for m in range(len(members)):
        i = members[m]
        values, here = data[indptr[i] : indptr[i + 1]], place_F[indices[indptr[i] : indptr[i + 1]]]
        cluster[m] = nearest(values, here, dense_LH[i], centroids_fk, centroids_Hk, scores_k)


@njit(nogil=True, cache=True, fastmath=_SIMD)
def nearest(
    values: np.ndarray,
    places: np.ndarray,
    x_H: np.ndarray,
    centroids_fk: np.ndarray,
    centroids_Hk: np.ndarray,
    scores_k: np.ndarray,
) -> int:
    """The centroid with the highest inner product with a point; the lower one among equals.

    Args:
        values: the point's sparse values.
        places: rows of `centroids_fk` of these values; -1 for a column that no centroid has.
        x_H: the point's dense part.
        centroids_fk: sparse part of the centroids.
        centroids_Hk: dense part of the centroids.
        scores_k: scratch, float32 (k,).

    Returns:
        Its number.
    """
    scores_k[:] = 0
    for j in range(len(values)):
        if places[j] >= 0:
            value, row = values[j], centroids_fk[places[j]]
            for c in range(len(scores_k)):
                scores_k[c] += value * row[c]
    for h in range(len(x_H)):
        value, row = x_H[h], centroids_Hk[h]
        for c in range(len(scores_k)):
            scores_k[c] += value * row[c]
    best = 0
    for c in range(1, len(scores_k)):
        if scores_k[c] > scores_k[best]:
            best = c
    return best


@njit(nogil=True, cache=True, inline="always")
def _add(
    values: np.ndarray,
    columns: np.ndarray,
    x_H: np.ndarray,
    c: int,
    centroids_fk: np.ndarray,
    centroids_Hk: np.ndarray,
) -> None:
    """Add a point to the sum of cluster c."""
    for j in range(len(values)):
        centroids_fk[columns[j], c] += values[j]
    for h in range(len(x_H)):
        centroids_Hk[h, c] += x_H[h]


@njit(nogil=True, cache=True)
def _to_length_1(centroids_fk: np.ndarray, centroids_Hk: np.ndarray) -> None:
    """Bring each centroid to length 1; one of zeros, of an empty cluster, stays."""
    squares_k = np.zeros(centroids_fk.shape[1], np.float64)
    for part in (centroids_fk, centroids_Hk):
        for row in part:
            for c in range(len(squares_k)):
                squares_k[c] += np.float64(row[c]) * np.float64(row[c])
    scale_k = np.zeros(len(squares_k), np.float32)
    for c in range(len(squares_k)):
        if squares_k[c] > 0:
            scale_k[c] = np.float32(1 / np.sqrt(squares_k[c]))
    for part in (centroids_fk, centroids_Hk):
        for row in part:
            for c in range(len(squares_k)):
                row[c] *= scale_k[c]


@njit(nogil=True, cache=True)
def draw_distinct(n: int, k: int, seed: np.uint64) -> np.ndarray:
    """Different positions below n, drawn by a seed (splitmix64, Fisher-Yates).

    Args:
        n: number of positions.
        k: how many to draw, at most n.
        seed: the seed.

    Returns:
        int64 (k,).
    """
    positions = np.arange(n)
    state = np.uint64(seed)
    for c in range(k):
        state, bits = splitmix(state)
        other = c + np.int64(bits % np.uint64(n - c))
        positions[c], positions[other] = positions[other], positions[c]
    return positions[:k].copy()
