import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings

from tests.reference import slow_metrics as slow
from tests.reference.ranking_problems import csr_of, problems
from xrt.errors import ConfigError, DataError
from xrt.metrics.classification import f1_of_sets, threshold_set
from xrt.metrics.ranking import (
    coverage_at,
    discounts,
    first_hit_rank,
    judge,
    ndcg_at,
    precision_at,
    r_precision_at,
    recall_at,
)

DEPTH = 6
FAST_AND_SLOW = [
    (precision_at, slow.precision),
    (recall_at, slow.recall),
    (r_precision_at, slow.r_precision),
    (ndcg_at, slow.ndcg),
    (coverage_at, slow.coverage),
]


@pytest.mark.parametrize(("fast", "by_definition"), FAST_AND_SLOW)
@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_equals_the_definition_read_row_by_row(fast, by_definition, problem):
    truth, ranked, Y_NL, scores_NL = problem
    expected = [by_definition(truth, ranked, k) for k in range(1, DEPTH + 1)]
    np.testing.assert_allclose(fast(judge(Y_NL, scores_NL, DEPTH)), expected, atol=1e-12)


def test_dcg_of_the_worked_example_in_wikipedia():
    # https://en.wikipedia.org/wiki/Discounted_cumulative_gain: gains 3,2,3,0,1,2 give DCG 6.861,
    # and the ideal order 3,3,3,2,2,2,1,0 cut at 6 gives 8.740
    assert np.array([3, 2, 3, 0, 1, 2]) @ discounts(6) == pytest.approx(6.861, abs=5e-4)
    assert np.array([3, 3, 3, 2, 2, 2]) @ discounts(6) == pytest.approx(8.740, abs=5e-4)


def test_ndcg_worked_by_hand():
    # true: 0 and 2; ranked 0, 1, 2. DCG@3 = 1 + 1/log2(4) = 1.5; ideal = 1 + 1/log2(3) = 1.63093
    judged = judge([[1, 0, 1]], [[0.9, 0.5, 0.1]], 3)
    np.testing.assert_allclose(ndcg_at(judged), [1.0, 1 / 1.6309298, 1.5 / 1.6309298], rtol=1e-7)


def test_recall_and_coverage_worked_by_hand():
    Y = [[1, 1, 0, 0], [1, 0, 0, 1]]
    scores = [[0.9, 0.1, 0.5, 0], [0.9, 0, 0.5, 0]]
    judged = judge(Y, sp.csr_array(scores), 3)
    np.testing.assert_allclose(recall_at(judged), [0.5, 0.5, 0.75])
    np.testing.assert_allclose(coverage_at(judged), [1 / 3, 1 / 3, 2 / 3])
    assert first_hit_rank(judged).tolist() == [0, 2, -1, -1]


def test_a_short_list_still_divides_by_k():
    judged = judge([[1, 1, 0]], csr_of([{0: 0.5}], 3), 4)
    np.testing.assert_allclose(precision_at(judged), [1, 1 / 2, 1 / 3, 1 / 4])


def test_an_instance_without_truth_scores_0_and_stays_in_the_mean():
    judged = judge([[1, 0], [0, 0]], [[0.9, 0.1], [0.9, 0.1]], 1)
    for metric in (precision_at, recall_at, r_precision_at, ndcg_at):
        assert metric(judged) == pytest.approx([0.5])


def test_equal_scores_rank_by_label_id():
    judged = judge([[0, 0, 1]], csr_of([{2: 0.5, 0: 0.5, 1: 0.5}], 3), 3)
    assert judged.labels_NK.tolist() == [[0, 1, 2]]
    assert judged.hits_NK.tolist() == [[False, False, True]]


def test_a_stored_zero_is_a_prediction_and_negative_margins_rank():
    judged = judge([[1, 0, 0]], csr_of([{0: -2.0, 1: 0.0}], 3), 3)
    assert judged.labels_NK.tolist() == [[1, 0, -1]]
    assert judged.hits_NK.tolist() == [[False, True, False]]


def test_an_explicit_zero_in_the_truth_is_not_true():
    judged = judge(csr_of([{0: 0.0, 1: 1.0}], 2), [[0.9, 0.1]], 2)
    assert judged.num_true_N.tolist() == [1]
    assert judged.hits_NK.tolist() == [[False, True]]


def test_labels_beyond_the_scores_count_as_missed():
    judged = judge([[1, 0, 1]], [[0.5, 0.1]], 2)
    np.testing.assert_allclose(recall_at(judged), [0.5, 0.5])
    np.testing.assert_allclose(coverage_at(judged), [0.5, 0.5])


