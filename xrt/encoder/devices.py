"""Which devices a run computes on, in which arithmetic; free of Lightning."""

import contextlib

import torch

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.embed import best_device, supports_bf16
from xrt.encoder.params import Precision, TrainerParams
from xrt.errors import ConfigError

MAX_PLAIN_ATTENTION = 256
"""Tokens of a text up to which a CPU computes attention step by step."""


def check_devices(params: TrainerParams) -> None:
    """Raises ConfigError where this machine cannot do what is asked."""
    device = device_of(params)
    told = f"trainer.accelerator = {params.accelerator}, trainer.devices = {params.devices}"
    if device == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(
            f"{told}: this machine has no mps device; choose cpu", settings={"trainer=cpu": ""}
        )
    found, wanted = torch.cuda.device_count(), max(1, num_devices(params))
    if device == "cuda" and wanted > found:
        raise ConfigError(
            f"{told}: this machine has {found} GPUs; choose fewer, or cpu",
            settings={"trainer=cpu": ""},
        )


def device_of(params: TrainerParams) -> str:
    """The device for work of one process."""
    return best_device(params.accelerator)


def num_devices(params: TrainerParams) -> int:
    """Processes of a fit, one a device."""
    if params.devices:
        return params.devices
    return torch.cuda.device_count() if device_of(params) == "cuda" else 1


def computes_in_bf16(params: TrainerParams) -> bool:
    """Whether products are computed in bfloat16: as asked, or where the hardware has it."""
    auto = params.precision is Precision.auto
    return params.precision is Precision.bf16 or (auto and supports_bf16(device_of(params)))


def attention_of(
    encoder: TextEncoder, max_length: int, params: TrainerParams
) -> contextlib.AbstractContextManager[None]:
    """How attention is computed in training: plainly on a CPU, where texts are short enough for the
    (B, heads, T, T) weights.
    """
    if device_of(params) == "cpu" and max_length <= MAX_PLAIN_ATTENTION:
        return encoder.plain_attention()
    return contextlib.nullcontext()
