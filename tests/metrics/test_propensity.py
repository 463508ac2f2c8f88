from math import log

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import slow_metrics as slow
from tests.reference.ranking_problems import problems
from xrt.errors import ConfigError, DataError
from xrt.metrics.propensity import (
    PropensityParams,
    inverse_propensities,
    psndcg_at,
    psp_at,
    train_counts,
)
from xrt.metrics.ranking import judge, precision_at


@pytest.mark.parametrize(("fast", "by_definition"), [(psp_at, slow.psp), (psndcg_at, slow.psndcg)])
@settings(max_examples=60, deadline=None)
@given(problem=problems(), seed=st.integers(0, 9))
def test_equals_the_definition_read_row_by_row(fast, by_definition, problem, seed):
    truth, ranked, Y_NL, scores_NL = problem
    weights = np.random.default_rng(seed).uniform(1, 9, Y_NL.shape[1])
    expected = [by_definition(truth, ranked, k, weights) for k in range(1, 7)]
    np.testing.assert_allclose(fast(judge(Y_NL, scores_NL, 6), weights), expected, atol=1e-12)


def test_propensity_worked_by_hand():
    # N = 1000, N_l = 1, A = 0.5, B = 3: C = (ln 1000 - 1) * 4^0.5, q = 1 + C / 4^0.5 = ln 1000
    params = PropensityParams(a=0.5, b=3.0)
    assert inverse_propensities([1], 1000, params) == pytest.approx([log(1000)])


def test_unseen_labels_weigh_most_and_frequent_ones_near_1():
    weights = inverse_propensities([0, 1, 10, 100_000], 100_000)
    assert (np.diff(weights) < 0).all()
    assert weights[0] == pytest.approx(slow.inverse_propensity(0, 100_000, 0.55, 1.5))
    assert 1 < weights[3] < 1.05


def test_psp_is_a_ratio_of_sums_not_a_mean_of_ratios():
    # row 0 finds its label of weight 1; row 1 misses its label of weight 9: 1 / 10, not 1 / 2
    judged = judge([[1, 0], [0, 1]], [[0.9, 0.1], [0.9, 0.1]], 1)
    assert psp_at(judged, np.array([1.0, 9.0])) == pytest.approx([0.1])


def test_denominator_takes_the_heaviest_true_labels():
    # both labels true, the lighter one first: 1 / 4 at 1, all of it at 2
    judged = judge([[1, 1]], [[0.9, 0.1]], 2)
    assert psp_at(judged, np.array([1.0, 4.0])) == pytest.approx([0.25, 1.0])


def test_equal_weights_and_one_label_a_row_reduce_psp_to_precision():
    judged = judge(np.eye(3), [[3, 2, 1], [3, 2, 1], [3, 2, 1]], 1)
    assert psp_at(judged, np.full(3, 2.5)) == pytest.approx(precision_at(judged))


def test_tiny_training_sets_get_weights_of_1():
    assert inverse_propensities([0, 1, 2], 2).tolist() == [1, 1, 1]


def test_train_counts_ignores_stored_zeros():
    Y = sp.csr_array((np.array([1.0, 0.0, 1.0]), [0, 1, 0], [0, 2, 3]), shape=(2, 3))
    assert train_counts(Y).tolist() == [2, 0, 0]


@pytest.mark.parametrize("counts", [[-1], [11]])
def test_impossible_counts(counts):
    with pytest.raises(DataError, match="10 training instances"):
        inverse_propensities(counts, 10)


def test_weights_must_cover_the_truth():
    with pytest.raises(DataError, match="1 propensities for 2 labels"):
        psp_at(judge([[1, 0]], [[1, 0]], 1), np.ones(1))


@pytest.mark.parametrize("field", ["a", "b"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_params_are_checked(field, value):
    with pytest.raises(ConfigError, match=rf"propensity\.{field} = "):
        PropensityParams(**{field: value})
