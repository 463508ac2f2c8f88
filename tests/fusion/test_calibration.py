"""Scores as probabilities: curves, bins of frequency, thresholds, and the error that is left."""

import json
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference.slow_calibration import slow_ece, slow_isotonic, slow_micro_f1
from xrt.errors import ArtifactError, DataError
from xrt.fusion.calibration import (
    LOWEST_COUNTS,
    Calibration,
    Curve,
    fit_calibration,
    fit_curve,
    hits_of,
)
from xrt.fusion.thresholds import tune_thresholds
from xrt.metrics.calibration import NUM_BINS, reliability
from xrt.metrics.classification import f1_of_sets, threshold_set
from xrt.sparse import as_csr, ranked_columns

NUM_ROWS, NUM_LABELS = 400, 30


def problem(rng: Any, power: float = 2.0) -> tuple[sp.csr_array, sp.csr_array]:
    """Scores that overstate: a label scored s is true with probability s ** power."""
    scores = np.where(rng.random((NUM_ROWS, NUM_LABELS)) < 0.4, rng.random((NUM_ROWS, 1)), 0)
    scores = (scores * rng.random(scores.shape)).astype(np.float32)
    truth = rng.random(scores.shape) < scores**power
    return as_csr(scores), as_csr(truth.astype(np.float32))


def test_a_curve_is_isotonic_regression_at_the_middle_of_each_step(rng: Any):
    scores = rng.integers(0, 40, 300) / 40
    hits = rng.random(300) < scores**2
    curve = fit_curve(scores.astype(np.float32), hits)
    steps = slow_isotonic([(float(s), float(h)) for s, h in zip(scores, hits, strict=True)])
    levels = sorted(set(steps.values()))
    assert len(curve.scores_J) == len(levels)
    expected = 0.0
    for middle, told, level in zip(curve.scores_J, curve.probabilities_J, levels, strict=True):
        members = [s for s in scores if steps[float(s)] == level]
        assert middle == pytest.approx(np.mean(members), abs=1e-6)
        one_more = (level * len(members) + hits.mean()) / (len(members) + 1)
        expected = max(expected, one_more)
        assert told == pytest.approx(expected, abs=1e-6)


def test_calibrated_scores_are_close_to_how_often_they_are_true(rng: Any):
    scores_NL, Y = problem(rng)
    counts_L = np.full(NUM_LABELS, 9)
    calibration = fit_calibration(scores_NL, Y, counts_L)
    fresh_NL, Y_fresh = problem(rng)
    raw = reliability(Y_fresh, fresh_NL, 5).expected_error
    left = reliability(Y_fresh, calibration.apply(fresh_NL, counts_L), 5).expected_error
    assert raw > 0.1
    assert left < 0.03


def test_one_curve_keeps_every_order(rng: Any):
    scores_NL, Y = problem(rng)
    counts_L = np.full(NUM_LABELS, 9)
    calibration = fit_calibration(scores_NL, Y, counts_L)
    assert not calibration.reorders
    calibrated_NL = calibration.apply(scores_NL, counts_L)
    np.testing.assert_array_equal(ranked_columns(calibrated_NL, 10), ranked_columns(scores_NL, 10))
    assert calibrated_NL.data.min() >= 0
    assert calibrated_NL.data.max() <= 1
    assert scores_NL.nnz == calibrated_NL.nnz


def test_bins_of_frequency_have_curves_of_their_own(rng: Any):
    """Rare labels overstate more than common ones."""
    scores_NL, Y = problem(rng, power=1.0)
    counts_L = np.where(np.arange(NUM_LABELS) < 15, 2, 80)
    Y = as_csr(Y.toarray() * ((counts_L > 2) | (rng.random(Y.shape) < 0.4)))
    bins = fit_calibration(scores_NL, Y, counts_L, LOWEST_COUNTS)
    assert bins.reorders
    low, middle, high = (curve(np.float32([0.5]))[0] for curve in bins.curves)
    assert low < 0.3 < 0.4 < high
    assert low < middle < high, "no label in between: the curve of all"
    one = fit_calibration(scores_NL, Y, counts_L)
    rare = counts_L[scores_NL.indices] == 2
    share = hits_of(scores_NL, Y)[rare].mean()
    of_bins, of_one = (c.apply(scores_NL, counts_L).data[rare].mean() for c in (bins, one))
    assert of_bins == pytest.approx(share, abs=0.01)
    assert of_one > share + 0.05


@pytest.mark.parametrize("lowest_counts", [(0,), (0, 5)])
def test_labels_without_training_rows_teach_curves_nothing(
    rng: Any, lowest_counts: tuple[int, ...]
):
    scores_NL, Y = problem(rng)
    counts_L = np.arange(scores_NL.shape[1]) // 2  # the first two were in no training row
    truth = Y.toarray()
    truth[:, :2] = 1
    curves = [
        fit_calibration(scores_NL, as_csr(each), counts_L, lowest_counts).to_dict()
        for each in (Y.toarray(), truth)
    ]
    assert curves[0] == curves[1]
    nothing_known = np.zeros(scores_NL.shape[1], int)
    found = fit_calibration(scores_NL, as_csr(truth), nothing_known, lowest_counts).to_dict()
    assert found != curves[0]


