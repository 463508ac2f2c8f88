"""Adapters: small matrices that are trained beside an encoder's frozen weights (LoRA, Hu et al.
2022), by the package `peft`.

A layer with weight W computes with W + (alpha / rank) B A, where A has `rank` rows; A starts at
random and B at zero. They are there for the time of a stage's training and then become part of W,
so saved encoders are plain ones and prediction needs no `peft`.
"""

import importlib.util
import zlib
from typing import Any

import torch
from torch import Tensor, nn

from xrt.errors import ConfigError

ADAPTER = "default"
SCALE = 2
"""How much adapters weigh: alpha / rank."""


def require_peft(rank: int) -> None:
    """Check that adapters of this rank can be made.

    Args:
        rank: Rows of an adapter's matrices; 0 for no adapters.

    Raises:
        ConfigError: Adapters are asked for and `peft` is not installed.
    """
    if rank and importlib.util.find_spec("peft") is None:
        raise ConfigError(
            f"encoder.lora_rank = {rank}: adapters need peft; run "
            "`pip install xrt-xmc[lora]`, or set encoder.lora_rank=0 to train all weights"
        )


def add_adapters(model: nn.Module, rank: int, seed: str) -> None:
    """Put adapters beside all linear layers, in place; they alone are trained. Nothing for rank 0.

    Args:
        model: A transformer of transformers.
        rank: Rows of an adapter's matrices.
        seed: What the adapters start as follows from this alone.

    Raises:
        ConfigError: `peft` is not installed.
    """
    if not rank:
        return
    require_peft(rank)
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules="all-linear")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(seed.encode()))
        inject_adapter_in_model(config, model, adapter_name=ADAPTER)


def merge_adapters(model: nn.Module) -> None:
    """Add the adapters to the weights and take them out; all weights may be trained again.

    Args:
        model: the model, changed in place.
    """
    layers = adapter_layers(model)
    for name, layer in layers:
        layer.base_layer.weight.data = _merged(layer)
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.base_layer)
    if layers:
        del model.peft_config
        model.requires_grad_(True)


def merged_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict that the model would have if its adapters were merged; the model stays as it
    is.

    Args:
        model: the model.

    Returns:
        Tensors by name.
    """
    weights = dict(model.state_dict())
    for name, layer in adapter_layers(model):
        inner = f"{name}.base_layer."
        for part in [part for part in weights if part.startswith(f"{name}.")]:
            value = weights.pop(part)
            if part.startswith(inner):
                weights[f"{name}.{part.removeprefix(inner)}"] = value
        weights[f"{name}.weight"] = _merged(layer)
    return weights


def frozen_names(module: nn.Module) -> set[str]:
    """Names of the parameters that training leaves as they are.

    Args:
        module: the module.

    Returns:
        Names as in `named_parameters`.
    """
    return {name for name, p in module.named_parameters() if not p.requires_grad}


def adapter_layers(model: nn.Module) -> list[tuple[str, Any]]:
    """Names and modules of the layers with adapters.

    Args:
        model: the model.

    Returns:
        Pairs; empty where there are no adapters.
    """
    if not hasattr(model, "peft_config"):  # the package need not be there
        return []
    from peft.tuners.lora import LoraLayer

    return [(name, part) for name, part in model.named_modules() if isinstance(part, LoraLayer)]


def _merged(layer: Any) -> Tensor:
    with torch.no_grad():
        total: Tensor = layer.base_layer.weight + layer.get_delta_weight(ADAPTER)
    return total
