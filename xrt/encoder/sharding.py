"""Weights, gradients and optimiser state spread over processes: Lightning's engine for PyTorch's
FSDP2, started by spawn.
"""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.spawned import SpawnLauncher


class _WholeWeightsLauncher(SpawnLauncher):
    """Hands the parent the weights of all processes, put together."""

    def _collect_rank_zero_results(self, trainer: pl.Trainer, results: Any) -> Any:
        gather_weights(trainer.lightning_module, keep=trainer.is_global_zero)
        return super()._collect_rank_zero_results(trainer, results)


class FullyShardedStrategy(ModelParallelStrategy):
    """FSDP2 over all processes; checkpoints are one file that any number of processes can read."""

    def __init__(self, num_processes: int) -> None:
        super().__init__(
            data_parallel_size=num_processes,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
        )

    def _configure_launcher(self) -> None:
        self._launcher = _WholeWeightsLauncher(self, start_method="spawn")


def shard_weights(module: pl.LightningModule, encoder: TextEncoder) -> None:
    """Spread the weights of a module over the processes of its strategy: each transformer layer is
    gathered when it is needed, everything else for the whole step.
    """
    assert module.device_mesh is not None
    mesh = module.device_mesh["data_parallel"]
    for part in [*encoder.layer_parts, module]:
        fully_shard(part, mesh=mesh)
    register_fsdp_forward_method(module, "training_step")
    if mesh.device_type == "cpu":  # gloo can add, but not average
        for part in module.modules():
            if isinstance(part, FSDPModule):
                part.set_force_sum_reduction_for_comms(True)


def gather_weights(module: nn.Module, keep: bool = True) -> None:
    """Put spread weights together again, in place; all processes must call it, and those that do
    not `keep` them are left with empty ones.
    """
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if isinstance(parameter, DTensor):
                gathered = whole(parameter.detach())
                gathered = gathered.cpu() if keep else torch.empty(0)
                part.register_parameter(name, nn.Parameter(gathered))


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, or what its shares on all processes make together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
