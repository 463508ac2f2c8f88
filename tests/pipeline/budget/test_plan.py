"""What a plan chooses, from costs that are made up."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.encoder.pace import Pace
from xrt.encoder.params import EncoderParams, MatcherParams
from xrt.hybrid import HybridMatrix
from xrt.pipeline import PipelineParams
from xrt.pipeline.budget import plan as plan_module
from xrt.pipeline.budget.linear_times import (
    DEEP_SCORING,
    SCORED_ROWS,
    LinearTimes,
    linear_times,
    seconds_a_row,
)
from xrt.pipeline.budget.measuring import costs_of, measure_choices, without_disturbance
from xrt.pipeline.budget.plan import (
    MOST_EPOCHS,
    PLANNED,
    SPARE,
    Choice,
    Plan,
    kept_settings,
    linear_plan,
    make_plan,
    possible_choices,
    share_read,
)

LENGTHS_N = np.full(1000, 180)
LAYERS, WIDTH, ROWS = 6, 384, 40_000
TIMES = LinearTimes(tree=10.0, fusion=20.0, nonzeros=60.0)
PARAMS = PipelineParams(encoder=EncoderParams(), budget="30m")


def pace_of(length, frozen, rows_per_second=35.0):
    """Of all layers at 128 tokens `rows_per_second`; encoding takes a third."""
    tokens = np.minimum(LENGTHS_N, length).mean() / 128
    trained = tokens / rows_per_second * (1 - 2 / 3 * frozen / LAYERS)
    return Pace(trained=trained, encoded=tokens / rows_per_second / 3)


def planned(seconds, params=PARAMS, names=(), speed=35.0, spent=60.0):
    given = kept_settings(params, names)
    choices = possible_choices(params, given, LENGTHS_N, LAYERS, 512)
    paces = {each: pace_of(each.max_length, each.frozen_layers, speed) for each in choices}
    return make_plan(
        params, given, costs_of(paces, TIMES, ROWS, WIDTH), lengths_n=LENGTHS_N, num_rows=ROWS,
        num_layers=LAYERS, remaining=seconds - spent, seconds=seconds,
    )  # fmt: skip


def expected_of(plan):
    return sum(plan.expected.values())


@pytest.mark.parametrize("seconds", [1200, 1800, 3600, 7200, 20_000])
def test_what_is_planned_fits(seconds):
    plan = planned(seconds)
    assert plan.deep
    assert expected_of(plan) <= (1 - SPARE) * seconds - 60 + 1
    assert plan.seconds >= plan.expected["fine-tuning"] - 0.1


def test_more_time_goes_to_more_passes_layers_and_tokens():
    short, long = planned(900), planned(20_000)
    assert short.settings["matcher.num_epochs"] < long.settings["matcher.num_epochs"]
    assert short.settings["encoder.max_length"] < long.settings["encoder.max_length"]
    assert short.settings["encoder.frozen_layers"] > long.settings["encoder.frozen_layers"] == 0
    assert long.settings["num_deep_trees"] == 3
    assert long.settings["matcher.num_epochs"] == MOST_EPOCHS


def test_a_faster_machine_gets_more_out_of_the_same_time():
    slow, fast = planned(1800, speed=20.0), planned(1800, speed=200.0)
    trained = [
        plan.settings["matcher.num_epochs"] * plan.settings["encoder.max_length"]
        for plan in (slow, fast)
    ]
    assert trained[1] > 3 * trained[0]


def test_too_little_time_is_told_with_both_numbers():
    plan = planned(300)
    assert not plan.deep
    assert plan.settings == {}
    assert plan.message.startswith("4 min of the budget are left after the linear model, the ")
    assert "would take about" in plan.message
    assert plan.message.endswith("the linear model ships")


def test_the_smallest_that_is_told_is_enough(monkeypatch):
    """What is told and what is trained follow the same rule."""
    told = []

    def noted(remaining, smallest, spare):
        told.append(smallest)
        return linear_plan(remaining, smallest, spare)

    monkeypatch.setattr(plan_module, "linear_plan", noted)
    assert not planned(200).deep
    (smallest,) = told
    for more, deep in ((-1, False), (1, True)):
        assert planned((smallest + more + 60) / (1 - SPARE)).deep is deep


def test_given_settings_stay():
    params = replace(
        PARAMS, encoder=EncoderParams(max_length=64), num_deep_trees=2,
        matcher=MatcherParams(num_epochs=0.5),
    )  # fmt: skip
    settings = planned(7200, params, ["encoder.frozen_layers"]).settings
    assert settings["encoder.max_length"] == 64
    assert settings["encoder.frozen_layers"] == 0
    assert settings["num_deep_trees"] == 2
    assert settings["matcher.num_epochs"] == 0.5


def test_passes_that_are_given_are_an_upper_bound():
    params = replace(PARAMS, matcher=MatcherParams(num_epochs=50.0))
    plan = planned(1800, params)
    assert plan.settings["matcher.num_epochs"] < 50
    assert expected_of(plan) <= 0.95 * 1800 - 60 + 1


def test_steps_that_are_given_stay():
    params = replace(PARAMS, matcher=MatcherParams(steps=100))
    plan = planned(7200, params)
    assert "matcher.num_epochs" not in plan.settings
    assert plan.applied(params).matcher.steps == 100
    assert plan.most_epochs == 0


def test_settings_of_the_command_line_count_at_their_defaults_too():
    assert kept_settings(PARAMS) == frozenset()
    assert kept_settings(PARAMS, ["encoder.max_length", "seed"]) == {"encoder.max_length"}
    changed = replace(PARAMS, num_deep_trees=2)
    assert kept_settings(changed) == {"num_deep_trees"}
    assert set(PLANNED) >= kept_settings(changed)


def test_lengths_follow_the_corpus_and_the_encoder():
    short_n = np.array([5, 9, 13, 20, 31] * 10)
    lengths = {each.max_length for each in possible_choices(PARAMS, frozenset(), short_n, 6, 512)}
    assert lengths == {32}
    long_n = np.array([300, 400, 512])
    lengths = {each.max_length for each in possible_choices(PARAMS, frozenset(), long_n, 6, 128)}
    assert max(lengths) == 128
    assert share_read(long_n, 128) == pytest.approx(3 * 128 / 1212)


def test_adapters_freeze_no_layers():
    params = replace(PARAMS, encoder=EncoderParams(lora_rank=8))
    choices = possible_choices(params, frozenset(), LENGTHS_N, 6, 512)
    assert {each.frozen_layers for each in choices} == {0}


def test_a_plan_is_settings_to_type_and_goes_round():
    plan = planned(1800)
    assert Plan.from_dict(plan.to_dict()) == plan
    applied = plan.applied(PARAMS)
    for word in plan.as_words().split():
        name, _, value = word.partition("=")
        part, _, field = name.rpartition(".")
        assert getattr(getattr(applied, part) if part else applied, field) == pytest.approx(
            float(value), rel=1e-3
        )


def test_paces_that_there_is_no_time_to_measure_follow_from_others():
    choices = possible_choices(PARAMS, frozenset(), LENGTHS_N, LAYERS, 512)
    measured = []
    clock = iter(np.arange(0.0, 1e5, 10.0))  # each look at it takes ten seconds

    def measure(encoder):
        measured.append((encoder.max_length, encoder.frozen_layers))
        return pace_of(encoder.max_length, encoder.frozen_layers)

    def found(seconds):
        measured.clear()
        return measure_choices(
            EncoderParams(), choices, measure, LENGTHS_N, LAYERS, seconds=seconds,
            now=lambda: next(clock),
        )  # fmt: skip

    few = found(0.0)
    assert measured == [(96, 0)]  # the first always
    many = found(1e9)
    assert len(measured) == len({each.max_length for each in choices}) + 2
    for choice, pace in few.items():
        wanted = pace_of(choice.max_length, choice.frozen_layers)
        assert pace.trained == pytest.approx(wanted.trained)
        assert many[choice].trained == pytest.approx(wanted.trained)
        assert many[choice].encoded == pytest.approx(wanted.encoded)


@pytest.mark.parametrize(
    ("took", "tree", "fusion"),
    [
        ({"tree": 60.0, "linear": 80.0, "fit-tree": 5.0, "fit-linear": 3.0, "linear-fusion": 20.0},
         4.0, 12.0),  # kernels were compiled in the first two
        ({"tree": 5.0, "linear": 3.0, "tree-2": 5.0, "linear-2": 3.0, "linear-fusion": 20.0},
         8.0, 4.0),  # stages of an earlier run, of which those within the fusion are not known
    ],
)  # fmt: skip
def test_times_of_the_linear_model_follow_from_its_stages(took, tree, fusion):
    runner = SimpleNamespace(
        seconds={"features": 9.0, **took}, params=SimpleNamespace(num_trees=2), cache=None
    )
    rows = SimpleNamespace(names=None, X_NF=sp.csr_array(np.ones((4, 6))))
    times = linear_times(runner, rows, 7)
    assert (times.tree, times.fusion, times.nonzeros) == (tree, fusion, 6.0)
    assert (times.num_names, times.num_tests) == (0, 7)


def test_rows_are_scored_to_know_how_long_tests_will_take():
    clock = iter([100.0, 104.0])
    scored = []

    def candidates(rows, k, num_threads):
        scored.append((rows.num_rows, k))
        return {}

    model = SimpleNamespace(
        frequencies=None, source_rows=lambda X: X, candidates=candidates,
        fusion=SimpleNamespace(scores=lambda found, counts_L, k: scored.append(k)),
    )  # fmt: skip
    runner = SimpleNamespace(candidates=7, num_threads=1)
    rows = SimpleNamespace(X=HybridMatrix.of(sp.csr_array(np.ones((300, 6), np.float32))))
    took = seconds_a_row(runner, rows, model, lambda: next(clock))
    assert took == 4 / SCORED_ROWS
    assert scored == [(SCORED_ROWS, 7), 7]
    times = replace(TIMES, num_tests=1_000, scoring=took)
    assert times.tests == (1 + DEEP_SCORING) * 1_000 * took
    choice = Choice(max_length=64, frozen_layers=0, num_deep_trees=1)
    costs = [costs_of({choice: pace_of(64, 0)}, each, ROWS, WIDTH)[choice]
             for each in (replace(times, scoring=0.0), times)]  # fmt: skip
    assert costs[1].fusion - costs[0].fusion == pytest.approx(times.tests)
    assert costs[1].fixed - costs[0].fixed == pytest.approx(times.tests)


def test_rankers_beside_embeddings_take_longer_the_shorter_the_texts():
    long, short = (replace(TIMES, nonzeros=count) for count in (60.0, 9.0))
    assert long.rankers(1, 0) == 20.0
    assert 20 * 2 < long.rankers(1, WIDTH) < short.rankers(1, WIDTH)
    assert long.rankers(3, WIDTH) == pytest.approx(3 * long.rankers(1, WIDTH))


def test_a_shorter_text_takes_no_longer_whatever_was_measured():
    measured = {32: Pace(trained=1.0, encoded=0.5), 64: Pace(trained=9.0, encoded=0.1)}
    measured[128] = Pace(trained=2.0, encoded=0.4)
    assert without_disturbance(measured) == {
        32: Pace(trained=1.0, encoded=0.1),
        64: Pace(trained=2.0, encoded=0.1),
        128: Pace(trained=2.0, encoded=0.4),
    }
