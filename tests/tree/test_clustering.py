"""Balanced k-means and the tree it grows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.slow_linear import split_in_two
from xrt.errors import ConfigError
from xrt.hybrid import HybridMatrix
from xrt.sparse import normalize_rows
from xrt.tree import clustering
from xrt.tree.clustering import TreeParams, _Splitter, build_tree, split_balanced
from xrt.tree.two_means import halve, halve_at_median, two_means, two_of


def points(seed, n, features=20, dense=3):
    rng = np.random.default_rng(seed)
    matrix = HybridMatrix.of(
        rng.random((n, features)) * (rng.random((n, features)) < 0.3), rng.normal(size=(n, dense))
    )
    return HybridMatrix(normalize_rows(matrix.sparse), matrix.dense)


def rows_of(Z):
    return Z.sparse.indptr, Z.sparse.indices, Z.sparse.data, Z.dense


@pytest.mark.parametrize("dense", [0, 3])
@pytest.mark.parametrize("seed", range(8))
def test_two_means_equals_the_slow_twin(seed, dense):
    Z = points(seed, 31, dense=dense)
    ours = np.arange(31, dtype=np.int32)
    column_map = np.full(20, -1, np.int32)
    seeds = np.array([seed], np.uint64)
    halve(*rows_of(Z), ours, np.array([0, 31]), 20, 0.0, seeds, column_map)
    slow = split_in_two(np.hstack([Z.sparse.toarray(), Z.dense]), 20, *two_of(31, seeds[0]))
    assert ours[:16].tolist() == np.flatnonzero(~slow).tolist()
    assert ours[16:].tolist() == np.flatnonzero(slow).tolist()
    assert (column_map == -1).all()


def test_a_round_moves_less_than_the_tolerance_and_ends():
    """With half of the members as tolerance the first round is the last."""
    Z = points(0, 200)
    members, column_map = np.arange(200, dtype=np.int32), np.full(20, -1, np.int32)
    values = {
        rule: two_means(*rows_of(Z), members, *rule, np.uint64(1), column_map)[0].tolist()
        for rule in [(20, 1.0), (1, 0.0), (20, 0.0)]
    }
    assert values[20, 1.0] == values[1, 0.0] != values[20, 0.0]


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=40))
def test_the_lower_half_and_among_equals_the_first(values):
    side = np.full(len(values), -1, np.int8)
    halve_at_median(np.array(values, np.float32), side)
    ranked = np.argsort(values, kind="stable")
    assert sorted(ranked[: (len(values) + 1) // 2]) == np.flatnonzero(side == 0).tolist()


def test_a_sample_of_all_members_cuts_as_the_members_do():
    Z = points(3, 300)
    by_sample, whole = np.arange(300, dtype=np.int32), np.arange(300, dtype=np.int32)
    bounds, seeds = np.array([0, 150, 300]), np.array([5, 6], np.uint64)
    splitter = _Splitter(Z, 1)
    splitter.halve_by_samples(by_sample, bounds, seeds)
    splitter.halve(whole, bounds, seeds)
    assert by_sample.tolist() == whole.tolist()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 80),
    st.integers(0, 6),
    st.integers(0, 2**40),
    st.sampled_from(["", "all equal", "all zero"]),
    st.sampled_from([2, 7, 100]),
)
def test_sizes_differ_by_at_most_one(n, num_splits, seed, kind, max_sample):
    Z = points(seed % 1000, n)
    if kind:
        Z = HybridMatrix.of(np.full((n, 4), float(kind == "all equal")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clustering, "MAX_ROUNDS", 5)
        patch.setattr(clustering, "MAX_SAMPLE", max_sample)
        leaf_of_label = split_balanced(Z, num_splits, seed)
    sizes = np.bincount(leaf_of_label, minlength=2**num_splits)
    assert sizes.sum() == n
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("max_sample", [50, 1000])
def test_same_seed_same_tree_whatever_the_threads(monkeypatch, max_sample):
    monkeypatch.setattr(clustering, "_BLOCK_MEMBERS", 40)
    monkeypatch.setattr(clustering, "_PIECE_MEMBERS", 30)
    Z = points(0, 500)
    monkeypatch.setattr(clustering, "MAX_SAMPLE", max_sample)
    params = TreeParams(max_leaf_size=10)
    trees = [build_tree(Z, params, 4, num_threads=n) for n in (1, 2, 5)]
    other = build_tree(Z, params, 5)
    for tree in trees[1:]:
        assert all(map(np.array_equal, trees[0].parents, tree.parents))
    assert not all(map(np.array_equal, trees[0].parents, other.parents))


@pytest.mark.parametrize("max_sample", [10_000, 12])
def test_clear_groups_come_apart(monkeypatch, max_sample):
    monkeypatch.setattr(clustering, "MAX_SAMPLE", max_sample)
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 8)
    Z = HybridMatrix.of(np.eye(4)[group] + 0.05 * rng.random((32, 4)))
    leaf = split_balanced(Z, 2, seed=1)
    # each of the two halves is free of mixed groups only when every leaf holds one group
    purity = [len(set(group[leaf == c])) for c in range(4)]
    assert purity == [1, 1, 1, 1]


def test_the_shape_that_was_asked_for():
    Z = points(0, 1000)
    params = TreeParams(branching=4, max_leaf_size=10, max_top_nodes=8)
    tree = build_tree(Z, params, 0)
    assert tree.describe() == "8-32-128-1000"
    assert np.bincount(tree.parents[-1]).max() <= 10
    assert build_tree(Z, TreeParams(max_leaf_size=1000), 0).depth == 1


def test_labels_without_rows_and_fewer_labels_than_branching():
    Z = HybridMatrix.of(np.vstack([np.zeros((3, 5)), np.eye(5)[:2]]))
    tree = build_tree(Z, TreeParams(max_leaf_size=1), 0)
    assert tree.num_labels == 5
    with pytest.raises(ConfigError, match="branching = 1"):
        TreeParams(branching=1)
