"""A run cut short anywhere resumes to the bytes of an unbroken one."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import matcher_run
import numpy as np
import pytest
import torch
from matcher_run import STEPS, train

from tests.processes import ends_with_the_test
from xrt.encoder import training
from xrt.encoder.checkpoints import resumable
from xrt.encoder.fit import AtomicCheckpointIO
from xrt.encoder.matcher import LevelMatcher
from xrt.errors import CapacityError, TrainingError
from xrt.storage.seals import write_seal

PROGRAM = matcher_run.__file__


def fingerprint(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of the finished levels and of the embeddings."""
    files = [p for p in sorted(folder.glob("level-*/**/*")) if p.is_file()]
    files += sorted(folder.glob("level-*.npy"))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@contextlib.contextmanager
def started(folder: Path, *options: str) -> Iterator[subprocess.Popen]:
    """The program in a process group of its own, which ends with the test whatever happens."""
    env = {**os.environ, "XRT_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    folder.mkdir(exist_ok=True)
    with open(folder / "stderr.txt", "wb") as stderr:
        process = subprocess.Popen([sys.executable, PROGRAM, str(folder), *options], env=env,
                                   stderr=stderr, start_new_session=True)  # fmt: skip
    with ends_with_the_test(process):
        yield process


def wait_for(path: Path, process: subprocess.Popen, seconds: float = 250.0) -> None:
    """Until the file is there; a busy machine needs long to import torch."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            told = (path.parent / "stderr.txt").read_text()
            raise AssertionError(f"{path} did not come: {told}")
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("XRT_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    before = os.environ.get("XRT_NUM_THREADS")
    os.environ["XRT_NUM_THREADS"] = "1"
    train(folder)
    if before is None:
        del os.environ["XRT_NUM_THREADS"]
    return folder


def test_the_matcher_learns_and_leaves_whole_levels_only(unbroken):
    losses = np.load(unbroken / "level-1" / "losses.npy")
    assert losses.shape == (STEPS,)
    assert losses[-5:].mean() < 0.9 * losses[:5].mean()
    names = {path.name for path in unbroken.iterdir()}
    assert names == {
        "level-1", "level-1.npy", "level-1.npy.sha256", "matcher.json", "tokens", "tiny-random"
    }  # fmt: skip


def test_a_second_call_trains_nothing(unbroken, monkeypatch):
    before = fingerprint(unbroken)
    monkeypatch.setattr(training, "fit_with_retry", None)
    result = train(unbroken)
    assert fingerprint(unbroken) == before
    assert result.levels == [0, 1]
    assert [head[0].shape for head in result.heads] == [(4, 32), (12, 32)]


def test_other_settings_train_anew(unbroken, tmp_path, caplog):
    train(tmp_path, steps=2)
    first = fingerprint(tmp_path)
    train(tmp_path, steps=2, seed=1)
    assert fingerprint(tmp_path) != first
    assert "have changed" in caplog.text


def test_killed_in_mid_level_it_resumes_to_the_same_bytes(unbroken, tmp_path):
    with started(tmp_path, "--pause", "0.05") as process:
        wait_for(tmp_path / "level-1.ckpt", process)  # step 7 of 40
        process.kill()
        process.wait()
    assert not (tmp_path / "level-1").exists()
    train(tmp_path)
    assert fingerprint(tmp_path) == fingerprint(unbroken)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -2)])
def test_a_signal_saves_and_the_run_resumes_to_the_same_bytes(unbroken, tmp_path, sent, code):
    with started(tmp_path, "--pause", "0.05") as process:
        wait_for(tmp_path / "level-1.ckpt", process)
        time.sleep(0.06)  # past step 7
        process.send_signal(sent)
        assert process.wait(60) == code  # Python ends an unanswered Ctrl-C by the signal itself
    state = torch.load(tmp_path / "level-1.ckpt", weights_only=True)
    assert state["global_step"] > 7
    assert state["xrt_position"] == {"position": state["global_step"]}
    train(tmp_path)
    assert fingerprint(tmp_path) == fingerprint(unbroken)


def test_an_exploding_loss_says_where_and_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    step = LevelMatcher.training_step

    def explode_at_ten(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        return loss * float("nan") if self.global_step == 9 else loss

    monkeypatch.setattr(LevelMatcher, "training_step", explode_at_ten)
    with pytest.raises(TrainingError, match=r"level 1, step 10 of 40: .*learning rate.*lower"):
        train(tmp_path)
    assert resumable(tmp_path / "level-1.ckpt")
    state = torch.load(tmp_path / "level-1.ckpt", weights_only=True)
    assert state["global_step"] == 7
    assert all(w.isfinite().all() for k, w in state["state_dict"].items() if k != "losses_S")


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path, io = tmp_path / "a.ckpt", AtomicCheckpointIO()
    io.save_checkpoint({"step": 1}, path)

    def full_disk(state, file):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(CapacityError, match="disk full"):
        io.save_checkpoint({"step": 2}, path)
    assert io.load_checkpoint(path) == {"step": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ckpt", "a.ckpt.sha256"]


def write_checkpoint(folder: Path, **state) -> Path:
    path = folder / "level-0.ckpt"
    whole = {"global_step": 7, "xrt_position": {"position": 7}, "state_dict": {}}
    AtomicCheckpointIO().save_checkpoint({**whole, **state}, path)
    return path


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a checkpoint"),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: flip_a_bit(path.with_name("level-0.best-3.pt")),
        lambda path: path.with_name("level-0.ckpt.sha256").write_text("no hash"),
        lambda path: write_checkpoint(path.parent, xrt_position=None),
        lambda path: write_checkpoint(path.parent, xrt_position={"position": "7"}),
        lambda path: write_checkpoint(path.parent, xrt_position={"position": -1}),
        lambda path: write_checkpoint(path.parent, global_step=8),
        lambda path: AtomicCheckpointIO().save_checkpoint({"global_step": 7}, path),
        lambda path: AtomicCheckpointIO().save_checkpoint([1, 2], path),
    ],
)
def test_a_checkpoint_that_cannot_be_used_trains_the_level_anew(tmp_path, caplog, damage):
    path = write_checkpoint(tmp_path)
    best = tmp_path / "level-0.best-3.pt"
    best.write_bytes(b"weights")
    write_seal(best)
    assert resumable(path)
    damage(path)
    assert not resumable(path)
    assert "level-0.ckpt: cannot be used (" in caplog.text
    assert "trained from its start" in caplog.text
    assert list(tmp_path.iterdir()) == []
    assert not resumable(path)


def test_a_checkpoint_of_the_last_save_or_the_one_before_is_used(tmp_path):
    """A process killed between the hash and the rename leaves the older file."""
    path = write_checkpoint(tmp_path)
    before = path.read_bytes()
    write_checkpoint(tmp_path, global_step=14, xrt_position={"position": 14})
    assert resumable(path)
    path.write_bytes(before)
    assert resumable(path)
    (tmp_path / "level-0.ckpt.sha256").unlink()  # of a version that wrote none
    assert resumable(path)


def test_a_finished_level_that_was_altered_is_trained_again(unbroken, tmp_path, caplog):
    train(tmp_path)
    flip_a_bit(tmp_path / "level-1" / "head-0.weight.npy")
    train(tmp_path)
    assert "level-1: unusable (head-0.weight.npy has been altered" in caplog.text
    assert fingerprint(tmp_path) == fingerprint(unbroken)
