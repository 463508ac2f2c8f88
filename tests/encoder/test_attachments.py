"""Arguments of Lightning's Trainer as settings: checked early, handed on, what comes of them."""

import csv
import importlib.util
import inspect
import json
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from matcher_run import corpus, trainer_params

from xrt.encoder import trainer_arguments
from xrt.encoder.attachments import Attachments, attached, check_attached
from xrt.encoder.params import EncoderParams, MatcherParams, Precision, TrainerParams
from xrt.encoder.trainer_arguments import OPEN, SET_BY_XRT, read_call
from xrt.encoder.training import fine_tune_matcher
from xrt.errors import ConfigError

MINE = f"{__name__}:StopAt(step=3)"


class StopAt(Callback):
    """Stops the fit after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step >= self.step:
            trainer.should_stop = True


class Sees(Callback):
    """Keeps what a callback can monitor."""

    def on_train_end(self, trainer, pl_module) -> None:
        self.metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}


def fit(folder: Path, attachments: Attachments | None = None, steps: int = 8, **lightning):
    """The matcher of both levels, validated on other texts."""
    texts, Y_NL, tree = corpus()
    return fine_tune_matcher(
        texts, Y_NL, tree, run_folder=folder, encoder=EncoderParams(name="tiny-random"),
        params=MatcherParams(steps=steps, max_batch_rows=8),
        trainer=replace(trainer_params(1), lightning=lightning),
        validation=corpus(seed=1)[:2],
        attachments=attachments or Attachments(folder / "logs"),
    )  # fmt: skip


def test_every_argument_of_lightnings_trainer_is_known():
    names = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    assert names == OPEN | SET_BY_XRT.keys()
    assert not OPEN & SET_BY_XRT.keys()


@pytest.mark.parametrize(
    ("lightning", "message"),
    [
        ({"max_steps": 3}, "max_steps: cannot be set; write matcher.steps"),
        ({"gradient_clip_val": 1.0}, "xrt clips encoder and heads apart"),
        ({"profilr": "simple"}, "profilr: no argument of Lightning's Trainer; there are"),
        ({"num_nodes": 0}, "num_nodes = 0: a whole number from 1 on"),
        ({"deterministic": "x"}, "deterministic = 'x': true or false"),
        ({"logger": "paper"}, "logger = paper: choose none or some of csv, tensorboard"),
        ({"logger": "csv(3)"}, "write a name, or a name with arguments"),
        ({"callbacks": ["EarlyStopping"]}, "write MODULE:CLASS"),
    ],
)
def test_what_cannot_be_is_refused_with_the_settings(lightning, message):
    with pytest.raises(ConfigError, match=message):
        TrainerParams(lightning=lightning)


@pytest.mark.parametrize(
    ("lightning", "message"),
    [
        ({"strategy": "ddpp"}, "strategy = ddpp: no such strategy; there are"),
        ({"callbacks": ["no.module:X"]}, "no.module:X: cannot be imported"),
        ({"callbacks": ["pathlib:Path"]}, "pathlib:Path: not a callback of Lightning"),
        ({"callbacks": [f"{__name__}:StopAt(stop=1)"]}, "StopAt: cannot be made"),
        ({"logger": ["csv(dir=1)"]}, "logger = csv: cannot be made"),
        ({"profiler": "simpel"}, "profiler = simpel: choose one of simple, advanced"),
        ({"max_time": "soon"}, "max_time = 'soon': write DD:HH:MM:SS"),
    ],
)
def test_what_only_lightning_can_tell_is_told_before_any_work(lightning, message):
    with pytest.raises(ConfigError, match=message):
        check_attached(TrainerParams(lightning=lightning))


def test_a_logger_whose_package_is_missing_names_it(monkeypatch):
    monkeypatch.setattr(trainer_arguments, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="wandb is not installed; pip install wandb"):
        TrainerParams(lightning={"logger": ["csv", "wandb"]})


def test_names_of_precision_and_devices():
    assert TrainerParams(precision="bf16-mixed").precision is Precision.bf16
    assert TrainerParams(precision="32-true").precision is Precision.fp32
    with pytest.raises(ConfigError, match="choose auto, bf16"):
        TrainerParams(precision="16-mixed")
    with pytest.raises(ConfigError, match="each once"):
        TrainerParams(devices=[0, 0])
    assert read_call("wandb(project=tags, offline=True)", "x").arguments == {
        "project": "tags", "offline": True,
    }  # fmt: skip


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="no tensorboard")
def test_tensorboard_writes_its_events(tmp_path):
    fit(tmp_path, steps=2, logger="tensorboard", log_every_n_steps=1)
    assert list((tmp_path / "logs" / "tensorboard").rglob("events.*"))


def test_loggers_and_callbacks_get_losses_rates_and_figures_of_each_level(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 2)  # as where LOCAL_RANK is of somebody else
    sees, alone = Sees(), fit(tmp_path / "alone")
    attachments = Attachments(tmp_path / "logs", [sees], record=tmp_path / "validations.jsonl")
    logged = fit(tmp_path / "logged", attachments, logger=["csv"], log_every_n_steps=1,
                 profiler="simple")  # fmt: skip
    for one, other in zip(alone.heads, logged.heads, strict=True):
        assert np.array_equal(one[0], other[0])  # loggers change nothing
    with open(next((tmp_path / "logs" / "csv").rglob("metrics.csv"))) as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows if row["loss"]]
    np.testing.assert_allclose(losses, logged.losses, rtol=1e-5)
    rates = [float(row["learning_rate/heads"]) for row in rows if row["learning_rate/heads"]]
    assert len(rates) == 8
    assert max(rates) > rates[-1]
    last = [row for row in rows if row["held_out/level_1/ndcg_at_5"]][-1]
    assert float(last["held_out/level_2/ndcg_at_5"]) == pytest.approx(
        logged.validations[-1]["ndcg@5"], abs=1e-6
    )
    assert float(last["held_out/level_2/p_at_1"]) == pytest.approx(logged.validations[-1]["p@1"])
    assert float(last["held_out/level_1/ndcg_at_5"]) > float(last["held_out/level_2/ndcg_at_5"])
    assert sees.metrics["held_out/level_2/ndcg_at_5"] == pytest.approx(
        logged.validations[-1]["ndcg@5"], abs=1e-6
    )
    told = [json.loads(line) for line in (tmp_path / "validations.jsonl").read_text().splitlines()]
    assert [line["step"] for line in told] == [2, 4, 6, 8]
    assert list((tmp_path / "logs").glob("*profile-simple*"))


def test_a_callback_ends_the_fit_early_and_what_is_trained_stays(tmp_path):
    result = fit(tmp_path, callbacks=[MINE])
    assert len(result.losses) == 3
    assert [int(row["step"]) for row in result.validations] == [2, 3]
    again = fit(tmp_path, callbacks=[MINE])
    assert np.array_equal(again.losses, result.losses)
    longer = fit(tmp_path)  # another key
    assert len(longer.losses) == 8


def test_two_batches_a_step_are_one_of_both(tmp_path):
    two = fit(tmp_path / "two", accumulate_grad_batches=2)
    texts, Y_NL, tree = corpus()
    one = fine_tune_matcher(
        texts, Y_NL, tree, run_folder=tmp_path / "one", encoder=EncoderParams(name="tiny-random"),
        params=MatcherParams(steps=8, max_batch_rows=16, token_budget=8192),
        trainer=trainer_params(1), validation=corpus(seed=1)[:2],
    )  # fmt: skip
    np.testing.assert_allclose(two.losses[:3], one.losses[:3], rtol=0.05)
    assert len(two.losses) == 8


def test_a_profiler_and_loggers_write_where_they_are_told(tmp_path):
    arguments = attached(
        TrainerParams(lightning={"logger": "csv", "profiler": "advanced", "benchmark": True}),
        Attachments(tmp_path),
    )
    assert Path(arguments["logger"][0].save_dir) == tmp_path
    assert Path(arguments["profiler"].dirpath) == tmp_path
    assert arguments["benchmark"] is True
    assert arguments["callbacks"] == []
    assert attached(TrainerParams(), Attachments(tmp_path))["logger"] is False
