"""Confidences of labels and weights of rows in the linear solver: against scikit-learn, against
repeated rows, and in the limits.
"""

import numpy as np
import pytest
import scipy.sparse as sp

from tests.linear.test_train import BIAS, orders, problem, solve
from tests.reference.slow_dual import squared_hinge
from tests.reference.slow_linear import one_vs_rest, sparse_weights
from xrt.errors import DataError
from xrt.hybrid import HybridMatrix, as_row_weights
from xrt.linear import solver
from xrt.linear.kernels.simd import WIDTH
from xrt.linear.solver import RankerProblem, SolverParams, train_level
from xrt.sources.ranker import RankerParams, train_ranker
from xrt.sparse import as_csr
from xrt.tree.label_tree import LabelTree


@pytest.fixture
def exact(monkeypatch):
    """Solve to the end."""
    monkeypatch.setattr(solver, "EPSILON", 1e-4)
    monkeypatch.setattr(solver, "MAX_SWEEPS", 3000)


def rows_and_labels(seed=0, rows=60, features=12, dense=5, labels=6):
    rng = np.random.default_rng(seed)
    sparse = rng.normal(size=(rows, features)) * (rng.random((rows, features)) < 0.4)
    Y = (rng.random((rows, labels)) < 0.25).astype(np.float32)
    Y[:labels] = np.eye(labels)
    X = HybridMatrix.of(sparse, rng.normal(size=(rows, dense)))
    return X, Y, rng.uniform(0.1, 3, rows), rng.uniform(0.05, 1, Y.shape)


def all_weights(level):
    return np.vstack([sparse_weights(level).toarray(), level.dense_weights.T, level.node_bias])


def test_a_lane_with_costs_of_its_own_takes_the_steps_of_its_label_alone():
    sparse, dense, members = problem()
    costs_nl = np.random.default_rng(2).uniform(0.1, 4, (len(sparse), WIDTH))
    diagonal_nl = (0.5 / costs_nl).astype(np.float32)
    weights, sweeps = solve(sparse, dense, members, epsilon=0.2, sweeps=300, diagonal=diagonal_nl)
    rows = np.hstack([sparse, dense, np.full((len(sparse), 1), BIAS)]).astype(np.float64)
    alone = []
    for lane in range(WIDTH):
        y = np.where(members >> lane & 1, 1.0, -1.0)
        w, num = squared_hinge(rows, y, costs_nl[:, lane], 0.2, orders(len(rows), 300))
        np.testing.assert_allclose(weights[:, lane], w, rtol=2e-3, atol=2e-4)
        alone.append(num)
    assert sweeps == max(alone)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("clustered", [False, True])
def test_equals_sklearn_with_sample_weights(clustered):
    X, Y, weights, confidences = rows_and_labels(labels=20)
    params = SolverParams(cost_positive=2.0, cost_negative=0.5, threshold=0.0)
    tree = LabelTree.from_clusters(np.zeros(20, np.int32), [np.zeros(1, np.int32)])
    M = as_csr(np.ones((60, 1))) if clustered else None
    level = train_level(
        X.weighted(weights), as_csr(Y * confidences), M, tree if clustered else LabelTree.flat(20),
        int(clustered), params, seed=3,
    )  # fmt: skip
    features = np.hstack([X.sparse.toarray(), X.dense])
    for label in range(20):
        y = np.where(Y[:, label] > 0, 1, -1)
        each = weights * np.where(y > 0, confidences[:, label], 1)
        wanted, bias = one_vs_rest(features, y, 2.0, 0.5, each)
        np.testing.assert_allclose(all_weights(level)[:-1, label], wanted, atol=2e-3)
        np.testing.assert_allclose(level.node_bias[label], bias, atol=2e-3)


@pytest.mark.usefixtures("exact")
def test_weight_two_is_the_row_twice_and_a_tiny_weight_the_row_left_out():
    X, Y, _, _ = rows_and_labels(seed=4)
    flat, params = LabelTree.flat(6), SolverParams(threshold=0.0)
    weights = np.ones(60)
    weights[30:40] = 2
    weights[40:50] = 1e-6

    def of(X, Y):
        return all_weights(train_level(X, as_csr(Y), None, flat, 0, params, 0))

    times = np.where(weights < 1, 0, weights).astype(int)
    rows = np.repeat(np.arange(60), times)
    np.testing.assert_allclose(of(X.weighted(weights), Y), of(X.take(rows), Y[rows]), atol=3e-3)


