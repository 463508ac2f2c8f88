"""Trains a matcher on 96 made-up texts; run by test_matcher_resume in processes of their own.

python matcher_run.py RUN_FOLDER [--devices N] [--pause SECONDS] [--strategy S] [--held-out]
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import scipy.sparse as sp
import torch

from xrt.encoder import fit, matcher
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.batches import BatchPlan
from xrt.encoder.distributed import whole
from xrt.encoder.fit import fit_level
from xrt.encoder.heads import LevelHead
from xrt.encoder.levels import LevelData
from xrt.encoder.matcher import LevelBatches, LevelMatcher
from xrt.encoder.params import (
    EncoderParams,
    MatcherParams,
    Precision,
    Strategy,
    TrainerParams,
)
from xrt.encoder.resolve import resolve_encoder
from xrt.encoder.tokens import TokenStore
from xrt.encoder.training import MatcherOutputs, fine_tune_matcher
from xrt.tree.label_tree import LabelTree

WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu") for b in ("re", "so", "ti")]
STEPS = 40


class Pace:
    """A `Progress` that slows each step, so that a signal meets a level half done; where a file is
    given, a byte is added to it at each of the matcher's steps.
    """

    def __init__(self, pause: float = 0.0, told: Path | None = None) -> None:
        self.pause = pause
        self.told = told

    def start(self, description: str, total: int | None) -> None:
        self.tells = self.told is not None and description.startswith("matcher")

    def advance(self, n: int = 1, **figures: float) -> None:
        if self.told is not None and self.tells:
            with open(self.told, "a") as file:
                file.write(".")
        time.sleep(self.pause)

    def finish(self) -> None:
        pass


class SlowPace(Pace):
    """As it arrives in a spawned process, where only the class does."""

    def __init__(self, pause: float = 0.1) -> None:
        super().__init__(pause)


class RecordingMatcher(LevelMatcher):
    """Keeps the gradients of its first step, in a buffer that comes back from processes."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        size = sum(parameter.numel() for parameter in self.parameters())
        self.register_buffer("gradients_P", torch.zeros(size))

    def on_after_backward(self) -> None:
        if self.global_step == 0:
            self.gradients_P[:] = torch.cat(
                [whole(parameter.grad).flatten() for parameter in self.parameters()]
            )


def fit_first_steps(
    folder: Path, devices: int, steps: int = 4, strategy: Strategy = Strategy.auto
) -> RecordingMatcher:
    """Steps of one level without dropout, 5 rows a batch: two processes get 3 and 2."""
    _, Y_NL, tree = corpus()
    encoder, tokens = encoder_and_tokens(folder)
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    head = LevelHead.of_arrays(random_weights(12, 32, 0), np.zeros(12, np.float32))
    params = MatcherParams()
    level_data = [LevelData(Y_NL, tree.level_targets(Y_NL)[0], tree, 1)]
    matcher = RecordingMatcher(
        encoder, [head], params, num_steps=steps, level=1, level_data=level_data
    )
    plan = BatchPlan(tokens.lengths, token_budget=4096, max_rows=5, seed=0)
    batches = LevelBatches(tokens, level_data, plan)
    trainer = trainer_params(devices, strategy)
    fit_level(matcher, batches, folder / "fit.ckpt", False, trainer)
    return matcher


def random_weights(num_nodes: int, hidden_size: int, seed: int) -> np.ndarray:
    """Small normal weights of a head, (K, H)."""
    rng = np.random.default_rng(seed)
    return np.float32(0.02) * rng.standard_normal((num_nodes, hidden_size), dtype=np.float32)


def encoder_and_tokens(folder: Path) -> tuple[TextEncoder, TokenStore]:
    """The untrained encoder, and the corpus as it reads it."""
    texts, _, _ = corpus()
    backbone = resolve_encoder("tiny-random", work_folder=folder, texts=texts)
    encoder = TextEncoder.from_pretrained(backbone, EncoderParams(name="tiny-random"))
    return encoder, TokenStore.of_texts(texts, encoder.tokenizer, 32)


def corpus(seed: int = 0) -> tuple[list[str], sp.csr_array, LabelTree]:
    """96 texts of two made-up words each; the words are the labels, three to a cluster."""
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(12, size=2, replace=False) for _ in range(96)]
    texts = [" ".join(WORDS[i] for i in row) + " and" * int(n % 9) for n, row in enumerate(chosen)]
    Y_NL = np.zeros((96, 12), np.float32)
    for row, labels in enumerate(chosen):
        Y_NL[row, labels] = 1.0
    tree = LabelTree.from_clusters(np.arange(12, dtype=np.int32) // 3, [np.zeros(4, np.int32)])
    return texts, sp.csr_array(Y_NL), tree


def trainer_params(devices: int, strategy: Strategy = Strategy.auto) -> TrainerParams:
    """Processes on the CPU."""
    return TrainerParams(
        accelerator="cpu",
        devices=devices,
        precision=Precision.fp32,
        lightning={"strategy": strategy.value},
    )


def train(
    run_folder: Path,
    devices: int = 1,
    progress: Pace | None = None,
    strategy: Strategy = Strategy.auto,
    held_out: bool = False,
    lora_rank: int = 0,
    frozen_layers: int = 0,
    seed: int = 0,
    **params: Any,
) -> MatcherOutputs:
    """Train both levels, the finer one on candidates, with a checkpoint every 7 steps; where asked
    with validation on texts of another draw. `params` replace the settings of the tests.
    """
    texts, Y_NL, tree = corpus()
    settings = {
        "steps": STEPS,
        "max_batch_rows": 8,
        "dense_level_limit": 4,
        "encoder_learning_rate": 5e-3,
        "head_learning_rate": 5e-3,
        **params,
    }
    encoder = EncoderParams(name="tiny-random", lora_rank=lora_rank, frozen_layers=frozen_layers)
    with patch.object(fit, "CHECKPOINT_EVERY_STEPS", 7), patch.object(matcher, "MAN_TOP_K", 1):
        return fine_tune_matcher(
            texts,
            Y_NL,
            tree,
            run_folder=run_folder,
            encoder=encoder,
            params=MatcherParams(**settings),
            trainer=trainer_params(devices, strategy),
            progress=progress,
            validation=corpus(seed=1)[:2] if held_out else None,
            seed=seed,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--strategy", type=Strategy, default=Strategy.auto)
    parser.add_argument("--held-out", action="store_true")
    args = parser.parse_args()
    pace = Pace(args.pause, args.folder / "told") if args.devices == 1 else SlowPace()
    train(args.folder, args.devices, pace, args.strategy, args.held_out)
    sys.exit(0)
