"""Processes that Lightning spawns: they leave their group in order before they end."""

import gc
from typing import Any

import lightning.pytorch as pl
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher


class SpawnLauncher(_MultiProcessingLauncher):
    """Spawns a process for each device. To repeat the command line, Lightning's default, would open
    run folders of their own for them in a sweep.

    Lightning leaves the process group to the end of the interpreter, where gloo's threads abort a
    process now and then (PyTorch issue 190489).
    """

    def _collect_rank_zero_results(self, trainer: pl.Trainer, results: Any) -> Any:
        collected = super()._collect_rank_zero_results(trainer, results)
        gc.collect()  # what DDP holds of the group
        dist.barrier()
        dist.destroy_process_group()
        return collected


class SpawnedDDP(DDPStrategy):
    """DDP over spawned processes: each holds all weights and sees its share of a step."""

    def __init__(self) -> None:
        super().__init__(start_method="spawn")

    def _configure_launcher(self) -> None:
        self._launcher = SpawnLauncher(self, start_method="spawn")
