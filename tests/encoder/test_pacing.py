"""Fine-tuning within a time, on a clock that is made up."""

import logging

import numpy as np
import pytest
import torch
from matcher_run import corpus, trainer_params
from test_matcher_validation import Accident, PaceWithAccident, facts_of

from xrt.encoder import pacing, training
from xrt.encoder.optimizers import LinearSchedule
from xrt.encoder.pace import measure_pace
from xrt.encoder.pacing import Pacing, TimeLimit
from xrt.encoder.params import EncoderParams, MatcherParams, Strategy
from xrt.encoder.training import fine_tune_matcher


class StepClock:
    """A step takes `seconds`, from some step on `later`."""

    def __init__(self, seconds=1.0, later=None, first=0):
        self.seconds, self.later, self.first = seconds, later, first
        self.looks, self.time = 0, 0.0

    def __call__(self):
        self.looks += 1
        if self.looks > 1:  # the first look is at the start
            slow = self.later is not None and self.looks - 1 > self.first
            self.time += self.later if slow else self.seconds
        return self.time


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("XRT_NUM_THREADS", "1")


def fit(folder, monkeypatch, clock, limit, progress=None, held_out=True, **settings):
    def paced(limit, matcher):
        return Pacing(limit, matcher, clock)

    texts, Y_NL, tree = corpus()
    with monkeypatch.context() as patch:
        patch.setattr(training, "Pacing", paced)
        return fine_tune_matcher(
            texts, Y_NL, tree, run_folder=folder,
            encoder=EncoderParams(name="tiny-random", max_length=16),
            params=MatcherParams(**{"steps": 40, "max_batch_rows": 8, **settings}),
            trainer=trainer_params(1, Strategy.auto), progress=progress,
            validation=corpus(seed=1)[:2] if held_out else None, limit=limit,
        )  # fmt: skip


def test_a_fit_as_fast_as_planned_is_the_fit_without_a_limit(tmp_path, monkeypatch):
    timed = fit(tmp_path / "a", monkeypatch, StepClock(), TimeLimit(40.0, 0.0))
    free = fit(tmp_path / "b", monkeypatch, StepClock(), None)
    assert timed.pace == {"planned_steps": 40, "steps": 40, "seconds": 40.0}
    assert free.pace is None
    np.testing.assert_array_equal(timed.losses, free.losses)
    np.testing.assert_array_equal(timed.heads[-1][0], free.heads[-1][0])


def test_slower_steps_end_in_time_with_the_rate_down(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "xrt")
    rates = []
    step = training.LevelMatcher.on_train_batch_start

    def noted(self, batch, batch_idx):
        rates.append(self.optimizers().param_groups[0]["lr"])
        step(self, batch, batch_idx)

    monkeypatch.setattr(training.LevelMatcher, "on_train_batch_start", noted)
    result = fit(tmp_path, monkeypatch, StepClock(1.0, 3.0, 10), TimeLimit(40.0, 0.0))
    assert result.pace is not None
    assert result.pace["steps"] < 30
    assert 36 <= result.pace["seconds"] <= 44
    assert "fine-tuning ends at step" in caplog.text
    falling = rates[5:]
    assert falling == sorted(falling, reverse=True)
    assert rates[-1] < 0.15 * max(rates)
    facts = facts_of(tmp_path, 1)
    assert facts["validation"][-1]["step"] == result.pace["steps"]
    assert not facts["stopped_early"]


def test_slower_steps_leave_what_follows_the_time_that_it_will_take(tmp_path, monkeypatch):
    """Steps twice as slow as planned: what follows, planned to take 20 s, will take 20 s more."""
    limit = TimeLimit(60.0, 0.0, planned=40.0, after=20.0)
    result = fit(tmp_path, monkeypatch, StepClock(2.0), limit)
    assert result.pace["seconds"] == pytest.approx(40, abs=4)
    as_planned = TimeLimit(60.0, 0.0, planned=40.0, after=20.0)
    assert as_planned.seconds_at(used=20.0, share=0.5) == 60
    assert as_planned.seconds_at(used=10.0, share=0.5) == 60  # nothing is won by faster steps
    assert as_planned.seconds_at(used=30.0, share=0.5) == 50
    assert TimeLimit(60.0, 0.0, after=20.0).seconds_at(used=30.0, share=0.5) == 60


