"""Grows the label tree: of uneven k-means (`k_means_tree`), or by balanced spherical 2-means, again
and again, then merged to the branching of the settings.

L points with F sparse and H dense coordinates each. A node's members are split at the median of
their nearness to one centroid rather than the other, so that sizes differ by at most one.

With a taxonomy on top, its levels are the upper levels of the tree. Labels with the same ancestors
are a group; a group that is too large for a leaf is split by balanced 2-means, and its clusters are
merged to the branching of the settings. G groups, K clusters of all groups together.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import numpy as np

from xrt.errors import ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.progress import Progress
from xrt.ranges import at_least, check_ranges
from xrt.threads import run_blocks
from xrt.tree.k_means_tree import build_k_means_tree, clusters_of
from xrt.tree.label_tree import LabelTree
from xrt.tree.two_means import halve, halve_at_median, reorder, two_means, values_of

MATCHER_TOP_NODES = 1024
"""Nodes under the root of the matcher's tree, at most."""
MAX_ROUNDS = 20
"""Rounds of 2-means in a node, at most."""
TOLERANCE = 0.005
"""Rounds end when no more than this share of a node's labels changes sides in one."""
MAX_SAMPLE = 10_000
"""Labels of a node, at most, that are clustered to find its cut, which then divides all of them."""
_BLOCK_MEMBERS = 1024  # nodes of so many members together are one block of work
_PIECE_MEMBERS = 8192  # members of a large node whose side is decided in one block


@dataclass(frozen=True, kw_only=True)
class MatcherTreeParams:
    """The tree whose levels the matcher is trained on; refined afterwards with `tree`'s shape."""

    max_leaf_size: Annotated[int, at_least(1)] = 200
    """Labels under a node of the last inner level; at least as many as labels gives a flat tree."""

    def __post_init__(self) -> None:
        check_ranges(self, "matcher_tree")

    @property
    def tree(self) -> "TreeParams":
        """All that says the shape of that tree: halves, up to `MATCHER_TOP_NODES` on top."""
        return TreeParams(
            max_leaf_size=self.max_leaf_size,
            max_top_nodes=MATCHER_TOP_NODES,
            shape=TreeShape.halves,
        )


class TreeShape(str, Enum):
    """How labels are divided."""

    k_means = "k_means"
    """Into `fan_out` clusters of uneven sizes, `depth` times (Bonsai)."""
    halves = "halves"
    """In two halves, again and again (Parabel, PECOS); see `branching` and `max_leaf_size`."""
    both = "both"
    """Of several trees the first is of k-means, the second of halves, and so on."""


@dataclass(frozen=True, kw_only=True)
class TreeParams:
    """Shape of the label tree, and the taxonomy that it follows where there is one."""

    branching: Annotated[int, at_least(2)] = 16
    """Children of an inner node."""
    max_leaf_size: Annotated[int, at_least(1)] = 200
    """Labels under a node of the last inner level; at least as many as labels gives a flat tree."""
    max_top_nodes: Annotated[int, at_least(1)] = 64
    """Merging stops once a level has at most so many nodes; they hang under the root."""
    shape: TreeShape | None = None
    """`k_means`: uneven clusters, wide and shallow; `halves`: balanced halves, merged to
    `branching` children; `both`: trees of each, in turn. null: `halves` where `branching`,
    `max_leaf_size` or `max_top_nodes`, which belong to it, is not at its default; else
    `both`."""
    fan_out: Annotated[int, at_least(2)] = 100
    """Clusters that a node of a k-means tree is divided into, at most; a node with fewer labels is
    not divided."""
    depth: Annotated[int, at_least(1)] = 2
    """Levels of clusters of a k-means tree, at most; the labels lie below."""
    paths: str | None = None
    """A taxonomy instead of k-means: a file of lines `label id TAB ancestor > ancestor`."""
    inside: bool = False
    """With `paths`: the taxonomy is the top of the tree, k-means splits its larger groups below."""

    def __post_init__(self) -> None:
        """Check shape and ranges. Raises ConfigError for an unknown shape or number."""
        check_ranges(self, "tree")
        object.__setattr__(self, "shape", tree_shape(self.shape))

    def shape_of(self, index: int) -> TreeShape:
        """The shape of a tree.

        Args:
            index: its number among several, from 0.

        Returns:
            `k_means` or `halves`.
        """
        shape = self.shape or self._implied_shape
        return (
            (TreeShape.k_means, TreeShape.halves)[index % 2] if shape is TreeShape.both else shape
        )

    @property
    def mixes_shapes(self) -> bool:
        """Whether the number of a tree says its shape."""
        return (self.shape or self._implied_shape) is TreeShape.both

    @property
    def _implied_shape(self) -> TreeShape:
        plain = TreeParams()
        names = ("branching", "max_leaf_size", "max_top_nodes")
        changed = any(getattr(self, name) != getattr(plain, name) for name in names)
        return TreeShape.halves if changed else TreeShape.both


