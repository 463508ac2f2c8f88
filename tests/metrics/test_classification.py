import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import f1_score

from tests.reference import slow_metrics as slow
from tests.reference.ranking_problems import problems
from xrt.errors import DataError
from xrt.metrics.classification import f1_of_sets, threshold_set, top_k_set
from xrt.metrics.ranking import judge


@settings(max_examples=80, deadline=None)
@given(problem=problems())
def test_equals_the_definition_read_label_by_label(problem):
    truth, ranked, Y_NL, scores_NL = problem
    f1 = f1_of_sets(Y_NL, top_k_set(judge(Y_NL, scores_NL, 4), 3))
    expected = slow.f1_averages(truth, [set(r[:3]) for r in ranked])
    np.testing.assert_allclose((f1.micro, f1.macro, f1.weighted, f1.samples), expected, atol=1e-12)


def test_equals_sklearn(rng):
    Y, P = rng.random((50, 12)) < 0.2, rng.random((50, 12)) < 0.2
    Y[:, 10:], P[:, 10:] = False, False
    f1 = f1_of_sets(Y, P)
    for average in ("micro", "weighted", "samples"):
        expected = f1_score(Y, P, average=average, zero_division=0)
        assert getattr(f1, average) == pytest.approx(expected)
    # sklearn's macro mean also counts the two columns that occur nowhere
    assert f1.num_macro_labels == 10
    assert f1.macro * 10 / 12 == pytest.approx(f1_score(Y, P, average="macro", zero_division=0))


def test_a_wrongly_predicted_label_lowers_macro():
    assert f1_of_sets([[1, 0, 0]], [[1, 1, 0]]).macro == 0.5


def test_threshold_is_inclusive_and_ignores_absent_entries():
    scores = np.array([[0.5, 0.25, 0.0], [0.0, 0.0, 0.75]])
    assert threshold_set(scores, 0.5).toarray().tolist() == [[1, 0, 0], [0, 0, 1]]


def test_nothing_true_and_nothing_predicted_gives_zeros():
    f1 = f1_of_sets(np.zeros((2, 3)), np.zeros((2, 3)))
    assert (f1.micro, f1.macro, f1.weighted, f1.samples, f1.num_macro_labels) == (0, 0, 0, 0, 0)


def test_labels_beyond_the_predictions_are_misses():
    assert f1_of_sets([[1, 0, 1]], [[1, 0]]).micro == pytest.approx(2 / 3)


def test_k_beyond_the_judged_depth():
    with pytest.raises(DataError, match="k = 3"):
        top_k_set(judge([[1]], [[1]], 2), 3)
