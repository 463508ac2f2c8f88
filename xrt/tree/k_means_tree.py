"""Grows wide, uneven label trees: spherical k-means of many clusters, to a given depth (Bonsai).

Khandagale, Xiao and Babbar, "Bonsai: diverse and shallow trees for extreme multi-label
classification", Machine Learning 109 (2020). Rare labels stay in small clusters of their own
instead of filling up others, and a label has few rankers above it that can go wrong.
L labels, K clusters of a level.
"""

import threading

import numpy as np

from xrt.hybrid import HybridMatrix
from xrt.progress import Progress
from xrt.threads import run_blocks
from xrt.tree.k_means import assign, k_means
from xrt.tree.label_tree import LabelTree

MAX_ROUNDS = 20
"""Rounds of k-means in a node, at most."""
TOLERANCE = 0.005
"""Rounds end when no more than this share of a node's labels changes clusters in one."""
MAX_SAMPLE = 10_000
"""Labels of a node, at most, that are clustered to find its centroids, which then divide all."""
LABELS_PER_CLUSTER = 8
"""Labels of a cluster on average, at least: fewer labels are divided into fewer clusters."""
_PIECE_MEMBERS = 2048  # members of a large node that are divided in one block


def build_k_means_tree(
    Z: HybridMatrix,
    fan_out: int,
    depth: int,
    seed: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> LabelTree:
    """The label tree over the label features Z (one row a label); the same for the same seed.

    A node of fewer labels than `fan_out` is not divided; single nodes continue it, so that all
    labels lie at the same depth.

    Args:
        Z: label features, a row a label: (L, F + H).
        fan_out: clusters that a node is divided into, at most.
        depth: levels of clusters, at most.
        seed: of all random choices.
        num_threads: threads; None for the default.
        progress: receives the progress; None for none.

    Returns:
        A tree of L labels.
    """
    divider = _Divider(Z, fan_out, num_threads)
    parents: list[np.ndarray] = []
    node_of_label = np.zeros(Z.num_rows, np.int64)
    if progress is not None:
        progress.start("cluster labels", depth)
    for level in range(depth):
        sizes_K = np.bincount(node_of_label)
        if clusters_of(int(sizes_K.max()), fan_out) == 1:
            break
        part_of_label = divider.divide(node_of_label, sizes_K, level, seed)
        keys = node_of_label * fan_out + part_of_label
        found, node_of_label = np.unique(keys, return_inverse=True)
        parents.append((found // fan_out).astype(np.int32))
        if progress is not None:
            progress.advance()
    if progress is not None:
        progress.finish()
    if not parents:
        return LabelTree.flat(Z.num_rows)
    return LabelTree.from_clusters(node_of_label.astype(np.int32), parents)


def clusters_of(num_labels: int, fan_out: int) -> int:
    """How many clusters a node is divided into.

    Args:
        num_labels: labels below the node.
        fan_out: clusters at most.

    Returns:
        A number; 1 for a node that is not divided.
    """
    return 1 if num_labels < fan_out else min(fan_out, max(1, num_labels // LABELS_PER_CLUSTER))


class _Divider:
    """Divides the nodes of a level, over threads, each with its scratch memory."""

    def __init__(self, Z: HybridMatrix, fan_out: int, num_threads: int | None) -> None:
        self.rows = (Z.sparse.indptr, Z.sparse.indices, Z.sparse.data, Z.dense)
        self.num_features = Z.num_features
        self.fan_out = fan_out
        self.num_threads = num_threads
        self.scratch = threading.local()

    def divide(
        self, node_of_label: np.ndarray, sizes_K: np.ndarray, level: int, seed: int
    ) -> np.ndarray:
        """The cluster of each label within its node, 0 .. fan_out - 1: int64 (L,)."""
        by_node = np.argsort(node_of_label, kind="stable").astype(np.int32)
        bounds_K = np.concatenate([[0], np.cumsum(sizes_K)])
        part_of_label = np.zeros(len(node_of_label), np.int64)
        large = np.flatnonzero(sizes_K > MAX_SAMPLE).tolist()
        wide = np.flatnonzero((sizes_K >= self.fan_out) & (sizes_K <= MAX_SAMPLE)).tolist()

        def divide_node(block: int) -> None:
            node = wide[block]
            members = by_node[bounds_K[node] : bounds_K[node + 1]]
            part_of_label[members] = self._cluster(members, _node_seed(seed, level, node))[0]

        for node in large:
            members = by_node[bounds_K[node] : bounds_K[node + 1]]
            part_of_label[members] = self._divide_by_sample(members, _node_seed(seed, level, node))
        run_blocks(divide_node, len(wide), self.num_threads)
        return part_of_label

    def _cluster(
        self, members: np.ndarray, node_seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        clustered: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] = k_means(
            *self.rows, members, clusters_of(len(members), self.fan_out), MAX_ROUNDS, TOLERANCE,
            np.uint64(node_seed), self._column_map(),
        )  # fmt: skip
        return clustered

    def _divide_by_sample(self, members: np.ndarray, node_seed: int) -> np.ndarray:
        """Cluster a sample of the members; its centroids divide all of them."""
        sample = members[np.arange(MAX_SAMPLE) * len(members) // MAX_SAMPLE]
        _, used, centroids_fk, centroids_Hk = self._cluster(sample, node_seed)
        place_F = np.full(self.num_features, -1, np.int32)
        place_F[used] = np.arange(len(used), dtype=np.int32)
        part = np.empty(len(members), np.int32)

        def assign_piece(piece: int) -> None:
            here = slice(piece * _PIECE_MEMBERS, (piece + 1) * _PIECE_MEMBERS)
            assign(*self.rows, members[here], place_F, centroids_fk, centroids_Hk, part[here])

        run_blocks(assign_piece, -(-len(members) // _PIECE_MEMBERS), self.num_threads)
        return part

    def _column_map(self) -> np.ndarray:
        if not hasattr(self.scratch, "column_map"):
            self.scratch.column_map = np.full(self.num_features, -1, np.int32)
        column_map: np.ndarray = self.scratch.column_map
        return column_map


def _node_seed(seed: int, level: int, node: int) -> int:
    """A number for each node, different from node to node and level to level."""
    return (seed * 1_000_003 + level * 2_654_435_761 + 97 * node + 1) % 2**64
