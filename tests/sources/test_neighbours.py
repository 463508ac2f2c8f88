"""The vote against its slow twin; batch = one by one, threads and saving change nothing."""

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference import slow_neighbours
from xrt.errors import ArtifactError, ConfigError, DataError
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.neighbours import TEMPERATURE, NeighbourParams, SparseNeighbours
from xrt.sources.votes import Neighbours, vote_labels, votes_given
from xrt.sparse import as_csr, normalize_rows

PARAMS = NeighbourParams(num_neighbours=20)
NUM_LABELS = 30


def random_problem(kind, seed=0, num_rows=2500, num_queries=600):
    """Rows over several pages and queries over several blocks; all l2."""
    rng = np.random.default_rng(seed)
    Y = as_csr(rng.random((num_rows, NUM_LABELS)) < 0.08)
    if kind is SparseNeighbours:
        both = sp.random_array((num_rows + num_queries, 200), density=0.04, rng=rng)
        both = normalize_rows(as_csr(both))
        return both[:num_rows], Y, both[num_rows:]
    both = rng.normal(size=(num_rows + num_queries, 24)).astype(np.float32)
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    return both[:num_rows].astype(np.float16).astype(np.float32), Y, both[num_rows:]


def dense(matrix):
    return matrix.toarray() if sp.issparse(matrix) else matrix


both_kinds = pytest.mark.parametrize("kind", [SparseNeighbours, DenseNeighbours])


@both_kinds
@pytest.mark.parametrize("k", [1, 5, 100])
def test_equals_the_slow_twin(kind, k):
    X, Y, queries = random_problem(kind)
    found = kind(X, Y, PARAMS).vote(queries[:15], k)
    stored = X if kind is SparseNeighbours else kind(X, Y).unit_NH
    expected = [
        slow_neighbours.vote(dense(stored), Y.toarray(), query, PARAMS, k)
        for query in dense(queries[:15])
    ]
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-4, atol=1e-6)
    assert found.data.min() > 0
    assert found.data.max() <= 1
    assert found.has_sorted_indices


def doubted(Y, seed=3):
    """Confidences for labels, one of them above 1, and weights for rows."""
    rng = np.random.default_rng(seed)
    Y = Y.copy()
    Y.data = rng.uniform(0.05, 1, Y.nnz).astype(np.float32)
    Y.data[0] = 3
    return Y, rng.uniform(0.1, 4, Y.shape[0])


@both_kinds
def test_confidences_and_weights_of_rows_equal_the_slow_twin(kind, tmp_path):
    X, Y, queries = random_problem(kind)
    Y, weights = doubted(Y)
    memory = kind(X, Y, PARAMS, weights=weights)
    found = memory.vote(queries[:15], 5)
    stored = X if kind is SparseNeighbours else memory.unit_NH
    expected = [
        slow_neighbours.vote(dense(stored), Y.toarray(), query, PARAMS, 5, row_weights=weights)
        for query in dense(queries[:15])
    ]
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-4, atol=1e-6)
    memory.save(tmp_path)
    again = kind.load(tmp_path).vote(queries[:15], 5)
    np.testing.assert_array_equal(again.toarray(), found.toarray())
    np.save(tmp_path / "weights.npy", -np.ones(2500, np.float32))
    with pytest.raises(ArtifactError, match=r"weights\.npy: not 2500 weights above 0"):
        kind.load(tmp_path)


@pytest.mark.parametrize("confident", [True, False])
def test_votes_for_given_pairs_equal_the_slow_twin(confident):
    rng = np.random.default_rng(3)
    X = np.abs(rng.normal(size=(40, 9))).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    Y = (rng.random((40, 12)) < 0.2) * (1 if confident else rng.uniform(0.2, 1, (40, 12)))
    weights, params = rng.uniform(0.5, 2, 40), NeighbourParams(num_neighbours=7)
    memory = SparseNeighbours(X, Y, params, weights=weights)
    pairs = sp.csr_array(rng.random((40, 12)) < 0.5, dtype=np.float32)
    found = votes_given(
        memory.nearest(X), memory.Y_NL, pairs, TEMPERATURE, 1, memory.confident, memory.weights_N
    ).toarray()
    for row in range(40):
        slow = slow_neighbours.vote(X, Y, X[row], params, 12, row_weights=weights)
        np.testing.assert_allclose(found[row], slow * pairs.toarray()[row], rtol=1e-4, atol=1e-7)
    assert (found > 0).sum() > 100