def test_hits_are_the_entries_that_are_true(rng: Any):
    scores_NL, Y = problem(rng)
    wide = as_csr(sp.hstack([Y, sp.csr_array((NUM_ROWS, 3))], format="csr"))
    rows = np.repeat(np.arange(NUM_ROWS), np.diff(scores_NL.indptr))
    expected = Y.toarray()[rows, scores_NL.indices] > 0
    np.testing.assert_array_equal(hits_of(scores_NL, wide), expected)


def test_ece_is_that_of_its_definition(rng: Any):
    scores_NL, Y = problem(rng)
    true_P, ends = hits_of(scores_NL, Y), scores_NL.indptr
    both = list(zip(scores_NL.data.tolist(), true_P.tolist(), strict=True))
    pairs = [both[ends[i] : ends[i + 1]] for i in range(NUM_ROWS)]
    for k in (1, 5):
        found = reliability(Y, scores_NL, k)
        assert found.expected_error == pytest.approx(slow_ece(pairs, k, NUM_BINS))
        assert sum(found.num_predicted) == sum(min(k, len(row)) for row in pairs)


def test_scores_beyond_probabilities_are_not_judged_as_such():
    with pytest.raises(DataError, match=r"run from 2 to 2: .* 0 to 1"):
        reliability([[1, 0]], [[2.0, 0.0]], 1)


def test_thresholds_are_where_f1_is_highest(rng: Any):
    scores_NL, Y = problem(rng)
    found = tune_thresholds(scores_NL, Y)
    pairs = list(zip(scores_NL.data.tolist(), hits_of(scores_NL, Y).tolist(), strict=True))
    best = max(slow_micro_f1(pairs, Y.nnz, score) for score, _ in pairs[::7])
    assert slow_micro_f1(pairs, Y.nnz, found["micro-F1"]) >= best
    macro = f1_of_sets(Y, threshold_set(scores_NL, found["macro-F1"])).macro
    for threshold in (0.02, 0.1, 0.3, 0.6):
        assert macro >= f1_of_sets(Y, threshold_set(scores_NL, threshold)).macro - 1e-3
    assert tune_thresholds(scores_NL, as_csr(np.zeros(Y.shape, np.float32))) == {}


def test_nothing_to_calibrate_is_told():
    empty = sp.csr_array((3, 4), dtype=np.float32)
    with pytest.raises(DataError, match="the held-out rows got no label at all"):
        fit_calibration(empty, empty, np.ones(4, int))


def test_it_is_read_back_from_json(rng: Any):
    scores_NL, Y = problem(rng)
    counts_L = rng.integers(0, 90, NUM_LABELS)
    fitted = fit_calibration(scores_NL, Y, counts_L, LOWEST_COUNTS)
    calibration = Calibration(fitted.lowest_counts, fitted.curves, {"micro-F1": 0.25})
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    np.testing.assert_array_equal(
        again.apply(scores_NL, counts_L).data, calibration.apply(scores_NL, counts_L).data
    )
    assert again.threshold("micro-F1") == 0.25
    with pytest.raises(DataError, match=r"'best': give a number, or a tuned one \(micro-F1\)"):
        again.threshold("best")


FLAT = {"scores": [0.1, 0.2], "probabilities": [0.3, 0.4]}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"lowest_counts": [0], "curves": [], "thresholds": {}},
        {"lowest_counts": [0, 5], "curves": [FLAT], "thresholds": {}},
        {"lowest_counts": [3], "curves": [FLAT], "thresholds": {}},
        {"lowest_counts": [0], "curves": [{**FLAT, "scores": [0.2, 0.1]}], "thresholds": {}},
        {"lowest_counts": [0], "curves": [{**FLAT, "scores": [0.2]}], "thresholds": {}},
        {"lowest_counts": [0], "curves": [{**FLAT, "probabilities": [0, 2]}], "thresholds": {}},
        {"lowest_counts": [0], "curves": [FLAT], "thresholds": 3},
    ],
)
def test_a_damaged_calibration_is_refused(content: Any):
    with pytest.raises(ArtifactError, match="train it anew"):
        Calibration.from_dict(content)


def test_a_curve_is_a_line_between_its_points():
    curve = Curve(np.array([0.2, 0.4]), np.array([0.1, 0.5]))
    told = curve(np.float32([0.0, 0.2, 0.3, 0.9]))
    np.testing.assert_allclose(told, [0.1, 0.1, 0.3, 0.5], atol=1e-3)