def tree_shape(name: str | None) -> TreeShape | None:
    """The shape of a name.

    Args:
        name: `k_means`, `halves`, `both`; None for none.

    Returns:
        The shape.

    Raises:
        ConfigError: there is no such shape.
    """
    if name is None or name in list(TreeShape):
        return None if name is None else TreeShape(name)
    raise ConfigError(f"shape = {name!r}: choose one of {', '.join(TreeShape)}")


def build_tree(
    Z: HybridMatrix,
    params: TreeParams,
    seed: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
    index: int = 0,
) -> LabelTree:
    """The label tree over the label features Z (one row a label); the same for the same seed.

    Args:
        Z: label features, a row a label: (L, F + H).
        params: the settings.
        seed: of all random choices.
        num_threads: threads; None for the default.
        progress: receives the progress; None for none.
        index: number of the tree among several, from 0; says its shape where they mix.

    Returns:
        A tree of L labels.
    """
    if params.shape_of(index) is TreeShape.k_means:
        return build_k_means_tree(Z, params.fan_out, params.depth, seed, num_threads, progress)
    num_splits = splits_needed(Z.num_rows, params)
    if num_splits == 0:
        return LabelTree.flat(Z.num_rows)
    leaf_of_label = split_balanced(Z, num_splits, seed, num_threads, progress)
    return LabelTree.from_clusters(leaf_of_label, _merge(2**num_splits, params))


def is_flat(num_labels: int, params: TreeParams) -> bool:
    """Whether one leaf holds all labels, so that trees of all seeds are the same.

    Args:
        num_labels: number of labels.
        params: the settings.

    Returns:
        True where the tree is flat.
    """
    divided = {
        TreeShape.halves: splits_needed(num_labels, params) > 0,
        TreeShape.k_means: clusters_of(num_labels, params.fan_out) > 1,
    }
    return not any(divided[params.shape_of(index)] for index in (0, 1))


def splits_needed(num_labels: int, params: TreeParams) -> int:
    """How many times a group of labels is halved until every part is small enough for a leaf.

    Args:
        num_labels: labels of a group.
        params: the settings.

    Returns:
        A number of splits, 0 for a leaf.
    """
    return int(np.ceil(np.log2(max(1.0, num_labels / params.max_leaf_size))))


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
    seed: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Split the points `num_splits` times in two: int32 (L,), a leaf 0 .. 2^num_splits - 1 for
    each.

    Leaves that are near in number are near in the tree. Sizes differ by at most one per split.

    Args:
        Z: points (L, F + H).
        num_splits: how often.
        seed: of all random choices.
        num_threads: threads; None for the default.
        progress: receives the progress; None for none.

    Returns:
        int32 (L,).
    """
    order = np.arange(Z.num_rows, dtype=np.int32)
    bounds = np.array([0, Z.num_rows], np.int64)
    bounds = halve_again(Z, order, bounds, num_splits, seed, num_threads, progress)
    leaf_of_label = np.empty(Z.num_rows, np.int32)
    leaf_of_label[order] = np.repeat(np.arange(2**num_splits, dtype=np.int32), np.diff(bounds))
    return leaf_of_label


def halve_again(
    Z: HybridMatrix,
    order: np.ndarray,
    bounds: np.ndarray,
    num_splits: int,
    seed: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Split each node `num_splits` times in two; its members are `order[bounds[k]:bounds[k + 1]]`.

    Reorders the members within their nodes; returns the bounds of the 2^num_splits parts of each.

    Args:
        Z: points (L, F + H).
        order: numbers of all points, node by node; reordered in place.
        bounds: where the members of each node begin, and the end.
        num_splits: how often.
        seed: of all random choices.
        num_threads: threads; None for the default.
        progress: receives the progress; None for none.

    Returns:
        int64, the bounds of the parts.
    """
    splitter = _Splitter(Z, num_threads)
    if progress is not None:
        progress.start("cluster labels", num_splits)
    for split in range(num_splits):
        seeds = _node_seeds(seed, split, len(bounds) - 1)
        if np.diff(bounds).max() > MAX_SAMPLE:
            splitter.halve_by_samples(order, bounds, seeds)
        else:
            splitter.halve(order, bounds, seeds)
        middles = (bounds[:-1] + bounds[1:] + 1) // 2
        bounds = np.sort(np.concatenate([bounds, middles]))
        if progress is not None:
            progress.advance()
    if progress is not None:
        progress.finish()
    return bounds