def test_no_true_label_anywhere_gives_zeros():
    judged = judge([[0, 0]], [[0.5, 0.1]], 2)
    for metric, _ in FAST_AND_SLOW:
        assert metric(judged).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("Y", "scores", "message"),
    [
        (np.ones((2, 3)), np.ones((3, 3)), "2 rows, the predictions have 3"),
        (np.ones((2, 3)), np.ones((2, 4)), "3 labels, the predictions have 4"),
        (np.ones((0, 3)), np.ones((0, 3)), "0 rows"),
        (np.ones((1, 2)), np.array([[np.nan, 1]]), "nan"),
    ],
)
def test_matrices_that_cannot_belong_together(Y, scores, message):
    with pytest.raises(DataError, match=message):
        judge(Y, scores, 1)


def test_depth_must_be_positive():
    with pytest.raises(ConfigError, match="depth = 0"):
        judge([[1]], [[1]], 0)


def test_every_entry_of_a_dense_array_is_a_prediction():
    """Logarithms of probabilities have a 0 where the probability is 1: the best of all."""
    Y = np.eye(3, 4)
    scores = np.log([[0.9, 0.05, 0.03, 0.02], [0.1, 1, 0.1, 0.1], [0.1, 0.1, 1, 0.1]])
    assert precision_at(judge(Y, scores, 1)) == pytest.approx([1.0])
    assert judge([[1, 0]], [[0.0, -1.0]], 2).labels_NK.tolist() == [[0, 1]]
    assert judge([[1, 0]], [[0, 0]], 2).labels_NK.tolist() == [[0, 1]]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8, bool])
def test_dense_scores_of_any_type_rank_as_python_ranks_them(rng, dtype):
    for _ in range(20):
        scores = (abs(rng.normal(size=(4, 6))) * 3).round(1).astype(dtype)
        truth = [set(np.flatnonzero(row)) for row in rng.random((4, 6)) < 0.4]
        Y = [[label in row for label in range(6)] for row in truth]
        ranked = [
            sorted(range(6), key=lambda label, row=row: (-row[label], label))
            for row in scores.tolist()
        ]
        judged = judge(Y, scores, DEPTH)
        assert judged.labels_NK.tolist() == ranked
        for fast, by_definition in FAST_AND_SLOW:
            expected = [by_definition(truth, ranked, k) for k in range(1, DEPTH + 1)]
            np.testing.assert_allclose(fast(judged), expected)


def test_float64_ranks_by_the_numbers_as_they_were_given():
    scores = 1 + np.array([[0.1, 0.3, 0.2], [0.3, 0.1, 0.2]]) * 1e-9
    assert judge(np.eye(2, 3), scores, 3).labels_NK.tolist() == [[1, 2, 0], [0, 2, 1]]
    assert judge(np.eye(2, 3), sp.csr_array(scores), 1).labels_NK.tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (np.where(np.eye(2), 1, -1), "Y_true: value -1 at row 0, column 1; give 1 for a true"),
        (np.where(np.eye(2), 1.0, -1.0), "value -1.0 at row 0, column 1"),
        (sp.csr_array(np.where(np.eye(2), 1, -1)), "value -1 at row 0"),
        ([[1, -0.5], [0, 1]], "value -0.5"),
        ([[1, np.nan], [0, 1]], "value nan"),
        ([["a", "b"], ["c", "d"]], "not a numeric matrix"),
        ([["a"], ["b", "c"]], "not a numeric matrix"),
        ([{"a"}, {"b"}], "not a numeric matrix"),
        (np.eye(2) * 1j, "not a numeric matrix"),
        ([1, 0], "1 dimension"),
    ],
)
def test_a_truth_that_is_none(truth, message):
    for ask in (lambda: judge(truth, np.eye(2), 1), lambda: f1_of_sets(truth, np.eye(2))):
        with pytest.raises(DataError, match=message):
            ask()


def test_truths_of_any_type_count_alike():
    expected = judge(np.eye(3, dtype=np.float32), np.eye(3), 2)
    whole = np.eye(3, dtype=np.uint8)
    for truth in (np.eye(3, dtype=bool), whole, np.eye(3) * 1e-60, sp.eye_array(3)):
        np.testing.assert_array_equal(judge(truth, np.eye(3), 2).hits_NK, expected.hits_NK)


def test_more_ranks_than_memory_holds():
    with pytest.raises(ConfigError, match="2147483647 ranks of 2 instances do not fit"):
        judge(np.eye(2), np.eye(2), 2**31 - 1)


def test_a_score_at_the_threshold_is_in_the_set():
    assert threshold_set(np.array([[0.7, 0.69]]), 0.7).toarray().tolist() == [[1, 0]]
    assert threshold_set(np.array([[0.0, -1.0]]), 0.0).toarray().tolist() == [[1, 0]]
