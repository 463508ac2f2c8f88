import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.slow_pifa import pifa as slow_pifa
from tests.reference.slow_pifa import weigh_columns as slow_weighted_rows
from xrt.errors import ConfigError, DataError
from xrt.features import label_features
from xrt.features.label_features import label_text_features, pifa, pifa_hybrid
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams
from xrt.hybrid import HybridMatrix
from xrt.progress import SilentProgress


def dense_pifa(E_NH, Y):
    """PIFA of dense features alone."""
    return pifa_hybrid(HybridMatrix.of(dense=E_NH), Y, rarity=0.0).dense


def problem(seed: int, N: int = 30, F: int = 12, L: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """X with zeros and negative weights, Y with empty rows and a label without instances."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, F)) * (rng.random((N, F)) < 0.4)
    Y = (rng.random((N, L)) < 0.2).astype(np.float32)
    Y[:, 4], Y[3] = 0, 0
    return X.astype(np.float32), Y


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    limit=st.sampled_from([None, 1, 3, 50]),
    rarity=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_sparse_dense_and_definition_agree(seed, limit, rarity):
    X, Y = problem(seed)
    expected = slow_pifa(X, Y, limit, rarity)
    Z = pifa(X, Y, max_features_per_label=limit, rarity=rarity)
    np.testing.assert_allclose(Z.toarray(), expected, atol=1e-5)
    if limit is None and rarity == 0:
        np.testing.assert_allclose(dense_pifa(X, Y), expected, atol=1e-5)
    if limit is not None:
        assert np.diff(Z.indptr).max() <= limit


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), limit=st.sampled_from([None, 3]))
def test_confidences_and_weights_of_rows_agree_with_the_definition(seed, limit):
    X, Y = problem(seed)
    rng = np.random.default_rng(seed)
    doubted, weights = Y * rng.uniform(0.1, 2, Y.shape).astype(np.float32), rng.uniform(0.2, 3, 30)
    rows = HybridMatrix.of(X).weighted(weights)
    Z = pifa_hybrid(rows, doubted, max_features_per_label=limit, rarity=0.5)
    expected = slow_pifa(X, doubted, limit, 0.5, weights)
    np.testing.assert_allclose(Z.sparse.toarray(), expected, atol=1e-5)
    if limit is None:
        dense = pifa_hybrid(HybridMatrix.of(None, X).weighted(weights), doubted).dense
        np.testing.assert_allclose(dense, slow_pifa(X, doubted, None, 0, weights), atol=1e-5)
    only_confidences = pifa(X, doubted, max_features_per_label=limit, rarity=0)
    np.testing.assert_allclose(only_confidences.toarray(), slow_pifa(X, doubted, limit), atol=1e-5)


def test_a_weight_of_two_is_the_instance_twice():
    X, Y = problem(5)
    weights = np.where(np.arange(30) < 10, 2, 1)
    twice = np.repeat(np.arange(30), weights)
    weighted = pifa_hybrid(HybridMatrix.of(X).weighted(weights), Y, rarity=0).sparse.toarray()
    np.testing.assert_allclose(weighted, pifa(X[twice], Y[twice], rarity=0).toarray(), atol=1e-5)


def test_worked_by_hand():
    # instance 0 shares itself between two labels: each gets 1/sqrt(2)
    Z = pifa([[1, 0], [0, 1]], [[1, 1, 0], [0, 1, 0]], rarity=0)
    first, both = 1 / np.sqrt(2), np.hypot(1 / np.sqrt(2), 1)
    np.testing.assert_allclose(Z.toarray(), [[1, 0], [first / both, 1 / both], [0, 0]], rtol=1e-6)


def test_a_label_without_instances_is_a_row_of_zeros():
    X, Y = problem(0)
    Z = pifa(X, Y)
    assert Z.shape == (Y.shape[1], X.shape[1])
    assert Z[[4]].nnz == 0
    assert not dense_pifa(X, Y)[4].any()
    lengths = np.linalg.norm(np.delete(Z.toarray(), 4, axis=0), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-6)


def test_form_of_the_result():
    Z = pifa(*problem(1))
    assert isinstance(Z, sp.csr_array)
    assert Z.dtype == np.float32
    assert Z.has_canonical_format


def test_hybrid_rows_have_joint_length_1_and_equal_pifa_of_the_joined_matrix():
    X, Y = problem(2)
    Z = pifa_hybrid(HybridMatrix.of(X[:, :7], X[:, 7:]), Y, rarity=0)
    joined = np.hstack([Z.sparse.toarray(), Z.dense])
    np.testing.assert_allclose(joined, slow_pifa(X, Y), atol=1e-5)


def test_rarity_moves_weight_inside_the_sparse_block_only():
    X, Y = problem(8)
    Z = pifa_hybrid(HybridMatrix.of(X[:, :7], X[:, 7:]), Y, rarity=1)
    sparse = slow_weighted_rows(X[:, :7], 1)
    joined = np.hstack([Z.sparse.toarray(), Z.dense])
    np.testing.assert_allclose(joined, slow_pifa(np.hstack([sparse, X[:, 7:]]), Y), atol=1e-5)
    np.testing.assert_allclose(
        np.linalg.norm(sparse, axis=1), np.linalg.norm(X[:, :7], axis=1), rtol=1e-5
    )


@pytest.mark.parametrize("empty", ["sparse", "dense"])
def test_hybrid_with_one_block_only(empty):
    X, Y = problem(3)
    blocks = {"sparse": X, "dense": X} | {empty: None}
    Z = pifa_hybrid(HybridMatrix.of(**blocks), Y, rarity=0)
    rows = Z.dense if empty == "sparse" else Z.sparse.toarray()
    np.testing.assert_allclose(rows, slow_pifa(X, Y), atol=1e-5)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("limit", [None, 3])
def test_blocks_and_threads_change_nothing(monkeypatch, num_threads, limit):
    X, Y = problem(4, N=200, F=40, L=50)
    whole = pifa(X, Y, max_features_per_label=limit)
    monkeypatch.setattr(label_features, "_BLOCK_PRODUCTS", 17)
    progress = SilentProgress()
    pieces = pifa(X, Y, max_features_per_label=limit, num_threads=num_threads, progress=progress)
    assert np.array_equal(whole.toarray(), pieces.toarray())
    assert progress.completed == 50


def test_wide_rows_use_every_word_of_the_scratch():
    """Columns far apart, next to each other, and at both ends of a 64-bit word."""
    rng = np.random.default_rng(7)
    F = 64 * 64 * 3 + 5
    columns = np.unique(np.concatenate([[0, 63, 64, 4095, 4096, F - 1], rng.integers(0, F, 500)]))
    X = np.zeros((40, F), np.float32)
    X[:, columns] = rng.normal(size=(40, len(columns))) * (rng.random((40, len(columns))) < 0.3)
    _, Y = problem(7, N=40)
    for limit in (None, 20):
        Z = pifa(X, Y, max_features_per_label=limit, rarity=0)
        assert Z.has_canonical_format
        np.testing.assert_allclose(Z.toarray(), slow_pifa(X, Y, limit), atol=1e-5)


def test_weights_that_cancel_leave_nothing_for_the_next_label():
    Z = pifa([[1, 2], [-1, -2], [3, 0]], [[1, 0], [1, 0], [0, 1]])
    assert Z.toarray().tolist() == [[0, 0], [1, 0]]


def test_the_scale_of_y_does_not_matter():
    X, Y = problem(5)
    np.testing.assert_allclose(pifa(X, Y).toarray(), pifa(X, Y * 7).toarray(), atol=1e-6)


def test_label_text_features_share_the_columns_of_the_texts():
    tfidf = TfidfFeatures(TfidfParams(min_df=1)).fit(["red shirt", "blue mug"])
    Z = label_text_features(("shirt, red", "", "unknown"), tfidf)
    assert Z.shape == (3, tfidf.num_features)
    assert np.diff(Z.indptr).tolist() == [2, 0, 0]


def test_wrong_input():
    X, Y = problem(6)
    with pytest.raises(DataError, match="X has 30 rows, Y has 29"):
        pifa(X, Y[1:])
    with pytest.raises(DataError, match="X has 30 rows, Y has 29"):
        dense_pifa(X, Y[1:])
    with pytest.raises(DataError, match="1 dimension"):
        dense_pifa(X[0], Y)
    with pytest.raises(ConfigError, match="max_features_per_label = 0"):
        pifa(X, Y, max_features_per_label=0)
    with pytest.raises(ConfigError, match=r"rarity = -1\.0"):
        pifa(X, Y, rarity=-1.0)


def test_pruning_keeps_the_lower_column_among_equals():
    Z = pifa([[1, 2, 1, -2, 1]], [[1]], max_features_per_label=4)
    assert Z.indices.tolist() == [0, 1, 2, 3]
