"""Several trees: one alone is the tree itself, the mean is the mean, saved is loaded."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.slow_ensemble import slow_mean
from xrt.errors import ArtifactError, DataError
from xrt.hybrid import HybridMatrix
from xrt.linear.scoring import root_beam
from xrt.search.beam import SearchParams, beam_search
from xrt.sources.ranker import RankerParams, TreeRanker, train_ranker
from xrt.sources.trees import TreeEnsemble, exp_scores, mean_scores, tree_seed
from xrt.sparse import as_csr, ranked_columns
from xrt.tree.clustering import TreeParams, build_tree

LABELS = 40


@pytest.fixture(scope="module")
def rows() -> tuple[HybridMatrix, sp.csr_array]:
    rng = np.random.default_rng(0)
    labels_N2 = rng.integers(0, LABELS, (200, 2))
    centres = rng.random((LABELS, 30)) * (rng.random((LABELS, 30)) < 0.2)
    X_NF = centres[labels_N2].sum(1) + 0.3 * rng.random((200, 30)) * (rng.random((200, 30)) < 0.1)
    Y_NL = np.zeros((200, LABELS), np.float32)
    np.put_along_axis(Y_NL, labels_N2, 1, axis=1)
    return HybridMatrix.of(sp.csr_array(X_NF)), as_csr(Y_NL)


@pytest.fixture(scope="module")
def trees(rows: tuple[HybridMatrix, sp.csr_array]) -> tuple[TreeRanker, ...]:
    X, Y_NL = rows
    Z = HybridMatrix.of(as_csr(Y_NL.T @ X.sparse))
    seeds = [tree_seed(0, index) for index in range(3)]
    grown = [build_tree(Z, TreeParams(max_leaf_size=5), seed) for seed in seeds]
    assert (grown[0].parents[-1] != grown[1].parents[-1]).any()
    return tuple(
        train_ranker(X, Y_NL, tree, RankerParams(), seed, 1)
        for tree, seed in zip(grown, seeds, strict=True)
    )


def scores_of(rows: list[dict[int, float]], num_columns: int = 12) -> sp.csr_array:
    """A matrix with these entries, zeros among them stored."""
    found = sp.csr_array((len(rows), num_columns), dtype=np.float32)
    found.indptr = np.cumsum([0, *(len(row) for row in rows)]).astype(np.int32)
    found.indices = np.array([column for row in rows for column in sorted(row)], np.int32)
    found.data = np.array([row[column] for row in rows for column in sorted(row)], np.float32)
    return found


def test_one_tree_is_the_tree(trees: tuple[TreeRanker, ...], rows: tuple[HybridMatrix, object]):
    X, params = rows[0], SearchParams(beam_size=3)
    for k in (1, 5, LABELS):
        alone = exp_scores(beam_search(trees[0].levels, X, k, params))
        got = TreeEnsemble(trees[:1]).search(X, k, params)
        np.testing.assert_array_equal(got.indptr, alone.indptr)
        np.testing.assert_array_equal(got.indices, alone.indices)
        np.testing.assert_array_equal(got.data, alone.data)


def test_the_first_tree_has_the_models_own_seed_and_no_two_share_one():
    assert tree_seed(7, 0) == 7
    seeds = {tree_seed(seed, index) for seed in range(100) for index in range(10)}
    assert len(seeds) == 1000


entries = st.dictionaries(st.integers(0, 11), st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0]))
matrices = st.integers(0, 4).flatmap(
    lambda n: st.lists(st.lists(entries, min_size=n, max_size=n), min_size=1, max_size=4)
)


@settings(max_examples=60, deadline=None)
@given(matrices, st.integers(1, 15))
def test_the_mean_is_that_of_the_slow_twin(parts: list[list[dict[int, float]]], k: int):
    got = mean_scores([scores_of(rows) for rows in parts], k)
    expected = slow_mean(parts, k)
    assert np.diff(got.indptr).tolist() == [len(row) for row in expected]
    for n, row in enumerate(expected):
        span = slice(got.indptr[n], got.indptr[n + 1])
        assert got.indices[span].tolist() == sorted(row)
        np.testing.assert_allclose(got.data[span], [row[c] for c in sorted(row)], rtol=1e-6)


def test_scores_are_the_mean_of_what_the_trees_found(
    trees: tuple[TreeRanker, ...], rows: tuple[HybridMatrix, object]
):
    X, params = rows[0], SearchParams(beam_size=50)
    whole_NL = [exp_scores(beam_search(tree.levels, X, LABELS, params)).toarray() for tree in trees]
    got = TreeEnsemble(trees).search(X, LABELS, params)
    np.testing.assert_allclose(got.toarray(), np.mean(whole_NL, axis=0), rtol=1e-5, atol=1e-8)
    assert got.data.max() <= 1


def test_fewer_labels_are_the_first_of_more(
    trees: tuple[TreeRanker, ...], rows: tuple[HybridMatrix, object]
):
    X, params, ensemble = rows[0], SearchParams(beam_size=2), TreeEnsemble(trees)
    ten_NK = ranked_columns(ensemble.search(X, 10, params), 10)
    np.testing.assert_array_equal(
        ranked_columns(ensemble.search(X, 3, params, num_threads=2), 3), ten_NK[:, :3]
    )
    one = ensemble.search(X.take(np.array([17])), 10, params)
    np.testing.assert_array_equal(ranked_columns(one, 10)[0], ten_NK[17])


def test_trees_together_rank_no_worse_than_the_worst_alone(
    trees: tuple[TreeRanker, ...], rows: tuple[HybridMatrix, sp.csr_array]
):
    X, Y_NL = rows
    truth_NL, params = Y_NL.toarray(), SearchParams(beam_size=1)

    def hits(ensemble: TreeEnsemble) -> float:
        ranked_NK = ranked_columns(ensemble.search(X, 2, params), 2)
        return float(np.take_along_axis(truth_NL, ranked_NK, axis=1).mean())

    assert hits(TreeEnsemble(trees)) > min(hits(TreeEnsemble((tree,))) for tree in trees)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("mmap", [True, False])
def test_saved_is_loaded(
    count: int,
    mmap: bool,
    trees: tuple[TreeRanker, ...],
    rows: tuple[HybridMatrix, object],
    tmp_path: Path,
):
    ensemble = TreeEnsemble(trees[:count])
    ensemble.save(tmp_path / "linear")
    names = {path.name for path in (tmp_path / "linear").iterdir()}
    assert names == ({"tree", "level.0", "level.1"} if count == 1 else {"0", "1", "2"})
    loaded = TreeEnsemble.load(tmp_path / "linear", mmap)
    assert (loaded.num_weights, loaded.describe()) == (ensemble.num_weights, ensemble.describe())
    found, again = (e.search(rows[0], 5, SearchParams()) for e in (ensemble, loaded))
    np.testing.assert_array_equal(again.toarray(), found.toarray())


def test_a_tree_that_is_gone_is_noticed(trees: tuple[TreeRanker, ...], tmp_path: Path):
    TreeEnsemble(trees).save(tmp_path / "linear")
    (tmp_path / "linear" / "1").rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="trees 0, 2 are not 0, 1"):
        TreeEnsemble.load(tmp_path / "linear")
    with pytest.raises(ArtifactError, match="nowhere"):
        TreeEnsemble.load(tmp_path / "nowhere")


def test_trees_of_other_labels_do_not_go_together(trees: tuple[TreeRanker, ...]):
    X, Y = HybridMatrix.of(np.eye(3) @ sp.eye_array(3)), as_csr(np.eye(3))
    flat = build_tree(X, TreeParams(), 0)
    other = train_ranker(X, Y, flat, RankerParams(), 0, 1)
    with pytest.raises(DataError, match="the same labels and features"):
        TreeEnsemble((trees[0], other))
    with pytest.raises(DataError, match="at least one tree"):
        TreeEnsemble(())


def test_no_rows_give_no_answers(trees: tuple[TreeRanker, ...], rows: tuple[HybridMatrix, object]):
    none = rows[0].take(np.zeros(0, np.int64))
    assert root_beam(0).shape == (0, 1)
    for count in (1, 3):
        found = TreeEnsemble(trees[:count]).search(none, 5, SearchParams())
        assert found.shape == (0, LABELS)
