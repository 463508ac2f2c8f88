"""Label trees of a linear model: label features made once for all of them, a seed for each.

N rows, L labels.
"""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import scipy.sparse as sp

from xrt.data.label_paths import read_label_paths
from xrt.data.labels import LabelTable
from xrt.data.splits import Split, validation_split
from xrt.errors import ConfigError, DataError
from xrt.features.label_features import pifa_hybrid
from xrt.hybrid import HybridMatrix
from xrt.progress import Progress
from xrt.sources.trees import tree_seed
from xrt.storage.atomic import sha256_of
from xrt.storage.hashing import content_hash
from xrt.tree.clustering import TreeParams, build_inside, build_tree
from xrt.tree.label_tree import LabelTree

logger = logging.getLogger(__name__)

MAX_PIFA_FEATURES = 1_000
"""Strongest TF-IDF columns of a label that the tree looks at; bounds memory for frequent labels."""


class TreeGrower:
    """Grows label trees over PIFA of rows X with labels Y; PIFA is made when a tree first needs it.

    The lengths of the two blocks of a row say how much each counts in the tree.
    """

    def __init__(
        self,
        X: HybridMatrix,
        Y_NL: sp.csr_array,
        num_threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Nothing is computed yet."""
        self.X, self.Y_NL = X, Y_NL
        self.num_threads, self.progress = num_threads, progress

    @cached_property
    def label_features(self) -> HybridMatrix:
        """Z: one row a label, of joint length 1."""
        return pifa_hybrid(
            self.X, self.Y_NL, max_features_per_label=MAX_PIFA_FEATURES,
            num_threads=self.num_threads, progress=self.progress,
        )  # fmt: skip

    def grow(
        self, params: TreeParams, seed: int, paths: Sequence[Sequence[str]] | None = None
    ) -> LabelTree:
        """A tree by balanced 2-means, inside the labels' paths where given; the same for the same
        seed.
        """
        Z = self.label_features
        if paths is not None:
            return build_inside(Z, paths, params, seed, self.num_threads, self.progress)
        return build_tree(Z, params, seed, self.num_threads, self.progress)


def given_tree(params: TreeParams, labels: LabelTable) -> LabelTree | None:
    """The taxonomy that the settings name, if it is the whole tree. Raises DataError when it is
    unreadable.
    """
    if params.paths is None or params.inside:
        return None
    return LabelTree.from_paths(read_label_paths(params.paths, labels))


def paths_above(params: TreeParams, labels: LabelTable) -> list[tuple[str, ...]] | None:
    """The ancestors of each label where clusters grow inside a taxonomy.

    Raises ConfigError when no taxonomy is named, DataError when its file is unreadable.
    """
    if not params.inside:
        return None
    if params.paths is None:
        raise ConfigError("tree.inside=true needs a taxonomy; name its file: tree.paths=FILE")
    return read_label_paths(params.paths, labels)


def taxonomy_input(params: TreeParams, labels: LabelTable) -> dict[str, str]:
    """The content of the taxonomy's file as an input of every stage that a tree reaches: the
    setting says only where it lies. Empty where there is none.
    """
    if params.paths is None or not Path(params.paths).is_file():  # what is missing is told later
        return {}
    return {"taxonomy": content_hash([sha256_of(params.paths), list(labels.ids)])}


def tree_seeds(params: TreeParams, num_trees: int, seed: int, num_labels: int) -> list[int]:
    """A seed for each tree that is unlike the others: of a taxonomy or a flat tree there is one."""
    given = params.paths is not None and not params.inside
    if given or num_labels <= params.max_leaf_size:
        num_trees = 1
    return [tree_seed(seed, index) for index in range(num_trees)]


def hold_out(Y_NL: sp.csr_array, size: int, seed: int) -> Split | None:
    """Rows to choose settings on: at most `size` and a tenth of all; None where none can be
    spared.
    """
    try:
        return validation_split(Y_NL, size=max(1, min(size, Y_NL.shape[0] // 10)), seed=seed)
    except DataError as err:
        logger.warning("path weight: %s; it stays 1", err)
        return None
