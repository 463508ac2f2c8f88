"""Beam search: full beam = exhaustive, batch = one by one, wider is never worse."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference.slow_linear import exhaustive_scores
from xrt.errors import ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.search.beam import SearchParams, beam_search
from xrt.sources.ranker import RankerParams, TreeRanker, train_ranker
from xrt.sparse import as_csr, ranked_columns
from xrt.tree.clustering import TreeParams, build_tree


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    num_labels, features = 50, 40
    centres = rng.random((num_labels, features)) * (rng.random((num_labels, features)) < 0.2)
    labels = rng.integers(0, num_labels, (400, 2))
    rows = centres[labels].sum(1) + 0.1 * rng.random((400, features)) * (
        rng.random((400, features)) < 0.1
    )
    Y = np.zeros((400, num_labels), np.float32)
    np.put_along_axis(Y, labels, 1, axis=1)
    X = HybridMatrix.of(sp.csr_array(rows), rng.normal(size=(400, 6)) + rows[:, :6])
    tree = build_tree(
        HybridMatrix.of(sp.csr_array(centres)),
        TreeParams(branching=2, max_leaf_size=7, max_top_nodes=4),
        0,
    )
    assert tree.depth == 3
    return X, as_csr(Y), train_ranker(X, as_csr(Y), tree, RankerParams(threshold=0.02), seed=0)


def test_full_beam_equals_exhaustive_search(trained):
    X, _, ranker = trained
    found = beam_search(ranker.levels, X, 50, SearchParams(beam_size=50, path_weight=1.0))
    rows = np.hstack([X.sparse.toarray(), X.dense])
    expected = [exhaustive_scores(ranker.levels, ranker.tree, row) for row in rows]
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-3, atol=1e-4)
    assert np.diff(found.indptr).min() == 50


@pytest.mark.parametrize("path_weight", [0.0, 0.35, 2.0])
def test_the_path_above_a_label_counts_by_its_weight(trained, path_weight):
    X, _, ranker = trained
    params = SearchParams(beam_size=50, path_weight=path_weight)
    found = beam_search(ranker.levels, X, 50, params)
    rows = np.hstack([X.sparse.toarray(), X.dense])
    expected = [exhaustive_scores(ranker.levels, ranker.tree, row, path_weight) for row in rows]
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-3, atol=1e-4)


def test_inner_levels_are_pruned_by_the_plain_path_score(trained):
    X, _, ranker = trained
    clusters = [
        ranker.tree.parents[-1][
            beam_search(
                ranker.levels, X, 50, SearchParams(beam_size=2, path_weight=path_weight)
            ).indices
        ]
        for path_weight in (1.0, 0.1)
    ]
    np.testing.assert_array_equal(np.sort(clusters[0]), np.sort(clusters[1]))


@pytest.mark.parametrize("path_weight", [-0.1, float("nan"), float("inf")])
def test_a_path_weight_out_of_range_is_refused(path_weight):
    with pytest.raises(ConfigError, match=r"search\.path_weight"):
        SearchParams(path_weight=path_weight)


def test_a_path_weight_still_to_be_chosen_cannot_search(trained):
    X, _, ranker = trained
    with pytest.raises(ConfigError, match="not chosen"):
        beam_search(ranker.levels, X, 5, SearchParams(path_weight=None))


def test_batch_equals_one_by_one_in_any_order(trained):
    X, _, ranker = trained
    together = beam_search(ranker.levels, X, 5, SearchParams(beam_size=3), num_threads=2)
    for row in (399, 0, 17):
        alone = beam_search(ranker.levels, X.take(np.array([row])), 5, SearchParams(beam_size=3))
        np.testing.assert_array_equal(ranked_columns(alone, 5), ranked_columns(together[[row]], 5))
        np.testing.assert_array_equal(alone.data, together[[row]].data)


def test_a_wider_beam_never_lowers_the_best_score(trained):
    X, _, ranker = trained
    best = [
        beam_search(ranker.levels, X, 1, SearchParams(beam_size=beam)).data
        for beam in (1, 2, 5, 50)
    ]
    for narrow, wide in itertools.pairwise(best):
        assert (wide >= narrow).all()


def test_the_labels_are_found(trained):
    X, Y, ranker = trained
    top = ranked_columns(beam_search(ranker.levels, X, 2, SearchParams()), 2)
    hits = np.take_along_axis(Y.toarray(), top, axis=1)
    assert hits.mean() > 0.9


def test_matcher_negatives_enlarge_the_rows_of_a_cluster(trained):
    X, Y, ranker = trained
    with_negatives = train_ranker(
        X, Y, ranker.tree, RankerParams(threshold=0.02, matcher_negatives=8), seed=0
    )
    assert not np.array_equal(with_negatives.levels[-1].bias, ranker.levels[-1].bias)
    np.testing.assert_array_equal(with_negatives.levels[0].bias, ranker.levels[0].bias)


def test_saved_equals_loaded(trained, tmp_path):
    X, _, ranker = trained
    ranker.save(tmp_path / "ranker")
    loaded = TreeRanker.load(tmp_path / "ranker")
    for search in (SearchParams(), SearchParams(beam_size=1)):
        a = beam_search(ranker.levels, X, 4, search)
        b = beam_search(loaded.levels, X, 4, search)
        np.testing.assert_array_equal(a.toarray(), b.toarray())


def test_no_rows_no_features_and_wrong_columns(trained):
    X, _, ranker = trained
    assert beam_search(ranker.levels, X.take(np.arange(0)), 3, SearchParams()).shape == (0, 50)
    empty = HybridMatrix.of(sp.csr_array((2, 40), dtype=np.float32), np.zeros((2, 6)))
    assert beam_search(ranker.levels, empty, 3, SearchParams()).nnz == 6
    everything = beam_search(ranker.levels, X, 10**6, SearchParams(beam_size=10**6))
    assert everything.nnz == X.num_rows * 50  # k above the number of labels
    with pytest.raises(DataError, match=r"39 sparse and 6 dense.*40 and 6"):
        beam_search(
            ranker.levels, HybridMatrix.of(np.ones((1, 39)), np.ones((1, 6))), 3, SearchParams()
        )
    with pytest.raises(DataError, match="k = 0"):
        beam_search(ranker.levels, X, 0, SearchParams())
