"""CSR primitives against their dense meaning."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from xrt.errors import ArtifactError, DataError
from xrt.sparse import (
    as_csr,
    best_columns,
    binarize,
    load_csr,
    normalize_rows,
    ranked_columns,
    save_csr,
    top_k_rows,
    widen,
)


def random_matrix(seed, rows=7, columns=9):
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(rows, columns)), 1) * (rng.random((rows, columns)) < 0.6)
    return as_csr(values)


@settings(deadline=None)  # the first example compiles
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_top_k_is_the_sorted_row_and_ties_go_to_the_lower_column(seed, k):
    matrix = random_matrix(seed)
    ranked, selected = ranked_columns(matrix, k), top_k_rows(matrix, k)
    for row in range(matrix.shape[0]):
        columns = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
        values = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
        best = [c for _, c in sorted(zip(-values, columns, strict=True))][:k]
        assert [c for c in ranked[row] if c >= 0] == best
        assert sorted(best) == list(
            selected.indices[selected.indptr[row] : selected.indptr[row + 1]]
        )


def test_rows_have_length_one():
    lengths = np.linalg.norm(normalize_rows(random_matrix(3)).toarray(), axis=1)
    np.testing.assert_allclose(lengths[lengths > 0], 1, rtol=1e-6)
    assert normalize_rows(as_csr(np.zeros((2, 3)))).nnz == 0


def test_lengths_are_those_of_a_plain_loop_and_the_given_rows_stay():
    rows = as_csr(np.random.default_rng(0).normal(size=(20, 9)) * 1e3)
    given_data = rows.data.copy()
    scaled = normalize_rows(rows)
    for row, values in enumerate(rows.toarray().astype(np.float64)):
        length = sum(v * v for v in values) ** 0.5
        np.testing.assert_allclose(scaled.toarray()[row], values / length, rtol=1e-6)
    np.testing.assert_array_equal(rows.data, given_data)


def test_what_is_done_to_the_result_does_not_reach_the_given_matrix():
    mine = sp.csr_array(np.array([[0.0, 2.0], [1.0, 0.0]], np.float32))
    ours = as_csr(mine)
    ours.data = np.zeros(2, np.float32)
    np.testing.assert_array_equal(mine.toarray(), [[0, 2], [1, 0]])


def test_canonical_form():
    messy = sp.csr_array(
        (np.array([1.0, 2.0, 3.0]), np.array([2, 0, 2], np.int64), np.array([0, 3, 3], np.int64)),
        (2, 3),
    )
    ours = as_csr(messy)
    np.testing.assert_array_equal(ours.toarray(), [[2, 0, 4], [0, 0, 0]])
    assert ours.indices.dtype == np.int32
    assert ours.dtype == np.float32
    assert messy.nnz == 3


def test_nan_is_told_with_its_place():
    dense = np.ones((3, 4))
    dense[2, 1] = np.nan
    with pytest.raises(DataError, match="X: value nan at row 2, column 1"):
        as_csr(dense, "X")


def test_binarize_drops_stored_zeros():
    stored_zero = sp.csr_array(
        (np.array([0.0, 5.0], np.float32), np.array([0, 2]), np.array([0, 2])), (1, 3)
    )
    pattern = binarize(stored_zero)
    assert pattern.nnz == 1
    np.testing.assert_array_equal(pattern.toarray(), [[0, 0, 1]])


def test_saved_equals_loaded_and_damage_is_told(tmp_path):
    matrix = random_matrix(1)
    save_csr(tmp_path, "X", matrix)
    loaded = load_csr(tmp_path, "X")
    np.testing.assert_array_equal(loaded.toarray(), matrix.toarray())
    np.save(tmp_path / "X.indices.npy", np.full(matrix.nnz, 99, np.int32))
    with pytest.raises(ArtifactError, match=r"outside 0\.\.8"):
        load_csr(tmp_path, "X")


def test_widen_adds_empty_columns():
    assert widen(random_matrix(0), 20).shape == (7, 20)
    with pytest.raises(DataError, match="9 columns do not fit in 5"):
        widen(random_matrix(0), 5)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 8))
def test_best_columns_are_the_sorted_row_and_ties_go_to_the_lower_column(seed, k):
    rng = np.random.default_rng(seed)
    values = rng.integers(-3, 3, (5, 8)).astype(np.float32)
    values[rng.random((5, 8)) < 0.2] = -np.inf
    expected = np.sort(np.argsort(-values, axis=1, kind="stable")[:, :k], axis=1)
    assert np.array_equal(best_columns(values, k), expected)
