"""The shortlist: all nodes = exhaustive search from its level down, recall, refusals."""

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference.slow_linear import exhaustive_scores
from xrt.errors import ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.ranker import RankerParams, train_ranker
from xrt.search.beam import SearchParams, beam_search
from xrt.search.shortlist import IndexKind, Shortlist, ShortlistParams, centroids, entry_beam
from xrt.sparse import as_csr
from xrt.tree.clustering import TreeParams, build_tree
from xrt.tree.label_tree import LabelTree
from xrt.tree.path_scores import PathTransform

NUM_LABELS = 40


@pytest.fixture(scope="module")
def trained():
    """Rows around the centres of their two labels, sparse and dense, and a tree of three levels."""
    rng = np.random.default_rng(0)
    centres = rng.random((NUM_LABELS, 30)) * (rng.random((NUM_LABELS, 30)) < 0.2)
    labels = rng.integers(0, NUM_LABELS, (250, 2))
    Y = np.zeros((250, NUM_LABELS), np.float32)
    np.put_along_axis(Y, labels, 1, axis=1)
    rows = centres[labels].sum(1)
    dense = rng.normal(size=(250, 5)) + rows[:, :5]
    X = HybridMatrix.of(rows, dense / np.linalg.norm(dense, axis=1, keepdims=True))
    tree = build_tree(
        HybridMatrix.of(sp.csr_array(centres)),
        TreeParams(branching=2, max_leaf_size=6, max_top_nodes=4),
        0,
    )
    assert tree.depth == 3
    return X, as_csr(Y), train_ranker(X, as_csr(Y), tree, RankerParams(threshold=0.02), seed=0)


def shortlist_of(trained, level, kind=IndexKind.flat, width=1000):
    X, Y, ranker = trained
    vectors = centroids(X.dense, ranker.tree.level_targets(Y)[level])
    return Shortlist(vectors, ShortlistParams(index=kind, width=width), level)


@pytest.mark.parametrize("level", [0, 1])
def test_all_nodes_in_the_shortlist_equal_exhaustive_search_from_there(trained, level):
    X, _, ranker = trained
    shortlist = shortlist_of(trained, level)
    found = shortlist.find(X.dense)
    assert found.nnz == X.num_rows * ranker.tree.num_nodes(level)
    start = entry_beam(ranker.levels[level], ranker.tree, level, found, X, PathTransform.l3_hinge)
    scores = beam_search(
        ranker.levels[level + 1 :],
        X,
        NUM_LABELS,
        SearchParams(beam_size=NUM_LABELS, path_weight=1.0),
        start=start,
    )
    parents = ranker.tree.parents
    below = LabelTree((np.zeros_like(parents[level]), *parents[level + 1 :]))
    rows = np.hstack([X.sparse.toarray(), X.dense])
    expected = [exhaustive_scores(ranker.levels[level:], below, row) for row in rows]
    np.testing.assert_allclose(scores.toarray(), expected, rtol=1e-3, atol=1e-4)
    assert np.diff(scores.indptr).min() == NUM_LABELS


def test_only_nodes_of_the_shortlist_are_entered(trained):
    X, _, ranker = trained
    few = shortlist_of(trained, 1, width=3).find(X.dense)
    every = shortlist_of(trained, 1).find(X.dense)
    level = (ranker.levels[1], ranker.tree, 1)
    narrow = entry_beam(*level, few, X, PathTransform.l3_hinge)
    wide = entry_beam(*level, every, X, PathTransform.l3_hinge)
    np.testing.assert_array_equal(narrow.indptr, few.indptr)
    np.testing.assert_array_equal(narrow.indices, few.indices)
    np.testing.assert_array_equal(narrow.toarray(), wide.toarray() * few.toarray())
    assert entry_beam(*level, few[:0], X.take(np.arange(0)), PathTransform.sigmoid).nnz == 0


def clustered_vectors(num_nodes=2000, width=32):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, width))
    vectors = centres[rng.integers(0, 40, num_nodes)] + 0.7 * rng.normal(size=(num_nodes, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[rng.integers(0, num_nodes, 100)] + 0.1 * rng.normal(size=(100, width))
    return vectors.astype(np.float32), queries.astype(np.float32)


def test_flat_recall_is_1_where_the_shortlist_is_wide_enough():
    vectors, queries = clustered_vectors(300)
    shortlist = Shortlist(vectors, ShortlistParams(index=IndexKind.flat, width=10), 0)
    assert shortlist.recall(queries, 10) == shortlist.recall(queries, 4) == 1.0
    assert shortlist.recall(queries, 20) == pytest.approx(0.5)
    assert (np.diff(shortlist.find(queries, 7).indptr) == 7).all()


def test_hnsw_finds_nearly_all():
    vectors, queries = clustered_vectors()
    shortlist = Shortlist(vectors, ShortlistParams(index=IndexKind.hnsw), 0)
    assert shortlist.recall(queries, 10) > 0.9
    again = Shortlist(vectors, ShortlistParams(index=IndexKind.hnsw), 0)
    np.testing.assert_array_equal(shortlist.find(queries).toarray(), again.find(queries).toarray())


def test_centroids_equal_a_loop():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(30, 4)).astype(np.float32)
    Y = (rng.random((30, 6)) < 0.3) * rng.integers(1, 4, (30, 6))  # counts, which do not matter
    Y[:, 2] = 0
    found = centroids(embeddings, as_csr(Y))
    for node in range(6):
        mean = np.zeros(4)
        for row in range(30):
            if Y[row, node]:
                mean += embeddings[row]
        expected = mean if node == 2 else mean / np.linalg.norm(mean)
        np.testing.assert_allclose(found[node], expected, atol=1e-6)
    assert found.dtype == np.float32


def test_what_does_not_fit_is_refused(trained):
    X, _, _ = trained
    with pytest.raises(DataError, match="4 columns, the shortlist 5"):
        shortlist_of(trained, 0).find(X.dense[:, :4])
    with pytest.raises(ConfigError, match=r"shortlist\.index = none"):
        shortlist_of(trained, 0, IndexKind.none)
    for name in ("width", "hnsw_neighbors"):
        with pytest.raises(ConfigError, match=rf"shortlist\.{name} = 0"):
            ShortlistParams(**{name: 0})
