"""Runs of several processes that a launcher starts: torchrun on loopback, and what SLURM tells."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import ROOT
from tests.processes import ends_with_the_test
from tests.small_corpora import make_rows, write_rows
from xrt.encoder.launcher import Rank, launched_rank
from xrt.errors import ConfigError

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500",
}  # fmt: skip
SRUN = {
    "SLURM_JOB_ID": "20007", "SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1",
}  # fmt: skip


def test_ranks_are_read_of_torchrun_and_of_srun():
    assert launched_rank(TORCHRUN) == Rank(3, 4, 1, 2, "10.0.0.1", 29500)
    assert launched_rank(SRUN) == Rank(3, 4, 1, 2, "10.0.0.1", 15007)
    assert launched_rank(SRUN).num_nodes == 2
    assert launched_rank({**SRUN, "MASTER_ADDR": "a", "MASTER_PORT": "7"}).port == 7
    in_sbatch = {name: SRUN[name] for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID")}
    assert launched_rank(in_sbatch) is None
    assert (
        launched_rank({**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}) is None
    )
    assert launched_rank({}) is None


def test_machines_with_different_numbers_of_processes_are_refused():
    with pytest.raises(ConfigError, match="start as many on each machine"):
        launched_rank({**TORCHRUN, "WORLD_SIZE": "5"})
    with pytest.raises(ConfigError, match="set MASTER_ADDR"):
        launched_rank({**SRUN, "SLURM_LAUNCH_NODE_IPADDR": ""})


def agents(folder: Path, words: list[str], port: int) -> list[subprocess.Popen]:
    """Two agents of torchrun, a process each, as on two machines."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "XRT_NUM_THREADS": "1"}
    found = []
    for node in (0, 1):
        argv = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node",
                "1", "--node-rank", str(node), "--master-addr", "127.0.0.1", "--master-port",
                str(port), "-m", "xrt", "train", *words]  # fmt: skip
        with open(folder / f"agent-{node}.log", "wb") as log:
            found.append(subprocess.Popen(argv, cwd=folder, env=env, stdout=log, stderr=log,
                                          start_new_session=True))  # fmt: skip
    return found


def told(folder: Path) -> str:
    return "\n".join((folder / f"agent-{node}.log").read_text() for node in (0, 1))


@pytest.mark.ddp
@pytest.mark.timeout(900)
def test_two_agents_train_one_model_in_one_folder(tmp_path):
    """Rank 1 does not meet the lock of rank 0, and the losses are those of one process."""
    from lightning.fabric.plugins.environments.lightning import find_free_network_port

    trn = write_rows(tmp_path / "trn.jsonl", make_rows(60, seed=0))
    words = ["dataset=files", f"dataset.trn={trn}", "encoder=tiny", "encoder.dropout=0",
             "linear=default", "num_trees=1", "tree.max_leaf_size=4", "matcher.steps=4",
             "trainer.precision=32", "always_deep=true"]  # fmt: skip
    first, second = agents(tmp_path, ["name=two", *words], find_free_network_port())
    with ends_with_the_test(first), ends_with_the_test(second):
        assert first.wait(600) == 0, told(tmp_path)
        assert second.wait(60) == 0, told(tmp_path)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["two"]
    assert (tmp_path / "runs" / "two" / "model").is_dir()
    assert "working in this run folder" not in told(tmp_path)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "XRT_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "xrt", "train", "name=one", *words], cwd=tmp_path,
                          env=env, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    two, one = (
        json.loads((tmp_path / "runs" / name / "stages/matcher/losses.json").read_text())[0]
        for name in ("two", "one")
    )
    assert two[0] == pytest.approx(one[0], rel=1e-5)
    assert two == pytest.approx(one, rel=0.02)


@pytest.mark.ddp
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sigterm_to_one_agent_ends_both_and_the_run_goes_on(tmp_path):
    from lightning.fabric.plugins.environments.lightning import find_free_network_port

    trn = write_rows(tmp_path / "trn.jsonl", make_rows(60, seed=0))
    words = ["name=two", "dataset=files", f"dataset.trn={trn}", "encoder=tiny", "linear=default",
             "num_trees=1", "tree.max_leaf_size=4", "matcher.steps=20000",
             "always_deep=true"]  # fmt: skip
    first, second = agents(tmp_path, words, find_free_network_port())
    with ends_with_the_test(first), ends_with_the_test(second):
        deadline = time.monotonic() + 400
        while not list(tmp_path.glob("runs/two/scratch/matcher-*/level-*.ckpt")):
            assert time.monotonic() < deadline, told(tmp_path)
            time.sleep(0.2)
        os.kill(second.pid, signal.SIGTERM)
        assert second.wait(60) != 0
        assert first.wait(60) != 0


def test_a_linear_model_takes_one_process(tmp_path):
    from xrt.pipeline import PipelineParams
    from xrt.pipeline.following import joined

    with pytest.raises(ConfigError, match="2 processes train an encoder together"):
        with joined(Rank(0, 2, 0, 2, "127.0.0.1", 1), PipelineParams(), tmp_path):
            pass


def test_a_number_of_machines_needs_a_launcher_and_is_that_of_the_launcher(tmp_path):
    from xrt.encoder.params import EncoderParams, TrainerParams
    from xrt.pipeline import PipelineParams, train
    from xrt.pipeline.following import joined

    trainer = TrainerParams(lightning={"num_nodes": 3})
    params = PipelineParams(encoder=EncoderParams(name="tiny-random"), trainer=trainer)
    with pytest.raises(ConfigError, match="num_nodes = 3: this process is alone"):
        train(params, tmp_path / "run")
    with pytest.raises(ConfigError, match="num_nodes = 3, but processes were started on 2 mach"):
        with joined(Rank(0, 4, 0, 2, "127.0.0.1", 1), params, tmp_path):
            pass