def _node_seeds(seed: int, split: int, num_nodes: int) -> np.ndarray:
    """A number for each node of a split: uint64, different from node to node and split to split."""
    base = (seed * 1_000_003 + split * 2_654_435_761 + 1) % 2**64
    seeds: np.ndarray = np.uint64(base) + np.uint64(97) * np.arange(num_nodes, dtype=np.uint64)
    return seeds


class _Splitter:
    """Halves all nodes of a split, in blocks over threads, each with its scratch memory."""

    def __init__(self, Z: HybridMatrix, num_threads: int | None) -> None:
        self.rows = (Z.sparse.indptr, Z.sparse.indices, Z.sparse.data, Z.dense)
        self.num_features = Z.num_features
        self.rounds = (MAX_ROUNDS, TOLERANCE)
        self.num_threads = num_threads
        self.scratch = threading.local()

    def halve(self, order: np.ndarray, bounds: np.ndarray, seeds: np.ndarray) -> None:
        """Reorder the members of each node: its cluster 0, then 1."""
        per_block = max(1, _BLOCK_MEMBERS * len(seeds) // max(1, len(order)))

        def halve_block(block: int) -> None:
            lo, hi = block * per_block, min((block + 1) * per_block, len(seeds))
            halve(
                *(*self.rows, order, bounds[lo : hi + 1], *self.rounds),
                *(seeds[lo:hi], self._column_map()),
            )

        run_blocks(halve_block, -(-len(seeds) // per_block), self.num_threads)

    def halve_by_samples(self, order: np.ndarray, bounds: np.ndarray, seeds: np.ndarray) -> None:
        """The same for large nodes: a sample is clustered, its cut divides all members."""
        values = np.empty(len(order), np.float32)
        pieces = [
            (node, lo, min(lo + _PIECE_MEMBERS, bounds[node + 1]))
            for node in range(len(seeds))
            for lo in range(bounds[node], bounds[node + 1], _PIECE_MEMBERS)
        ]

        def cluster_sample(node: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            members = order[bounds[node] : bounds[node + 1]]
            num_sampled = min(len(members), MAX_SAMPLE)
            sample = members[np.arange(num_sampled) * len(members) // num_sampled]
            _, used, w_f, w_H = two_means(
                *self.rows, sample, *self.rounds, seeds[node], self._column_map()
            )
            return used, w_f, w_H

        def value_piece(piece: int) -> None:
            node, lo, hi = pieces[piece]
            used, w_f, w_H = cuts[node]
            members, values_of_piece = order[lo:hi], values[lo:hi]
            values_of(*self.rows, members, used, w_f, w_H, self._weights(), values_of_piece)

        def cut(node: int) -> None:
            lo, hi = bounds[node], bounds[node + 1]
            side = np.empty(hi - lo, np.int8)
            halve_at_median(values[lo:hi], side)
            reorder(order[lo:hi], side)

        cuts = run_blocks(cluster_sample, len(seeds), self.num_threads)
        run_blocks(value_piece, len(pieces), self.num_threads)
        run_blocks(cut, len(seeds), self.num_threads)

    def _column_map(self) -> np.ndarray:
        if not hasattr(self.scratch, "column_map"):
            self.scratch.column_map = np.full(self.num_features, -1, np.int32)
        column_map: np.ndarray = self.scratch.column_map
        return column_map

    def _weights(self) -> np.ndarray:
        if not hasattr(self.scratch, "weights"):
            self.scratch.weights = np.zeros(self.num_features, np.float32)
        weights: np.ndarray = self.scratch.weights
        return weights


_PATH_ENDED = "\0none"  # of paths shorter than the deepest


def build_inside(
    Z: HybridMatrix,
    paths: Sequence[Sequence[str]],
    params: TreeParams,
    seed: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> LabelTree:
    """The label tree over label features Z (one row a label) with the taxonomy on top.

    `paths` has the ancestors of each label, coarse to fine. Labels whose paths end at the same
    ancestor are a group of their own below it, those without any path one below the root. All
    labels lie at the same depth: where a group has fewer levels than another, single nodes continue
    it. Without ancestors it is `build_tree`.

    Args:
        Z: label features, a row a label: (L, F + H).
        paths: names of the ancestors of each label, coarse to fine.
        params: the settings.
        seed: of all random choices.
        num_threads: threads; None for the default.
        progress: receives the progress; None for none.

    Returns:
        A tree of L labels.

    Raises:
        DataError: there is not one path for each label.
    """
    if len(paths) != Z.num_rows:
        raise DataError(f"{len(paths)} paths for {Z.num_rows} labels; give one for each")
    upper, group_of_label = _taxonomy([tuple(path) for path in paths])
    if not upper:
        return build_tree(Z, params, seed, num_threads, progress)
    cluster_of_label, group_of_cluster = _split_groups(
        Z, group_of_label, params, seed, num_threads, progress
    )
    num_clusters_G = np.bincount(group_of_cluster, minlength=group_of_label.max() + 1)
    lower = _merge_inside(num_clusters_G, params.branching)
    return LabelTree.from_clusters(cluster_of_label, [*upper, *lower])


def _taxonomy(paths: Sequence[tuple[str, ...]]) -> tuple[list[np.ndarray], np.ndarray]:
    """Parents of each level of the taxonomy, coarse to fine, and the group of each label: the node
    of the last level.

    Nodes are numbered parent by parent, so that what lies below a node has numbers in a row.
    """
    depth = max(map(len, paths), default=0)
    node_of_label = np.zeros(len(paths), np.int32)
    parents: list[np.ndarray] = []
    for level in range(depth):
        steps = [path[level] if level < len(path) else _PATH_ENDED for path in paths]
        keys = list(zip(node_of_label.tolist(), steps, strict=True))
        nodes = {key: node for node, key in enumerate(sorted(set(keys)))}
        parents.append(np.array([parent for parent, _ in nodes], np.int32))
        node_of_label = np.array([nodes[key] for key in keys], np.int32)
    return parents, node_of_label


def _split_groups(
    Z: HybridMatrix,
    group_of_label: np.ndarray,
    params: TreeParams,
    seed: int,
    num_threads: int | None,
    progress: Progress | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each label (L,) and the group of each cluster (K,), group by group: int32.

    Groups that need equally many splits are split together.
    """
    sizes_G = np.bincount(group_of_label)
    splits_G = np.array([splits_needed(int(size), params) for size in sizes_G], np.int64)
    first_G = np.concatenate([[0], np.cumsum(2**splits_G)])
    cluster_of_label = np.empty(Z.num_rows, np.int32)
    by_group = np.argsort(group_of_label, kind="stable").astype(np.int32)
    ptr_G = np.concatenate([[0], np.cumsum(sizes_G)])
    for num_splits in np.unique(splits_G).tolist():
        groups = np.flatnonzero(splits_G == num_splits)
        order = np.concatenate([by_group[ptr_G[g] : ptr_G[g + 1]] for g in groups])
        bounds = np.concatenate([[0], np.cumsum(sizes_G[groups])])
        bounds = halve_again(Z, order, bounds, num_splits, seed, num_threads, progress)
        clusters = (first_G[groups][:, None] + np.arange(2**num_splits)).ravel()
        cluster_of_label[order] = np.repeat(clusters, np.diff(bounds))
    return cluster_of_label, np.repeat(np.arange(len(sizes_G), dtype=np.int32), 2**splits_G)


def _merge_inside(num_clusters_G: np.ndarray, branching: int) -> list[np.ndarray]:
    """Parents of each level below the groups, coarse to fine, the last level being the clusters.

    At most `branching` nodes under one; no level where every group is one cluster.
    """
    levels: list[np.ndarray] = []
    counts_G = num_clusters_G
    while counts_G.max() > 1:
        above_G = -(-counts_G // branching)
        first_G = np.concatenate([[0], np.cumsum(above_G)[:-1]])
        place = np.arange(counts_G.sum()) - np.repeat(np.cumsum(counts_G) - counts_G, counts_G)
        levels.append((np.repeat(first_G, counts_G) + place // branching).astype(np.int32))
        counts_G = above_G
    return levels[::-1]
