"""Processes that a launcher has started, torchrun or srun of SLURM, on one machine or several.

They train one encoder together. Everything else is done by the first of them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from xrt.errors import ConfigError

_LONG = timedelta(days=30)
"""Others wait for the first process, which may have hours of other work."""


@dataclass(frozen=True)
class Rank:
    """A process's place among all of them.

    Attributes:
        number: from 0, over all machines.
        world_size: processes on all machines.
        local_number: from 0, on this machine.
        local_size: processes on this machine.
        address: of the machine of the first process.
        port: where the first process is met.
    """

    number: int
    world_size: int
    local_number: int
    local_size: int
    address: str
    port: int

    @property
    def num_nodes(self) -> int:
        """Machines."""
        return self.world_size // self.local_size


def launched_rank(environment: Mapping[str, str] = os.environ) -> Rank | None:
    """Which of several processes this one is, by what torchrun or srun has put into the
    environment.

    Args:
        environment: the variables.

    Returns:
        The place; None for a process that is alone, as also in the script of an sbatch job, which
        no srun has started.

    Raises:
        ConfigError: machines have different numbers of processes, or the first one's address is
            not known.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        numbers = [int(environment[name]) for name in names]
        address, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    elif int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        nodes = int(environment.get("SLURM_STEP_NUM_NODES", "1"))
        tasks = int(environment["SLURM_STEP_NUM_TASKS"])
        local = int(environment["SLURM_LOCALID"])
        numbers = [int(environment["SLURM_PROCID"]), tasks, local, tasks // nodes]
        address = environment.get("MASTER_ADDR", environment.get("SLURM_LAUNCH_NODE_IPADDR", ""))
        job = int(environment.get("SLURM_JOB_ID", "0"))
        port = int(environment.get("MASTER_PORT", str(15000 + job % 10000)))
    else:
        return None
    number, world_size, local_number, local_size = numbers
    if world_size < 2:
        return None
    if world_size % local_size or not address:
        raise ConfigError(
            f"{world_size} processes, {local_size} on this machine, the first at {address!r}: "
            "start as many on each machine, and set MASTER_ADDR to the first one's address"
        )
    return Rank(number, world_size, local_number, local_size, address, port)


class Group:
    """All processes of a launcher, joined; the first of them tells the others what it does."""

    def __init__(self, rank: Rank, on_gpus: bool) -> None:
        """Meets the others; returns when all are there."""
        import torch
        import torch.distributed as dist

        self.rank = rank
        self.is_over = False
        os.environ.update(
            MASTER_ADDR=rank.address, MASTER_PORT=str(rank.port), RANK=str(rank.number),
            WORLD_SIZE=str(rank.world_size), LOCAL_RANK=str(rank.local_number),
        )  # fmt: skip
        if on_gpus:
            torch.cuda.set_device(rank.local_number)
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=_LONG)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that does everything else."""
        return self.rank.number == 0

    def share(self, value: Any = None) -> Any:
        """What the first process gives; all call it.

        Args:
            value: of the first process; that of others is not used.

        Returns:
            The value.
        """
        import torch
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """What all processes give; all call it.

        Args:
            value: of this process.

        Returns:
            The values of all, in the order of their numbers.
        """
        import torch.distributed as dist

        values: list[Any] = [None] * self.rank.world_size
        dist.all_gather_object(values, value)
        return values

    def part(self) -> None:
        """End the group when all have come to its end; all call it.

        What gloo's threads do at the end of the interpreter may abort it.
        """
        import gc

        import torch.distributed as dist

        gc.collect()  # what DDP holds of the group
        dist.barrier()
        dist.destroy_process_group()
        self.is_over = True

    def abandon(self) -> None:
        """Leave a group that has not come to its end, after an error; others are not waited for."""
        import torch.distributed as dist

        if not self.is_over:
            dist.destroy_process_group()
            self.is_over = True


class FitEnded(Exception):
    """Unwinds a process that is not the first when the fine-tuning is over, or not needed."""
