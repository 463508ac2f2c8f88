"""Several trees over the same labels, grown from different seeds, whose scores are averaged.

N rows, L labels, T trees. A tree that did not find a label counts 0 for it. What one tree's
clusters get wrong the others mostly do not; they share features, label features and settings.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError, DataError
from xrt.hybrid import HybridMatrix
from xrt.linear.weights import LevelWeights
from xrt.search.beam import SearchParams, beam_search, constrained_search
from xrt.search.constraints import Constraint
from xrt.sources.path_scores import score_paths
from xrt.sources.ranker import TreeRanker
from xrt.sparse import sum_csr, top_k_rows
from xrt.tree.label_tree import LabelTree

FOUND_IN_EACH = 20
"""Labels that each tree names for a row, at least, before scores are averaged."""


@dataclass(frozen=True, eq=False)
class TreeEnsemble:
    """One tree or more over the same labels; the first is what one seed alone would give."""

    trees: tuple[TreeRanker, ...]

    def __post_init__(self) -> None:
        shapes = {(t.tree.num_labels, t.levels[0].num_features) for t in self.trees}
        if len(shapes) != 1:
            raise DataError(
                f"trees of one model need the same labels and features, not (L, F) = {shapes}"
                if shapes
                else "a model needs at least one tree"
            )

    @property
    def tree(self) -> LabelTree:
        """The first label tree."""
        return self.trees[0].tree

    @property
    def levels(self) -> tuple[LevelWeights, ...]:
        """Weights of the first tree, coarse to fine."""
        return self.trees[0].levels

    @property
    def num_features(self) -> int:
        """Sparse columns that rows must have, F."""
        return self.levels[0].num_features

    @property
    def num_weights(self) -> int:
        """Stored weights of all trees."""
        return sum(tree.num_weights for tree in self.trees)

    def describe(self) -> str:
        """Nodes of each level of each tree, such as `16-256-3956, 16-256-3956`.

        Returns:
            The numbers, trees joined by `, `.
        """
        return ", ".join(tree.tree.describe() for tree in self.trees)

    def search(
        self,
        X: HybridMatrix,
        k: int,
        params: SearchParams,
        num_threads: int | None = None,
        constraint: Constraint | None = None,
    ) -> sp.csr_array:
        """The `k` best labels of each row by the mean of the trees' scores: (N, L), in [0, 1]; only
        such as the constraint lets through, where there is one.

        Args:
            X: N rows.
            k: most labels of a row.
            params: beam size and path weight.
            num_threads: threads; None for the default.
            constraint: which labels are let through; None: all.

        Returns:
            The scores, csr_array.

        Raises:
            DataError: k is below 1 or the rows have other columns than the weights.
        """
        each = self.named_in_each(k)
        of_trees = [
            beam_search(tree.levels, X, each, params, num_threads=num_threads)
            if constraint is None
            else constrained_search(
                tree.levels, tree.tree, X, each, params, constraint, num_threads
            )
            for tree in self.trees
        ]
        return mean_scores([exp_scores(part) for part in of_trees], k)

    def named_in_each(self, k: int) -> int:
        """How many labels each tree names for a row where all together name `k`.

        Args:
            k: labels that all trees together name.

        Returns:
            `k` for one tree, else at least FOUND_IN_EACH.
        """
        return k if len(self.trees) == 1 else max(k, FOUND_IN_EACH)

    def score_pairs(
        self,
        X: HybridMatrix,
        pairs_NL: sp.csr_array,
        params: SearchParams,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        """The mean of the trees' exact scores of the stored entries of `pairs_NL`: (N, L).

        Args:
            X: N rows.
            pairs_NL: pairs of rows and labels, the stored entries of a csr_array (N, L).
            params: path weight.
            num_threads: threads; None for the default.

        Returns:
            The scores, csr_array.

        Raises:
            DataError: the rows have other columns than the weights.
        """
        total_E = score_paths(self.trees[0], X, pairs_NL, params, num_threads)
        for tree in self.trees[1:]:
            total_E = total_E + score_paths(tree, X, pairs_NL, params, num_threads)
        mean = sp.csr_array(pairs_NL.shape, dtype=np.float32)
        mean.indptr, mean.indices = pairs_NL.indptr, pairs_NL.indices
        mean.data = total_E / np.float32(len(self.trees))
        return mean

    def save(self, folder: Path) -> None:
        """Write one tree into the folder, several into its folders `0`, `1`, ...

        Args:
            folder: the folder.
        """
        for tree, home in zip(self.trees, tree_folders(folder, len(self.trees)), strict=True):
            tree.save(home)

    @classmethod
    def load(cls, folder: Path, mmap: bool = True) -> "TreeEnsemble":
        """Read what `save` wrote.

        Args:
            folder: the folder that `save` wrote.
            mmap: whether arrays are memory-mapped.

        Returns:
            The trees.

        Raises:
            ArtifactError: it is damaged.
        """
        numbers = sorted(path.name for path in folder.glob("[0-9]*") if path.is_dir())
        if numbers and set(numbers) != {str(i) for i in range(len(numbers))}:
            raise ArtifactError(f"{folder}: trees {', '.join(numbers)} are not 0, 1, ...; retrain")
        homes = tree_folders(folder, max(1, len(numbers)))
        trees = tuple(TreeRanker.load(home, mmap) for home in homes)
        shapes = {
            (tree.tree.num_labels, level.num_features, level.num_dense)
            for tree in trees
            for level in tree.levels
        }
        if len(shapes) != 1:
            raise ArtifactError(
                f"{folder}: levels and trees of other labels and columns than each other; "
                "copy the model again from where it came, or train it anew"
            )
        return cls(trees)

    def check(self, num_threads: int | None = None) -> None:
        """Look at all weights that came from disk.

        Args:
            num_threads: threads; None for the default.

        Raises:
            ArtifactError: some are damaged.
        """
        for tree in self.trees:
            tree.check(num_threads)


def tree_folders(folder: Path, num_trees: int) -> list[Path]:
    """Where what belongs to each tree lies: the folder itself for one, else its `0`, `1`, ...

    Args:
        folder: the folder of all trees.
        num_trees: number of trees.

    Returns:
        A folder for each tree.
    """
    return [folder] if num_trees == 1 else [folder / str(i) for i in range(num_trees)]


def tree_seed(seed: int, index: int) -> int:
    """The seed of a tree: the first has the model's own, and no other model's seed is near.

    Args:
        seed: the model's seed.
        index: number of the tree, from 0.

    Returns:
        The seed.
    """
    return seed + 1_000_003 * index


def exp_scores(log_scores_NL: sp.csr_array) -> sp.csr_array:
    """Log scores as scores in [0, 1]; the pattern stays.

    Args:
        log_scores_NL: log scores, csr_array (N, L).

    Returns:
        Scores, with the same pattern.
    """
    scores = copy.copy(log_scores_NL)
    scores.data = np.exp(log_scores_NL.data)
    return scores


def mean_scores(parts: Sequence[sp.csr_array], k: int) -> sp.csr_array:
    """The `k` best columns of each row by the mean of the matrices; absent counts 0.

    An entry of 0 stays an entry: it was found. Columns of each row must ascend.

    Args:
        parts: scores by each tree, csr_array (N, L), at least one.
        k: most columns of a row.

    Returns:
        The mean scores, csr_array (N, L).
    """
    if len(parts) == 1:
        few = parts[0].nnz <= k or np.diff(parts[0].indptr).max(initial=0) <= k
        return parts[0] if few else top_k_rows(parts[0], k)
    mean = sum_csr(parts)
    mean.data = mean.data / np.float32(len(parts))
    return top_k_rows(mean, k)
