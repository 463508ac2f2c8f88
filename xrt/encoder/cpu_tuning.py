"""What makes a CPU faster: freed memory that the process keeps, bfloat16 between layers in
training, and linear layers packed for prediction.

The private names of torch that are used, `torch.ops.mkldnn`, stand here only; where they are gone,
`PackedLinear.can_pack` is false and layers stay as they are.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.hooks import FitHook

if TYPE_CHECKING:
    import lightning.pytorch as pl

# parameters of mallopt(3)
TRIM_THRESHOLD, MMAP_MAX = -1, -4
KEEP_ALL, NO_MAPPINGS = -1, 0
TRIM_USUAL, MAPPINGS_USUAL = 64 * 2**20, 65_536
"""What glibc arrives at by itself in a process with large arrays, and its default."""


class GlibcMallocTuning(FitHook):
    """Lets glibc reuse freed buffers in the process that trains; does nothing where it is not
    glibc's, or where MALLOC_ or GLIBC_TUNABLES settings of the environment already say otherwise.
    """

    def setup(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", stage: str) -> None:
        """From the first step on.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            stage: Lightning's word for what is run.
        """
        reuse_freed_memory()

    def on_exception(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", exception: BaseException
    ) -> None:
        """Lightning tears nothing down after an error.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            exception: what was raised.
        """
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", stage: str) -> None:
        """What is free goes back to the system.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            stage: Lightning's word for what is run.
        """
        return_freed_memory()


@contextlib.contextmanager
def glibc_malloc_tuned() -> Iterator[None]:
    """While open, glibc reuses freed buffers.

    Yields:
        Nothing.
    """
    reuse_freed_memory()
    try:
        yield
    finally:
        return_freed_memory()


def reuse_freed_memory() -> None:
    """Freed memory stays with this process."""
    _set_glibc(((MMAP_MAX, NO_MAPPINGS), (TRIM_THRESHOLD, KEEP_ALL)), trim=False)


def return_freed_memory() -> None:
    """Freed memory goes back to the system, now and later."""
    _set_glibc(((MMAP_MAX, MAPPINGS_USUAL), (TRIM_THRESHOLD, TRIM_USUAL)), trim=True)


def _set_glibc(settings: tuple[tuple[int, int], ...], trim: bool) -> None:
    if not sys.platform.startswith("linux") or _is_set_by_user():
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  only glibc has it
        for parameter, value in settings:
            library.mallopt(parameter, value)
        if trim:
            library.malloc_trim(0)


def _is_set_by_user() -> bool:
    names = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    return any(name in os.environ for name in names) or "glibc.malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    )


NORMALISED_AFTER_SUMS = frozenset({"bert", "roberta", "xlm-roberta"})
"""Kinds of encoders whose states are normalised after every sum, so that rounding does not add up
from layer to layer; their module `embeddings` gives the first layer's input.
"""


class Bf16Activations(FitHook):
    """Keeps activations between layers in bfloat16 (CPU training), for encoders that normalise
    after sums. Weights, their gradients and the pooled vectors stay float32.
    """

    def __init__(self) -> None:
        self._hooks: list[RemovableHandle] = []

    def setup(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", stage: str) -> None:
        """From the first step on.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            stage: Lightning's word for what is run.
        """
        assert isinstance(pl_module.encoder, TextEncoder)
        model = pl_module.encoder.model
        if model.config.model_type in NORMALISED_AFTER_SUMS:
            self._hooks.append(model.embeddings.register_forward_hook(_halved))

    def on_exception(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", exception: BaseException
    ) -> None:
        """Lightning tears nothing down after an error.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            exception: what was raised.
        """
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", stage: str) -> None:
        """The encoder goes on as it was.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            stage: Lightning's word for what is run.
        """
        while self._hooks:
            self._hooks.pop().remove()


def _halved(module: nn.Module, inputs: Any, states_BTH: Tensor) -> Tensor:
    """The states in bfloat16 where products are computed in it."""
    return states_BTH.bfloat16() if torch.is_autocast_enabled("cpu") else states_BTH


ROWS = 16
"""Tokens that the arrangement is chosen for; any number of them can be multiplied."""


class PackedLinear(nn.Module):
    """An `nn.Linear` for prediction on a CPU. `weight` and `bias` are the layer's own, which some
    models look at; they are not multiplied with.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.dtype = dtype
        weight = linear.weight.detach().to(dtype).contiguous()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        self._shift = None if linear.bias is None else linear.bias.detach().to(dtype)

    @staticmethod
    def can_pack(device: torch.device) -> bool:
        """Whether this torch has oneDNN, and its operators by the names that torch.compile uses.

        Args:
            device: where the encoder lies.

        Returns:
            False on any device but a CPU.
        """
        names = ("_reorder_linear_weight", "_linear_pointwise")
        has_onednn = device.type == "cpu" and torch.backends.mkldnn.is_available()
        return has_onednn and all(hasattr(torch.ops.mkldnn, name) for name in names)

    def forward(self, x: Tensor) -> Tensor:
        """The product plus bias, in the packed weights' type.

        Args:
            x: inputs; the last axis is that of the layer.

        Returns:
            Outputs.
        """
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(self.dtype), self._packed, self._shift, "none", [], ""
        )
        return product


def pack_linear(model: nn.Module, dtype: torch.dtype) -> None:
    """Put a PackedLinear in the place of each linear layer of the model.

    Args:
        model: the model, changed in place.
        dtype: type of the packed weights.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, PackedLinear(child, dtype))
