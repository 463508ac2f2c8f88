"""Label trees and their rankers: label features are made once for all trees, each has a seed.

N rows, L labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from xrt.data.label_paths import read_label_paths
from xrt.data.labels import LabelTable
from xrt.errors import ConfigError
from xrt.features.label_features import pifa_hybrid
from xrt.hybrid import HybridMatrix
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.word_trees import columns_of, first_columns, ranker_params_of
from xrt.progress import Progress
from xrt.sources.ranker import TreeRanker, train_ranker
from xrt.sources.trees import TreeEnsemble, tree_seed
from xrt.storage.atomic import sha256_of
from xrt.storage.hashing import content_hash
from xrt.storage.stages import Hash, Settings, Stage, Workspace
from xrt.tree.clustering import TreeParams, build_inside, build_tree, is_flat
from xrt.tree.label_tree import LabelTree

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
        self,
        params: TreeParams,
        seed: int,
        paths: Sequence[Sequence[str]] | None = None,
        index: int = 0,
    ) -> LabelTree:
        """A tree of clusters, inside the labels' paths where there are any.

        Args:
            params: settings of the tree.
            seed: seed of the clustering; the same seed makes the same tree.
            paths: names of each label's ancestors, the coarsest first; None for none.
            index: number of the tree among several, from 0; says its shape where they mix.

        Returns:
            The tree.
        """
        Z = self.label_features
        if paths is not None:
            return build_inside(Z, paths, params, seed, self.num_threads, self.progress)
        return build_tree(Z, params, seed, self.num_threads, self.progress, index)


def taxonomy_tree(params: TreeParams, labels: LabelTable) -> LabelTree | None:
    """The taxonomy that the settings name, if it is the whole tree.

    Args:
        params: settings of the tree.
        labels: the labels.

    Returns:
        The tree; None where clusters are to be grown.

    Raises:
        DataError: the file is unreadable.
    """
    if params.paths is None or params.inside:
        return None
    return LabelTree.from_paths(read_label_paths(params.paths, labels))


def paths_above(params: TreeParams, labels: LabelTable) -> list[tuple[str, ...]] | None:
    """The ancestors of each label where clusters grow inside a taxonomy.

    Args:
        params: settings of the tree.
        labels: the labels.

    Returns:
        Names of each label's ancestors, the coarsest first; None where clusters grow without a
        taxonomy.

    Raises:
        ConfigError: no taxonomy is named.
        DataError: its file is unreadable.
    """
    if not params.inside:
        return None
    if params.paths is None:
        raise ConfigError("tree.inside=true needs a taxonomy; name its file: tree.paths=FILE")
    return read_label_paths(params.paths, labels)


def taxonomy_input(params: TreeParams, labels: LabelTable) -> dict[str, Hash]:
    """The content of the taxonomy's file as an input of every stage that a tree reaches: the
    setting says only where it lies.

    Args:
        params: settings of the tree.
        labels: the labels.

    Returns:
        The hash by the name of the input; empty where there is no file.
    """
    if params.paths is None or not Path(params.paths).is_file():  # refused where it is read
        return {}
    return {"taxonomy": content_hash([sha256_of(params.paths), list(labels.ids)])}


def tree_seeds(params: TreeParams, num_trees: int, seed: int, num_labels: int) -> list[int]:
    """A seed for each tree that is unlike the others: of a taxonomy or a flat tree there is one.

    Args:
        params: settings of the tree.
        num_trees: how many trees the settings ask for.
        seed: seed of the run.
        num_labels: number of labels.

    Returns:
        The seeds.
    """
    given = params.paths is not None and not params.inside
    if given or (not params.inside and is_flat(num_labels, params)):
        num_trees = 1
    return [tree_seed(seed, index) for index in range(num_trees)]


@dataclass(frozen=True, eq=False)
class PlantedTree:
    """A label tree, the seed of its rankers, and its hash."""

    tree: LabelTree
    seed: int
    hash: Hash


TREE = Stage[LabelTree](
    "tree", 3, ("tree",),
    save=lambda tree, folder: tree.save(folder / "tree"),
    load=lambda folder: LabelTree.load(folder / "tree"),
)  # fmt: skip


def _save_ranker(ranker: TreeRanker, folder: Path) -> None:
    ranker.save(folder / "ranker")


RANKER = Stage[TreeRanker](
    "ranker", 4, ("ranker",), _save_ranker, lambda folder: TreeRanker.load(folder / "ranker")
)


def grow_trees(
    runner: StageRunner,
    name: str,
    X: HybridMatrix,
    Y_NL: sp.csr_array,
    labels: LabelTable,
    inputs: Mapping[str, Hash],
    params: TreeParams | None = None,
    num_trees: int = 1,
    words: int | None = None,
) -> list[PlantedTree]:
    """Stages 2 and 5: label trees over PIFA of the rows, or the taxonomy that the settings name.

    Args:
        runner: runs the stages.
        name: of the first stage; further trees have a number behind it.
        X: rows (N, F + H).
        Y_NL: their labels.
        labels: the label table.
        inputs: hashes of rows and labels.
        params: instead of the settings' `tree`.
        num_trees: how many, from different seeds.
        words: columns of words, which some trees see alone; None where all see all.

    Returns:
        The trees; one for a taxonomy or where one leaf holds all labels.
    """
    shape = runner.params.tree if params is None else params
    taxonomy, paths = taxonomy_tree(shape, labels), paths_above(shape, labels)
    growers = {
        columns: TreeGrower(rows_seen(X, columns), Y_NL, runner.num_threads, runner.progress)
        for columns in {columns_of(index, words) for index in range(num_trees)}
    }
    inputs = dict(inputs)
    if taxonomy is not None:
        inputs["paths"] = lambda: content_hash(list(taxonomy.parents))
    if paths is not None:
        inputs["paths"] = lambda: content_hash(paths)
    trees = []
    for index, seed in enumerate(tree_seeds(shape, num_trees, runner.params.seed, len(labels))):

        def make(
            settings: Settings, workspace: Workspace, seed: int = seed, index: int = index
        ) -> LabelTree:
            grower = growers[columns_of(index, words)]
            return grower.grow(shape, seed, paths, index) if taxonomy is None else taxonomy

        parameters = {"tree": shape, "seed": seed}
        if shape.mixes_shapes:
            parameters["index"] = index
        if (columns := columns_of(index, words)) is not None:
            parameters["columns"] = columns
        output = runner.run(TREE, make, inputs, numbered(name, index), parameters)
        trees.append(PlantedTree(output.value, seed, output.hash))
    return trees


def train_rankers(
    runner: StageRunner,
    name: str,
    X: HybridMatrix,
    Y_NL: sp.csr_array,
    trees: Sequence[PlantedTree],
    inputs: Mapping[str, Hash],
    words: int | None = None,
) -> TreeEnsemble:
    """Stages 3 and 6: the rankers of every level of each tree, one tree after the other.

    Args:
        runner: runs the stages.
        name: of the first stage; further trees have a number behind it.
        X: rows (N, F + H).
        Y_NL: their labels.
        trees: as `grow_trees` gives them.
        inputs: hashes of rows and labels.
        words: columns of words, which some trees see alone; None where all see all.

    Returns:
        The trees with their rankers.
    """
    rankers = []
    for index, planted in enumerate(trees):
        columns = columns_of(index, words)

        def make(
            settings: Settings,
            workspace: Workspace,
            planted: PlantedTree = planted,
            columns: int | None = columns,
        ) -> TreeRanker:
            spill = None if workspace.folder is None else workspace.folder / "ranker"
            seen, ranker = rows_seen(X, columns), settings["ranker"]
            if columns is not None:
                ranker = ranker_params_of(ranker, seen)
            return train_ranker(
                seen, Y_NL, planted.tree, ranker, planted.seed,
                runner.num_threads, runner.progress, spill,
            )  # fmt: skip

        own: dict[str, Hash] = {**inputs, "tree": planted.hash}
        stage_name = numbered(name, index)
        parameters: dict[str, Any] = {"seed": planted.seed}
        if columns is not None:
            parameters["columns"] = columns
        output = runner.run(RANKER, make, own, stage_name, parameters)
        rankers.append(output.value)
    return TreeEnsemble(tuple(rankers))


def rows_seen(X: HybridMatrix, columns: int | None) -> HybridMatrix:
    """The rows as a tree sees them.

    Args:
        X: rows (N, F + H).
        columns: the first columns that it sees; None for all.

    Returns:
        The rows.
    """
    return X if columns is None else first_columns(X, columns)


def numbered(name: str, index: int) -> str:
    """The name of the stage of a tree: `linear`, `linear-2`.

    Args:
        name: the name for the first tree.
        index: position of the tree, from 0.

    Returns:
        The name.
    """
    return name if index == 0 else f"{name}-{index + 1}"


def planted(trees: Sequence[LabelTree], seed: int) -> list[PlantedTree]:
    """Trees that need not be grown, with a seed each.

    Args:
        trees: the trees.
        seed: seed of the run.

    Returns:
        The trees with seed and hash.
    """
    return [
        PlantedTree(tree, tree_seed(seed, index), partial(content_hash, list(tree.parents)))
        for index, tree in enumerate(trees)
    ]
