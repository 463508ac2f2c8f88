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
    """Check that this machine has the devices.

    Args:
        params: Which devices, and how many.

    Raises:
        ConfigError: It has not.
    """
    device = device_of(params)
    settings = f"trainer.accelerator = {params.accelerator}, trainer.devices = {params.devices}"
    if device == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(
            f"{settings}: this machine has no mps device; choose cpu", settings={"trainer=cpu": ""}
        )
    num_gpus = torch.cuda.device_count()
    listed = params.devices if isinstance(params.devices, list) else []
    most = max([num_devices(params), 1, *(number + 1 for number in listed)])
    if device.startswith("cuda") and most > num_gpus:
        raise ConfigError(
            f"{settings}: this machine has {num_gpus} GPUs; choose fewer, or cpu",
            settings={"trainer=cpu": ""},
        )
    if listed and not device.startswith("cuda"):
        raise ConfigError(
            f"{settings}: a list names GPUs; write the number of processes",
            settings={"trainer.devices": str(len(listed))},
        )


def device_of(params: TrainerParams) -> str:
    """The device for work of one process.

    Args:
        params: devices and arithmetic.

    Returns:
        `cuda`, `cuda:1` where a list of devices begins with 1, `cpu`, or another name of torch.
    """
    device = best_device(params.accelerator)
    if device == "cuda" and isinstance(params.devices, list):
        return f"cuda:{params.devices[0]}"
    return device


def num_devices(params: TrainerParams) -> int:
    """Processes of a fit on this machine, one a device.

    Args:
        params: devices and arithmetic.

    Returns:
        The number set, or of those listed, or all GPUs, or 1 without one.
    """
    if isinstance(params.devices, list):
        return len(params.devices)
    if params.devices:
        return params.devices
    return torch.cuda.device_count() if device_of(params) == "cuda" else 1


def computes_in_bf16(params: TrainerParams) -> bool:
    """Whether products are computed in bfloat16: as set; with `auto` where hardware has it.

    Args:
        params: devices and arithmetic.

    Returns:
        True for bfloat16.
    """
    auto = params.precision is Precision.auto
    return params.precision is Precision.bf16 or (auto and supports_bf16(device_of(params)))


def attention_of(
    encoder: TextEncoder, max_length: int, params: TrainerParams
) -> contextlib.AbstractContextManager[None]:
    """How attention is computed in training: plainly on a CPU, where texts are short enough for the
    (B, heads, T, T) weights.

    Args:
        encoder: the encoder.
        max_length: tokens of the longest text.
        params: devices and arithmetic.

    Returns:
        A context to train in.
    """
    if device_of(params) == "cpu" and max_length <= MAX_PLAIN_ATTENTION:
        return encoder.plain_attention()
    return contextlib.nullcontext()
