"""Several processes train what one does, come back whole after a kill, and end together."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from matcher_run import (
    Strategy,
    encoder_and_tokens,
    fit_first_steps,
    train,
    trainer_params,
)
from test_matcher_resume import fingerprint, started, wait_for

from xrt.encoder import fit
from xrt.encoder.checkpoints import resumable
from xrt.encoder.embed import cut_batches, encode
from xrt.encoder.matcher import LevelMatcher

pytestmark = [
    pytest.mark.ddp,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
EVERY_STRATEGY = pytest.mark.parametrize("strategy", [Strategy.ddp_spawn, Strategy.fsdp])


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("XRT_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> LevelMatcher:
    return fit_first_steps(tmp_path_factory.mktemp("alone"), 1)


@EVERY_STRATEGY
def test_two_processes_take_the_first_steps_of_one(tmp_path, alone, strategy, monkeypatch):
    """In a job of SLURM, too, which has one task: ranks are those of our own processes."""
    for name in ("PROCID", "LOCALID", "NODEID"):
        monkeypatch.setenv(f"SLURM_{name}", "0")
    for name, value in (("JOB_ID", "7"), ("NTASKS", "1"), ("NODELIST", "localhost")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    two = fit_first_steps(tmp_path, 2, strategy=strategy)
    assert alone.gradients_P.abs().max() > 0
    torch.testing.assert_close(two.gradients_P, alone.gradients_P, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(two.losses_S[:1], alone.losses_S[:1])
    torch.testing.assert_close(two.losses_S, alone.losses_S, rtol=1e-2, atol=0)
    for name, weight in alone.state_dict().items():
        assert two.state_dict()[name].shape == weight.shape, name
    torch.testing.assert_close(two.head.weight, alone.head.weight, rtol=0, atol=1e-2)


def gone(pids: list[int]) -> bool:
    """True when none of the processes is there any more."""
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def ranks_of(pid: int) -> list[int]:
    """Process ids of the spawned children of a process, first to last."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"spawn_main" in (entry / "cmdline").read_bytes():
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                found += [int(entry.name)] * (int(parent) == pid)
        except OSError:  # ended meanwhile
            continue
    return sorted(found)


@pytest.mark.parametrize("target", ["last rank", pytest.param("parent", marks=pytest.mark.slow)])
def test_sigterm_to_any_process_stops_all_with_143_within_30_seconds(tmp_path, target):
    with started(tmp_path, "--devices", "2") as process:
        wait_for(tmp_path / "level-1.ckpt", process)
        ranks = ranks_of(process.pid)
        assert len(ranks) == 2
        os.kill(process.pid if target == "parent" else ranks[-1], signal.SIGTERM)
        assert process.wait(30) == 143
        assert gone(ranks)
        assert resumable(tmp_path / "level-1.ckpt")


@pytest.mark.parametrize(
    "strategy",
    [Strategy.ddp_spawn, pytest.param(Strategy.fsdp, marks=pytest.mark.slow)],
)
def test_killed_together_two_processes_resume_to_the_weights_of_an_unbroken_run(tmp_path, strategy):
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    options = ("--devices", "2", "--strategy", strategy.value)
    with started(broken, *options) as process:
        wait_for(broken / "level-1.ckpt", process)  # step 7 of 40
        ranks = ranks_of(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    while not gone(ranks):
        time.sleep(0.01)
    assert not (broken / "level-1").exists()
    state = torch.load(broken / "level-1.ckpt", weights_only=True)
    assert 7 <= state["global_step"] < 40
    for folder in (broken, whole):
        train(folder, devices=2, strategy=strategy)
    assert fingerprint(broken) == fingerprint(whole)
    assert len(fingerprint(whole)) > 5


def test_two_processes_encode_what_one_does_to_the_bit(tmp_path, monkeypatch):
    encoder, tokens = encoder_and_tokens(tmp_path)
    alone_NH = encode(encoder, tokens, token_budget=100)
    _, cuts = cut_batches(tokens, 100)
    assert len(cuts) > 6
    monkeypatch.setattr(fit, "MIN_BATCHES", 1)
    monkeypatch.setattr(fit, "encode", None)  # that is the way of one process
    target = tmp_path / "embeddings.npy"
    found_NH = fit.encode_sharded(
        encoder, tokens, trainer_params(2), token_budget=100, target=target
    )
    assert np.array_equal(found_NH, alone_NH)
    assert np.array_equal(np.load(target), alone_NH)
    assert not list(tmp_path.glob(".tmp-*"))
