"""`torch.compile` of a transformer's layers, for the time of a fit."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from xrt.encoder.backbone import TextEncoder


class CompileLayers(pl.Callback):
    """Compiles each layer's `forward` in the process that trains it, and gives the plain one back.

    No module is wrapped, so weights keep their names. Shapes are dynamic: batches differ in rows
    and length.
    """

    def __init__(self, backend: str | Callable[..., Any] = "inductor") -> None:
        self.backend = backend
        self._compiled: list[nn.Module] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Before weights are spread over processes: what gathers them stays outside."""
        assert isinstance(pl_module.encoder, TextEncoder)
        for layer in pl_module.encoder.layer_parts:
            compiled: Any = torch.compile(layer.forward, dynamic=True, backend=self.backend)
            layer.forward = compiled
            self._compiled.append(layer)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """The encoder goes on as it was, and can be sent to other processes."""
        while self._compiled:
            del self._compiled.pop().forward
