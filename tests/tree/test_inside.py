"""K-means inside a taxonomy: its nodes on top, clusters of its larger groups below."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.slow_linear import exhaustive_scores
from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.errors import ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trainer import Trainer
from xrt.pipeline.trees import paths_above, taxonomy_tree, tree_seeds
from xrt.search.beam import SearchParams, beam_search
from xrt.sources.ranker import RankerParams
from xrt.sources.trees import tree_seed
from xrt.sparse import normalize_rows
from xrt.tree.clustering import TreeParams, build_inside, build_tree

PATHS = (
    [("home", "kitchen")] * 40 + [("home",)] * 9 + [("food", "tea")] * 3 + [()] * 12 + [("toys",)]
)


def features(num_labels: int, kind: str = "", seed: int = 0) -> HybridMatrix:
    rng = np.random.default_rng(seed)
    rows = rng.random((num_labels, 12)) * (rng.random((num_labels, 12)) < 0.4)
    if kind:
        rows[:] = float(kind == "all equal")
    return HybridMatrix(
        normalize_rows(sp.csr_array(rows.astype(np.float32))), np.zeros((num_labels, 0), np.float32)
    )


def sizes_below(tree, t):
    return np.bincount(tree.labels_below(t), minlength=tree.num_nodes(t))


def test_same_seed_same_tree_whatever_the_threads():
    Z, params = features(len(PATHS)), TreeParams(max_leaf_size=5, branching=2)
    trees = [build_inside(Z, PATHS, params, 4, threads) for threads in (1, 3)]
    assert all(map(np.array_equal, trees[0].parents, trees[1].parents))
    other = build_inside(Z, PATHS, params, 5)
    assert not all(map(np.array_equal, trees[0].parents, other.parents))


def test_the_upper_levels_are_the_taxonomy_and_large_groups_are_split():
    tree = build_inside(features(len(PATHS)), PATHS, TreeParams(max_leaf_size=5, branching=4), 0)
    # food, home, toys, none; then home's kitchen and its own labels, tea, and where paths end
    assert tree.describe() == "4-5-6-16-65"
    assert sorted(sizes_below(tree, 0)) == [1, 3, 12, 49]
    assert sorted(sizes_below(tree, 1)) == [1, 3, 9, 12, 40]
    assert sizes_below(tree, 3).max() <= 5
    assert np.bincount(tree.parents[2]).max() <= 4
    # 40 labels of the kitchen: eight clusters of five
    kitchen = tree.labels_below(1)[0]
    assert set(sizes_below(tree, 3)[np.unique(tree.labels_below(3)[:40])]) == {5}
    assert set(np.flatnonzero(tree.labels_below(1) == kitchen)) == set(range(40))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["a", "b"]), max_size=3).map(tuple), min_size=1, max_size=60),
    st.sampled_from(["", "all equal", "all zero"]),
    st.sampled_from([None, 0, 1, 2]),
    st.integers(1, 9),
)
def test_labels_stay_below_their_ancestors(paths, kind, depth, max_leaf_size):
    params = TreeParams(max_leaf_size=max_leaf_size, branching=2, inside=True)
    cut = [path[:depth] for path in paths]
    tree = build_inside(features(len(paths), kind), cut, params, 1)
    assert sizes_below(tree, tree.depth - 1).tolist() == [1] * len(paths)
    for t in range(max(map(len, cut))):
        nodes = tree.labels_below(t)
        # a node is a way of the taxonomy: same ancestors, same node, and the other way round
        ways = [(path[: t + 1], len(path) > t) for path in cut]
        assert len(set(zip(nodes.tolist(), ways, strict=True))) == len(set(ways)) == len(set(nodes))
    if tree.depth > 1:
        groups = {way for way in cut}
        if max(map(cut.count, groups)) > max_leaf_size:
            assert sizes_below(tree, tree.depth - 2).max() <= max_leaf_size


def test_without_ancestors_it_is_the_plain_tree():
    Z = features(65)
    params = TreeParams(max_leaf_size=5, inside=True)
    inside, plain = build_inside(Z, [()] * 65, params, 3), build_tree(Z, params, 3)
    assert all(map(np.array_equal, inside.parents, plain.parents))
    one_group = build_inside(Z, [("all",)] * 65, TreeParams(max_leaf_size=5), 3)
    for t in range(plain.depth):
        assert np.array_equal(sizes_below(one_group, t + 1), sizes_below(plain, t))
    with pytest.raises(DataError, match="64 paths for 65 labels"):
        build_inside(Z, PATHS[:64], params, 3)


def test_small_groups_are_not_split():
    tree = build_inside(features(65), PATHS, TreeParams(max_leaf_size=40), 0)
    assert tree.describe() == "4-5-65"


def test_a_full_beam_is_exhaustive(tmp_path: Path):
    rng = np.random.default_rng(0)
    X_NF = normalize_rows(sp.csr_array(rng.random((80, 30), np.float32)))
    Y_NL = sp.csr_array((rng.random((80, 65)) < 0.05).astype(np.float32))
    corpus = Corpus(texts=None, X=X_NF, Y=Y_NL, labels=LabelTable.from_ids(map(str, range(65))))
    lines = [f"{label}\t{' > '.join(path[:1])}\n" for label, path in enumerate(PATHS)]
    (tmp_path / "paths.tsv").write_text("".join(lines))
    shape = TreeParams(paths=str(tmp_path / "paths.tsv"), inside=True, max_leaf_size=5, branching=4)
    ranker = RankerParams(threshold=0.0)
    params = PipelineParams(tree=shape, ranker=ranker, seed=7, num_trees=2, fused=False)
    model = Trainer(params).fit(corpus).model
    trees = [ranker.tree for ranker in model.trees.trees]
    assert [tree.num_nodes(0) for tree in trees] == [4, 4]
    assert not np.array_equal(trees[0].labels_below(2), trees[1].labels_below(2))
    X = HybridMatrix.of(X_NF)
    for ranker in model.trees.trees:
        result = beam_search(ranker.levels, X, 65, SearchParams(beam_size=65, path_weight=1.0))
        expected = [exhaustive_scores(ranker.levels, ranker.tree, row) for row in X_NF.toarray()]
        np.testing.assert_allclose(result.toarray(), expected, rtol=1e-3, atol=1e-4)
        assert np.diff(result.indptr).min() == 65


def test_settings_say_which_trees_there_are(tmp_path: Path):
    inside = TreeParams(paths="paths.tsv", inside=True, max_leaf_size=2)
    assert taxonomy_tree(inside, LabelTable.from_ids("ab")) is None
    assert tree_seeds(inside, 3, 5, 11) == [tree_seed(5, index) for index in range(3)]
    with pytest.raises(ConfigError, match=r"tree\.inside=true needs a taxonomy"):
        paths_above(TreeParams(inside=True), LabelTable.from_ids("ab"))
