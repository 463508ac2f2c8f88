"""The solver against scikit-learn's, on all rows and on a cluster's rows; sparse + dense =
concatenated."""

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference.slow_linear import one_vs_rest, sparse_weights
from xrt.errors import ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.linear import solver
from xrt.linear.solver import SolverParams, train_level
from xrt.linear.weights import LevelWeights
from xrt.sparse import as_csr
from xrt.tree.label_tree import LabelTree


@pytest.fixture
def exact(monkeypatch):
    """Solve to the end."""
    monkeypatch.setattr(solver, "EPSILON", 1e-4)
    monkeypatch.setattr(solver, "MAX_SWEEPS", 3000)


def problem(seed=0, rows=60, features=12, dense=5, labels=6):
    rng = np.random.default_rng(seed)
    sparse = rng.normal(size=(rows, features)) * (rng.random((rows, features)) < 0.4)
    embedding = rng.normal(size=(rows, dense))
    Y = (rng.random((rows, labels)) < 0.25).astype(np.float32)
    Y[:labels] = np.eye(labels)
    return HybridMatrix.of(sparse, embedding), as_csr(Y)


def dense_weights(level):
    return np.vstack([sparse_weights(level).toarray(), level.dense_weights.T])


@pytest.mark.usefixtures("exact")
def test_equals_sklearn_on_all_rows():
    X, Y = problem()
    params = SolverParams(cost_positive=2.0, cost_negative=0.5, threshold=0.0)
    level = train_level(X, Y, None, LabelTree.flat(6), 0, params, seed=3)
    rows = np.hstack([X.sparse.toarray(), X.dense])
    for label in range(6):
        y = np.where(Y.toarray()[:, label] > 0, 1, -1)
        weights, bias = one_vs_rest(rows, y, 2.0, 0.5)
        np.testing.assert_allclose(dense_weights(level)[:, label], weights, atol=2e-3)
        np.testing.assert_allclose(level.node_bias[label], bias, atol=2e-3)


@pytest.mark.usefixtures("exact")
def test_a_cluster_is_solved_on_its_candidates_and_true_rows_only():
    X, Y = problem(seed=1)
    tree = LabelTree.from_clusters(np.array([1, 0, 1, 0, 1, 1]), [np.zeros(2, np.int32)])
    M = as_csr(np.random.default_rng(5).random((60, 2)) < 0.5)
    level = train_level(X, Y, M, tree, 1, SolverParams(threshold=0.0), seed=0)
    rows, Y_dense = np.hstack([X.sparse.toarray(), X.dense]), Y.toarray()
    for label, cluster in enumerate(tree.parents[1]):
        siblings = np.flatnonzero(tree.parents[1] == cluster)
        used = (M.toarray()[:, cluster] > 0) | (Y_dense[:, siblings] > 0).any(1)
        y = np.where(Y_dense[used, label] > 0, 1, -1)
        weights, bias = one_vs_rest(rows[used], y, 1.0, 1.0)
        np.testing.assert_allclose(dense_weights(level)[:, label], weights, atol=2e-3)
        np.testing.assert_allclose(level.node_bias[label], bias, atol=2e-3)


@pytest.mark.usefixtures("exact")
def test_sparse_and_dense_blocks_equal_their_concatenation():
    X, Y = problem(seed=2)
    joined = HybridMatrix.of(np.hstack([X.sparse.toarray(), X.dense]))
    params = SolverParams(threshold=0.0)
    apart = train_level(X, Y, None, LabelTree.flat(6), 0, params, seed=0)
    together = train_level(joined, Y, None, LabelTree.flat(6), 0, params, seed=0)
    np.testing.assert_allclose(dense_weights(apart), dense_weights(together), atol=1e-3)


def test_the_same_for_any_number_of_threads():
    X, Y = problem(rows=300, labels=40)
    levels = [
        train_level(X, Y, None, LabelTree.flat(40), 0, SolverParams(), seed=7, num_threads=n)
        for n in (1, 3)
    ]
    for name in ("row_columns", "row_ptr", "entry_children", "entry_values", "dense", "bias"):
        np.testing.assert_array_equal(getattr(levels[0], name), getattr(levels[1], name))


@pytest.mark.usefixtures("exact")
def test_many_labels_in_clusters_equal_sklearn():
    """More labels than are solved at once, clusters of different sizes, sizes not in order."""
    X, Y = problem(seed=6, rows=90, labels=45)
    parents = np.random.default_rng(1).choice(3, 45, p=[0.1, 0.2, 0.7]).astype(np.int32)
    tree = LabelTree.from_clusters(parents, [np.zeros(3, np.int32)])
    level = train_level(X, Y, as_csr(np.ones((90, 3))), tree, 1, SolverParams(threshold=0.0), 0)
    rows = np.hstack([X.sparse.toarray(), X.dense])
    for label in range(0, 45, 4):
        y = np.where(Y.toarray()[:, label] > 0, 1, -1)
        weights, bias = one_vs_rest(rows, y, 1.0, 1.0)
        np.testing.assert_allclose(dense_weights(level)[:, label], weights, atol=2e-3)
        np.testing.assert_allclose(level.node_bias[label], bias, atol=2e-3)


