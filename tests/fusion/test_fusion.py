"""Weights and boosted trees: what is kept, and that kernels and files agree."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reference.slow_calibration import slow_walk
from xrt.errors import ArtifactError
from xrt.fusion.boosting import Booster, fit_booster
from xrt.fusion.calibration import hits_of
from xrt.fusion.candidates import Candidates, look_up, union_of
from xrt.fusion.features import gather_features
from xrt.fusion.fit import BOOSTING, FEWEST_ROWS, FusionFit, fit_scores
from xrt.fusion.frequencies import LabelFrequencies
from xrt.fusion.fusion import Fusion, fit_fusion
from xrt.fusion.weights import fuse, weighted_mean
from xrt.metrics.judgement import is_better
from xrt.sparse import as_csr
from xrt.storage.atomic import save_array

NUM_ROWS, NUM_LABELS = 300, 40


def known(num_labels: int = NUM_LABELS) -> LabelFrequencies:
    return LabelFrequencies(np.arange(num_labels) + 1, 1_000)


def problem(rng: Any, interaction: bool) -> tuple[dict[str, Any], Any]:
    """Two sources. With `interaction` a label is true where exactly one of them is high, which no
    weights can say.
    """
    parts = rng.random((2, NUM_ROWS, NUM_LABELS)).astype(np.float32)
    found = rng.random(parts.shape) < 0.5
    parts *= found
    if interaction:
        truth = (parts[0] > 0.5) ^ (parts[1] > 0.5)
    else:
        truth = rng.random(parts[0].shape) < (parts[0] + parts[1]) / 4
    return {"linear": as_csr(parts[0]), "ranker": as_csr(parts[1])}, as_csr(truth)


def fitted(rng: Any) -> tuple[Booster, Any, Candidates]:
    sources, Y = problem(rng, interaction=True)
    candidates = Candidates.of(sources)
    mean_NL = weighted_mean(candidates, {"linear": 0.5, "ranker": 0.5})
    booster = fit_booster(mean_NL, candidates, hits_of(mean_NL, Y), known().counts_L)
    assert booster is not None
    return booster, mean_NL, candidates


def test_walks_are_those_of_the_readable_twin(rng: Any):
    booster, mean_NL, candidates = fitted(rng)
    scored = booster.apply(mean_NL, candidates, known().counts_L).data
    features_PD = gather_features(mean_NL, candidates, booster.sources, known().counts_L)
    nodes = list(
        zip(
            booster.feature_J.tolist(), booster.threshold_J.tolist(), booster.left_J.tolist(),
            booster.right_J.tolist(), booster.value_J.tolist(), strict=True,
        )
    )  # fmt: skip
    for p in range(0, len(scored), 97):
        odds = slow_walk(features_PD[p].tolist(), booster.bias, booster.starts.tolist(), nodes)
        assert scored[p] == pytest.approx(1 / (1 + np.exp(-odds)), rel=1e-5)


def test_the_arrays_are_scikit_learns_model(rng: Any, monkeypatch: pytest.MonkeyPatch):
    from sklearn.ensemble import HistGradientBoostingClassifier

    models = []
    fit = HistGradientBoostingClassifier.fit
    monkeypatch.setattr(
        HistGradientBoostingClassifier, "fit", lambda s, *a: models.append(fit(s, *a)) or models[-1]
    )
    booster, mean_NL, candidates = fitted(rng)
    features_PD = gather_features(mean_NL, candidates, booster.sources, known().counts_L)
    expected = models[0].predict_proba(features_PD)[:, 1]
    got = booster.apply(mean_NL, candidates, known().counts_L).data
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_label_scores_the_same_whatever_is_asked_beside_it(rng: Any):
    booster, mean_NL, candidates = fitted(rng)
    whole = booster.apply(mean_NL, candidates, known().counts_L).toarray()
    asked_NL = as_csr(np.ones((NUM_ROWS, NUM_LABELS), np.float32))
    pairs_NL = union_of(candidates.own, asked_NL)
    scores_SP = np.zeros((2, pairs_NL.nnz), np.float32)
    for place, name in enumerate(candidates.names):
        look_up(pairs_NL, candidates[name], scores_SP[place])
    every = Candidates(pairs_NL, candidates.names, scores_SP, candidates.own)
    every_mean_NL = weighted_mean(every, {"linear": 0.5, "ranker": 0.5})
    scored = booster.apply(every_mean_NL, every, known().counts_L).toarray()
    assert (scored > 0).all()
    np.testing.assert_array_equal(scored[whole > 0], whole[whole > 0])


def test_held_out_labels_without_training_rows_teach_nothing(rng: Any):
    """All rows of such a label are held out, so it is true more often than a new text would say."""
    sources, Y = problem(rng, interaction=True)
    counts_L = np.arange(NUM_LABELS) // 4  # the first four were in no training row
    truth = Y.toarray()
    truth[:, :4] = 1
    candidates = Candidates.of(sources)
    mean_NL = weighted_mean(candidates, {"linear": 0.5, "ranker": 0.5})
    boosters = [fit_booster(mean_NL, candidates, hits_of(mean_NL, as_csr(each)), counts_L)
                for each in (Y.toarray(), truth)]  # fmt: skip
    scored = [booster.apply(mean_NL, candidates, counts_L).data for booster in boosters if booster]
    np.testing.assert_array_equal(scored[0], scored[1])
    assert fit_booster(mean_NL, candidates, hits_of(mean_NL, Y), np.zeros(NUM_LABELS)) is None


def test_trees_are_kept_where_weights_cannot_say_it(rng: Any):
    sources, Y = problem(rng, interaction=True)
    learnt = fit_scores(sources, Y, known(), seed=0)
    assert learnt.fusion.booster is not None
    assert learnt.figures["boosted"]["gain"] > 0.2
    assert learnt.fusion.sources == {"linear", "ranker"}
    fresh, Y_fresh = problem(rng, interaction=True)
    top = learnt.fusion.scores(fresh, known().counts_L, 1)
    assert hits_of(top, Y_fresh).mean() > 0.95


def test_trees_are_left_out_where_they_do_not_help(rng: Any):
    sources, Y = problem(rng, interaction=False)
    learnt = fit_scores(sources, Y, known(), seed=0)
    assert learnt.fusion.booster is None
    assert learnt.calibration is not None


def test_a_source_that_knows_nothing_does_not_join_the_baseline(rng: Any):
    sources, Y = problem(rng, interaction=False)
    noise = as_csr(rng.random(Y.shape).astype(np.float32) * (rng.random(Y.shape) < 0.3))
    learnt = fit_scores({"linear": sources["linear"], "neighbours": noise}, Y, known(), 0, "linear")
    assert learnt.fusion.sources == {"linear"}
    assert not learnt.figures["over linear"]["better"]
    better = fit_scores(
        {"linear": sources["linear"], "neighbours": sources["ranker"]}, Y, known(), 0, "linear"
    )
    assert better.fusion.sources == {"linear", "neighbours"}


def test_an_optional_source_stays_only_where_the_fusion_is_better_with_it(rng: Any):
    sources, Y = problem(rng, interaction=False)
    noise = as_csr(rng.random(Y.shape).astype(np.float32) * (rng.random(Y.shape) < 0.3))
    three = {**sources, "names": noise}
    learnt = fit_scores(three, Y, known(), 0, optional=("names", "ranker"))
    (step,) = (each for each in learnt.judgements if each.name.startswith("source "))
    assert (step.name, step.plain_name) == ("source names", "the fusion without it")
    assert not step.ships
    assert learnt.fusion.sources == {"linear", "ranker"}  # two are not tried one without the other
    alone = fit_scores(sources, Y, known(), 0)
    assert learnt.fusion.weights == alone.fusion.weights

    noisy = {"linear": sources["linear"], "noise": noise, "names": sources["ranker"]}
    learnt = fit_scores(noisy, Y, known(), 0, optional=("names", "noise"))
    steps = {each.name: each for each in learnt.judgements if each.name.startswith("source ")}
    assert steps["source names"].ships
    assert steps["source names"].learnt > steps["source names"].plain
    assert not steps["source noise"].ships
    assert learnt.fusion.sources == {"linear", "names"}


@pytest.mark.parametrize(("num_rows", "ships"), [(FEWEST_ROWS - 1, False), (FEWEST_ROWS, True)])
def test_few_rows_cannot_tell_that_a_fusion_is_better(rng: Any, num_rows: int, ships: bool):
    """Neighbours that are always right beside a baseline that never is."""
    Y = as_csr(np.eye(num_rows, 30, dtype=np.float32) + np.eye(num_rows, 30, k=1, dtype=np.float32))
    wrong = as_csr(np.eye(num_rows, 30, k=5, dtype=np.float32))
    learnt = fit_scores({"linear": wrong, "neighbours": Y}, Y, known(), 0, "linear")
    assert ("neighbours" in learnt.fusion.sources) == ships
    (step,) = (each for each in learnt.judgements if each.plain_name == "linear alone")
    assert step.ships == ships
    assert (f"{num_rows} held-out rows cannot tell; {FEWEST_ROWS} can" in step.note) == (not ships)


def test_each_learnt_step_stands_beside_its_plain_alternative(rng: Any, tmp_path: Path):
    sources, Y = problem(rng, interaction=True)
    pair = {"linear": sources["linear"], "neighbours": sources["ranker"]}
    learnt = fit_scores(pair, Y, known(), 0, "linear")
    boosting, fusion, bins = learnt.judgements
    assert (boosting.name, boosting.ships) == (BOOSTING, learnt.fusion.booster is not None)
    assert fusion.name == "fusion of linear, neighbours"
    assert fusion.plain_name == "linear alone"
    assert fusion.ships
    assert learnt.fusion.sources == set(pair)
    assert fusion.learnt == pytest.approx(boosting.learnt)  # what is fused is what trees made
    assert bins.figure.startswith("ECE@5")
    assert bins.ships == learnt.figures["by_frequency"]["kept"]
    for step in (boosting, fusion):
        assert step.ships == is_better(step.learnt - step.plain, step.error)
    learnt.save(tmp_path)
    assert FusionFit.load(tmp_path).judgements == learnt.judgements


def test_what_does_not_beat_the_plain_alternative_does_not_ship(rng: Any):
    sources, Y = problem(rng, interaction=False)
    noise = as_csr(rng.random(Y.shape).astype(np.float32) * (rng.random(Y.shape) < 0.3))
    learnt = fit_scores({"linear": sources["linear"], "neighbours": noise}, Y, known(), 0, "linear")
    steps = {step.name: step for step in learnt.judgements}
    assert not steps["fusion of linear, neighbours"].ships
    assert not steps[BOOSTING].ships
    alone = fit_scores({"linear": sources["linear"]}, Y, known(), 0, "linear")
    assert [step.figure for step in alone.judgements] == ["ECE@5, lower is better"]


def test_a_source_alone_is_never_boosted(rng: Any):
    """Where frequency alone tells true from false, too."""
    scores = rng.random((NUM_ROWS, NUM_LABELS)).astype(np.float32)
    Y = as_csr(np.tile(np.arange(NUM_LABELS) >= 30, (NUM_ROWS, 1)))
    learnt = fit_scores({"linear": as_csr(scores)}, Y, known(), seed=0)
    assert learnt.fusion.booster is None
    assert learnt.fusion.sources == {"linear"}


def test_too_few_rows_to_learn_from_leave_ranks(rng: Any, caplog: pytest.LogCaptureFixture):
    sources = {"linear": as_csr([[0.9, 0.1], [0.2, 0.8]])}
    with caplog.at_level("INFO"):
        learnt = fit_scores(sources, as_csr([[1, 0], [0, 1]]), known(2), seed=0)
    assert learnt.calibration is None
    assert learnt.fusion.booster is None
    assert "too few held-out rows to calibrate" in caplog.text


def test_it_is_the_same_in_every_run_and_read_back(rng: Any, tmp_path: Path):
    sources, Y = problem(rng, interaction=True)
    learnt, again = (fit_scores(sources, Y, known(), seed=3) for _ in range(2))
    learnt.save(tmp_path / "a")
    again.save(tmp_path / "b")
    for path in sorted((tmp_path / "a").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    loaded = FusionFit.load(tmp_path / "a")
    np.testing.assert_array_equal(
        loaded.fusion.scores(sources, known().counts_L, 5).toarray(),
        learnt.fusion.scores(sources, known().counts_L, 5).toarray(),
    )
    assert loaded.figures == learnt.figures


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("left", lambda a: np.zeros_like(a)),  # a circle
        ("right", lambda a: a + len(a)),
        ("feature", lambda a: a + 9),
        ("value", lambda a: a[:-1]),
        ("value", lambda a: a * np.nan),
        ("starts", lambda a: a[:1]),
        ("starts", lambda a: a + 1),
    ],
)
def test_trees_that_would_lead_astray_are_refused(rng: Any, tmp_path: Path, name: str, change: Any):
    booster = fitted(rng)[0]
    booster.save(tmp_path)
    Booster.load(tmp_path)
    save_array(tmp_path / f"{name}.npy", change(np.load(tmp_path / f"{name}.npy")))
    with pytest.raises(ArtifactError, match="do not hang together"):
        Booster.load(tmp_path)


def test_damaged_settings_are_refused(tmp_path: Path):
    for settings in ({}, {"weights": 3, "boosted": False}, {"weights": {"linear": "x"}}):
        with pytest.raises(ArtifactError, match=r"fusion: .*(needed|missing)"):
            Fusion.load(settings, tmp_path)
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"unreadable scores\.json"):
        FusionFit.load(tmp_path)


def test_a_mixture_without_trees_is_the_weighted_mean(rng: Any):
    sources, Y = problem(rng, interaction=False)
    fusion = fit_fusion(sources, Y, known().counts_L, boosted=False)
    expected = fuse(sources, fusion.weights, 7)
    got = fusion.scores(sources, None, 7)
    np.testing.assert_array_equal(got.toarray(), expected.toarray())
