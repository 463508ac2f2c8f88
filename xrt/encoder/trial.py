"""An encoder is tried before anything is trained: hours of other work are not to end in a folder
that cannot be read, trained, or saved.

Shapes: B rows, T tokens, H hidden width.
"""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xrt.encoder.adapters import add_adapters, merge_adapters
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.devices import (
    attention_of,
    computes_in_bf16,
    device_of,
    num_devices,
)
from xrt.encoder.folder import library_faults
from xrt.encoder.params import EncoderParams, TrainerParams
from xrt.encoder.tokens import token_ids
from xrt.errors import ConfigError
from xrt.threads import default_num_threads, torch_threads

logger = logging.getLogger(__name__)

SAMPLE_TEXTS = 256
SHORT, LONG = 8, 24
"""Tokens of the texts that are read beside one another."""
SAME = 1e-3
"""Difference of two vectors that are the same, beside their largest number."""
MOST_UNKNOWN = 0.5
"""Share of unknown tokens from which a line says so."""


def try_encoder(
    folder: Path,
    params: EncoderParams,
    trainer: TrainerParams,
    texts: Sequence[str] = (),
) -> None:
    """Load an encoder, read with it, take a step of training, save it and load it again.

    Nothing stays, no random number of the caller is used. Takes a second or two for MiniLM.

    Args:
        folder: The pretrained folder.
        params: How the encoder reads and is trained.
        trainer: Device and arithmetic.
        texts: Some of those that will be read.

    Raises:
        ConfigError: One of these failed; the message says which.
    """
    key = f"encoder.name = {params.name!r}"
    with (
        torch.random.fork_rng(devices=[]),
        torch_threads(default_num_threads()),
        library_faults(lambda err: ConfigError(f"{key}: cannot be used here ({err})")),
    ):
        torch.manual_seed(0)
        encoder = TextEncoder.from_pretrained(folder, params)
        _check_words(key, encoder, texts)
        encoder.to(device_of(trainer)).eval()
        rows = _rows(encoder)
        _check_longest(key, encoder, rows, trainer)
        vector_H = _check_padding(key, encoder, rows)
        _check_step(key, encoder, rows, params, trainer)
        _check_saved(key, encoder, rows, vector_H)


def _rows(encoder: TextEncoder) -> list[int]:
    """As many tokens as the encoder reads, from all over its vocabulary; none is padding."""
    numbers = sorted(set(encoder.tokenizer.get_vocab().values()) - {encoder.tokenizer.pad_token_id})
    chosen = np.linspace(0, len(numbers) - 1, encoder.max_length).astype(int)
    return [numbers[i] for i in chosen]


