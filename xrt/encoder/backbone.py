"""The encoder: any transformers `AutoModel`, pooled to one vector a text.

Shapes: B rows of a batch, T tokens, H hidden width.
"""

import contextlib
import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import logging as transformers_logging

from xrt.encoder.adapters import merged_weights, require_peft
from xrt.encoder.architectures import layers_of, position_limit
from xrt.encoder.configuration import (
    CONFIG_FILE,
    check_config,
    read_configuration,
    saved_configuration,
)
from xrt.encoder.params import EncoderParams, Pooling
from xrt.encoder.pretrained_weights import load_weights
from xrt.encoder.tokenizer import SPECIAL_FILES, TOKENIZER_CONFIG, VOCABULARIES, load_tokenizer
from xrt.errors import ArtifactError, ConfigError, XrtError
from xrt.storage.atomic import atomic_folder, write_json
from xrt.storage.reading import read_json_bounded

POOLING_FILE = "pooling.json"
INDEX_FILE = "model.safetensors.index.json"
SAVED_FILES = frozenset({
    CONFIG_FILE, POOLING_FILE, INDEX_FILE, TOKENIZER_CONFIG, *VOCABULARIES, *SPECIAL_FILES,
})  # fmt: skip
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
MAX_LENGTH = 1 << 17
"""Tokens that a saved encoder may read, where its kind has no limit."""