def test_faster_steps_go_on_as_far_as_is_allowed(tmp_path, monkeypatch):
    result = fit(tmp_path / "a", monkeypatch, StepClock(0.8), TimeLimit(40.0, 100.0))
    assert 48 <= result.pace["steps"] <= 50
    bounded = fit(tmp_path / "b", monkeypatch, StepClock(0.1), TimeLimit(40.0, 45 / 12))
    assert bounded.pace["steps"] == 45


def test_a_flat_curve_cools_down_and_ends(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "xrt")
    monkeypatch.setattr(pacing, "is_flat", lambda matcher: True)
    result = fit(tmp_path, monkeypatch, StepClock(), TimeLimit(40.0, 0.0))
    assert result.pace["steps"] <= 4
    assert "held-out figures no longer rise" in caplog.text


def test_flat_is_no_gain_by_a_standard_error():
    matcher = torch.nn.Module()
    rng = np.random.default_rng(0)
    rows_n = rng.random(200).astype(np.float32)
    for gain, flat in ((0.0, True), (0.05, False)):
        ndcg_Vn = np.stack([rows_n, *(rows_n + gain * i for i in range(1, 4))])
        record = np.stack([[i + 1, ndcg_Vn[i].mean(), 0, 0] for i in range(4)])
        matcher.register_buffer(pacing.RECORD, torch.from_numpy(record))
        matcher.register_buffer(pacing.ROWS_RECORD, torch.from_numpy(ndcg_Vn))
        assert pacing.is_flat(matcher) is flat
        matcher.get_buffer(pacing.RECORD)[3] = torch.nan  # too few to tell
        assert not pacing.is_flat(matcher)
    assert not pacing.is_flat(torch.nn.Module())


def test_a_stopped_fit_goes_on_with_the_time_it_had_left(tmp_path, monkeypatch):
    limit = TimeLimit(40.0, 0.0)
    monkeypatch.setattr("xrt.encoder.fit.CHECKPOINT_EVERY_STEPS", 5)
    with pytest.raises(Accident):
        fit(tmp_path, monkeypatch, StepClock(2.0), limit, PaceWithAccident(12))
    state = torch.load(next(tmp_path.glob("level-*.ckpt")), weights_only=True)["state_dict"]
    assert float(state[pacing.USED]) == 20.0
    assert int(state["end_step"]) == 20
    result = fit(tmp_path, monkeypatch, StepClock(2.0), limit)
    assert result.pace == {"planned_steps": 40, "steps": 20, "seconds": 40.0}


def test_the_end_of_a_schedule_is_moved_without_a_jump():
    schedule = LinearSchedule(num_steps=100, warmup_share=0.1)
    before = [schedule(step) for step in range(60)]
    schedule.end_at(60, 80)
    assert schedule(60) == pytest.approx(before[59], abs=0.02)
    assert schedule(70) == pytest.approx(schedule(60) / 2)
    assert schedule(80) == 0
    again = LinearSchedule(num_steps=100, warmup_share=0.1)
    again.__dict__.update(schedule.__dict__)  # what LambdaLR keeps in a checkpoint
    assert again(70) == schedule(70)


def test_a_pace_is_measured_on_the_corpus():
    texts, Y_NL, _ = corpus()
    now = StepClock(0.5)
    pace = measure_pace(
        texts, Y_NL, EncoderParams(name="tiny-random", max_length=16, frozen_layers=1),
        MatcherParams(max_batch_rows=16), trainer_params(1, Strategy.auto), now=now,
    )  # fmt: skip
    # 96 rows in 6 steps of half a second; tokenising and reading take a look each
    assert pace.trained == pytest.approx(6 * 0.5 / 96)
    assert pace.encoded == pytest.approx(2 * 0.5 / 96)


@pytest.mark.ddp
def test_two_processes_keep_to_the_time_alike(tmp_path):
    texts, Y_NL, tree = corpus()
    result = fine_tune_matcher(
        texts, Y_NL, tree, run_folder=tmp_path,
        encoder=EncoderParams(name="tiny-random", max_length=16),
        params=MatcherParams(steps=40, max_batch_rows=8),
        trainer=trainer_params(2, Strategy.auto), limit=TimeLimit(1e-3, 0.0),
    )  # fmt: skip
    assert result.pace is not None
    assert result.pace["steps"] == len(result.losses) < 10
