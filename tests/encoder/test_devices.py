"""What a fit asks of devices, and what it does to the encoder for the time it takes."""

from typing import Any

import numpy as np
import pytest
import torch

from xrt.encoder import fit
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.embed import encode
from xrt.encoder.fit import (
    FullyShardedStrategy,
    OwnProcesses,
    SpawnedDDP,
    device_settings,
    encode_sharded,
    lightning_strategy,
)
from xrt.encoder.params import EncoderParams, Precision, Strategy, TrainerParams
from xrt.encoder.resolve import resolve_encoder
from xrt.encoder.tokens import TokenStore
from xrt.errors import ConfigError

TEXTS = [f"kano {'lore ' * (n % 7)}mito" for n in range(40)]
CPU = TrainerParams(accelerator="cpu", devices=1, precision=Precision.fp32)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> TextEncoder:
    folder = tmp_path_factory.mktemp("encoder")
    backbone = resolve_encoder("tiny-random", work_folder=folder, texts=TEXTS)
    return TextEncoder.from_pretrained(backbone, EncoderParams(name="tiny-random")).eval()


@pytest.fixture(scope="module")
def tokens(encoder) -> TokenStore:
    return TokenStore.of_texts(TEXTS, encoder.tokenizer, 16)


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [
        (Strategy.auto, SpawnedDDP),
        (Strategy.ddp_spawn, SpawnedDDP),
        (Strategy.fsdp, FullyShardedStrategy),
    ],
)
def test_other_processes_are_spawned_and_one_needs_none(strategy, kind):
    several = TrainerParams(accelerator="cpu", devices=2, lightning={"strategy": strategy.value})
    engine = lightning_strategy(several)
    assert type(engine) is kind
    alone = TrainerParams(accelerator="cpu", devices=1, lightning={"strategy": strategy.value})
    assert lightning_strategy(alone) == "auto"
    trainer = fit.pl.Trainer(**device_settings(several))
    assert trainer.strategy.launcher._start_method == "spawn"


SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "1", "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost",
}  # fmt: skip
JOBS = {
    "sbatch": SLURM,
    "srun, second task": SLURM | {"SLURM_NTASKS": "4", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"},
    "srun, second node": SLURM | {"SLURM_NODEID": "1", "SLURM_NTASKS_PER_NODE": "1"},
    "torchrun": {
        "RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "GROUP_RANK": "0",
        "LOCAL_WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "7", "MASTER_ADDR": "nowhere.invalid",
        "MASTER_PORT": "1",
    },
    "lsf": {
        "LSB_JOBID": "7", "LSB_DJOB_RANKFILE": "/no/such/file", "JSM_NAMESPACE_LOCAL_RANK": "0",
        "JSM_NAMESPACE_RANK": "0", "JSM_NAMESPACE_SIZE": "2", "LSB_HOSTS": "a b",
    },
    "kubeflow": {"KUBERNETES_PORT": "tcp://0", "MASTER_ADDR": "nowhere.invalid", "RANK": "1",
                 "MASTER_PORT": "1", "WORLD_SIZE": "4"},
    "shell": {"NODE_RANK": "3", "LOCAL_RANK": "2", "GROUP_RANK": "1"},
}  # fmt: skip


@pytest.mark.parametrize("job", list(JOBS))
@pytest.mark.parametrize("strategy", list(Strategy))
def test_processes_are_our_own_in_the_job_of_any_scheduler(monkeypatch, job, strategy):
    for name, value in JOBS[job].items():
        monkeypatch.setenv(name, value)
    several = TrainerParams(accelerator="cpu", devices=2, lightning={"strategy": strategy.value})
    engine = fit.pl.Trainer(**device_settings(several)).strategy
    assert isinstance(engine.cluster_environment, OwnProcesses)
    assert engine.launcher._start_method == "spawn"
    assert not engine.cluster_environment.creates_processes_externally
    assert engine.cluster_environment.main_address == "127.0.0.1"
    assert engine.cluster_environment.main_port > 1023
    assert engine.node_rank == 0
    alone = TrainerParams(accelerator="cpu", devices=1, lightning={"strategy": strategy.value})
    assert fit.pl.Trainer(**device_settings(alone)).strategy.global_rank == 0


@pytest.mark.parametrize(("found", "devices"), [(0, 0), (0, 1), (1, 2)])
def test_more_gpus_than_there_are_are_refused(monkeypatch, found, devices):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    with pytest.raises(ConfigError, match=f"devices = {devices}: this machine has {found} GPUs"):
        device_settings(TrainerParams(accelerator="cuda", devices=devices))


def test_little_work_is_done_by_one_process_and_kept_whole(encoder, tokens, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "_predict", None)  # that is the way of several
    target = tmp_path / "embeddings.npy"
    several = TrainerParams(accelerator="cpu", devices=2, precision=Precision.fp32)
    for params in (CPU, several):
        found_NH = encode_sharded(encoder, tokens, params, target=target)
        assert np.array_equal(found_NH, encode(encoder, tokens))
    assert np.array_equal(np.load(target), found_NH)
    empty = tokens.subset(np.arange(0))
    assert encode_sharded(encoder, empty, CPU).shape == (0, encoder.hidden_size)


def test_encoding_that_fails_leaves_what_was_there(encoder, tokens, tmp_path, monkeypatch):
    target = tmp_path / "embeddings.npy"
    np.save(target, np.zeros(3, np.float32))

    def fail(*args: Any, **kwargs: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(fit, "encode", fail)
    with pytest.raises(MemoryError):
        encode_sharded(encoder, tokens, CPU, target=target)
    assert np.array_equal(np.load(target), np.zeros(3, np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings.npy"]
