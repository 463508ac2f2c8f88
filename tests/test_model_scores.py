"""From fused scores to what is suggested: probabilities, thresholds, head or tail, neighbours."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.deep_models import without
from xrt.cli import main
from xrt.data.corpus import Corpus, LabelTable
from xrt.errors import ArtifactError, DataError
from xrt.estimators import XRLinear
from xrt.fusion.calibration import Calibration, Curve
from xrt.fusion.fusion import Fusion, fit_fusion
from xrt.hybrid import HybridMatrix
from xrt.metrics.calibration import reliability
from xrt.metrics.propensity import inverse_propensities
from xrt.model import XrtModel
from xrt.predict import Predictor
from xrt.sources.neighbours import SparseNeighbours
from xrt.sparse import as_csr, ranked_columns
from xrt.storage.atomic import save_array

NUM_LABELS = 12


def noisy_corpus(num_rows: int, seed: int) -> Corpus:
    """Texts of three words of a label each and two of any; common labels come first."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, NUM_LABELS + 1)
    texts, Y = [], np.zeros((num_rows, NUM_LABELS), np.float32)
    for row in range(num_rows):
        labels = rng.choice(NUM_LABELS, 2, replace=False, p=shares / shares.sum())
        Y[row, labels] = 1
        words = [f"w{label}x{rng.integers(4)}" for label in np.repeat(labels, 2)]
        words += [f"w{rng.integers(NUM_LABELS)}x{rng.integers(4)}" for _ in range(3)]
        texts.append(" ".join(words))
    table = LabelTable.from_ids([f"L{i}" for i in range(NUM_LABELS)])
    return Corpus(texts=texts, Y=as_csr(Y), labels=table)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return noisy_corpus(900, seed=0)


@pytest.fixture(scope="module")
def estimator(corpus: Corpus) -> XRLinear:
    """Scores would claim too much: a missed label costs fifty times a wrong one."""
    settings = {"cost_positive": 50.0, "max_leaf_size": 4, "validation_rows": 90}
    return XRLinear(fused=True, num_threads=1, **settings).fit(corpus)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model(estimator: XRLinear) -> XrtModel:
    return estimator.model_


@pytest.fixture(scope="module")
def texts() -> list[str]:
    found = noisy_corpus(60, seed=1).texts
    assert found is not None
    return [*found, ""]


def test_fused_scores_are_probabilities_and_its_trees_are_those_of_all_rows(
    estimator: XRLinear, corpus: Corpus, texts: list[str]
):
    plain = XRLinear(**{**estimator.get_params(), "fused": False}).fit(corpus)
    assert plain.model_.calibration is None
    assert estimator.model_.calibration is not None
    levels = zip(estimator.model_.trees.levels, plain.model_.trees.levels, strict=True)
    for level, other in levels:
        np.testing.assert_array_equal(level.entry_values, other.entry_values)
    test = noisy_corpus(500, seed=2)
    errors = [
        reliability(test.Y, one.predict(test.texts, 5), 5).expected_error
        for one in (estimator, plain)
    ]
    assert errors[0] < 0.06 < errors[1]


def test_saved_and_loaded_it_scores_as_before(
    estimator: XRLinear, texts: list[str], tmp_path: Path
):
    estimator.save(tmp_path / "m")
    expected = estimator.predict(texts, 5).toarray()
    for scores in (
        XRLinear.load(tmp_path / "m").predict(texts, 5),
        Predictor.load(tmp_path / "m").scores(texts, 5),
    ):
        np.testing.assert_array_equal(scores.toarray(), expected)
    thresholds = estimator.model_.calibration.thresholds  # type: ignore[union-attr]
    assert set(thresholds) == {"micro-F1", "macro-F1"}
    assert Predictor.load(tmp_path / "m").threshold("micro-F1") == thresholds["micro-F1"]


def test_one_by_one_is_as_a_batch(model: XrtModel, texts: list[str]):
    whole = model.predict(texts, 5).toarray()
    alone = np.vstack([model.predict([text], 5).toarray() for text in texts])
    np.testing.assert_array_equal(alone, whole)


def test_given_labels_score_what_prediction_says(model: XrtModel, texts: list[str]):
    wide = replace(model, search=replace(model.search, beam_size=NUM_LABELS))
    expected = wide.predict(texts, NUM_LABELS).toarray()
    given = wide.score(texts, np.arange(NUM_LABELS))
    np.testing.assert_allclose(given, expected, atol=1e-6)


def test_a_tuned_threshold_leaves_labels_out(model: XrtModel, texts: list[str]):
    predictor = Predictor(model)
    least = predictor.threshold("micro-F1")
    assert 0 < least < 1
    named = predictor.predict(texts, 5, "micro-F1")
    assert named == predictor.predict(texts, 5, least)
    assert named != predictor.predict(texts, 5)
    assert len(named[-1]) < len(predictor.predict(texts, 5)[-1])
    assert all(s.score >= least for found in named for s in found)
    with pytest.raises(DataError, match="give a number, or a tuned one"):
        predictor.predict(texts, 5, "F2")
    with pytest.raises(DataError, match="scores are not calibrated; give a number"):
        Predictor(replace(model, calibration=None)).predict(texts, 5, "micro-F1")


