"""Several processes: weights spread over them (PyTorch's FSDP2), and signals to them."""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from xrt.encoder.backbone import TextEncoder

if TYPE_CHECKING:
    import lightning.pytorch as pl

LIGHTNING_LOGGERS = ("lightning.pytorch", "lightning.fabric")


def shard_weights(module: "pl.LightningModule", encoder: TextEncoder) -> None:
    """Spread the weights of a module over the processes of its strategy: each transformer layer is
    gathered when it is needed, everything else for the whole step.

    Args:
        module: the module that is trained, changed in place.
        encoder: its encoder.
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

    Args:
        module: the module, changed in place.
        keep: whether this process keeps the weights.
    """
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if isinstance(parameter, DTensor):
                gathered = whole(parameter.detach())
                gathered = gathered.cpu() if keep else torch.empty(0)
                part.register_parameter(name, nn.Parameter(gathered))


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, or what its shares on all processes make together.

    Args:
        tensor: a tensor, or this process's share of one.

    Returns:
        A plain tensor.
    """
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def quiet_spawned() -> None:
    """A spawned process begins with loggers and warnings of its own: quiet Lightning's there
    too.
    """
    for name in LIGHTNING_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    if multiprocessing.parent_process() is not None:
        warnings.filterwarnings("ignore", module=r"lightning\..*")


@contextlib.contextmanager
def signals_restored() -> Iterator[None]:
    """While open, signals may be handled otherwise: Lightning leaves its own handler for SIGTERM,
    which ends nothing.

    Yields:
        Nothing; SIGTERM and SIGINT are handled as before at the end, in the main thread.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


class ForwardTermination:
    """While open, SIGTERM to the parent of spawned processes is passed on to them."""

    def __init__(self) -> None:
        self.stop_requested = False

    def __enter__(self) -> "ForwardTermination":
        self._previous: Any = None
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._forward)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _forward(self, signum: int, frame: Any) -> None:
        self.stop_requested = True
        for child in multiprocessing.active_children():
            if child.pid is not None:
                os.kill(child.pid, signal.SIGTERM)
