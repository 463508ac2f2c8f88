"""Encoders of every kind, tiny and random, with a tokenizer of made-up words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForTextEncoding, AutoTokenizer

from xrt.encoder.architectures import ENCODER_OF_TWO
from xrt.encoder.backbone import quiet_transformers
from xrt.encoder.tiny import write_tiny_encoder

TEXTS = ["a small red lamp", "chair", "", "a very long text about mugs and shirts and chairs"]
SIZES = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 66,
}  # fmt: skip
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 3, "num_heads": 2}
XLM = {"emb_dim": 16, "n_layers": 3, "n_heads": 2, "max_position_embeddings": 66}
DEBERTA = SIZES | {
    "relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"],
}  # fmt: skip
OF_KIND: dict[str, dict[str, Any]] = {
    "albert": SIZES | {"embedding_size": 8},
    "convbert": SIZES | {"embedding_size": 8},
    "deberta": DEBERTA,
    "deberta-v2": DEBERTA | {
        "position_buckets": 16, "share_att_key": True, "norm_rel_ebd": "layer_norm",
    },
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24,
                   "max_position_embeddings": 66},
    "electra": SIZES | {"embedding_size": 8},
    "flaubert": XLM, "xlm": XLM, "t5": T5, "mt5": T5, "umt5": T5,
    "rembert": SIZES | {"input_embedding_size": 8},
}  # fmt: skip


def write_encoder(folder: Path, kind: str = "bert", texts: Sequence[str] = TEXTS,
                  **changes: Any) -> Path:  # fmt: skip
    """A folder as transformers writes it: three layers of width 16, weights drawn from seed 0."""
    tokenizer = AutoTokenizer.from_pretrained(write_tiny_encoder(folder / "words", texts, seed=0))
    config = CONFIG_MAPPING[kind](**{
        "vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
        **OF_KIND.get(kind, SIZES), **changes,
    })  # fmt: skip
    make = AutoModelForTextEncoding if kind in ENCODER_OF_TWO else AutoModel
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(0)
        make.from_config(config).save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
    return folder / "model"
