"""Decoding row by row or each attribute by itself: what each gives, and which of them ships."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.applications.attributes.data.space import AttributeSpace, make_value_table
from xrt.applications.attributes.decoding.decoder import MIN_ROWS, AttributeDecoder
from xrt.applications.attributes.decoding.joint_weights import JointWeights
from xrt.applications.attributes.decoding.way import (
    choose_way,
    describe_choice,
    is_clearly_better,
    judge_way,
)
from xrt.applications.attributes.evaluation import evaluate_decoding
from xrt.applications.attributes.settings import AttributeSettings, Decode
from xrt.errors import ArtifactError, ConfigError

NUM_TOP, NUM_TYPES, NUM_BRANDS = 40, 80, 6
IDS = [
    *(f"top={i:03}" for i in range(NUM_TOP)),
    *(f"type={i:03}" for i in range(NUM_TYPES)),
    *(f"brand={i}" for i in range(NUM_BRANDS)),
]
SPACE = AttributeSpace(("brand", "top", "type"), ("top", "type"), make_value_table(IDS))


def rows_of(types: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Label columns (N, 3) of brand, top and type; two types under each top value."""
    brands = NUM_TOP + NUM_TYPES + (types + rng.integers(0, 2, len(types))) % NUM_BRANDS
    return np.column_stack([brands, types // 2, NUM_TOP + types]).astype(np.int32)


def scores_of(true_NA: np.ndarray, rng: np.random.Generator, noise: float) -> sp.csr_array:
    """Scores near 1 of what is given and near 0 of some other labels; with noise, some the other
    way round.
    """
    dense = np.zeros((len(true_NA), len(IDS)))
    for a, attribute in enumerate(SPACE.attributes):
        columns = SPACE.columns_of(attribute)
        others = rng.choice(columns, (len(true_NA), 3))
        np.put_along_axis(dense, others, 0.05 + 0.4 * rng.random(others.shape), axis=1)
        right = np.where(rng.random(len(true_NA)) < noise, 0.3, 0.9 + 0.09 * rng.random())
        dense[np.arange(len(true_NA)), true_NA[:, a]] = right
    return sp.csr_array(dense.astype(np.float32))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    training, held = (rows_of(rng.integers(0, NUM_TYPES, n), rng) for n in (600, 300))
    return training, held, scores_of(held, rng, 0.3)


@pytest.fixture(scope="module")
def fit_decoder(data):
    training, held, scores = data
    return AttributeDecoder.of(SPACE, training).learn(scores, held)


def test_learnt_weights_keep_the_right_path_among_many_top_values(data, fit_decoder):
    _, held, scores = data
    alone = fit_decoder.decode_batches(fit_decoder.weigh(scores), Decode.row)
    right = (alone.columns_NA == held).all(axis=1).mean()
    batches, places = fit_decoder.cross_weigh(scores)
    chosen = choose_way(fit_decoder, batches, held[places])
    figures = chosen.figures["decode"]
    assert right > 0.6
    assert figures["row"]["item accuracy"] > figures["best score alone"]["item accuracy"]
    assert 1 <= fit_decoder.figures["searches"] <= 4
    assert (
        fit_decoder.weights.levels_D3[:, 2] <= fit_decoder.weights.levels_D3[:, 0] * np.log(1e-4)
    ).all()
    assert "held-out" in describe_choice(figures)


def test_candidates_are_found_again_with_the_learnt_weights(data, fit_decoder, monkeypatch):
    from xrt.applications.attributes.decoding import joint_fit

    training, held, scores = data
    searched = []
    finder = AttributeDecoder.of(SPACE, training).finder
    find = type(finder).find

    def spy(self, scores_NL, weights, *args, **settings):
        searched.append(weights)
        return find(self, scores_NL, weights, *args, **settings)

    monkeypatch.setattr(type(finder), "find", spy)
    result = joint_fit.learn_weights(finder, scores, held, np.zeros(1))
    assert len(searched) >= 2
    assert np.array_equal(searched[0].to_vector(), JointWeights.initial(2, 1).to_vector())
    assert not np.array_equal(searched[1].to_vector(), searched[0].to_vector())
    last = find(finder, scores, result.weights).paths_NM
    assert (last == find(finder, scores, searched[-1]).paths_NM).mean() > 0.98


def test_each_is_the_most_probable_value_of_every_attribute(data, fit_decoder):
    _, _, scores = data
    batches = fit_decoder.weigh(scores[:40])
    each, row = (
        fit_decoder.decode_batches(batches, Decode.each),
        fit_decoder.decode_batches(batches, Decode.row),
    )
    cells = np.full_like(each.columns_NA, -1)
    for a in range(3):
        of_row = cells.copy()
        of_row[:, a] = row.columns_NA[:, a]
        probable = fit_decoder.probability_of(batches, of_row)[:, a]
        assert (each.probabilities_NA[:, a] >= probable - 1e-6).all()
    assert (each.row_probabilities_N <= row.row_probabilities_N + 1e-6).all()
    same = (each.columns_NA == row.columns_NA).all(axis=1)
    assert same.any()
    assert each.row_probabilities_N[same] == pytest.approx(row.row_probabilities_N[same], abs=1e-6)


def test_each_keeps_given_values_and_goes_along_with_them(data, fit_decoder):
    _, held, scores = data
    cells = np.full_like(held, -1)
    cells[:, 1] = (held[:, 1] + 1) % NUM_TOP  # another top value than the text says
    every = replace(fit_decoder, by_score=SPACE.attributes)
    result = every.decode(scores, cells, way=Decode.each)
    assert (result.columns_NA[:, 1] == cells[:, 1]).all()
    assert ((result.columns_NA[:, 2] - NUM_TOP) // 2 == cells[:, 1]).all()


def test_attributes_by_score_take_their_best_scored_value(data, fit_decoder):
    _, _, scores = data
    decoder = replace(fit_decoder, by_score=("type", "brand"))
    result = decoder.decode(scores, way=Decode.each)
    dense = scores.toarray()
    for a, attribute in enumerate(SPACE.attributes):
        columns = SPACE.columns_of(attribute)
        best = columns[dense[:, columns].argmax(axis=1)]
        if attribute != "top":
            assert (result.columns_NA[:, a] == best).all()
    assert ((result.probabilities_NA > 0) & (result.probabilities_NA <= 1)).all()


def test_each_ships_where_decoding_together_fails(data, fit_decoder):
    training, held, scores = data
    rng = np.random.default_rng(1)
    mixed = training.copy()
    mixed[:, 1] = mixed[rng.permutation(len(mixed)), 1]  # paths that no other row has
    wrong = AttributeDecoder.of(SPACE, mixed[:60]).learn(scores, held)
    batches, places = wrong.cross_weigh(scores)
    chosen = choose_way(wrong, batches, held[places])
    figures = chosen.figures["decode"]
    assert figures["each"]["item accuracy"] > figures["row"]["item accuracy"] + 0.1
    assert chosen.way is Decode.each
    assert chosen.recount(training).way is Decode.each
    (step,) = judge_way(chosen.figures)
    assert not step.ships
    assert step.plain == figures["each"]["item accuracy"]
    assert step.learnt == figures["row"]["item accuracy"]
    assert step.error is not None
    assert step.plain - step.learnt > 2 * step.error
    assert judge_way({}) == []
    override = choose_way(wrong, batches, held[places], Decode.row)
    assert judge_way(override.figures)[0].note == "as the settings say"
    assert override.way is Decode.row
    assert override.figures["decode"]["chosen on held-out rows"] is False
    assert "as the settings say" in describe_choice(override.figures["decode"])
    evaluation = evaluate_decoding(chosen, held[places], batches)
    content = evaluation.to_dict()
    assert content["decode"] == "each"
    assert content["item_accuracy"] == pytest.approx(figures["each"]["item accuracy"])
    assert content["decodings"]["row"]["item accuracy"] == figures["row"]["item accuracy"]
    assert "decode=each" in evaluation.to_text()


@pytest.mark.parametrize(
    ("won", "losses", "better"),
    [(0, 0, False), (1, 0, False), (4, 0, False), (5, 0, True), (2, 0, False), (60, 40, False),
     (61, 39, True), (300, 100, True), (0, 9, False), (7, 1, True)],
)  # fmt: skip
def test_a_difference_that_chance_explains_is_none(won, losses, better):
    rows = np.repeat([True, False, True, False], [won, losses, 50, 50])
    other = np.repeat([False, True, True, False], [won, losses, 50, 50])
    assert is_clearly_better(rows, other) is better


def test_the_way_is_saved_and_older_models_decode_rows(fit_decoder, tmp_path):
    chosen = replace(fit_decoder, way=Decode.each, by_score=("brand",))
    settings = json.loads(json.dumps(chosen.save(tmp_path)))
    again = AttributeDecoder.load(tmp_path, settings, SPACE)
    assert (again.way, again.by_score) == (Decode.each, ("brand",))
    old = {name: part for name, part in settings.items() if name not in ("decode", "by_score")}
    older = AttributeDecoder.load(tmp_path, old, SPACE)
    assert (older.way, older.by_score) == (Decode.row, ())


@pytest.mark.parametrize(
    "fault",
    [{"decode": "auto"}, {"decode": "both"}, {"decode": 1}, {"decode": ["row"]},
     {"by_score": ["x"]}, {"by_score": [["brand"]]}, {"by_score": 5}, {"by_score": "brand"}],
)  # fmt: skip
def test_a_saved_way_that_cannot_be_is_refused(fit_decoder, tmp_path, fault):
    settings = fit_decoder.save(tmp_path)
    with pytest.raises(ArtifactError, match="train it anew"):
        AttributeDecoder.load(tmp_path, settings | fault, SPACE)


def test_too_few_held_out_rows_teach_nothing(data):
    training, held, scores = data
    decoder = AttributeDecoder.of(SPACE, training)
    assert decoder.learn(scores[: MIN_ROWS - 1], held[: MIN_ROWS - 1]) is decoder


def test_decode_is_refused_where_there_are_no_attributes():
    with pytest.raises(ConfigError, match="decode = each"):
        AttributeSettings(decode=Decode.each)
