"""What a further fit keeps of an earlier model: its vocabulary and its label trees.

What does not fit the earlier model is refused before any work is done. Its weights are not kept:
starting from them saves sweeps, but takes as long as the sweeps that it saves
(bench/records/2026-11-21-warm-start.md).
"""

import numpy as np

from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.errors import ConfigError, DataError
from xrt.features.tfidf_params import TfidfParams
from xrt.model import XrtModel
from xrt.sources.linear_trees import LinearTrees
from xrt.tree.label_tree import LabelTree

ANEW = "fit with warm_start=False to start anew"


def require_same_inputs(
    earlier: XrtModel, corpus: Corpus, features: TfidfParams, num_dense: int
) -> None:
    """Check that rows, or texts, and labels are of the earlier model's kind.

    Args:
        earlier: the earlier model.
        corpus: the training corpus.
        features: settings of TF-IDF.
        num_dense: number of dense features of a row.

    Raises:
        DataError: texts or features, their numbers, or the labels are other than the earlier
            model's.
        ConfigError: other settings of TF-IDF.
    """
    _require_same_labels(earlier.labels, corpus.labels)
    reads, given = earlier.features is not None, corpus.texts is not None
    if reads != given:
        kinds = {True: "texts", False: f"rows of {earlier.num_features} features"}
        raise DataError(
            f"the earlier model was trained on {kinds[reads]}, not on "
            f"{'texts' if given else 'rows'}; give it such, or {ANEW}"
        )
    if earlier.features is not None:
        if earlier.features.params != features:
            raise ConfigError(
                f"features = {features}: the earlier vocabulary was made with "
                f"{earlier.features.params}; leave features out, or {ANEW}"
            )
    elif corpus.X is not None and corpus.X.shape[1] != earlier.num_features:
        raise DataError(
            f"rows have {corpus.X.shape[1]} sparse features, the earlier model was trained on "
            f"{earlier.num_features}; give rows of the same columns, or {ANEW}"
        )
    before = earlier.source(LinearTrees).ensemble.levels[0].num_dense
    if num_dense != before:
        raise DataError(
            f"rows have {num_dense} dense features, the earlier model was trained on {before}; "
            f"give as many, or {ANEW}"
        )


def earlier_trees(
    earlier: XrtModel, num_trees: int, given: LabelTree | None = None
) -> tuple[LabelTree, ...]:
    """The earlier model's label trees, in memory.

    Args:
        earlier: the earlier model.
        num_trees: how many trees the settings ask for.
        given: a tree that the settings name; None for none.

    Returns:
        Copies of the trees.

    Raises:
        ConfigError: the earlier model has another number of trees, or another tree than `given`.
    """
    trees = [ranker.tree for ranker in earlier.source(LinearTrees).trees]
    if given is not None and not _same_tree(given, trees[0]):
        raise ConfigError(
            f"the tree given, {given.describe()}, is not the earlier model's, "
            f"{trees[0].describe()}; leave it out, or {ANEW}"
        )
    if num_trees != len(trees):
        raise ConfigError(
            f"num_trees = {num_trees}: the earlier model has {len(trees)}; "
            f"set num_trees={len(trees)}, or {ANEW}"
        )
    # Copies: the new model must not hang on the earlier one's folder, and compiled code would be
    # compiled once more for arrays that cannot be written.
    return tuple(LabelTree(tuple(np.array(level) for level in tree.parents)) for tree in trees)


def _require_same_labels(before: LabelTable, now: LabelTable) -> None:
    if len(now) != len(before):
        raise DataError(
            f"{len(now)} labels, the earlier model has {len(before)}; give the earlier labels "
            f"in their order (labels_), or {ANEW}"
        )
    for column, (old, new) in enumerate(zip(before.ids, now.ids, strict=True)):
        if old != new:
            raise DataError(
                f"label {column} is {new!r}, in the earlier model {old!r}; give the earlier labels "
                f"in their order (labels_), or {ANEW}"
            )


def _same_tree(one: LabelTree, other: LabelTree) -> bool:
    return one.depth == other.depth and all(
        np.array_equal(a, b) for a, b in zip(one.parents, other.parents, strict=True)
    )
