"""XRLinear's trees: how many, of which shape, given or grown, and how their scores are weighed."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from tests.estimators.test_estimators import Tiny, dense, linear
from xrt.data.corpus import Corpus, LabelTable
from xrt.errors import DataError
from xrt.estimators import XRLinear
from xrt.fusion.path_weight import PATH_WEIGHTS
from xrt.storage.artifact import open_artifact
from xrt.tree.label_tree import LabelTree


def test_a_path_weight_is_chosen_on_rows_held_out(tiny_corpus: Tiny, tmp_path: Path):
    texts, Y_NL, _ = tiny_corpus
    estimator = linear(path_weight=None, validation_rows=3).fit(texts, Y_NL)
    assert estimator.path_weight is None
    assert estimator.model_.search.path_weight in PATH_WEIGHTS
    estimator.save(tmp_path / "m")
    loaded = XRLinear.load(tmp_path / "m")
    assert loaded.path_weight is None
    assert loaded.model_.search == estimator.model_.search
    np.testing.assert_array_equal(dense(loaded.predict(texts)), dense(estimator.predict(texts)))


def test_several_trees_share_rows_and_are_saved_together(tiny_corpus: Tiny, tmp_path: Path):
    texts, Y_NL, _ = tiny_corpus
    estimator = linear(num_trees=3).fit(texts, Y_NL)
    trees = estimator.model_.trees.trees
    assert len(trees) == 3
    alone = linear().fit(texts, Y_NL).model_.trees.trees
    np.testing.assert_array_equal(trees[0].tree.parents[-1], alone[0].tree.parents[-1])
    np.testing.assert_array_equal(
        trees[0].levels[-1].entry_values, alone[0].levels[-1].entry_values
    )
    assert any((tree.tree.parents[-1] != alone[0].tree.parents[-1]).any() for tree in trees[1:])
    estimator.save(tmp_path / "m")
    assert "first of 3 trees" in (tmp_path / "m" / "README.md").read_text()
    assert open_artifact(tmp_path / "m").manifest["tree"] == "4-10, 4-10, 4-10"
    loaded = XRLinear.load(tmp_path / "m")
    np.testing.assert_array_equal(dense(loaded.predict(texts)), dense(estimator.predict(texts)))
    whole_NL = dense(estimator.predict(texts, 10))
    assert whole_NL.max() <= 1
    alone_NL = np.vstack([dense(estimator.predict([text], 10)) for text in texts])
    np.testing.assert_array_equal(alone_NL, whole_NL)


def test_half_precision_halves_the_weights_and_ranks_alike(tiny_corpus: Tiny, tmp_path: Path):
    texts, Y_NL, _ = tiny_corpus
    whole, half = (linear(num_trees=2, half=half).fit(texts, Y_NL) for half in (False, True))
    kept = [level.entry_values for tree in half.model_.trees.trees for level in tree.levels]
    assert {values.dtype for values in kept} == {np.dtype(np.float16)}
    scores_NL = dense(half.predict(texts, 3))
    np.testing.assert_allclose(scores_NL, dense(whole.predict(texts, 3)), atol=5e-3)
    half.save(tmp_path / "m")
    loaded = XRLinear.load(tmp_path / "m")
    assert loaded.half
    np.testing.assert_array_equal(dense(loaded.predict(texts, 3)), scores_NL)


def test_a_tree_without_clusters_is_only_one(tiny_corpus: Tiny):
    texts, Y_NL, _ = tiny_corpus
    estimator = linear(num_trees=3, max_leaf_size=1000).fit(texts, Y_NL)
    assert len(estimator.model_.trees.trees) == 1


def test_a_given_tree_is_used_instead_of_clusters(tiny_corpus: Tiny, tmp_path: Path):
    texts, Y_NL, names = tiny_corpus
    tree = LabelTree.from_paths([["colour"]] * 4 + [["thing"]] * 4 + [["size"]] * 2)
    estimator = linear(tree=tree, num_trees=3).fit(texts, Y_NL)
    assert [ranker.tree for ranker in estimator.model_.trees.trees] == [tree]
    scores_NL = dense(estimator.predict(texts, k=3))
    np.testing.assert_array_equal(scores_NL > 0.5, Y_NL.toarray() > 0)
    kinds = ["colour"] * 4 + ["thing"] * 4 + ["size"] * 2
    lines = [f"{name}\t{kind}\n" for name, kind in zip(names, kinds, strict=True)]
    (tmp_path / "paths.tsv").write_text("".join(lines))
    corpus = Corpus(texts=texts, Y=sp.csr_array(Y_NL), labels=LabelTable.from_ids(names))
    of_file = linear(paths=str(tmp_path / "paths.tsv")).fit(corpus)
    np.testing.assert_array_equal(dense(of_file.predict(texts, k=3)), scores_NL)
    of_file.save(tmp_path / "m")
    assert str(tmp_path) not in (tmp_path / "m" / "manifest.json").read_text()
    assert XRLinear.load(tmp_path / "m").paths is None
    with pytest.raises(DataError, match="Y has 9 labels, the tree 10"):
        linear(tree=tree).fit(texts, Y_NL[:, :9])
