"""Grows the label tree: balanced spherical 2-means, again and again, then merged to the wanted
branching.

L points with F sparse and H dense coordinates each. A node's members are split at the median of
their nearness to one centroid rather than the other, so that sizes differ by at most one.
"""

import threading
from dataclasses import dataclass

import numpy as np
from numba import njit

from xrt.errors import ConfigError
from xrt.hybrid import HybridMatrix
from xrt.progress import Progress
from xrt.threads import run_blocks
from xrt.tree.label_tree import LabelTree


@dataclass(frozen=True, kw_only=True)
class TreeParams:
    """Shape of the label tree."""

    branching: int = 16
    """Children of an inner node."""
    max_leaf_size: int = 100
    """Labels under a node of the last inner level; at least as many as labels gives a flat tree."""
    max_top_nodes: int = 64
    """Merging stops once a level has at most so many nodes; they hang under the root."""
    paths: str | None = None
    """A taxonomy to use instead of k-means: a file of lines `label id TAB ancestor > ancestor`."""
    kmeans_iterations: int = 20
    """Rounds of 2-means in a node, fewer when nothing moves any more."""

    def __post_init__(self) -> None:
        for name, low in (
            ("branching", 2),
            ("max_leaf_size", 1),
            ("max_top_nodes", 1),
            ("kmeans_iterations", 1),
        ):
            if getattr(self, name) < low:
                raise ConfigError(f"tree.{name} = {getattr(self, name)}: at least {low} is needed")


def build_tree(
    Z: HybridMatrix,
    params: TreeParams,
    seed: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> LabelTree:
    """The label tree over the label features Z (one row a label); the same for the same seed."""
    num_splits = int(np.ceil(np.log2(max(1.0, Z.num_rows / params.max_leaf_size))))
    if num_splits == 0:
        return LabelTree.flat(Z.num_rows)
    leaf_of_label = split_balanced(
        Z, num_splits, params.kmeans_iterations, seed, num_threads, progress
    )
    return LabelTree.from_clusters(leaf_of_label, _merge(2**num_splits, params))


def _merge(num_leaves: int, params: TreeParams) -> list[np.ndarray]:
    """Parents of each level above the labels, coarse to fine, `branching` nodes under one
    parent.
    """
    levels: list[np.ndarray] = []
    while num_leaves > params.max_top_nodes:
        parents = np.arange(num_leaves, dtype=np.int32) // params.branching
        levels.append(parents)
        num_leaves = int(parents[-1]) + 1
    levels.append(np.zeros(num_leaves, np.int32))
    return levels[::-1]


def split_balanced(
    Z: HybridMatrix,
    num_splits: int,
    iterations: int,
    seed: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Split the points `num_splits` times in two: int32 (L,), a leaf 0 .. 2^num_splits - 1 for
    each.

    Leaves that are near in number are near in the tree. Sizes differ by at most one per split.
    """
    order = np.arange(Z.num_rows, dtype=np.int32)
    bounds = np.array([0, Z.num_rows], np.int64)
    scratch = threading.local()
    if progress is not None:
        progress.start("cluster labels", num_splits)
    for split in range(num_splits):

        def halve(node: int, split: int = split, bounds: np.ndarray = bounds) -> None:
            if not hasattr(scratch, "sums"):
                scratch.sums = np.zeros((Z.num_features, 2), np.float32)
            members = order[bounds[node] : bounds[node + 1]]
            node_seed = np.uint64(
                (seed * 1_000_003 + split * 2_654_435_761 + node * 97 + 1) % 2**64
            )
            matrix = (Z.sparse.indptr, Z.sparse.indices, Z.sparse.data, Z.dense)
            members[:] = _two_means(*matrix, members, iterations, node_seed, scratch.sums)

        run_blocks(halve, len(bounds) - 1, num_threads)
        middles = (bounds[:-1] + bounds[1:] + 1) // 2
        bounds = np.sort(np.concatenate([bounds, middles]))
        if progress is not None:
            progress.advance()
    if progress is not None:
        progress.finish()
    leaf_of_label = np.empty(Z.num_rows, np.int32)
    leaf_of_label[order] = np.repeat(np.arange(2**num_splits, dtype=np.int32), np.diff(bounds))
    return leaf_of_label


@njit(nogil=True, cache=True)
def _two_means(indptr, indices, data, dense, members, iterations, seed, sums):  # type: ignore[no-untyped-def]
    """Members reordered so that the first half (rounded up) is one cluster, the rest the other.

    `sums` is scratch of shape (F, 2), the sparse part of both clusters' sums: zeros when called
    and left.
    """
    n, half = len(members), (len(members) + 1) // 2
    if n < 2:
        return members.copy()
    side = np.full(n, -1, np.int8)
    first, second = _two_of(n, seed)
    side[first], side[second] = 0, 1
    for _ in range(iterations):
        similarity = _similarities(indptr, indices, data, dense, members, side, sums)
        order = np.argsort(similarity[:, 0] - similarity[:, 1], kind="mergesort")
        new_side = np.zeros(n, np.int8)
        new_side[order[half:]] = 1
        if np.array_equal(side, new_side):
            break
        side = new_side
    return np.concatenate((members[side == 0], members[side == 1]))


@njit(nogil=True, cache=True)
def _similarities(indptr, indices, data, dense, members, side, sums):  # type: ignore[no-untyped-def]
    """How far each member is from the two clusters' unit-length centroids: (n, 2), lower is
    nearer.
    """
    H = dense.shape[1]
    dense_sums = np.zeros((2, H), np.float32)
    for m in range(len(members)):
        if side[m] >= 0:
            i = members[m]
            for j in range(indptr[i], indptr[i + 1]):
                sums[indices[j], side[m]] += data[j]
            for h in range(H):
                dense_sums[side[m], h] += dense[i, h]
    dots = np.zeros((len(members), 2), np.float32)
    squared = np.zeros(2, np.float64)  # |sum|^2 is the sum of its members' products with it
    for m in range(len(members)):
        i = members[m]
        left, right = np.float32(0), np.float32(0)
        for j in range(indptr[i], indptr[i + 1]):
            left += data[j] * sums[indices[j], 0]
            right += data[j] * sums[indices[j], 1]
        for h in range(H):
            left += dense[i, h] * dense_sums[0, h]
            right += dense[i, h] * dense_sums[1, h]
        dots[m, 0], dots[m, 1] = left, right
        if side[m] >= 0:
            squared[side[m]] += dots[m, side[m]]
    for m in range(len(members)):
        if side[m] >= 0:
            i = members[m]
            for j in range(indptr[i], indptr[i + 1]):
                sums[indices[j], side[m]] = 0.0
    for c in range(2):
        if squared[c] > 0:
            dots[:, c] /= np.float32(-np.sqrt(squared[c]))
    return dots


@njit(nogil=True, cache=True)
def _two_of(n, seed):  # type: ignore[no-untyped-def]
    """Two different positions below n from a seed (splitmix64)."""
    draws = np.empty(2, np.uint64)
    state = np.uint64(seed)
    for draw in range(2):
        state = state + np.uint64(0x9E3779B97F4A7C15)
        bits = state
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        draws[draw] = bits ^ (bits >> np.uint64(31))
    first = np.int64(draws[0] % np.uint64(n))
    second = (first + 1 + np.int64(draws[1] % np.uint64(n - 1))) % n
    return first, second
