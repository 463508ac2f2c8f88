"""Validation during the matcher's training: what it measures, keeps, stops and leaves alone."""

import json
import logging
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from matcher_run import Pace, corpus, train
from test_matcher_resume import fingerprint, started, wait_for

from xrt.encoder import validation
from xrt.encoder.matcher import LevelMatcher
from xrt.encoder.training import fine_tune_matcher
from xrt.errors import DataError, TrainingError
from xrt.metrics.ranking import judge, ndcg_at, precision_at


class Accident(Exception):
    """Ends a run in its middle."""


class PaceWithAccident(Pace):
    """A run that breaks off after some steps of its levels."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps_left = steps

    def start(self, description, total):
        self.counting = description.startswith("matcher")

    def advance(self, n=1, **figures):
        self.steps_left -= self.counting
        if self.steps_left < 0:
            raise Accident


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("XRT_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def validated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("validated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRT_NUM_THREADS", "1")
        train(folder, held_out=True)
    return folder


def facts_of(folder: Path, t: int) -> dict:
    return json.loads((folder / f"level-{t}" / "done.json").read_text())


def scores_that_fall_after(monkeypatch, best: int) -> None:
    """Validation number `best`, from 0, is the best one by far, whatever the weights are."""
    score, seen = validation.score, []

    def measured(matcher, trainer, rows):
        scored = score(matcher, trainer, rows)
        seen.append(trainer.global_step)
        figure = 0.9 if len(seen) == best + 1 else 0.1
        return replace(scored, ndcg_n=np.full_like(scored.ndcg_n, figure))

    monkeypatch.setattr(validation, "score", measured)


def weights_of(folder: Path, t: int) -> np.ndarray:
    return np.load(folder / "level-1" / f"head-{t}.weight.npy")


def test_figures_of_the_last_step_are_those_of_the_finished_level(validated, tmp_path):
    result = train(validated, held_out=True)
    texts, Y_NL, _ = corpus(seed=1)
    rows = facts_of(validated, 1)["validation"]
    assert rows == result.validations
    assert [row["step"] for row in rows] == [10, 20, 30, 40]
    unit_NH = embeddings_of(result.encoder, texts)
    W, b = result.heads[1]
    judged = judge(Y_NL, unit_NH @ W.T + b, 5)
    last = rows[-1]
    assert facts_of(validated, 1)["weights_of_step"] == 40
    assert last["ndcg@5"] == pytest.approx(ndcg_at(judged)[4], abs=1e-5)
    assert last["p@1"] == pytest.approx(precision_at(judged)[0], abs=1e-5)
    logits_NK, Y_NK = torch.from_numpy(unit_NH @ W.T + b), torch.from_numpy(Y_NL.toarray())
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits_NK, Y_NK, reduction="none")
    assert last["loss"] == pytest.approx(float(loss.sum(1).mean()), rel=1e-3)


def embeddings_of(encoder, texts: list[str]) -> np.ndarray:
    with torch.no_grad():
        encoder.eval()
        coded = encoder.tokenizer(texts, padding=True, return_tensors="pt")
        pooled_NH = encoder(coded["input_ids"], coded["attention_mask"])
        return torch.nn.functional.normalize(pooled_NH, dim=1).numpy()


def test_validation_does_not_touch_the_training(validated, tmp_path):
    train(tmp_path)
    found, alone = (np.load(f / "level-1/losses.npy") for f in (validated, tmp_path))
    np.testing.assert_array_equal(found, alone)
    for t in (0, 1):
        np.testing.assert_array_equal(weights_of(validated, t), weights_of(tmp_path, t))


def test_a_broken_run_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    settings = {"validate_every_steps": 6, "patience": 2}
    monkeypatch.setattr(validation, "score", jumpy(validation.score))
    train(tmp_path / "whole", held_out=True, **settings)
    facts = facts_of(tmp_path / "whole", 1)
    assert facts["weights_of_step"] == 18  # not the last one validated
    assert facts["stopped_early"]
    assert facts["steps"] == 30
    for steps in (22, 4):
        with pytest.raises(Accident):
            train(tmp_path / "broken", progress=PaceWithAccident(steps), held_out=True, **settings)
    train(tmp_path / "broken", held_out=True, **settings)
    assert fingerprint(tmp_path / "broken") == fingerprint(tmp_path / "whole")
    assert not list((tmp_path / "broken").glob("*.pt"))


def jumpy(score):
    """Figures that depend on the step alone: rise to step 18, then fall."""

    def measured(matcher, trainer, rows):
        scored = score(matcher, trainer, rows)
        figure = 1 - abs(trainer.global_step - 18) / 100
        return replace(scored, ndcg_n=np.full_like(scored.ndcg_n, figure))

    return measured


def test_the_best_weights_come_back(tmp_path, monkeypatch):
    states = {}
    keep = validation.Validation._save_best

    def remembered(self, trainer, step):
        states[step] = trainer.lightning_module.head.arrays()[0]
        keep(self, trainer, step)

    monkeypatch.setattr(validation.Validation, "_save_best", remembered)
    scores_that_fall_after(monkeypatch, best=1)
    result = train(tmp_path, held_out=True, steps=20)
    assert facts_of(tmp_path, 1)["weights_of_step"] == 10
    np.testing.assert_allclose(result.heads[-1][0], 10 * states[10], rtol=1e-6)
    assert len(result.losses) == 20


def test_patience_ends_a_level_early(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "xrt")
    scores_that_fall_after(monkeypatch, best=1)
    train(tmp_path, held_out=True, validate_every_steps=3, patience=2)
    facts = facts_of(tmp_path, 1)
    assert facts["stopped_early"]
    assert facts["steps"] == 12
    assert np.load(tmp_path / "level-1/losses.npy").shape == (12,)
    assert "% of the training" in caplog.text


def test_a_difference_within_chance_brings_nothing_back():
    matcher = torch.nn.Module()
    ndcg_Vn = torch.tensor([[0.9, 0.1, 0.5, 0.6], [0.1, 0.9, 0.4, 0.6]])
    matcher.register_buffer(validation.ROWS_RECORD, ndcg_Vn)
    figures = [[5, 0.525, 0.5, 1.0], [9, 0.5, 0.5, 1.0]]
    matcher.register_buffer(validation.RECORD, torch.tensor(figures))
    assert validation.best_step(matcher) == 5
    assert validation.step_to_keep(matcher) == 9
    matcher.get_buffer(validation.ROWS_RECORD)[0] = ndcg_Vn[1] + 0.05
    assert validation.step_to_keep(matcher) == 5


def test_an_exploding_loss_keeps_the_best_weights_and_other_settings_train_anew(
    tmp_path, monkeypatch, caplog
):
    step = LevelMatcher.training_step

    def explode_at_ten(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        return loss * float("nan") if self.global_step == 9 else loss

    settings = {"held_out": True, "steps": 20, "validate_every_steps": 4}
    with monkeypatch.context() as patch:
        patch.setattr(LevelMatcher, "training_step", explode_at_ten)
        with pytest.raises(TrainingError, match=r"that trains anew, until then the last check"):
            train(tmp_path, **settings)
    assert "the best weights so far, of step 8, are kept in" in caplog.text
    weights = torch.load(tmp_path / "level-1.best-8.pt", weights_only=True)
    assert all(weight.isfinite().all() for weight in weights.values())
    assert torch.load(tmp_path / "level-1.ckpt", weights_only=True)["global_step"] == 7
    with pytest.raises(Accident):
        train(tmp_path, progress=PaceWithAccident(2), encoder_learning_rate=1e-4, **settings)
    assert "data or settings have changed, 3 results are dropped" in caplog.text
    assert not list(tmp_path.glob("level-1*"))  # begun at step 1


def test_without_the_best_weights_the_stage_is_trained_from_its_start(tmp_path, caplog):
    settings = {"held_out": True, "validate_every_steps": 5}
    with pytest.raises(Accident):
        train(tmp_path, progress=PaceWithAccident(9), **settings)
    for path in tmp_path.glob("level-1.best-*.pt"):
        path.unlink()
    train(tmp_path, **settings)
    assert "the best weights so far, of step 5, are missing" in caplog.text
    assert (tmp_path / "level-1" / "done.json").is_file()


def test_held_out_rows_that_do_not_fit(tmp_path, caplog):
    texts, Y_NL, _ = corpus()
    with pytest.raises(DataError, match="validation: 95 texts, but 96 rows"):
        train_tiny(tmp_path, (texts[1:], Y_NL))
    train_tiny(tmp_path, (texts, sp.csr_array(Y_NL.shape, dtype=np.float32)))
    assert "none of the 96 held-out rows has a label" in caplog.text


def train_tiny(folder: Path, held_out) -> None:
    from xrt.encoder.params import EncoderParams, MatcherParams

    texts, Y_NL, tree = corpus()
    encoder, params = EncoderParams(name="tiny-random"), MatcherParams(steps=1)
    fine_tune_matcher(
        texts, Y_NL, tree, run_folder=folder, encoder=encoder, params=params, validation=held_out
    )


@pytest.mark.ddp
def test_two_processes_decide_alike_and_the_parent_has_the_best_weights(tmp_path):
    settings = {"steps": 12, "validate_every_steps": 3, "patience": 1}
    result = train(tmp_path, devices=2, held_out=True, **settings)
    facts = facts_of(tmp_path, 1)
    assert [row["step"] for row in result.validations] == [3, 6, 9, 12][: facts["steps"] // 3]
    assert facts["steps"] == len(result.losses)


@pytest.mark.slow
def test_five_kills_at_random_moments_end_in_the_same_bytes(tmp_path):
    train(tmp_path / "whole", held_out=True)
    broken, draw, killed = tmp_path / "broken", random.Random(5), []
    while len(killed) < 5:
        (broken / "told").unlink(missing_ok=True)
        with started(broken, "--held-out", "--pause", "0.2") as process:
            wait_for(broken / "told", process)
            steps, rest = draw.randint(2, 16), draw.uniform(0, 0.2)
            while (broken / "told").stat().st_size < steps:
                time.sleep(0.01)
                assert process.poll() is None, f"finished before kill {len(killed) + 1}: {killed}"
            time.sleep(rest)
            process.kill()
            process.wait()
        kept = {path.name: torch.load(path, weights_only=True)["global_step"]
                for path in broken.glob("level-*.ckpt")}  # fmt: skip
        killed.append({**kept, "best": sorted(path.name for path in broken.glob("*.pt"))})
    assert sum("level-1.ckpt" in kept for kept in killed) >= 3, killed
    result = train(broken, held_out=True)
    assert fingerprint(broken) == fingerprint(tmp_path / "whole"), killed
    assert result.validations == facts_of(tmp_path / "whole", 1)["validation"]
