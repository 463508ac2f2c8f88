"""The kinds of encoders that are supported, by transformers' `model_type`: where their layers are,
and how many tokens they can read.

A kind stands here when a test has shown for a small random one that padding has no influence on a
vector, that layers are frozen and read where the settings say, and that it is saved and loaded
whole.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from xrt.errors import ConfigError


@dataclass(frozen=True)
class Architecture:
    """How a kind of encoder is built."""

    layers: str
    """Where its list of layers stands."""
    counts_from_padding: bool = False
    """Whether the first position has the number after the padding token's."""
    is_unlimited: bool = False
    """Whether positions are relative, of any number."""


_BERT = Architecture("encoder.layer")
_ROBERTA = Architecture("encoder.layer", counts_from_padding=True)
_T5 = Architecture("encoder.block", is_unlimited=True)
_XLM = Architecture("layer_norm2")
ARCHITECTURES = {
    "albert": Architecture("encoder.albert_layer_groups"),
    "bert": _BERT,
    "camembert": _ROBERTA,
    "data2vec-text": _ROBERTA,
    "deberta": _BERT,
    "deberta-v2": _BERT,
    "distilbert": Architecture("transformer.layer"),
    "electra": _BERT,
    "ernie": _BERT,
    "eurobert": Architecture("layers"),
    "flaubert": _XLM,
    "megatron-bert": _BERT,
    "mobilebert": _BERT,
    "modernbert": Architecture("layers"),
    "mpnet": _ROBERTA,
    "mt5": _T5,
    "nomic_bert": Architecture("layers"),
    "rembert": _BERT,
    "roberta": _ROBERTA,
    "roberta-prelayernorm": _ROBERTA,
    "roformer": _BERT,
    "t5": _T5,
    "umt5": _T5,
    "xlm": _XLM,
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": _ROBERTA,
}
ENCODER_OF_TWO = frozenset({"t5", "mt5", "umt5"})
"""Encoder-decoders; only their encoder is used."""
MIXES_IN_PADDING = frozenset({"convbert", "fnet", "nystromformer", "yoso"})
"""Kinds whose vectors of a text depend on the texts beside it in a batch."""


def require_architecture(model_type: Any) -> Architecture:
    """How a kind of encoder is built.

    Args:
        model_type: As in config.json.

    Returns:
        The architecture.

    Raises:
        ConfigError: The kind is not supported; the message has those that are.
    """
    architecture = ARCHITECTURES.get(model_type) if isinstance(model_type, str) else None
    if architecture is not None:
        return architecture
    why = "is not supported"
    if isinstance(model_type, str) and model_type in MIXES_IN_PADDING:
        why += ": padding would change its vectors"
    raise ConfigError(
        f"an encoder of the kind {str(model_type)[:60]!r} {why}; choose one of the kinds "
        f"{', '.join(sorted(ARCHITECTURES))}"
    )


def position_limit(config: Any) -> int | None:
    """Tokens that an encoder can read, special ones included; None where there is no limit.

    RoBERTa and its kin count positions from after the padding token's number.

    Args:
        config: a transformers configuration.

    Returns:
        Number of tokens, or None.

    Raises:
        ConfigError: the kind of encoder is not supported.
    """
    kind = require_architecture(config.model_type)
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or kind.is_unlimited:
        return None
    first = int(config.pad_token_id or 0) + 1 if kind.counts_from_padding else 0
    return int(positions) - first


def layers_of(model: Any) -> list[list[nn.Module]]:
    """The modules of each transformer layer, from the lowest; the last of them gives the layer's
    states.

    ALBERT's layers share their modules; XLM and FlauBERT keep the parts of a layer in four lists.

    Args:
        model: a transformers model.

    Returns:
        A list of modules for each layer.

    Raises:
        ConfigError: the kind of encoder is not supported.
    """
    config = model.config
    kind = require_architecture(config.model_type)
    named: Any = model.get_submodule(kind.layers)
    if config.model_type == "albert":
        per_group = config.num_hidden_layers / config.num_hidden_groups
        return [[named[int(i / per_group)]] for i in range(config.num_hidden_layers)]
    if kind is _XLM:
        lists = model.attentions, model.layer_norm1, model.ffns, named
        return [list(parts) for parts in zip(*lists, strict=True)]
    return [[layer] for layer in named]