def test_index_arrays_of_64_bits_are_taken():
    X, Y = problem()
    wide = sp.csr_array(X.sparse)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    levels = [
        train_level(HybridMatrix(rows, X.dense), Y, None, LabelTree.flat(6), 0, SolverParams(), 0)
        for rows in (X.sparse, wide)
    ]
    np.testing.assert_array_equal(dense_weights(levels[0]), dense_weights(levels[1]))


def test_small_weights_are_dropped():
    X, Y = problem()
    tree = LabelTree.flat(6)
    full = sparse_weights(
        train_level(X, Y, None, tree, 0, SolverParams(threshold=0.0), 0)
    ).toarray()
    cut = sparse_weights(train_level(X, Y, None, tree, 0, SolverParams(threshold=0.2), 0)).toarray()
    np.testing.assert_array_equal(cut, np.where(np.abs(full) > 0.2, full, 0))
    assert 0 < (cut != 0).sum() < (full != 0).sum()


def test_no_weight_of_few_rows_is_dropped():
    X, Y = problem()
    kept, cut = (
        train_level(X, Y, None, LabelTree.flat(6), 0, SolverParams(threshold=t), 0)
        for t in (None, 0.1)
    )
    assert sparse_weights(kept).nnz > sparse_weights(cut).nnz
    assert SolverParams().threshold_for(30, solver.FEW_ROWS - 1) == 0
    assert SolverParams(threshold=0.1).threshold_for(30, 5) == 0.1


def test_the_threshold_falls_with_the_length_of_rows(monkeypatch):
    monkeypatch.setattr(solver, "FEW_ROWS", 0)
    assert SolverParams().threshold_for(3) == SolverParams().threshold_for(128) == 0.1
    assert SolverParams().threshold_for(512) == 0.05
    assert SolverParams(threshold=0.1).threshold_for(512) == 0.1
    X, Y = problem()
    long = HybridMatrix(sp.csr_array(0.1 * np.hstack([X.sparse.toarray()] * 60) + 1e-3), X.dense)
    nonzeros = long.sparse.nnz / long.num_rows
    assert nonzeros > 512
    thresholds = [None, SolverParams().threshold_for(nonzeros), 0.1]
    by_default, by_length, many_dropped = (
        sparse_weights(
            train_level(long, Y, None, LabelTree.flat(6), 0, SolverParams(threshold=t), 0)
        )
        for t in thresholds
    )
    np.testing.assert_array_equal(by_default.toarray(), by_length.toarray())
    assert by_default.nnz > many_dropped.nnz
    with pytest.raises(ConfigError, match=r"ranker\.threshold = -1"):
        SolverParams(threshold=-1)


def test_labels_without_rows_in_all_rows_and_rows_without_features():
    X = HybridMatrix.of(sp.csr_array(np.vstack([np.eye(4), np.zeros((1, 4))])))
    Y = as_csr(np.column_stack([np.ones(5), np.zeros(5), [1, 0, 0, 0, 0]]))
    level = train_level(X, Y, None, LabelTree.flat(3), 0, SolverParams(), seed=0)
    margins = np.hstack([X.sparse.toarray()]) @ sparse_weights(level).toarray() + level.node_bias
    assert (margins[:, 0] > 0.5).all()
    assert (margins[:, 1] == -1).all()
    assert margins[0, 2] > margins[1:, 2].max()


def test_saved_equals_loaded(tmp_path):
    X, Y = problem()
    tree = LabelTree.from_clusters(np.array([1, 0, 1, 0, 1, 1]), [np.zeros(2, np.int32)])
    level = train_level(X, Y, as_csr(np.ones((60, 2))), tree, 1, SolverParams(), 0)
    level.save(tmp_path / "level")
    loaded = LevelWeights.load(tmp_path / "level", tree, 1)
    np.testing.assert_array_equal(dense_weights(loaded), dense_weights(level))
    np.testing.assert_array_equal(loaded.bias, level.bias)


def test_wrong_shapes_and_settings_are_refused():
    X, Y = problem()
    with pytest.raises(DataError, match=r"\(60, 6\).*\(60, 7\)"):
        train_level(X, Y, None, LabelTree.flat(7), 0, SolverParams(), 0)
    with pytest.raises(ConfigError, match="cost_positive = 0"):
        SolverParams(cost_positive=0)
