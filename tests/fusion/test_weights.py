"""Fused scores and the choice of their weights."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.fusion.weights import fit_weights, fuse
from xrt.metrics.ranking import judge, ndcg_at, precision_at
from xrt.sparse import as_csr, ranked_columns

NUM_ROWS, NUM_LABELS = 60, 20


def criterion(Y, scores):
    judged = judge(Y, scores, 10)
    return float(precision_at(judged)[0] + ndcg_at(judged)[9]) / 2


@pytest.fixture
def truth(rng):
    """Two true labels a row."""
    labels = np.argsort(rng.random((NUM_ROWS, NUM_LABELS)), axis=1)[:, :2]
    Y = np.zeros((NUM_ROWS, NUM_LABELS), np.float32)
    np.put_along_axis(Y, labels, 1, axis=1)
    return Y


def noise(rng):
    return rng.random((NUM_ROWS, NUM_LABELS)).astype(np.float32)


def noisy_sources(truth, rng, shares):
    """Sources that know the truth with a share of their score, each with noise of its own."""
    return {
        f"source{place}": as_csr(share * truth + (1 - share) * noise(rng))
        for place, share in enumerate(shares)
    }


def test_fused_scores_are_the_weighted_mean():
    a = as_csr([[0.5, 0.0, 1.0], [0.0, 0.0, 0.0]])
    b = as_csr([[0.1, 0.8, 0.0], [0.0, 0.6, 0.0]])
    found = fuse({"a": a, "b": b, "idle": a}, {"a": 3.0, "b": 1.0, "idle": 0.0}, 2)
    np.testing.assert_allclose(found.toarray(), [[0.4, 0, 0.75], [0, 0.15, 0]], rtol=1e-6)


def test_fused_scores_stay_in_0_to_1():
    ones = as_csr(np.ones((2, 3)))
    for tenths in itertools.product(range(11), repeat=4):
        if sum(tenths) == 10 and tenths[0]:
            weights = {f"source{place}": part / 10 for place, part in enumerate(tenths)}
            found = fuse(dict.fromkeys(weights, ones), weights, 3)
            assert found.data.max() <= 1
            assert found.data.min() > 1 - 1e-6


def test_missing_sources_are_named():
    scores = as_csr(np.eye(3))
    with pytest.raises(DataError, match="needs the scores of matcher, which"):
        fuse({"linear": scores}, {"linear": 0.5, "matcher": 0.5}, 2)
    with pytest.raises(DataError, match="no source with a weight"):
        fuse({"linear": scores}, {"linear": 0.0}, 2)
    alone = fuse({"linear": scores}, {"linear": 0.5, "matcher": 0.0}, 2)
    np.testing.assert_array_equal(alone.toarray(), np.eye(3))


def test_a_single_perfect_source_gets_all_the_weight(truth, rng):
    sources = {"bad": as_csr(noise(rng)), "perfect": as_csr(truth), "poor": as_csr(noise(rng))}
    fusion = fit_weights(sources, as_csr(truth))
    assert fusion.weights == {"bad": 0.0, "perfect": 1.0, "poor": 0.0}
    assert fusion.figures == {"P@1": 1.0, "nDCG@10": 1.0}
    assert fusion.alone["perfect"] == fusion.figures


def test_two_complementary_sources_beat_both(truth, rng):
    """Each knows one half of the rows and guesses with less confidence on the other."""
    first = np.arange(NUM_ROWS)[:, None] < NUM_ROWS // 2
    sources = {
        "first": as_csr(np.where(first, truth, 0.6 * noise(rng))),
        "second": as_csr(np.where(first, 0.6 * noise(rng), truth)),
    }
    fusion = fit_weights(sources, as_csr(truth))
    assert all(weight > 0 for weight in fusion.weights.values())
    best_alone = max(criterion(truth, scores) for scores in sources.values())
    assert criterion(truth, fuse(sources, fusion.weights, 10)) > best_alone + 0.2


@pytest.mark.parametrize("shares", [(0.3, 0.3), (0.6, 0.1, 0.3), (0.2, 0.3, 0.4, 0.5)])
def test_never_worse_than_the_best_single_source(truth, rng, shares):
    sources = noisy_sources(truth, rng, shares)
    fusion = fit_weights(sources, as_csr(truth))
    assert sum(fusion.weights.values()) == pytest.approx(1)
    assert list(fusion.weights) == list(sources)
    fused = criterion(truth, fuse(sources, fusion.weights, 10))
    for name, scores in sources.items():
        alone = fusion.alone[name]
        assert criterion(truth, scores) == pytest.approx((alone["P@1"] + alone["nDCG@10"]) / 2)
        assert fused >= criterion(truth, scores) - 1e-9
    assert fused == pytest.approx((fusion.figures["P@1"] + fusion.figures["nDCG@10"]) / 2)


def test_equal_sources_need_only_one(truth, rng):
    scores = as_csr(0.3 * truth + 0.7 * noise(rng))
    fusion = fit_weights({"a": scores, "twin": scores}, as_csr(truth))
    assert sorted(fusion.weights.values()) == [0, 1]


def test_weights_are_the_same_in_every_run(truth, rng):
    sources = noisy_sources(truth, rng, (0.3, 0.35, 0.4))
    first, second = (fit_weights(sources, as_csr(truth)) for _ in range(2))
    assert first == second


def test_labels_seen_only_in_the_truth_are_allowed(truth):
    wide = sp.csr_array(np.hstack([truth, np.ones((NUM_ROWS, 3), np.float32)]))
    fusion = fit_weights({"linear": as_csr(truth)}, wide)
    assert fusion.figures["P@1"] == 1.0
    assert fusion.figures["nDCG@10"] < 1.0
    top = fuse({"linear": as_csr(truth)}, fusion.weights, 1)
    assert (ranked_columns(top, 1) >= 0).all()
