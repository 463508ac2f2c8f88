"""Processes that Lightning spawns: they leave their group in order before they end."""

import gc
from typing import Any

import lightning.pytorch as pl
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import (
    LightningEnvironment,
    find_free_network_port,
)
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher


class OwnProcesses(LightningEnvironment):
    """All processes are on this machine and started by the first, which is the run itself.

    Lightning would otherwise ask the environment: in a job of SLURM, torchrun, LSF or MPI it takes
    each process for one that the scheduler has started, with the scheduler's rank.
    """

    @property
    def creates_processes_externally(self) -> bool:
        """No: `LOCAL_RANK` in the environment of the first process is of somebody else."""
        return False

    @property
    def main_address(self) -> str:
        """This machine, whatever MASTER_ADDR says."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """A free one, whatever MASTER_PORT says: another run may have been given the same."""
        if self._main_port == -1:
            self._main_port = find_free_network_port()
        return self._main_port

    def node_rank(self) -> int:
        """There is one machine."""
        return 0


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