def _batch(encoder: TextEncoder, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Token ids and mask (B, T) of rows, padded to the longest, where the encoder lies."""
    device = next(encoder.parameters()).device
    width, padding = max(len(row) for row in rows), encoder.tokenizer.pad_token_id or 0
    ids_BT = torch.tensor([row + [padding] * (width - len(row)) for row in rows])
    mask_BT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids_BT.to(device), mask_BT.to(device)


def _check_words(key: str, encoder: TextEncoder, texts: Sequence[str]) -> None:
    """Raises ConfigError where the tokenizer knows no word of the texts; warns where it knows
    few.
    """
    unknown = encoder.tokenizer.unk_token_id
    if unknown is None or not len(texts):
        return
    sample = [texts[i] for i in range(0, len(texts), -(-len(texts) // SAMPLE_TEXTS))]
    rows, _ = token_ids(sample, encoder.tokenizer, encoder.max_length)
    special = set(encoder.tokenizer.all_special_ids) - {unknown}
    tokens = np.array([token for row in rows for token in row if token not in special])
    share = float((tokens == unknown).mean()) if len(tokens) else 0.0
    if share == 1:
        raise ConfigError(
            f"{key}: its tokenizer knows none of {len(tokens):,} tokens of {len(sample)} texts; "
            "choose an encoder of their language, with the tokenizer that belongs to it"
        )
    if share > MOST_UNKNOWN:
        logger.warning(
            "%s: its tokenizer does not know %.0f %% of the tokens of %d texts; an encoder of "
            "their language knows more", key, 100 * share, len(sample),
        )  # fmt: skip


def _check_longest(key: str, encoder: TextEncoder, row: list[int], trainer: TrainerParams) -> None:
    """Raises ConfigError where a text of the full length has no finite vector in the arithmetic of
    the run.
    """
    device, in_bf16 = device_of(trainer), computes_in_bf16(trainer)
    arithmetic = (
        "bfloat16; try trainer.precision=32" if in_bf16 else "float32; choose another encoder"
    )
    fault = f"{key}: a text of {len(row)} tokens has no finite vector in {arithmetic}"
    with (
        library_faults(lambda err: ConfigError(f"{fault} ({err})")),
        torch.inference_mode(),
        torch.autocast(torch.device(device).type, torch.bfloat16, in_bf16),
    ):
        vector_H = encoder(*_batch(encoder, [row]))[0]
    if not bool(torch.isfinite(vector_H).all()):
        raise ConfigError(fault)


def _check_padding(key: str, encoder: TextEncoder, row: list[int]) -> Tensor:
    """Raises ConfigError where a text's vector depends on the text beside it, or not on its words;
    gives the vector of a short text.
    """
    short, long = row[:SHORT], row[-LONG:]
    with torch.inference_mode():
        alone_H: Tensor = encoder(*_batch(encoder, [short]))[0]
        beside_H, other_H = encoder(*_batch(encoder, [short, long]))
    if not _is_same(alone_H, beside_H):
        raise ConfigError(
            f"{key}: padding changes the vectors of this encoder "
            f"({encoder.model.config.model_type}), so a text's labels would depend on the texts "
            "beside it; choose another encoder"
        )
    if torch.equal(beside_H, other_H):
        raise ConfigError(
            f"{key}: two different texts have the same vector; choose another encoder"
        )
    return alone_H


def _check_step(
    key: str,
    encoder: TextEncoder,
    row: list[int],
    params: EncoderParams,
    trainer: TrainerParams,
) -> None:
    """Raises ConfigError where a step of training would leave the encoder as it is."""
    encoder.freeze(params.frozen_layers)
    add_adapters(encoder.model, params.lora_rank, "trial")
    encoder.train()
    with attention_of(encoder, params.max_length, trainer):
        pooled_BH = encoder(*_batch(encoder, [row[:SHORT], row[-LONG:]]))
        (pooled_BH * torch.randn_like(pooled_BH)).sum().backward()
    trained = {name: p.grad for name, p in encoder.named_parameters() if p.requires_grad}
    unused = [name for name, gradient in trained.items() if gradient is None]
    moves = [g for g in trained.values() if g is not None and bool(g.ne(0).any())]
    if not moves or not all(bool(torch.isfinite(g).all()) for g in moves):
        raise ConfigError(
            f"{key}: a step of training changes none of its {len(trained)} trained weights, or "
            "makes them infinite; choose another encoder, or lower encoder.frozen_layers"
        )
    if unused and num_devices(trainer) > 1:
        raise ConfigError(
            f"{key}: {len(unused)} weights take no part in its vectors, first {unused[0]!r}; "
            "several processes would wait for them: set trainer.devices=1"
        )
    if unused:
        logger.info("%s: %d weights take no part in its vectors and are not trained, first %s",
                    key, len(unused), unused[0])  # fmt: skip
    encoder.zero_grad(set_to_none=True)
    merge_adapters(encoder.model)
    encoder.eval()


def _check_saved(key: str, encoder: TextEncoder, row: list[int], vector_H: Tensor) -> None:
    """Raises ConfigError where the encoder comes back from a folder as another one."""
    with tempfile.TemporaryDirectory(prefix="xrt-encoder-") as scratch:
        encoder.save(Path(scratch) / "encoder")
        again = TextEncoder.load(Path(scratch) / "encoder").to(vector_H.device).eval()
    with torch.inference_mode():
        loaded_H = again(*_batch(again, [row[:SHORT]]))[0]
    if not _is_same(vector_H, loaded_H):
        raise ConfigError(
            f"{key}: saved and loaded it gives other vectors, so what is trained would be lost; "
            "save it with transformers' save_pretrained and pass that folder"
        )
    ours, theirs = encoder.tokenizer, again.tokenizer
    if ours.get_vocab() != theirs.get_vocab() or ours.truncation_side != theirs.truncation_side:
        raise ConfigError(
            f"{key}: its tokenizer is not the same after it was saved and loaded "
            f"({len(ours):,} tokens before, {len(theirs):,} after); save it with transformers' "
            "save_pretrained and pass that folder"
        )


def _is_same(one_H: Tensor, other_H: Tensor) -> bool:
    return float((one_H - other_H).abs().max()) <= SAME * max(1e-6, float(one_H.abs().max()))
