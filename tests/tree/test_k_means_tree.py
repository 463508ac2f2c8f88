"""Uneven k-means and the wide trees it grows."""

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference.slow_k_means import slow_k_means
from tests.tree.test_clustering import points, rows_of
from xrt.errors import ConfigError
from xrt.hybrid import HybridMatrix
from xrt.search.beam import SearchParams, beam_search
from xrt.sources.ranker import RankerParams, train_ranker
from xrt.tree import k_means_tree
from xrt.tree.clustering import TreeParams, TreeShape, build_tree, is_flat, tree_shape
from xrt.tree.k_means import assign, draw_distinct, k_means
from xrt.tree.k_means_tree import build_k_means_tree, clusters_of


def clustered(Z, k, rounds=20, tolerance=0.0, seed=1):
    members, column_map = np.arange(Z.num_rows, dtype=np.int32), np.full(20, -1, np.int32)
    result = k_means(*rows_of(Z), members, k, rounds, tolerance, np.uint64(seed), column_map)
    assert (column_map == -1).all()
    return result


@pytest.mark.parametrize("dense", [0, 3])
@pytest.mark.parametrize("seed", range(8))
def test_k_means_equals_the_slow_twin(seed, dense):
    Z = points(seed, 60, dense=dense)
    cluster, used, centroids_fk, centroids_Hk = clustered(Z, 7, seed=seed)
    together = np.hstack([Z.sparse.toarray(), Z.dense])
    slow_cluster, slow_kD = slow_k_means(together, 7, 20, 0.0, seed)
    assert cluster.tolist() == slow_cluster.tolist()
    ours = np.zeros((7, 20 + dense))
    ours[:, used], ours[:, 20:] = centroids_fk.T, centroids_Hk.T
    np.testing.assert_allclose(ours, slow_kD, atol=1e-5)


def test_points_of_zeros_and_more_clusters_than_kinds_of_points():
    Z = HybridMatrix.of(np.zeros((9, 20), np.float32))
    assert clustered(Z, 4)[0].tolist() == [0] * 9


def test_the_centroids_divide_the_sample_as_it_was():
    Z = points(5, 80)
    cluster, used, *centroids = clustered(Z, 6)
    place_F, again = np.full(20, -1, np.int32), np.empty(80, np.int32)
    place_F[used] = np.arange(len(used))
    assign(*rows_of(Z), np.arange(80, dtype=np.int32), place_F, *centroids, again)
    assert again.tolist() == cluster.tolist()


@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 5), (100, 7)])
def test_starting_points_are_different(n, k):
    drawn = draw_distinct(n, k, np.uint64(3))
    assert len(set(drawn.tolist())) == k
    assert drawn.min() >= 0
    assert drawn.max() < n


@pytest.mark.parametrize("max_sample", [50, 10_000])
def test_same_seed_same_tree_whatever_the_threads(monkeypatch, max_sample):
    monkeypatch.setattr(k_means_tree, "MAX_SAMPLE", max_sample)
    monkeypatch.setattr(k_means_tree, "_PIECE_MEMBERS", 40)
    Z = points(2, 400)
    one, two = (build_k_means_tree(Z, 12, 3, 7, threads) for threads in (1, 2))
    assert [level.tolist() for level in one.parents] == [level.tolist() for level in two.parents]
    other = build_k_means_tree(Z, 12, 3, 8, 1)
    assert [level.tolist() for level in one.parents] != [level.tolist() for level in other.parents]


def test_nodes_of_few_labels_are_not_divided():
    Z = points(4, 300)
    tree = build_k_means_tree(Z, 20, 2, 0)
    assert tree.depth == 3
    below = [np.bincount(tree.labels_below(t)) for t in range(2)]
    children = np.bincount(tree.parents[1])
    assert (children[below[0] < 20] == 1).all()  # single nodes continue them
    assert (children[below[0] >= 20] > 1).any()
    assert below[0].max() > below[0].min() + 1  # uneven


@pytest.mark.parametrize(
    ("num_labels", "fan_out", "clusters"),
    [(99, 100, 1), (100, 100, 12), (160, 100, 20), (9000, 100, 100)],
)  # fmt: skip
def test_few_labels_few_clusters(num_labels, fan_out, clusters):
    assert clusters_of(num_labels, fan_out) == clusters


def test_below_the_fan_out_the_tree_is_flat():
    params = TreeParams(shape=TreeShape.k_means, fan_out=50)
    assert build_tree(points(0, 49), params, 0).depth == 1
    assert is_flat(49, params)
    assert not is_flat(50, params)
    assert build_tree(points(0, 50), params, 0).depth == 2


def test_depth_is_a_limit():
    Z = points(1, 2000)
    assert build_k_means_tree(Z, 16, 1, 0).depth == 2
    assert build_k_means_tree(Z, 16, 3, 0).depth == 4


def test_a_setting_of_halves_takes_halves():
    assert TreeParams().mixes_shapes
    assert TreeParams().shape_of(0) is TreeShape.k_means
    assert TreeParams(max_leaf_size=25).shape_of(0) is TreeShape.halves
    assert TreeParams(max_leaf_size=25, shape=TreeShape.k_means).shape_of(1) is TreeShape.k_means
    both = TreeParams(shape=TreeShape.both)
    assert [both.shape_of(i).value for i in range(3)] == ["k_means", "halves", "k_means"]


def test_shapes_have_names():
    assert tree_shape("both") is TreeShape.both
    assert tree_shape(None) is None
    with pytest.raises(ConfigError, match="shape = 'round': choose one of k_means, halves, both"):
        tree_shape("round")


def test_both_grows_trees_of_each_shape():
    Z, params = points(3, 500), TreeParams(shape=TreeShape.both, max_leaf_size=50)
    sizes = [np.bincount(build_tree(Z, params, 0, index=i).labels_below(0)) for i in (0, 1)]
    assert sizes[0].max() - sizes[0].min() > 1
    assert sizes[1].max() - sizes[1].min() <= 1


def test_rankers_of_an_uneven_tree_find_the_labels():
    """Labels that are a column each: every row's own label comes first."""

    num_labels = 120
    X = HybridMatrix.of(sp.csr_array(np.repeat(np.eye(num_labels, dtype=np.float32), 3, axis=0)))
    Y = sp.csr_array(np.repeat(np.eye(num_labels, dtype=np.float32), 3, axis=0))
    tree = build_k_means_tree(
        HybridMatrix.of(sp.csr_array(np.eye(num_labels, dtype=np.float32))), 30, 2, 0
    )
    ranker = train_ranker(X, Y, tree, RankerParams(), 0)
    scores = beam_search(ranker.levels, X, 1, SearchParams(beam_size=100))
    assert scores.indices.tolist() == np.repeat(np.arange(num_labels), 3).tolist()
