"""The verdict: when the deep model ships, and what is told of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.encoder.params import EncoderParams
from xrt.errors import DataError
from xrt.fusion.cross_fitting import criterion_of_rows
from xrt.fusion.cross_fitting import cross_fitted as fitted_elsewhere
from xrt.fusion.fit import cross_fitted_fusion, fit_scores
from xrt.fusion.frequencies import LabelFrequencies
from xrt.fusion.fusion import Fusion
from xrt.fusion.weights import fit_weights, fuse
from xrt.metrics.ranking import judge, ndcg_at, precision_at
from xrt.pipeline.fusing import criterion_of
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.verdict import Verdict, give_verdict, require_held_out
from xrt.sparse import as_csr

NUM_ROWS, NUM_LABELS = 80, 20
COUNTS, NUM_TRAIN = np.full(NUM_LABELS, 30), 300


@pytest.fixture
def truth(rng):
    """Two true labels a row."""
    labels = np.argsort(rng.random((NUM_ROWS, NUM_LABELS)), axis=1)[:, :2]
    Y = np.zeros((NUM_ROWS, NUM_LABELS), np.float32)
    np.put_along_axis(Y, labels, 1, axis=1)
    return as_csr(Y)


def knowing(truth, rng, share):
    """Scores that are the truth by this share, the rest by chance."""
    noise = rng.random((NUM_ROWS, NUM_LABELS)).astype(np.float32)
    return as_csr(share * truth.toarray() + (1 - share) * noise)


def cross_fitted(sources, truth, seed):
    """Each half fused with the weights chosen on the other."""
    return fitted_elsewhere(
        sources, truth, seed, lambda s, Y, _: fit_weights(s, Y).weights, lambda w, s: fuse(s, w, 10)
    )


def judged(sources, truth, **settings):
    fusion = Fusion(fit_weights(sources, truth).weights)
    return give_verdict(sources, fusion, truth, COUNTS, NUM_TRAIN, **settings)


def test_a_better_deep_model_wins(truth, rng):
    sources = {"linear": knowing(truth, rng, 0.2), "ranker": knowing(truth, rng, 0.45)}
    verdict = judged(sources, truth)
    assert verdict.deep_wins
    assert verdict.ships_deep
    assert verdict.gain >= verdict.standard_error > 0
    assert verdict.held_out.deep["P@1"] > verdict.held_out.linear["P@1"]
    assert verdict.message.startswith("On 80 held-out rows the deep model scores ")
    assert verdict.message.endswith(". The deep model is saved")
    assert "lower" not in verdict.message


def test_an_equal_one_does_not(truth, rng):
    scores = knowing(truth, rng, 0.4)
    verdict = judged({"linear": scores, "ranker": scores}, truth)
    assert verdict.gain == 0
    assert not verdict.deep_wins
    assert not verdict.ships_deep
    assert verdict.held_out.deep == verdict.held_out.linear


def test_a_worse_one_does_not(truth, rng):
    sources = {"linear": knowing(truth, rng, 0.6), "ranker": knowing(truth, rng, 0.0)}
    verdict = judged(sources, truth)
    assert not verdict.ships_deep
    assert verdict.message.endswith(". The linear model is saved")


def test_it_is_saved_all_the_same_where_the_settings_say_so(truth, rng):
    sources = {"linear": knowing(truth, rng, 0.6), "ranker": knowing(truth, rng, 0.0)}
    verdict = judged(sources, truth, always_deep=True)
    assert not verdict.deep_wins
    assert verdict.ships_deep
    assert verdict.message.endswith(". The deep model is saved since always_deep is set")


def test_noise_that_fusion_falls_for_does_not_pass(truth):
    """On the rows that chose them weights never lose; on the other half they mostly do."""
    flattered = won = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        linear = knowing(truth, rng, 0.3)
        jitter = [knowing(truth, rng, 0.0) for _ in range(4)]
        sources = {f"jitter{i}": as_csr(0.9 * linear + 0.1 * jitter[i]) for i in range(4)}
        sources["linear"] = linear
        fusion = fit_weights(sources, truth)
        flattered += sum(fusion.figures.values()) > sum(fusion.alone["linear"].values())
        won += judged(sources, truth).deep_wins
    assert flattered == 12
    assert won <= 3


def test_each_half_is_ranked_with_the_weights_of_the_other(truth, rng):
    """Each source knows the truth of one half: the other half's choice is always wrong."""
    order = np.random.default_rng(5).permutation(NUM_ROWS)
    first = np.isin(np.arange(NUM_ROWS), order[: NUM_ROWS // 2])[:, None]
    right, wrong = truth.toarray(), np.roll(truth.toarray(), 1, axis=1) * (1 - truth.toarray())
    sources = {
        "linear": as_csr(np.where(first, right, wrong)),
        "ranker": as_csr(np.where(first, wrong, right)),
    }
    fused = cross_fitted(sources, truth, seed=5)
    np.testing.assert_array_equal(fused.toarray(), wrong)
    assert (cross_fitted(sources, truth, seed=6) != fused).nnz


def test_rows_keep_their_places(truth, rng):
    sources = {"linear": knowing(truth, rng, 0.3), "ranker": truth}
    fused = cross_fitted(sources, truth, seed=0)
    np.testing.assert_array_equal(fused.toarray(), truth.toarray())


def test_the_criterion_of_rows_has_the_criterion_as_its_mean(truth, rng):
    scores = knowing(truth, rng, 0.3)
    ranking = judge(truth, scores, 10)
    expected = (precision_at(ranking)[0] + ndcg_at(ranking)[9]) / 2
    assert criterion_of_rows(truth, scores).mean() == pytest.approx(expected)


def test_gain_and_error_are_those_of_the_rows(truth, rng):
    sources = {"linear": knowing(truth, rng, 0.2), "ranker": knowing(truth, rng, 0.3)}
    verdict = judged(sources, truth, seed=3)
    deep = cross_fitted(sources, truth, seed=3)
    rows = criterion_of_rows(truth, deep) - criterion_of_rows(truth, sources["linear"])
    assert verdict.gain == pytest.approx(np.mean(rows))
    spread = np.sqrt(sum((row - np.mean(rows)) ** 2 for row in rows) / (NUM_ROWS - 1))
    assert verdict.standard_error == pytest.approx(spread / np.sqrt(NUM_ROWS))


def test_losses_of_the_tail_are_told():
    """Deep finds the common label of three rows in four, and none of the rare ones."""
    rows = np.arange(80)
    rare = rows % 4 == 0
    labels = np.where(rare, 20 + rows // 4, rows % 7)
    Y = sp.csr_array((np.ones(80, np.float32), (rows, labels)), shape=(80, 50))
    linear, deep = np.zeros((80, 50), np.float32), np.zeros((80, 50), np.float32)
    deep[:, 10:16] = 0.5  # six wrong labels before what linear says
    deep[rows[~rare], labels[~rare]] = 1
    linear[rows, np.where(rare | (rows % 2 == 0), labels, 49)] = 0.01
    counts = np.where(np.arange(50) < 20, 50, 1)
    sources = {"linear": as_csr(linear), "ranker": as_csr(deep)}
    fusion = Fusion(fit_weights(sources, as_csr(Y)).weights)
    verdict = give_verdict(sources, fusion, as_csr(Y), counts, NUM_TRAIN)
    assert verdict.deep_wins
    assert verdict.held_out.lower(["PSP@5", "macro-F1@5"]) == ["PSP@5", "macro-F1@5"]
    assert "; the deep model is lower in PSP@5 " in verdict.message
    assert " and macro-F1@5 " in verdict.message
    names = {bin.name: bin for bin in verdict.held_out.bins}
    assert names["1"].deep["PSP@5"] == 0 < names["1"].linear["PSP@5"]
    assert names["50-199"].deep["P@1"] == 1 > names["50-199"].linear["P@1"]


def test_a_gain_without_the_encoder_is_told(truth, rng):
    sources = {"linear": knowing(truth, rng, 0.1), "neighbours": knowing(truth, rng, 0.6)}
    sources["ranker"] = knowing(truth, rng, 0.0)
    fusion = Fusion({"linear": 0.2, "neighbours": 0.8, "ranker": 0.0})
    verdict = give_verdict(sources, fusion, truth, COUNTS, NUM_TRAIN)
    assert verdict.deep_wins
    assert "only linear and neighbours have weight, no source uses the encoder" in verdict.message


def test_weights_of_linear_alone_never_win(truth, rng):
    sources = {"linear": knowing(truth, rng, 0.2), "ranker": knowing(truth, rng, 0.6)}
    fusion = Fusion({"linear": 1.0, "ranker": 0.0})
    verdict = give_verdict(sources, fusion, truth, COUNTS, NUM_TRAIN)
    assert verdict.gain > 0
    assert not verdict.deep_wins


def test_one_row_tells_nothing(truth, rng):
    one = as_csr(truth[:1])
    sources = {"linear": as_csr(np.roll(one.toarray(), 1, axis=1)), "ranker": one}
    verdict = judged(sources, one)
    assert verdict.standard_error is None
    assert not verdict.deep_wins
    assert "a single row gives the difference no standard error" in verdict.message
    assert "On 1 held-out row the" in verdict.message


def test_it_is_the_same_in_every_run_and_read_back_from_json(truth, rng):
    sources = {"linear": knowing(truth, rng, 0.3), "ranker": knowing(truth, rng, 0.4)}
    verdict = judged(sources, truth)
    assert judged(sources, truth) == verdict
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict
    assert verdict.summary()["num_rows"] == NUM_ROWS
    assert "held_out" not in verdict.summary()
    assert verdict.added_on() == {"80 held-out training rows": verdict.held_out}


@pytest.mark.parametrize(
    ("Y", "texts", "groups"),
    [
        (np.eye(3), ["a"] * 3, None),  # one text
        ([[1, 0], [0, 0]], ["a", "b"], None),  # one row with a label
        (np.eye(3), ["a", "b", "c"], [4, 4, 4]),
    ],
)
def test_without_a_row_to_hold_out_an_encoder_is_refused(Y, texts, groups):
    Y = as_csr(Y)
    labels = LabelTable.from_ids([str(i) for i in range(Y.shape[1])])
    corpus = Corpus(texts, Y, labels, groups=None if groups is None else np.array(groups))
    params = PipelineParams(encoder=EncoderParams(name="tiny-random"))
    with pytest.raises(DataError, match=f"of {Y.shape[0]} rows . have a label") as error:
        require_held_out(params, corpus)
    assert list(error.value.settings) == ["encoder=none"]
    require_held_out(replace(params, encoder=None), corpus)
    twice = [*texts, *(text + " more" for text in texts)]
    require_held_out(params, Corpus(twice, as_csr(sp.vstack([Y, Y])), labels))


def test_fused_scores_of_the_verdict_are_not_those_that_ship(truth, rng):
    """Figures in the verdict are of weights chosen elsewhere; shipped weights are of all rows."""
    sources = {f"s{i}": knowing(truth, rng, 0.3) for i in range(3)}
    sources["linear"] = knowing(truth, rng, 0.3)
    fusion = fit_weights(sources, truth)
    in_sample = criterion_of_rows(truth, fuse(sources, fusion.weights, 10)).mean()
    honest = criterion_of_rows(truth, cross_fitted(sources, truth, 0)).mean()
    assert honest < in_sample


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_objective_of_a_linear_run_is_cross_fitted(truth, rng, share):
    """That of the fusion where it beats the trees, that of the trees alone where it does not."""
    sources = {"linear": knowing(truth, rng, 0.3), "neighbours": knowing(truth, rng, share)}
    frequencies = LabelFrequencies(COUNTS, NUM_TRAIN)
    weights = rng.uniform(0.5, 2, NUM_ROWS)
    fit = fit_scores(sources, truth, frequencies, 0, "linear", weights)
    better = fit.figures["over linear"]["better"]
    assert better == (share == 0.5)
    boosted = fit.fusion.booster is not None
    scores = cross_fitted_fusion(sources, truth, frequencies, 0, boosted, weights)
    rows = criterion_of_rows(truth, scores if better else sources["linear"])
    assert criterion_of(fit) == pytest.approx(np.average(rows, weights=weights))
