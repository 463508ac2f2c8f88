"""How fast this machine trains and reads with an encoder: a few steps and texts, here and now.

Shapes: n rows that are tried, L labels, K nodes of a level, S steps.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch

from xrt.encoder.adapters import add_adapters
from xrt.encoder.architectures import position_limit
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.batches import BatchPlan
from xrt.encoder.devices import attention_of, computes_in_bf16, device_of, num_devices
from xrt.encoder.embed import encode
from xrt.encoder.fit import fit_level, quiet_lightning
from xrt.encoder.heads import LevelHead
from xrt.encoder.hooks import FitHook
from xrt.encoder.levels import LevelData
from xrt.encoder.matcher import LevelBatches, LevelMatcher
from xrt.encoder.params import EncoderParams, MatcherParams, TrainerParams
from xrt.encoder.resolve import resolve_encoder
from xrt.encoder.tokens import TokenStore
from xrt.threads import default_num_threads, torch_threads
from xrt.tree.label_tree import LabelTree

if TYPE_CHECKING:
    import lightning.pytorch as pl

COARSE_NODES = 512
"""Nodes of a level above the labels, for the steps that are tried."""
LONGEST = 512
"""Tokens up to which the lengths of texts are looked at."""
Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a row takes, in seconds.

    Attributes:
        trained: a row of a step, forwards and back, all processes together.
        encoded: a row that is tokenised and read.
    """

    trained: float
    encoded: float


class StepTimer(FitHook):
    """Notes when each step of a fit ended, in a buffer of the matcher."""

    def __init__(self, matcher: LevelMatcher, now: Clock = time.perf_counter) -> None:
        self.now = now
        self.started = 0.0
        matcher.register_buffer("step_ends_S", torch.zeros(matcher.num_steps))

    def on_train_start(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule") -> None:
        """The clock runs from here.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
        """
        self.started = self.now()

    def on_train_batch_end(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", outputs: Any, *_: Any
    ) -> None:
        """Note the time.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            outputs: what the step returned.
        """
        pl_module.get_buffer("step_ends_S")[trainer.global_step - 1] = self.now() - self.started


def measure_pace(
    texts: Sequence[str],
    Y_nL: sp.csr_array,
    encoder: EncoderParams,
    params: MatcherParams,
    trainer: TrainerParams,
    *,
    seed: int = 0,
    now: Clock = time.perf_counter,
) -> Pace:
    """Train on some rows once, with heads of the width they will have, and read them once.

    The first step is not counted. Nothing stays.

    Args:
        texts: n texts.
        Y_nL: their labels.
        encoder: which encoder, how it reads, which layers are frozen.
        params: how it is fine-tuned.
        trainer: devices and arithmetic.
        seed: of the batches.
        now: the clock, seconds.

    Returns:
        The pace.

    Raises:
        ConfigError: the encoder cannot be had, or cannot read so many tokens.
        TrainingError: a process died.
    """
    with tempfile.TemporaryDirectory(prefix="xrt-pace-") as scratch:
        folder = Path(scratch)
        backbone = resolve_encoder(encoder.name, work_folder=folder, texts=texts, seed=seed)
        model = TextEncoder.from_pretrained(backbone, encoder)
        started = now()
        tokens = TokenStore.of_texts(texts, model.tokenizer, encoder.max_length)
        tokenised = (now() - started) / tokens.num_rows
        plan = BatchPlan(tokens.lengths, params.token_budget, params.max_batch_rows, seed)
        model.freeze(encoder.frozen_layers)
        add_adapters(model.model, encoder.lora_rank, "pace")
        levels = [
            LevelData(_folded(Y_nL, width), None, LabelTree.flat(width), 0)
            for width in _widths(Y_nL.shape[1], params)
        ]
        heads = [LevelHead(level.num_nodes, model.hidden_size) for level in levels]
        matcher = LevelMatcher(
            model, heads, params, num_steps=1 + plan.num_batches, level=len(heads) - 1,
            seed=seed, dropout=encoder.dropout, level_data=levels,
        )  # fmt: skip
        timer, batches = StepTimer(matcher, now), LevelBatches(tokens, levels, plan)
        with torch_threads(default_num_threads()), quiet_lightning():
            with attention_of(model, encoder.max_length, trainer):
                fit_level(matcher, batches, folder / "pace.ckpt", False, trainer, further=[timer])
            ends_S = matcher.get_buffer("step_ends_S").cpu().numpy()
            started = now()
            encode(
                model, tokens, token_budget=max(4096, params.token_budget),
                bf16=computes_in_bf16(trainer), device=device_of(trainer),
            )  # fmt: skip
            read = (now() - started) / tokens.num_rows / num_devices(trainer)
    return Pace(
        trained=float(ends_S[-1] - ends_S[0]) / tokens.num_rows,
        encoded=read + tokenised,
    )


@dataclass(frozen=True, kw_only=True)
class EncoderShape:
    """What an encoder is, and how it cuts texts.

    Attributes:
        layers: transformer layers.
        width: of its vectors, H.
        positions: tokens that it can read; None where its kind has no limit.
        lengths_n: tokens of some texts, not cut but at `LONGEST`.
    """

    layers: int
    width: int
    positions: int | None
    lengths_n: np.ndarray


def encoder_shape(encoder: EncoderParams, texts: Sequence[str], seed: int = 0) -> EncoderShape:
    """Look at an encoder, and at the lengths of texts.

    Args:
        encoder: which encoder.
        texts: n texts.
        seed: of the encoder `tiny-random`.

    Returns:
        Its shape.

    Raises:
        ConfigError: the encoder cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="xrt-pace-") as scratch:
        folder = resolve_encoder(encoder.name, work_folder=Path(scratch), texts=texts, seed=seed)
        model = TextEncoder.from_pretrained(folder, replace(encoder, frozen_layers=0))
        lengths_n = TokenStore.of_texts(texts, model.tokenizer, LONGEST).lengths
    return EncoderShape(
        layers=model.num_layers, width=model.hidden_size,
        positions=position_limit(model.model.config), lengths_n=lengths_n,
    )  # fmt: skip


def _widths(num_labels: int, params: MatcherParams) -> list[int]:
    """Nodes of the levels that are tried; of wide ones as many as are trained at once."""
    finest = min(num_labels, params.dense_level_limit or num_labels)
    return [finest] if finest <= COARSE_NODES else [COARSE_NODES, finest]


def _folded(Y_nL: sp.csr_array, width: int) -> sp.csr_array:
    """Targets of `width` nodes, among which labels are dealt out: (n, width)."""
    num_labels = Y_nL.shape[1]
    nodes_L = np.arange(num_labels) % width
    ones = np.ones(num_labels, np.float32)
    dealt = sp.csr_array((ones, nodes_L, np.arange(num_labels + 1)), shape=(num_labels, width))
    Y_nK = sp.csr_array(Y_nL @ dealt)
    Y_nK.data[:] = 1
    return Y_nK
