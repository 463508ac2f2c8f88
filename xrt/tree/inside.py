"""K-means inside a taxonomy: the tree's upper levels are the taxonomy's, the lower ones clusters.

Labels with the same ancestors are a group. A group that is too large for a leaf is split by
balanced 2-means, again and again; its clusters are merged to the branching of the settings, as in
a tree without a taxonomy. L labels, G groups, K clusters of all groups together.
"""

from collections.abc import Sequence

import numpy as np

from xrt.errors import DataError
from xrt.hybrid import HybridMatrix
from xrt.progress import Progress
from xrt.tree.clustering import TreeParams, build_tree, halve_again, splits_needed
from xrt.tree.label_tree import LabelTree

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
    it. Without ancestors it is
    `build_tree`. Raises DataError unless there is a path for each label.
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