@pytest.mark.usefixtures("exact")
def test_a_label_whose_confidence_is_tiny_leaves_its_row_out_of_that_problem_alone():
    X, Y, _, _ = rows_and_labels(seed=5)
    flat, params = LabelTree.flat(6), SolverParams(threshold=0.0)
    row = int(np.flatnonzero(Y[6:, 2])[0]) + 6
    doubted = Y.copy()
    doubted[row, 2] = 1e-6
    result = all_weights(train_level(X, as_csr(doubted), None, flat, 0, params, 0))
    rest = np.delete(np.arange(60), row)
    without = all_weights(train_level(X.take(rest), as_csr(Y[rest]), None, flat, 0, params, 0))
    whole = all_weights(train_level(X, as_csr(Y), None, flat, 0, params, 0))
    others = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(result[:, 2], without[:, 2], atol=3e-3)
    np.testing.assert_allclose(result[:, others], whole[:, others], atol=3e-3)
    assert abs(whole[:, 2] - without[:, 2]).max() > 0.02


@pytest.mark.usefixtures("exact")
def test_costs_that_are_all_alike_are_those_of_the_settings():
    """Of the two kernels, one reads two costs and the other a cost for each row and lane."""
    X, Y, _, _ = rows_and_labels(seed=6, labels=40, rows=200)
    flat = LabelTree.flat(40)
    twice = train_level(X, as_csr(2 * Y), None, flat, 0, SolverParams(threshold=0.0), 0)
    params = SolverParams(cost_positive=2.0, threshold=0.0)
    requested = train_level(X, as_csr(Y), None, flat, 0, params, 0)
    np.testing.assert_allclose(all_weights(twice), all_weights(requested), atol=1e-3)


def test_weights_that_are_all_one_change_no_byte():
    X, Y, _, _ = rows_and_labels(rows=200, labels=40)
    tree = LabelTree.from_clusters(np.arange(40) % 5, [np.zeros(5, np.int32)])
    params = RankerParams(matcher_negatives=2)
    plain = train_ranker(X, as_csr(Y), tree, params, 0)
    weighted = train_ranker(X.weighted(np.ones(200)), as_csr(Y), tree, params, 0)
    for one, other in zip(plain.levels, weighted.levels, strict=True):
        np.testing.assert_array_equal(all_weights(one), all_weights(other))


def test_a_cluster_is_as_sure_as_its_surest_label():
    tree = LabelTree.from_clusters(
        np.array([0, 0, 1, 2], np.int32), [np.zeros(2, np.int32), np.array([0, 0, 1], np.int32)]
    )
    Y = as_csr([[0.2, 0.9, 0.5, 0.0], [0.0, 0.3, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    wanted = [[[0.9, 0.0], [0.3, 4.0], [0.0, 0.0]], [[0.9, 0.5, 0.0], [0.3, 0.0, 4.0], [0.0] * 3]]
    result = tree.level_confidences(Y)
    for level, expected in zip(result, [*wanted, Y.toarray()], strict=True):
        np.testing.assert_allclose(level.toarray(), np.array(expected, np.float32))
    ones = tree.level_confidences(as_csr(Y.toarray() > 0))
    for level, pattern in zip(ones, result, strict=True):
        np.testing.assert_array_equal(level.toarray(), pattern.toarray() > 0)


@pytest.mark.usefixtures("exact")
def test_two_labels_of_a_row_below_one_cluster_do_not_count_it_twice():
    X, Y, _, _ = rows_and_labels(seed=7)
    tree = LabelTree.from_clusters(np.array([0, 0, 0, 1, 1, 1]), [np.zeros(2, np.int32)])
    params = RankerParams(threshold=0.0)
    above = train_ranker(X, as_csr(Y * 0.5), tree, params, 0).levels[0]
    belongs = np.stack([Y[:, :3].any(1), Y[:, 3:].any(1)], axis=1) * 0.5
    wanted = train_level(X, as_csr(belongs), None, LabelTree.flat(2), 0, params, 0)
    np.testing.assert_allclose(all_weights(above), all_weights(wanted), atol=1e-3)


def test_stored_zeros_are_no_targets_and_values_below_zero_are_refused():
    X, Y, _, _ = rows_and_labels()
    stored = sp.csr_array(np.where(Y > 0, Y, 5))
    stored.data[stored.data == 5] = 0
    problems = [RankerProblem.of(X, Z, None, LabelTree.flat(6), 0) for Z in (stored, as_csr(Y))]
    assert problems[0].positives.nnz == problems[1].positives.nnz
    with pytest.raises(DataError, match="level 0: -1"):
        RankerProblem.of(X, as_csr(-Y), None, LabelTree.flat(6), 0)


@pytest.mark.parametrize(
    ("weights", "message"),
    [([1, 2], r"\(2,\) for 3 rows"), ([1, 0, 1], "0 at row 1"), ([1, 1, np.nan], "nan at row 2"),
     (["a", 1, 1], "not numbers"), ([1, 1e39, 1], "1e\\+39 at row 1")],
)  # fmt: skip
def test_weights_that_cannot_be_are_told(weights, message):
    with pytest.raises(DataError, match=message):
        as_row_weights(weights, 3)


def test_rows_taken_keep_their_weights():
    X = HybridMatrix.of(np.eye(3)).weighted([1, 2, 3])
    assert X.take(np.array([2, 0])).weights_N.tolist() == [3, 1]
    assert X.weighted([1, 1, 1]).weights_N is None
