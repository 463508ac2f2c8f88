"""On a CPU, what passes from layer to layer in bfloat16 too, for the time of a fit.

torch computes the products of a bfloat16 fit in bfloat16 and hands everything else on in float32:
each layer's input is converted for each product that reads it, and all sums, norms and masks move
twice the bytes. An encoder that normalises after each sum reads rounded states in any case, since
its products round them.
"""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from xrt.encoder.backbone import TextEncoder

NORMALISED_AFTER_SUMS = frozenset({"bert", "roberta", "xlm-roberta"})
"""Kinds of encoders whose states are normalised after every sum, so that rounding does not add up
from layer to layer; their module `embeddings` gives the first layer's input.
"""


class HalfStates(pl.Callback):
    """Has the layers of such an encoder begin with bfloat16, in the process that trains it; all
    that follows keeps the type. Weights, their gradients and the pooled vectors stay float32.
    """

    def __init__(self) -> None:
        self._hooks: list[RemovableHandle] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """From the first step on."""
        assert isinstance(pl_module.encoder, TextEncoder)
        model = pl_module.encoder.model
        if model.config.model_type in NORMALISED_AFTER_SUMS:
            self._hooks.append(model.embeddings.register_forward_hook(_halved))

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """A fit that fails is torn down by nobody else."""
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """The encoder goes on as it was."""
        while self._hooks:
            self._hooks.pop().remove()


def _halved(module: nn.Module, inputs: Any, states_BTH: Tensor) -> Tensor:
    """The states in bfloat16 where products are computed in it."""
    return states_BTH.bfloat16() if torch.is_autocast_enabled("cpu") else states_BTH