@both_kinds
def test_a_row_of_weight_two_votes_like_two_rows(kind):
    X, Y, queries = random_problem(kind, num_rows=40, num_queries=30)
    weights = np.where(np.arange(40) < 15, 2, 1)
    twice = np.repeat(np.arange(40), weights)
    params = NeighbourParams(num_neighbours=80)  # all that are similar at all
    weighted = kind(X, Y, params, weights=weights).vote(queries, 30)
    repeated = kind(X[twice], Y[twice], params).vote(queries, 30)
    np.testing.assert_allclose(weighted.toarray(), repeated.toarray(), rtol=1e-5, atol=1e-7)


def test_votes_that_underflow_stay_in_bounds():
    X, Y = np.ones((3, 2)), as_csr(np.array([[1e-30, 0], [1e-30, 0], [0, 1]]))
    memory = SparseNeighbours(X, Y, weights=[1e-30, 1e-30, 1e30], temperature=1e-4)
    found = memory.vote(np.ones((1, 2)), 2).toarray()
    assert found[0, 1] == 1
    assert found[0, 0] < 1e-30


@both_kinds
def test_negative_features_give_no_negative_neighbours(kind):
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(40, 6)), np.eye(40, dtype=np.float32)
    memory = kind(X, Y, NeighbourParams(num_neighbours=40))
    nearest = memory.nearest(X[:5])
    cosines = (X[:5] @ X.T) / np.linalg.norm(X[:5], axis=1)[:, None] / np.linalg.norm(X, axis=1)
    np.testing.assert_array_equal((nearest.rows_MW >= 0).sum(1), (cosines > 0).sum(1))
    assert (nearest.similarities_MW[nearest.rows_MW >= 0] > 0).all()


@both_kinds
def test_batch_equals_one_by_one_and_threads_change_no_byte(kind):
    X, Y, queries = random_problem(kind)
    memory = kind(X, Y, PARAMS)
    together = memory.vote(queries, 5, num_threads=1)
    threaded = memory.vote(queries, 5, num_threads=3)
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(together, part), getattr(threaded, part))
    for row in (0, 299, 599):
        alone = memory.vote(queries[row : row + 1], 5)
        np.testing.assert_array_equal(alone.toarray(), together[[row]].toarray())


@both_kinds
@pytest.mark.parametrize("mmap", [True, False])
def test_saved_equals_loaded(kind, mmap, tmp_path):
    X, Y, queries = random_problem(kind)
    memory = kind(X, Y, PARAMS)
    memory.save(tmp_path / "neighbours")
    loaded = kind.load(tmp_path / "neighbours", mmap=mmap)
    assert loaded.params == PARAMS
    found, again = memory.vote(queries, 5), loaded.vote(queries, 5)
    np.testing.assert_array_equal(found.toarray(), again.toarray())


@both_kinds
def test_damaged_parts_are_refused(kind, tmp_path):
    X, Y, _ = random_problem(kind, num_rows=50, num_queries=1)
    kind(X, Y, PARAMS).save(tmp_path)
    (tmp_path / "neighbours.json").write_text(
        '{"num_texts": 50, "num_neighbours": 0, "temperature": 1.0}'
    )
    with pytest.raises(ArtifactError, match="num_neighbours = 0"):
        kind.load(tmp_path)
    kind(X, Y, PARAMS).save(tmp_path)
    kind(X[:40], Y[:40], PARAMS).save(tmp_path / "other")
    for path in (tmp_path / "other").glob("labels.*"):
        path.replace(tmp_path / path.name)
    with pytest.raises(ArtifactError, match="50 rows, but labels of 40"):
        kind.load(tmp_path)


