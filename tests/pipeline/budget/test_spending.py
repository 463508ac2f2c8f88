"""The clock of a budget, and its record."""

import json

import pytest

from xrt.pipeline import PipelineParams
from xrt.pipeline.budget.plan import Plan
from xrt.pipeline.budget.report import BudgetReport, more_time, repeat_settings
from xrt.pipeline.budget.spending import Spending

PARAMS = PipelineParams(budget="10m")
DEEP = Plan(
    deep=True, settings={"encoder.max_length": 64, "matcher.num_epochs": 1.5}, seconds=100.0,
    most_epochs=2.0, expected={}, message="64 tokens",
)  # fmt: skip


class Clock:
    """Stands still but where it is told to go on."""

    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


def test_parts_follow_one_another(clock, tmp_path):
    spending = Spending(PARAMS, tmp_path / "budget.json", clock)
    clock.time += 5
    spending.begin("linear model")
    clock.time += 60
    assert spending.parts == {"reading": 5, "linear model": 60}
    assert spending.remaining == 600 - 65
    spending.begin("fine-tuning")
    written = json.loads((tmp_path / "budget.json").read_text())
    assert written["spent"] == {"reading": 5, "linear model": 60, "fine-tuning": 0}
    assert written["seconds"] == 65


def test_time_before_a_stop_counts(clock, tmp_path):
    path = tmp_path / "budget.json"
    first = Spending(PARAMS, path, clock)
    clock.time += 100
    first.begin("linear model")
    clock.time += 50
    first.keep()
    clock.time += 9999  # the machine slept
    again = Spending(PARAMS, path, clock)
    assert again.spent == 150
    again.begin("linear model")
    clock.time += 10
    assert again.parts["linear model"] == 60
    again.keep(finished=True)
    assert Spending(PARAMS, path, clock).spent == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', '{"key": "x", "finished": false}'])
def test_a_record_of_another_run_counts_nothing(clock, tmp_path, text):
    path = tmp_path / "budget.json"
    spending = Spending(PARAMS, path, clock)
    clock.time += 100
    spending.keep()
    assert Spending(PipelineParams(budget="20m"), path, clock).spent == 0
    path.write_text(text)
    assert Spending(PARAMS, path, clock).spent == 0


def figures(*values):
    return [{"step": 10 * (i + 1), "ndcg@5": value} for i, value in enumerate(values)]


def test_what_more_time_brings_follows_from_the_curve():
    rising = more_time(DEEP, 600, figures(0.3, 0.4, 0.5, 0.55))
    assert "from 50.0 to 55.0 between step 30 and 40" in rising
    assert "more time brings more (budget=20m)" in rising
    flat = more_time(DEEP, 600, figures(0.3, 0.55, 0.55, 0.551), {"steps": 40, "planned_steps": 80})
    assert "the fine-tuning ended early" in flat
    assert flat.endswith("more time brings little")
    assert "too seldom" in more_time(DEEP, 600, figures(0.3))


def test_a_run_can_be_repeated_without_a_budget():
    as_planned = repeat_settings(DEEP, {"steps": 80, "planned_steps": 80})
    assert as_planned == "encoder.max_length=64 matcher.num_epochs=1.5"
    moved = repeat_settings(DEEP, {"steps": 70, "planned_steps": 80})
    assert moved.startswith("encoder.max_length=64 matcher.steps=70 (nearly: 80 steps were planned")


def test_the_report_tells_what_was_spent_where():
    report = BudgetReport(
        budget="10m", spent={"reading": 0.1, "linear model": 60.0, "fine-tuning": 400.0},
        plan=DEEP, more_time="little", repeat="encoder.max_length=64",
    )  # fmt: skip
    assert report.to_text() == (
        "budget:  8 min of 10m spent: linear model 60 s, fine-tuning 7 min\n"
        "plan:    64 tokens\nrepeat:  encoder.max_length=64\nmore:    little"
    )
