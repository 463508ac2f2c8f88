"""Balanced k-means and the tree it grows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.slow_linear import split_in_two
from xrt.errors import ConfigError
from xrt.hybrid import HybridMatrix
from xrt.sparse import normalize_rows
from xrt.tree.clustering import TreeParams, _two_means, _two_of, build_tree, split_balanced


def points(seed, n, features=20, dense=3):
    rng = np.random.default_rng(seed)
    matrix = HybridMatrix.of(
        rng.random((n, features)) * (rng.random((n, features)) < 0.3), rng.normal(size=(n, dense))
    )
    return HybridMatrix(normalize_rows(matrix.sparse), matrix.dense)


@pytest.mark.parametrize("seed", range(8))
def test_two_means_equals_the_slow_twin(seed):
    Z = points(seed, 31)
    members = np.arange(31, dtype=np.int32)
    scratch = np.zeros((20, 2), np.float32)
    ours = _two_means(
        Z.sparse.indptr,
        Z.sparse.indices,
        Z.sparse.data,
        Z.dense,
        members,
        20,
        np.uint64(seed),
        scratch,
    )
    slow = split_in_two(np.hstack([Z.sparse.toarray(), Z.dense]), 20, *_two_of(31, np.uint64(seed)))
    assert set(ours[:16]) == set(np.flatnonzero(~slow))
    assert not scratch.any()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 80), st.integers(0, 6), st.integers(0, 2**40), st.booleans())
def test_sizes_differ_by_at_most_one(n, num_splits, seed, all_equal):
    Z = points(seed % 1000, n)
    if all_equal:
        Z = HybridMatrix.of(np.ones((n, 4)))
    sizes = np.bincount(split_balanced(Z, num_splits, 5, seed), minlength=2**num_splits)
    assert sizes.sum() == n
    assert sizes.max() - sizes.min() <= 1


def test_same_seed_same_tree_whatever_the_threads():
    Z = points(0, 500)
    trees = [build_tree(Z, TreeParams(max_leaf_size=10), 4, num_threads=n) for n in (1, 2)]
    other = build_tree(Z, TreeParams(max_leaf_size=10), 5)
    assert all(
        np.array_equal(a, b) for a, b in zip(trees[0].parents, trees[1].parents, strict=True)
    )
    assert any(
        not np.array_equal(a, b) for a, b in zip(trees[0].parents, other.parents, strict=True)
    )


def test_clear_groups_come_apart():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 8)
    Z = HybridMatrix.of(np.eye(4)[group] + 0.05 * rng.random((32, 4)))
    leaf = split_balanced(Z, 2, 20, seed=1)
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