@both_kinds
def test_a_row_left_out_is_no_neighbour_of_its_query(kind):
    X, Y, _ = random_problem(kind, num_rows=300, num_queries=1)
    rows = np.arange(0, 300, 3)
    memory = kind(X, Y, PARAMS)
    assert (memory.nearest(X[rows]).rows_MW[:, 0] == rows).all()
    left_out = np.where(rows % 2 == 0, rows, -1)
    nearest = memory.nearest(X[rows], leave_out=left_out).rows_MW
    assert ((nearest == rows[:, None]).any(1) == (rows % 2 == 1)).all()
    assert (nearest[:, 0] >= 0).all()
    found = memory.vote(X[rows], NUM_LABELS, leave_out=left_out).toarray()
    stored = dense(X) if kind is SparseNeighbours else memory.unit_NH
    for place in (1, 2):
        expected = slow_neighbours.vote(
            stored, Y.toarray(), dense(X)[rows[place]], PARAMS, NUM_LABELS, left_out[place]
        )
        np.testing.assert_allclose(found[place], expected, rtol=1e-4, atol=1e-6)


@both_kinds
def test_ties_go_to_the_lower_row_and_the_lower_label(kind):
    X = np.tile([[0.0, 1.0], [1.0, 0.0]], (4, 1))  # rows 1, 3, 5, 7 equal the query
    Y = np.eye(8, dtype=np.float32)[::-1]  # row r has label 7 - r
    memory = kind(X, Y, NeighbourParams(num_neighbours=3))
    query = np.array([[2.0, 0.0]])
    np.testing.assert_array_equal(memory.nearest(query).rows_MW, [[1, 3, 5]])
    found = memory.vote(query, 2)
    np.testing.assert_array_equal(found.indices, [2, 4])
    np.testing.assert_allclose(found.data, 1 / 3)


@both_kinds
def test_rows_without_features_get_no_votes(kind):
    X, Y, queries = random_problem(kind, num_rows=60, num_queries=3)
    blank = dense(queries).copy()
    blank[1] = 0
    found = kind(X, Y, PARAMS).vote(blank, 4)
    assert list(np.diff(found.indptr) > 0) == [True, False, True]
    assert kind(X, Y, PARAMS).vote(blank[:0], 4).shape == (0, NUM_LABELS)
    lonely = kind(np.vstack([dense(X), np.zeros((1, dense(X).shape[1]))]), sp.vstack([Y, Y[:1]]))
    assert 60 not in lonely.nearest(queries).rows_MW


def test_k_beyond_the_labels_gives_all_that_have_votes():
    X, Y, queries = random_problem(SparseNeighbours, num_rows=100, num_queries=5)
    found = SparseNeighbours(X, Y, PARAMS).vote(queries, 10**6)
    assert (np.diff(found.indptr) < NUM_LABELS + 1).all()
    np.testing.assert_array_equal(
        found.toarray(), SparseNeighbours(X, Y, PARAMS).vote(queries, NUM_LABELS).toarray()
    )


def test_a_small_temperature_lets_the_nearest_decide_and_agreement_scores_1():
    rows = np.array([[0, 1, 2]], np.int32)
    found = Neighbours(rows, np.array([[1.0, 0.9, 0.1]], np.float32))
    Y = as_csr(np.array([[1, 0, 1], [0, 1, 1], [0, 1, 1]]))
    sharp = vote_labels(found, Y, 3, temperature=1e-4).toarray()[0]
    np.testing.assert_allclose(sharp, [1, 0, 1])
    flat = vote_labels(found, Y, 3, temperature=1e4).toarray()[0]
    np.testing.assert_allclose(flat, [1 / 3, 2 / 3, 1], rtol=1e-3)


@both_kinds
def test_what_does_not_fit_is_refused(kind):
    X, Y, queries = random_problem(kind, num_rows=20, num_queries=4)
    memory = kind(X, Y)
    with pytest.raises(DataError, match="k = 0"):
        memory.vote(queries, 0)
    width = X.shape[1]
    with pytest.raises(DataError, match=rf"{width - 1} columns.*{width}"):
        memory.vote(dense(queries)[:, :-1], 3)
    with pytest.raises(DataError, match="2 rows for 4 queries"):
        memory.vote(queries, 3, leave_out=np.array([0, 1]))
    with pytest.raises(DataError, match=r"20 rows of features, but 19"):
        kind(X, Y[:19])
    with pytest.raises(DataError, match="no training rows"):
        kind(X[:0], Y[:0])


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_neighbours", -1)],
)
def test_params_are_checked(name, value):
    with pytest.raises(ConfigError, match=rf"neighbours\.{name} = "):
        NeighbourParams(**{name: value})
