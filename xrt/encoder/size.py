"""How large an encoder is, from its configuration and the headers of its weights; no weight is
read.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from xrt.encoder.architectures import ENCODER_OF_TWO
from xrt.encoder.configuration import read_configuration
from xrt.encoder.folder import library_faults, weight_files
from xrt.encoder.params import EncoderParams
from xrt.encoder.resolve import TINY_RANDOM, find_encoder
from xrt.encoder.tiny import NUM_WORDS, tiny_config
from xrt.errors import ConfigError

_DECODER = ("decoder.", "lm_head.")


@dataclass(frozen=True, kw_only=True)
class EncoderSize:
    """Sizes of an encoder.

    Attributes:
        width: numbers of a text's embedding.
        num_layers: transformer layers.
        num_weights: all weights.
        num_trained: those that fine-tuning changes.
    """

    width: int
    num_layers: int
    num_weights: int
    num_trained: int


def encoder_size(params: EncoderParams) -> EncoderSize:
    """Look up the size of an encoder whose files are on this machine.

    Args:
        params: which encoder, and which layers of it are trained.

    Returns:
        Its size.

    Raises:
        ConfigError: its files are not here, or are not those of an encoder that can be used.
        ArtifactError: its configuration cannot be used.
    """
    if params.name == TINY_RANDOM:
        config = tiny_config(NUM_WORDS)
        words = NUM_WORDS + config.max_position_embeddings
        num_weights = words * config.hidden_size + config.num_hidden_layers * _layer(config)
    else:
        folder = find_encoder(params.name)
        config = read_configuration(folder, saved=False)
        skipped = _DECODER if config.model_type in ENCODER_OF_TWO else ()
        num_weights = sum(_count(path, skipped) for path in weight_files(folder))
    num_layers, width = int(config.num_hidden_layers), int(config.hidden_size)
    num_trained = num_weights
    if params.frozen_layers:  # the token embeddings are frozen too
        words = min(num_weights, int(config.vocab_size) * width)
        num_trained = (
            (num_weights - words) * max(0, num_layers - params.frozen_layers) // num_layers
        )
    if params.lora_rank:  # beside four matrices (H, H) of a layer and two (H, 4 H)
        num_trained = min(num_weights, 18 * params.lora_rank * width * num_layers)
    return EncoderSize(
        width=width, num_layers=num_layers, num_weights=num_weights, num_trained=num_trained
    )


def _layer(config: Any) -> int:
    width, inner = config.hidden_size, config.intermediate_size
    return int(4 * width * width + 2 * width * inner)


def _count(path: Path, skipped: tuple[str, ...]) -> int:
    """Numbers in a file of weights, from its header."""
    fault = f"{path}: cannot be read"
    with (
        library_faults(lambda err: ConfigError(f"{fault} ({err}); restore the file")),
        safe_open(path, "np") as weights,
    ):
        return sum(
            math.prod(weights.get_slice(name).get_shape())
            for name in weights.keys()
            if not name.startswith(skipped)
        )