class TextEncoder(nn.Module):
    """A transformer with its tokenizer; `forward` gives one float32 vector a row."""

    def __init__(self, model: Any, tokenizer: Any, pooling: Pooling, max_length: int) -> None:
        super().__init__()
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # unused weights would stall DDP and swell every checkpoint
        self.model = model
        self._constant = {name for name, p in model.named_parameters() if not p.requires_grad}
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
    def layers(self) -> list[nn.Module]:
        """The transformer layers, from the lowest; ALBERT's share their modules."""
        return [parts[0] if len(parts) == 1 else nn.ModuleList(parts) for parts in self._layers]

    @property
    def layer_parts(self) -> list[nn.Module]:
        """The modules that make up the layers, each once."""
        return list(dict.fromkeys(part for parts in self._layers for part in parts))

    @property
    def _layers(self) -> list[list[nn.Module]]:
        return layers_of(self.model)

    def forward(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> Tensor:
        """Pooled vectors (B, H), float32, not normalised; padding (mask 0) has no influence.

        Args:
            input_ids_BT: token ids, (B, T).
            attention_mask_BT: 1 for a token, 0 for padding, (B, T).

        Returns:
            The vectors.
        """
        hidden_BTH = self.model(
            input_ids=input_ids_BT, attention_mask=attention_mask_BT
        ).last_hidden_state
        return self._pool(hidden_BTH, attention_mask_BT)

    def _pool(self, hidden_BTH: Tensor, attention_mask_BT: Tensor) -> Tensor:
        hidden_BTH = hidden_BTH.float()
        if self.pooling is Pooling.cls:
            return hidden_BTH[:, 0]
        weights_BT1 = attention_mask_BT.unsqueeze(-1).to(hidden_BTH.dtype)
        return (hidden_BTH * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1.0)

    def freeze(self, num_layers: int) -> None:
        """Have training leave all but the layers above the lowest `num_layers` as they are; what is
        computed below them needs no backward pass. 0 trains everything but tables that the model
        itself keeps as they are.

        Args:
            num_layers: number of lowest layers to freeze.

        Raises:
            ConfigError: layers below and above share weights.
        """
        lower = {id(part) for parts in self._layers[:num_layers] for part in parts}
        upper = [part for parts in self._layers[num_layers:] for part in parts]
        if any(id(part) in lower for part in upper):
            raise ConfigError(
                f"encoder.frozen_layers = {num_layers}: the layers of this encoder "
                f"({self.model.config.model_type}) share their weights; choose 0"
            )
        self.model.requires_grad_(num_layers == 0)
        for layer in upper:
            layer.requires_grad_(True)
        for name, parameter in self.model.named_parameters():
            if name in self._constant:
                parameter.requires_grad_(False)

    @contextlib.contextmanager
    def plain_attention(self) -> Iterator[None]:
        """While open, attention is computed step by step instead of by torch's fused kernel.

        On a CPU the fused kernel's backward pass in bfloat16 takes longer. The name of the kind is
        private to transformers: without it attention stays as it is.

        Yields:
            Nothing.
        """
        kind = getattr(self.model.config, "_attn_implementation", None)
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

        Args:
            folder: the folder; one that is there is replaced.
        """
        with atomic_folder(folder) as temporary, quiet_transformers():
            self.model.save_pretrained(  # names as they are here, not those of the pretrained file
                temporary, state_dict=merged_weights(self.model), save_original_format=False
            )
            self.tokenizer.save_pretrained(temporary)
            config = saved_configuration(self.model.config)
            write_json(temporary / CONFIG_FILE, config)
            reading = {"pooling": self.pooling.value, "max_length": self.max_length}
            write_json(temporary / POOLING_FILE, reading)
            _drop_code_key(temporary / TOKENIZER_CONFIG)
            mode = stat.S_IMODE((temporary / CONFIG_FILE).stat().st_mode)
            for path in temporary.iterdir():
                if not _is_ours(path.name):
                    path.unlink()
                else:
                    path.chmod(mode)  # safetensors gives the weights to this user alone

    @classmethod
    def load(cls, folder: Path) -> "TextEncoder":
        """Read what `save` wrote.

        Args:
            folder: the folder that `save` wrote.

        Returns:
            The encoder.

        Raises:
            ArtifactError: A file is missing, damaged or not one that `save` writes, or it would
                run foreign code or take memory without bounds.
        """
        try:
            _refuse_other_files(folder)
            reading = read_json_bounded(folder / POOLING_FILE)
            pooling, max_length = Pooling(reading["pooling"]), int(reading["max_length"])
            model, tokenizer = _load_transformers(folder, saved=True)
            limit = position_limit(model.config) or MAX_LENGTH
            if not 3 <= max_length <= limit:
                raise ValueError(f"max_length = {max_length}: must be from 3 to {limit}")
        except (XrtError, OSError, ValueError, KeyError, TypeError, OverflowError) as err:
            message = f"{folder}: unreadable encoder ({err}); restore or retrain"
            raise ArtifactError(message) from err
        return cls(model, tokenizer, pooling, max_length)

    @classmethod
    def from_pretrained(cls, folder: Path, params: EncoderParams) -> "TextEncoder":
        """Start from a pretrained folder.

        Args:
            folder: a transformers folder.
            params: the settings.

        Returns:
            The encoder; nothing in it is frozen.

        Raises:
            ConfigError: The folder does not hold a usable encoder, or not one that can be read and
                trained as the settings say.
        """
        try:
            model, tokenizer = _load_transformers(folder, dropout=False)
        except (ArtifactError, OSError) as err:
            raise ConfigError(f"encoder.name = {params.name!r}: {err}") from err
        check_config(model.config, params)
        require_peft(params.lora_rank)
        encoder = cls(model, tokenizer, params.pooling, params.max_length)
        if params.frozen_layers:
            encoder.freeze(params.frozen_layers)  # raises where it cannot be
            encoder.freeze(0)
        return encoder


def _load_transformers(folder: Path, dropout: bool = True, saved: bool = False) -> tuple[Any, Any]:
    """Model and tokenizer; without `dropout` the model has none inside, whatever the folder says: a
    pass or two over the rows need none, and a step is faster.
    """
    with quiet_transformers():
        config = read_configuration(folder, saved=saved)
        if not dropout:
            for name, value in config.to_dict().items():
                if "drop" in name and isinstance(value, int | float):
                    setattr(config, name, 0.0)
        model = load_weights(folder, config)
        rows = model.get_input_embeddings().num_embeddings
        tokenizer = load_tokenizer(folder, model.config, rows, saved=saved)
    return model, tokenizer


def _is_ours(name: str) -> bool:
    return name in SAVED_FILES or _WEIGHTS.fullmatch(name) is not None


def _refuse_other_files(folder: Path) -> None:
    """Raises ArtifactError where the folder holds more than `save` writes."""
    if not (folder / CONFIG_FILE).is_file():
        raise ArtifactError(f"{folder / CONFIG_FILE} is missing")
    for path in folder.iterdir():
        if not _is_ours(path.name) or not path.is_file():
            raise ArtifactError(f"{path} is no file of a saved encoder; refused")


def _drop_code_key(path: Path) -> None:
    """Take the key that names a tokenizer's own code out of its configuration."""
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, {key: value for key, value in content.items() if key != "auto_map"})


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No bars and no load reports: the pooler's weights are dropped on purpose.

    Yields:
        Nothing.
    """
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