def test_the_tail_goes_first_as_propensities_say(model: XrtModel, corpus: Corpus, texts: list[str]):
    counts_L = np.asarray(corpus.Y.sum(axis=0)).astype(np.int64)
    q_L = inverse_propensities(counts_L, corpus.num_instances)
    plain = model.predict(texts, NUM_LABELS).toarray()
    for tail in (0.3, 1.0):
        weighted = model.predict(texts, NUM_LABELS, tail=tail).toarray()
        np.testing.assert_allclose(weighted, plain * (q_L / q_L.max()) ** tail, rtol=1e-5)
    np.testing.assert_array_equal(model.predict(texts, 5, tail=0.0).toarray(),
                                  model.predict(texts, 5).toarray())  # fmt: skip
    first = [ranked_columns(model.predict(texts, 3, tail=tail), 1)[:-1] for tail in (0.0, 0.5, 1.0)]
    rarity = [counts_L[labels].mean() for labels in first]
    assert rarity[0] > rarity[1] >= rarity[2]


def test_the_tail_changes_places_not_probabilities(model: XrtModel, texts: list[str]):
    predictor = Predictor(model)
    plain = {s.label: s.score for s in predictor.predict(texts[0], NUM_LABELS)}
    for suggestion in predictor.predict(texts[0], 4, tail=1.0):
        assert suggestion.score == pytest.approx(plain[suggestion.label], rel=1e-4)
    for tail in (-0.1, 1.5, float("nan")):
        with pytest.raises(DataError, match=r"tail = (-0.1|1.5|nan): "):
            predictor.predict(texts, 5, tail=tail)
    with pytest.raises(DataError, match="does not know how often labels were seen"):
        replace(model, calibration=None, frequencies=None).predict(texts, 5, tail=0.5)


def test_k_above_the_labels_gives_all_that_were_found(model: XrtModel, texts: list[str]):
    np.testing.assert_array_equal(
        model.predict(texts, 10**6).toarray(), model.predict(texts, NUM_LABELS).toarray()
    )


def test_bins_of_frequency_may_change_places(model: XrtModel, texts: list[str]):
    """Common labels hardly count: the first label is a rare one wherever one was found."""
    counts_L = model.frequencies.counts_L  # type: ignore[union-attr]
    common = int(np.median(counts_L))
    curves = (
        Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0])),
        Curve(np.array([0.0, 1.0]), np.array([0.0, 0.001])),
    )
    turned = replace(model, calibration=Calibration((0, common), curves))
    top = ranked_columns(turned.predict(texts, 1), 1)[:-1, 0]
    every = model.predict(texts, NUM_LABELS).toarray()[:-1]
    has_rare = (every[:, counts_L < common] > 0.02).any(axis=1)
    assert has_rare.sum() > 20
    assert (counts_L[top[has_rare]] < common).all()


def test_trees_over_the_linear_source_alone_count(
    model: XrtModel, corpus: Corpus, texts: list[str]
):
    X = HybridMatrix.of(model.rows_of(corpus.texts))
    sources = {"linear": model.trees.search(X, NUM_LABELS, model.search)}
    counts_L = model.frequencies.counts_L  # type: ignore[union-attr]
    fusion = fit_fusion(sources, corpus.Y, counts_L, boosted=True)
    assert fusion.booster is not None
    boosted = replace(model, fusion=fusion, calibration=None)
    expected = fusion.scores(boosted.score_sources(boosted.source_rows(texts)), counts_L, 5)
    np.testing.assert_array_equal(boosted.predict(texts, 5).toarray(), expected.toarray())


def test_asking_for_neighbours_that_are_not_there_is_told(model: XrtModel, texts: list[str]):
    asked = without(model, SparseNeighbours, fusion=Fusion({"neighbours": 1.0}))
    with pytest.raises(DataError, match=r"has no source 'neighbours': .*train the model with it"):
        asked.predict(texts, 3)


def test_neighbours_join_where_they_know_more(corpus: Corpus, texts: list[str], tmp_path: Path):
    """Trees without any weight but the largest know little."""
    fused = XRLinear(fused=True, threshold=10.0, max_leaf_size=4, num_threads=1).fit(corpus)
    assert "neighbours" in fused.model_.fusion.sources
    assert fused.model_.source(SparseNeighbours).num_rows == corpus.num_instances
    fused.save(tmp_path / "m")
    loaded = Predictor.load(tmp_path / "m").model
    np.testing.assert_array_equal(
        loaded.predict(texts, 5).toarray(), fused.predict(texts, 5).toarray()
    )


def test_the_command_line_has_threshold_and_tail(
    estimator: XRLinear, texts: list[str], tmp_path: Path, capsys: Any
):
    estimator.save(tmp_path / "m")
    (tmp_path / "texts.txt").write_text("\n".join(texts[:5]) + "\n")
    argv = ["predict", str(tmp_path / "m"), str(tmp_path / "texts.txt"), "-k", "3"]
    assert main(argv) == 0
    plain = capsys.readouterr().out
    assert main([*argv, "--min-score", "micro-F1"]) == 0
    assert capsys.readouterr().out.count('"label"') < plain.count('"label"')
    assert main([*argv, "--tail", "1"]) == 0
    assert capsys.readouterr().out != plain
    assert main([*argv, "--min-score", "best"]) == 2
    assert "give a number, or a tuned one" in capsys.readouterr().err
    assert main([*argv, "--tail", "2"]) == 2
    assert "tail = 2.0" in capsys.readouterr().err


def test_counts_that_do_not_fit_are_refused(estimator: XRLinear, tmp_path: Path):
    estimator.model_.save(tmp_path / "m")
    save_array(tmp_path / "m" / "label_counts.npy", np.ones(3, np.int64))
    with pytest.raises(ArtifactError, match="3 entries where 12 belong"):
        XrtModel.load(tmp_path / "m")
