"""The hierarchical label tree: a chain of cluster matrices C_1 .. C_T.

K_t nodes at level t, counted from 0 below the root; the nodes of the last level are the L labels.
`parents[t][node]` is the node's parent at level t - 1; at level 0 it is 0, the root.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError, DataError
from xrt.sparse import as_csr
from xrt.storage.array_faults import table_fits
from xrt.storage.atomic import save_array, write_json
from xrt.storage.reading import load_array
from xrt.storage.saved_values import SavedValues

MAX_DEPTH = 64
"""Levels of a saved tree: no tree in use comes near."""


@dataclass(frozen=True, eq=False)
class LabelTree:
    """A tree whose leaves, all at the same depth, are the labels in label order."""

    parents: tuple[np.ndarray, ...]
    tables: tuple[tuple[np.ndarray, np.ndarray], ...] | None = None
    """The result of `children` for each level, where it is known already."""

    def __post_init__(self) -> None:
        if not self.parents or not len(self.parents[-1]):
            raise DataError("a label tree needs at least one level and one label")
        num_above = 1
        for t, parents in enumerate(self.parents):
            if parents.ndim != 1 or parents.dtype != np.int32:
                raise DataError(f"level {t} of the tree: parents must be a row of int32")
            if len(parents) and (parents.min() < 0 or parents.max() >= num_above):
                low, high = parents.min(), parents.max()
                raise DataError(
                    f"level {t} of the tree: parents {low}..{high}, but {num_above} nodes above"
                )
            num_above = len(parents)

    @property
    def depth(self) -> int:
        """Number of levels below the root, T."""
        return len(self.parents)

    @property
    def num_labels(self) -> int:
        """Number of labels, L: the nodes of the last level."""
        return len(self.parents[-1])

    def num_nodes(self, t: int) -> int:
        """Number of nodes at level t, K_t; `t = -1` is the root's level with its single node.

        Args:
            t: a level; -1 for the root's.

        Returns:
            K_t.
        """
        return 1 if t == -1 else len(self.parents[t])

    @cached_property
    def _children(self) -> Sequence[tuple[np.ndarray, np.ndarray]]:
        if self.tables is not None:
            return self.tables
        tables = []
        for t, parents in enumerate(self.parents):
            order = np.argsort(parents, kind="stable").astype(np.int32)
            counts = np.bincount(parents, minlength=self.num_nodes(t - 1))
            tables.append((np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), order))
        return tables

    def children(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Level-t children of each node above: `indices[indptr[p]:indptr[p + 1]]` for parent p,
        ascending.

        Args:
            t: a level, counted from 0 below the root.

        Returns:
            indptr int64 (K_{t-1} + 1,) and indices int32 (K_t,).
        """
        return self._children[t]

    def cluster_matrix(self, t: int) -> sp.csr_array:
        """C_t of shape (K_t, K_{t-1}): 1 where the row's node is a child of the column's.

        Args:
            t: a level, counted from 0 below the root.

        Returns:
            csr float32.
        """
        parents = self.parents[t]
        ones = np.ones(len(parents), np.float32)
        indptr = np.arange(len(parents) + 1, dtype=np.int32)
        return sp.csr_array((ones, parents, indptr), shape=(len(parents), self.num_nodes(t - 1)))

    def level_targets(self, Y_NL: sp.csr_array) -> list[sp.csr_array]:
        """Targets Y_t of each level, (N, K_t): how much label weight of a row lies below a node.

        Y_T = Y and Y_{t-1} = Y_t C_t.

        Args:
            Y_NL: labels of rows.

        Returns:
            A matrix for each level.

        Raises:
            DataError: Y has another number of labels.
        """
        if Y_NL.shape[1] != self.num_labels:
            raise DataError(f"Y has {Y_NL.shape[1]} labels, the tree {self.num_labels}")
        targets = [as_csr(Y_NL, "Y")]
        for t in range(self.depth - 1, 0, -1):
            targets.append(as_csr(targets[-1] @ self.cluster_matrix(t), "Y"))
        return targets[::-1]

    def level_confidences(self, Y_NL: sp.csr_array) -> list[sp.csr_array]:
        """Targets of each level, (N, K_t), with the highest label weight of a row below a node.

        The patterns are those of `level_targets`. A row with two labels below a cluster belongs
        there once, with the higher confidence of the two.

        Args:
            Y_NL: labels of rows; entries are confidences.

        Returns:
            A matrix for each level.

        Raises:
            DataError: Y has another number of labels.
        """
        targets = self.level_targets(Y_NL)
        if (targets[-1].data == 1).all():
            for Y_level in targets[:-1]:
                Y_level.data = np.ones_like(Y_level.data)
            return targets
        for t in range(self.depth - 1, 0, -1):
            targets[t - 1].data = _highest_below(targets[t], self.parents[t], targets[t - 1])
        return targets

    def labels_below(self, t: int) -> np.ndarray:
        """The level-t node above each label: int32 (L,).

        Args:
            t: the level, from 0.

        Returns:
            Node numbers of level t.
        """
        nodes = np.arange(self.num_labels, dtype=np.int32)
        for level in range(self.depth - 1, t, -1):
            nodes = self.parents[level][nodes]
        return nodes

    def describe(self) -> str:
        """Nodes of each level, such as `16-256-3956`.

        Returns:
            The numbers, coarse to fine, joined by `-`.
        """
        return "-".join(str(len(parents)) for parents in self.parents)

    @classmethod
    def flat(cls, num_labels: int) -> "LabelTree":
        """All labels right under the root: plain one-vs-rest.

        Args:
            num_labels: L.

        Returns:
            A tree of one level.
        """
        return cls((np.zeros(num_labels, np.int32),))

    @classmethod
    def from_clusters(
        cls, leaf_of_label: np.ndarray, parents_above: Sequence[np.ndarray]
    ) -> "LabelTree":
        """Join the cluster of each label with the parents of those clusters, coarse to fine.

        Args:
            leaf_of_label: the leaf of each label, (L,).
            parents_above: parents of each level above the labels, coarse to fine.

        Returns:
            The tree.

        Raises:
            DataError: they do not make a tree.
        """
        levels = [*parents_above, leaf_of_label]
        return cls(tuple(np.ascontiguousarray(level, np.int32) for level in levels))

    @classmethod
    def from_paths(cls, paths: Sequence[Sequence[str]]) -> "LabelTree":
        """A tree from paths: for each label the names of its ancestors, coarse to fine.

        Labels may lie at different depths; a short path is continued by a chain of single nodes, so
        that every label ends at the same level. A label without ancestors hangs under a node of its
        own.

        Args:
            paths: names of the ancestors of each label, coarse to fine.

        Returns:
            The tree.
        """
        depth = max((len(path) for path in paths), default=0)
        padded = [
            (*path, *(f"\0only label {label}" for _ in range(depth - len(path))))
            for label, path in enumerate(paths)
        ]
        above: dict[tuple[str, ...], int] = {(): 0}
        parents: list[np.ndarray] = []
        for level in range(1, depth + 1):
            prefixes = dict.fromkeys(path[:level] for path in padded)
            nodes = {prefix: node for node, prefix in enumerate(prefixes)}
            parents.append(np.array([above[prefix[:-1]] for prefix in nodes], np.int32))
            above = nodes
        return cls.from_clusters(np.array([above[path] for path in padded], np.int32), parents)

    def save(self, folder: Path) -> None:
        """Write the tree into a folder, to be memory-mapped: parents of each level, and the
        children of each node, so that opening the tree needs no sorting.

        Args:
            folder: a folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for t, parents in enumerate(self.parents):
            child_ptr, children = self.children(t)
            save_array(folder / f"parents.{t}.npy", parents)
            save_array(folder / f"child_ptr.{t}.npy", child_ptr)
            save_array(folder / f"children.{t}.npy", children)
        write_json(
            folder / "tree.json", {"depth": self.depth, "nodes": [len(p) for p in self.parents]}
        )

    @classmethod
    def load(cls, folder: Path) -> "LabelTree":
        """Read what `save` wrote.

        The result is checked: each node has one parent, and the children tables agree with it.

        Args:
            folder: a folder.

        Returns:
            The tree.

        Raises:
            ArtifactError: the files do not make a tree.
        """
        depth = SavedValues.read(folder / "tree.json").whole("depth", 1, MAX_DEPTH)
        parents = (load_array(folder / f"parents.{t}.npy", np.int32, 1) for t in range(depth))
        try:
            tree = cls(tuple(parents))
        except DataError as err:
            raise ArtifactError(
                f"{folder}: unreadable label tree ({err}); restore or retrain"
            ) from err
        if not (folder / "children.0.npy").exists():  # written before tables were stored
            return tree
        return cls(tree.parents, tuple(_load_table(folder, tree, t) for t in range(depth)))


def _load_table(folder: Path, tree: LabelTree, t: int) -> tuple[np.ndarray, np.ndarray]:
    child_ptr = load_array(folder / f"child_ptr.{t}.npy", np.int64, 1)
    children = load_array(folder / f"children.{t}.npy", np.int32, 1)
    num_above = tree.num_nodes(t - 1)
    if len(child_ptr) != num_above + 1 or not table_fits(child_ptr, children, tree.parents[t]):
        raise ArtifactError(
            f"{folder}: children of level {t} do not fit its parents; restore or retrain"
        )
    return child_ptr, children


def _highest_below(Y_NK: sp.csr_array, parents_K: np.ndarray, above_NP: sp.csr_array) -> np.ndarray:
    """For each entry of the level above the highest entry of its row among the node's children."""
    num_rows, num_above = above_NP.shape
    keys_above, keys = (
        np.repeat(np.arange(num_rows, dtype=np.int64), np.diff(Y.indptr)) * num_above + nodes
        for Y, nodes in ((above_NP, above_NP.indices), (Y_NK, parents_K[Y_NK.indices]))
    )
    highest = np.zeros(above_NP.nnz, np.float32)
    np.maximum.at(highest, np.searchsorted(keys_above, keys), Y_NK.data)
    return highest
