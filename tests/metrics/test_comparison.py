"""Two models side by side, as a whole and by training frequency, against a slow twin."""

import json

import numpy as np
import pytest

from tests.reference import slow_comparison, slow_metrics
from xrt.errors import DataError
from xrt.metrics.comparison import FIGURES, MACRO, Comparison, compare
from xrt.metrics.propensity import PropensityParams
from xrt.metrics.report import evaluate_ranking
from xrt.sparse import as_csr

COUNTS = np.array([0, 0, 1, 1, 1, 2, 4, 3, 5, 9, 6, 10, 49, 20, 50, 60, 300, 250, 200, 200])
NUM_TRAIN = 700


@pytest.fixture
def matrices(rng):
    """Truth and two sets of scores, some rows and some predictions missing."""
    Y = (rng.random((50, 20)) < 0.12).astype(np.float32)
    Y[7] = 0
    scores = [rng.random((50, 20)) * (rng.random((50, 20)) < 0.7) + 0.6 * Y for _ in range(2)]
    return Y, *(as_csr(result) for result in scores)


def lists_of(Y, scores):
    truth = [set(np.flatnonzero(row).tolist()) for row in Y]
    ranked = []
    for row in scores.toarray():
        order = sorted(np.flatnonzero(row).tolist(), key=lambda label: (-row[label], label))
        ranked.append(order)
    return truth, ranked


def test_figures_of_each_bin_are_those_of_the_slow_twin(matrices):
    Y, linear, deep = matrices
    result = compare(Y, linear, deep, COUNTS, NUM_TRAIN, PropensityParams(a=0.6, b=2.6))
    weights = [slow_metrics.inverse_propensity(n, NUM_TRAIN, 0.6, 2.6) for n in COUNTS]
    for model, scores in (("linear", linear), ("deep", deep)):
        truth, ranked = lists_of(Y, scores)
        expected = slow_comparison.by_bin(truth, ranked, COUNTS, weights)
        assert [bin.name for bin in result.bins] == list(expected)
        for bin in result.bins:
            num_labels, num_pairs, figures = expected[bin.name]
            assert (bin.num_labels, bin.num_pairs) == (num_labels, num_pairs)
            assert getattr(bin, model) == pytest.approx(figures)
        whole = slow_comparison.figures(truth, ranked, weights)
        sets = [set(labels[:5]) for labels in ranked]
        whole[MACRO] = slow_metrics.f1_averages(truth, sets)[1]
        assert getattr(result, model) == pytest.approx(whole)


def test_figures_of_all_labels_are_those_of_the_report(matrices):
    Y, linear, deep = matrices
    result = compare(Y, linear, deep, COUNTS, NUM_TRAIN)
    report = evaluate_ranking(Y, deep, train_label_counts=COUNTS, num_train=NUM_TRAIN)
    assert result.deep == {name: report.value(name) for name in (*FIGURES, MACRO)}
    assert result.num_rows == 50


def test_labels_that_training_lacks_are_missed(matrices):
    Y, linear, deep = matrices
    wide = np.hstack([Y, np.ones((50, 2), np.float32)])
    result = compare(wide, linear, deep, COUNTS, NUM_TRAIN)
    unseen = result.bins[0]
    assert unseen.name == "0"
    assert unseen.num_pairs == 100 + Y[:, :2].sum()
    assert result.deep["R@10"] < compare(Y, linear, deep, COUNTS, NUM_TRAIN).deep["R@10"]
    with pytest.raises(DataError, match="20 training counts for 19 labels"):
        compare(Y[:, :19], linear, deep, COUNTS, NUM_TRAIN)


def test_rows_end_with_all_labels_and_tell_differences(matrices):
    result = compare(*matrices, COUNTS, NUM_TRAIN)
    rows = result.rows("P@1")
    assert rows[-1][0] == "all"
    assert rows[-1][1:3] == (sum(row[1] for row in rows[:-1]), int(matrices[0].sum()))
    assert all(row[5] == row[4] - row[3] for row in rows)
    assert rows[-1][3] == result.linear["P@1"]
    lines = result.to_text("P@1").splitlines()
    assert len(lines) == len(rows) + 1
    assert lines[-1].split()[-1] == f"{100 * rows[-1][5]:+.2f}"


def test_it_is_read_back_from_json(matrices):
    result = compare(*matrices, COUNTS, NUM_TRAIN)
    assert Comparison.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_lower_means_by_a_hundredth_of_a_percent_at_least():
    result = Comparison(
        num_rows=9, bins=[], linear={"P@1": 0.5, "PSP@5": 0.3}, deep={"P@1": 0.49999, "PSP@5": 0.2}
    )
    assert result.lower(["P@1", "PSP@5"]) == ["PSP@5"]
