"""The encoder: any transformers `AutoModel`, pooled to one vector a text.

Shapes: B rows of a batch, T tokens, H hidden width.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer
from transformers import logging as transformers_logging

from xrt.atomic import atomic_folder, write_json
from xrt.encoder.adapters import check_adapters, merged_weights
from xrt.encoder.params import EncoderParams, Pooling
from xrt.errors import ArtifactError, ConfigError

POOLING_FILE = "pooling.json"
ENCODER_OF_TWO = frozenset({"t5", "mt5", "umt5"})
"""Encoder-decoders of which the encoder is read alone; they have no limit of positions."""
COUNTED_FROM_PADDING = frozenset({"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet"})


class TextEncoder(nn.Module):
    """A transformer with its tokenizer; `forward` gives one float32 vector a row."""

    def __init__(self, model: Any, tokenizer: Any, pooling: Pooling, max_length: int) -> None:
        super().__init__()
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # unused weights would stall DDP and swell every checkpoint
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = Pooling(pooling)
        self.max_length = max_length

    @property
    def hidden_size(self) -> int:
        """Width of the pooled vector, H."""
        return int(self.model.config.hidden_size)

    @property
    def num_layers(self) -> int:
        """Transformer layers, the embedding layer not counted."""
        return int(self.model.config.num_hidden_layers)

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer layers: of all lists of modules, the one with most weights."""
        lists = [module for module in self.model.modules() if isinstance(module, nn.ModuleList)]
        return max(lists, key=lambda module: sum(p.numel() for p in module.parameters()))

    def forward(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> Tensor:
        """Pooled vectors (B, H), float32, not normalised; padding (mask 0) has no say in them."""
        hidden_BTH = self.model(
            input_ids=input_ids_BT, attention_mask=attention_mask_BT
        ).last_hidden_state
        return self._pool(hidden_BTH, attention_mask_BT)

    def forward_layers(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, layers: Sequence[int]
    ) -> list[Tensor]:
        """Pooled vectors (B, H) after each of the given transformer layers, from 1; the last is
        `forward`'s. One caller at a time: layers are listened to meanwhile.
        """
        hidden: dict[int, Tensor] = {}

        def keep(layer: int, output: Any) -> None:
            hidden[layer] = output[0] if isinstance(output, tuple) else output

        with contextlib.ExitStack() as hooks:
            for layer in set(layers):
                block = self.layers[layer - 1]
                hook = block.register_forward_hook(lambda _, __, out, at=layer: keep(at, out))
                hooks.callback(hook.remove)
            output = self.model(input_ids=input_ids_BT, attention_mask=attention_mask_BT)
        hidden[self.num_layers] = output.last_hidden_state  # some encoders normalise after it
        pooled = {layer: self._pool(hidden[layer], attention_mask_BT) for layer in set(layers)}
        return [pooled[layer] for layer in layers]

    def _pool(self, hidden_BTH: Tensor, attention_mask_BT: Tensor) -> Tensor:
        hidden_BTH = hidden_BTH.float()
        if self.pooling is Pooling.cls:
            return hidden_BTH[:, 0]
        weights_BT1 = attention_mask_BT.unsqueeze(-1).to(hidden_BTH.dtype)
        return (hidden_BTH * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1.0)

    def freeze(self, num_layers: int) -> None:
        """Have training leave all but the layers above the lowest `num_layers` as they are; what
        is computed below them needs no backward pass. 0 trains everything.
        """
        self.model.requires_grad_(num_layers == 0)
        for layer in self.layers[num_layers:]:
            layer.requires_grad_(True)

    @contextlib.contextmanager
    def plain_attention(self) -> Iterator[None]:
        """While open, attention is computed step by step instead of by torch's fused kernel.

        On a CPU the fused kernel's backward pass in bfloat16 takes longer.
        """
        kind = self.model.config._attn_implementation
        if kind == "sdpa":
            self.model.set_attn_implementation("eager")
        try:
            yield
        finally:
            if kind == "sdpa":
                self.model.set_attn_implementation(kind)

    def save(self, folder: Path) -> None:
        """Write a transformers folder (safetensors, tokenizer) plus `pooling.json`, whole or not
        at all. Adapters are written as part of the weights.
        """
        with atomic_folder(folder) as temporary, quiet_transformers():
            self.model.save_pretrained(temporary, state_dict=merged_weights(self.model))
            self.tokenizer.save_pretrained(temporary)
            reading = {"pooling": self.pooling.value, "max_length": self.max_length}
            write_json(temporary / POOLING_FILE, reading)

    @classmethod
    def load(cls, folder: Path) -> "TextEncoder":
        """Read what `save` wrote. Raises ArtifactError when it is missing or would run foreign
        code.
        """
        _refuse_foreign_code(folder)
        try:
            reading = json.loads((folder / POOLING_FILE).read_text())
            pooling, max_length = Pooling(reading["pooling"]), int(reading["max_length"])
            model, tokenizer = _load_transformers(folder)
        except (OSError, ValueError, KeyError, SafetensorError) as err:
            message = f"{folder}: unreadable encoder ({err}); restore or retrain"
            raise ArtifactError(message) from err
        return cls(model, tokenizer, pooling, max_length)

    @classmethod
    def from_pretrained(cls, folder: Path, params: EncoderParams) -> "TextEncoder":
        """Start from a pretrained folder. Raises ConfigError when it does not hold a usable
        encoder.
        """
        try:
            model, tokenizer = _load_transformers(folder, params.inner_dropout)
        except (OSError, ValueError, KeyError, ImportError, SafetensorError) as err:
            raise ConfigError(
                f"encoder.name = {params.name!r}: {folder} cannot be loaded ({err}); it needs "
                "config.json, tokenizer files and model.safetensors"
            ) from err
        check_config(model.config, params)
        check_adapters(model, params.lora)
        return cls(model, tokenizer, params.pooling, params.max_length)


def _load_transformers(folder: Path, dropout: float | None = None) -> tuple[Any, Any]:
    """Model and tokenizer; every dropout within the model is `dropout`, or as the folder says."""
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with quiet_transformers():
        config = AutoConfig.from_pretrained(folder, **safe)
        if dropout is not None:
            for name, value in config.to_dict().items():
                if "dropout" in name and isinstance(value, int | float):
                    setattr(config, name, dropout)
        tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
        kind = AutoModelForTextEncoding if config.model_type in ENCODER_OF_TWO else AutoModel
        model = kind.from_pretrained(
            folder, config=config, use_safetensors=True, dtype=torch.float32, **safe
        )
    return model, tokenizer


def check_config(config: Any, params: EncoderParams) -> None:
    """Raises ConfigError when the encoder of a transformers configuration cannot be read as the
    settings say.
    """
    if config.is_encoder_decoder and config.model_type not in ENCODER_OF_TWO:
        raise ConfigError(
            f"encoder.name = {params.name!r}: an encoder-decoder of type {config.model_type!r}, "
            f"whose encoder alone cannot be had; choose an encoder, or one of "
            f"{', '.join(sorted(ENCODER_OF_TWO))}"
        )
    positions = position_limit(config)
    if positions is not None and params.max_length > positions:
        raise ConfigError(
            f"encoder.max_length = {params.max_length}: "
            f"the encoder reads at most {positions} tokens"
        )
    if params.frozen_layers >= config.num_hidden_layers:
        raise ConfigError(
            f"encoder.frozen_layers = {params.frozen_layers}: the encoder has "
            f"{config.num_hidden_layers} layers, and one must be left to train; choose at most "
            f"{config.num_hidden_layers - 1}"
        )


def position_limit(config: Any) -> int | None:
    """Tokens that an encoder can read, special ones included; None where there is no limit.

    RoBERTa and its kin count positions from after the padding token's number.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or config.model_type in ENCODER_OF_TWO:
        return None
    if config.model_type in COUNTED_FROM_PADDING:
        return int(positions) - int(config.pad_token_id) - 1
    return int(positions)


def _refuse_foreign_code(folder: Path) -> None:
    """A saved encoder never names code; a config that does was not written by `save`."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as err:
        raise ArtifactError(f"{folder}: unreadable encoder ({err}); restore or retrain") from err
    for key in config:
        if key == "auto_map" or key.startswith("_attn_implementation"):
            raise ArtifactError(f"{folder / 'config.json'}: {key!r} names code to run; refused")


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No bars and no load reports: the pooler's weights are dropped on purpose."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
