"""Weights of labels and rows from the file to the model: reading, estimators, metrics, scores."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.ranking_problems import problems
from xrt import Predictor, XRLinear, evaluate_ranking
from xrt.data.formats import read_corpus, write_corpus
from xrt.errors import ConfigError, DataError
from xrt.fusion.calibration import fit_calibration, fit_curve, truth_of
from xrt.fusion.cross_fitting import gain_of
from xrt.fusion.fit import fit_scores
from xrt.fusion.frequencies import LabelFrequencies
from xrt.fusion.fusion import fit_fusion
from xrt.fusion.thresholds import tune_thresholds
from xrt.pipeline.rows import labels_hash
from xrt.sparse import as_csr

ROWS = [
    {"text": "red shoe", "labels": {"a": 0.5, "b": 1.0}, "weight": 2},
    {"text": "blue shoe", "labels": {"b": 1.0}, "weight": "0.5"},
    {"text": "green hat", "labels": {"a": 0.25, "c": 3}, "weight": 1.5},
]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_weights_are_read_where_a_column_is_named_and_only_there(tmp_path):
    path = write_jsonl(tmp_path / "trn.jsonl", ROWS)
    assert read_corpus(path).row_weights is None
    corpus = read_corpus(path, weight_column="weight")
    assert corpus.row_weights.tolist() == [2, 0.5, 1.5]
    assert corpus.row_weights.dtype == np.float32
    assert corpus.subset(np.array([2, 0])).row_weights.tolist() == [1.5, 2]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_written_equals_read(tmp_path, suffix):
    path = tmp_path / f"trn.{suffix}"
    corpus = read_corpus(write_jsonl(tmp_path / "in.jsonl", ROWS), weight_column="weight")
    corpus = dataclasses.replace(corpus, Y=as_csr(corpus.Y.toarray() > 0))
    if suffix == "parquet":
        import polars as pl

        labels = ["a;b", "b", "a;c"]
        frame = {"text": corpus.texts, "labels": labels, "weight": [2.0, 0.5, 1.5]}
        pl.DataFrame(frame).write_parquet(path)
    else:
        write_corpus(corpus, path)
    again = read_corpus(path, weight_column="weight")
    np.testing.assert_array_equal(again.row_weights, corpus.row_weights)
    np.testing.assert_array_equal(again.Y.toarray(), corpus.Y.toarray())
    assert again.texts == corpus.texts


@pytest.mark.parametrize(
    ("value", "message"),
    [(0, "'weight' is 0"), (-1, "'weight' is -1"), ("heavy", "a str"), (None, "null"),
     (True, "true/false"), (float("inf"), "'weight' is inf")],
)  # fmt: skip
def test_a_bad_weight_is_a_bad_line(tmp_path, value, message):
    path = write_jsonl(tmp_path / "trn.jsonl", [ROWS[0], {**ROWS[1], "weight": value}, ROWS[2]])
    with pytest.raises(DataError, match=f"line 2: .*{message}"):
        read_corpus(path, weight_column="weight")
    skipped = read_corpus(
        path, weight_column="weight", skip_bad_lines=True, bad_lines_folder=tmp_path
    )
    assert skipped.row_weights.tolist() == [2, 1.5]


def test_a_column_that_is_not_there_is_told(tmp_path):
    path = tmp_path / "trn.csv"
    path.write_text("text,labels\nred shoe,a\nblue hat,b\n")
    with pytest.raises(DataError, match="no column mass for the rows' weights"):
        read_corpus(path, weight_column="mass")
    bow = tmp_path / "trn.txt"
    bow.write_text("1 2 2\n0,1 0:1 1:2\n")
    with pytest.raises(ConfigError, match="which has no named columns"):
        read_corpus(bow, weight_column="mass")


def problem(num_rows=300, num_labels=30, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.random((num_labels, 60)) < 0.1
    labels = rng.integers(0, num_labels, (num_rows, 2))
    X = np.maximum(centres[labels[:, 0]], centres[labels[:, 1]]) * rng.random((num_rows, 60))
    X[:, 0] += 0.1
    Y = np.zeros((num_rows, num_labels), np.float32)
    Y[np.arange(num_rows)[:, None], labels] = 1
    return as_csr(X), as_csr(Y)


def test_fit_takes_sample_weights_and_ones_change_no_byte(tmp_path):
    X, Y = problem()
    linear = XRLinear(max_leaf_size=8, fused=True)
    plain = linear.fit(X, Y).predict(X, 5)
    ones = XRLinear(max_leaf_size=8, fused=True).fit(X, Y, sample_weight=np.ones(300))
    np.testing.assert_array_equal(ones.predict(X, 5).toarray(), plain.toarray())
    rng = np.random.default_rng(1)
    doubted = Y.copy()
    doubted.data = rng.uniform(0.1, 1, Y.nnz).astype(np.float32)
    weighted = XRLinear(max_leaf_size=8, fused=True)
    weighted.fit(X, doubted, sample_weight=rng.uniform(0.2, 2, 300))
    result = weighted.predict(X, 5)
    assert abs(result - plain).max() > 0.01
    weighted.save(tmp_path / "model")
    loaded = Predictor.load(tmp_path / "model").model.predict(X, 5)
    np.testing.assert_array_equal(loaded.toarray(), result.toarray())


def test_a_weight_near_zero_is_a_row_left_out():
    """One tree of all labels, since clusters hold rows of any weight."""
    X, Y = problem()
    selected = np.arange(300) % 3 > 0
    settings = {"max_leaf_size": 100, "threshold": 0.0, "path_weight": 1.0, "fused": False}
    weights = np.where(selected, 1, 1e-7)
    result = XRLinear(**settings).fit(X, Y, sample_weight=weights).predict(X, 3)
    without = XRLinear(**settings).fit(X[selected], Y[selected]).predict(X, 3)
    whole = XRLinear(**settings).fit(X, Y).predict(X, 3)
    assert abs(result - without).mean() < 0.2 * abs(whole - without).mean()


def test_what_is_wrong_with_sample_weights_is_told(tmp_path):
    X, Y = problem()
    with pytest.raises(DataError, match=r"shape \(299,\) for 300 rows"):
        XRLinear().fit(X, Y, sample_weight=np.ones(299))
    with pytest.raises(DataError, match=r"-1\.0 at row 7"):
        XRLinear().fit(X, Y, sample_weight=np.where(np.arange(300) == 7, -1.0, 1.0))
    corpus = read_corpus(write_jsonl(tmp_path / "trn.jsonl", ROWS), weight_column="weight")
    with pytest.raises(DataError, match="leave sample_weight out"):
        XRLinear().fit(corpus, sample_weight=np.ones(3))


def test_stages_see_weights_and_earlier_runs_without_any_stay_valid(tmp_path):
    from xrt.storage.hashing import content_hash

    weighted = read_corpus(write_jsonl(tmp_path / "trn.jsonl", ROWS), weight_column="weight")
    plain = dataclasses.replace(weighted, Y=as_csr(weighted.Y.toarray() > 0), row_weights=None)
    ones = dataclasses.replace(plain, row_weights=np.ones(3, np.float32))
    assert labels_hash(plain) == labels_hash(ones) == content_hash(plain.Y)
    rows = dataclasses.replace(plain, row_weights=weighted.row_weights)
    labels = dataclasses.replace(weighted, row_weights=None)
    keys = {labels_hash(corpus) for corpus in (plain, rows, labels, weighted)}
    assert len(keys) == 4
    assert labels_hash(labels) != content_hash(labels.Y)  # of runs that did not look at weights


@settings(max_examples=40, deadline=None)
@given(problem=problems(), data=st.data())
def test_a_row_of_weight_three_is_measured_as_three_rows(problem, data):
    _, _, Y, scores = problem
    num_rows, num_labels = Y.shape
    scores.data = np.abs(scores.data)
    times = np.array(data.draw(st.lists(st.integers(1, 3), min_size=num_rows, max_size=num_rows)))
    repeated = np.repeat(np.arange(num_rows), times)
    counts_L = np.arange(num_labels)
    settings = {"train_label_counts": counts_L, "num_train": 50, "ks": (1, 3, 5),
             "threshold": 0.5, "probabilities": True}  # fmt: skip
    result = evaluate_ranking(Y, scores, row_weights=times, **settings)
    expected = evaluate_ranking(Y[repeated], scores[repeated], **settings)
    for name, at in expected.metrics.items():
        for k, value in at.items():
            assert result.metrics[name][k] == pytest.approx(value, abs=1e-6), f"{name}@{k}"
    for one, other in zip(result.bins, expected.bins, strict=True):
        assert one.precision == pytest.approx(other.precision, abs=1e-6)
        assert one.recall == pytest.approx(other.recall, abs=1e-6)
    for name in ("micro", "macro", "weighted", "samples"):
        of_threshold = getattr(result.thresholded, name)
        assert of_threshold == pytest.approx(getattr(expected.thresholded, name), abs=1e-6)


def scored(seed=0, num_rows=400, num_labels=12):
    """Scores that are right as often as they say, and a truth."""
    rng = np.random.default_rng(seed)
    scores = rng.random((num_rows, num_labels)).astype(np.float32)
    Y = as_csr(rng.random(scores.shape) < scores**2)
    return {"linear": as_csr(scores), "other": as_csr(rng.random(scores.shape))}, Y


def test_confidences_are_shares_of_truth_to_a_calibration():
    scores = scored()[0]["linear"]
    doubted = as_csr(np.where(np.arange(scores.nnz).reshape(scores.shape) % 2, 0.6, 0.2))
    curve = fit_calibration(scores, doubted, np.full(12, 9)).curves[0]
    np.testing.assert_allclose(curve(np.linspace(0.1, 0.9, 9)), 0.4, atol=0.08)
    np.testing.assert_allclose(truth_of(scores, doubted), doubted.toarray().ravel(), rtol=1e-6)


def test_weighted_rows_are_repeated_rows_to_what_is_learnt_of_scores():
    sources, Y = scored()
    times = np.random.default_rng(2).integers(1, 4, 400)
    weights, rows = times.astype(np.float32), np.repeat(np.arange(400), times)
    scores, repeated = sources["linear"], as_csr(sources["linear"][rows])
    points = np.linspace(0, 1, 21)
    result = fit_calibration(scores, Y, np.full(12, 9), weights_N=weights).curves[0]
    expected = fit_calibration(repeated, as_csr(Y[rows]), np.full(12, 9)).curves[0]
    np.testing.assert_allclose(
        result(points), expected(points), atol=6e-3
    )  # each step has one more candidate
    twice = {name: as_csr(part[rows]) for name, part in sources.items()}
    counts_L = np.full(12, 9)
    assert (
        fit_fusion(sources, Y, counts_L, False, weights_N=weights).weights
        == fit_fusion(twice, as_csr(Y[rows]), counts_L, False).weights
    )
    assert tune_thresholds(scores, Y, weights) == pytest.approx(
        tune_thresholds(repeated, as_csr(Y[rows])), abs=0.03
    )
    gains = [
        gain_of(Y, scores, sources["other"], weights),
        gain_of(as_csr(Y[rows]), repeated, twice["other"]),
    ]
    assert gains[0][0] == pytest.approx(gains[1][0])
    assert gain_of(Y, scores, sources["other"], np.ones(400)) == pytest.approx(
        gain_of(Y, scores, sources["other"])
    )
    frequencies = LabelFrequencies(counts_L, 100)
    learnt = fit_scores(sources, Y, frequencies, 0, None, weights)
    assert learnt.fusion.weights["linear"] > 0.5


def test_a_curve_of_equal_weights_is_that_of_none():
    rng = np.random.default_rng(0)
    scores, hits = rng.random(500).astype(np.float32), rng.random(500) < 0.4
    one, other = fit_curve(scores, hits), fit_curve(scores, hits, np.full(500, 3.0))
    np.testing.assert_allclose(one(scores), other(scores), atol=1e-6)


def test_sparse_truth_may_have_more_columns_than_scores():
    scores = as_csr([[0.5, 0.2]])
    wide = sp.csr_array(np.array([[0.3, 0.0, 1.0]], np.float32))
    np.testing.assert_allclose(truth_of(scores, wide), [0.3, 0.0])
