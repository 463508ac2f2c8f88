"""The matcher in a Trainer of the user's own: a LightningModule with a LightningDataModule.

    module, data = matcher_modules(texts, Y, tree, folder="work", encoder=EncoderParams())
    trainer = lightning.pytorch.Trainer(max_epochs=3)
    trainer.fit(module, data)
    module.encoder.save("my-encoder")   # xrt train encoder.name=my-encoder

xrt's own training does more: exact resuming, the best weights kept, other sources of scores.

Shapes: N rows, B rows of a batch, L labels.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from xrt.encoder.adapters import add_adapters
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.batches import BatchPlan, cut_sorted
from xrt.encoder.heads import LevelHead
from xrt.encoder.levels import LevelData
from xrt.encoder.matcher import LevelBatch, LevelBatches, LevelMatcher
from xrt.encoder.params import EncoderParams, MatcherParams
from xrt.encoder.resolve import resolve_encoder
from xrt.encoder.tokens import TokenStore
from xrt.errors import ConfigError, DataError
from xrt.tree.candidates import teacher_forced
from xrt.tree.label_tree import LabelTree

DEPTH = 5


class MatcherModule(LevelMatcher):
    """The matcher, validated by the Trainer's own loop: nDCG@5 and P@1 of each level."""

    def validation_step(self, batch: LevelBatch, batch_idx: int) -> None:
        """Log `held_out/level_1/ndcg_at_5`, `held_out/level_1/p_at_1` and so on, levels from 1.

        Args:
            batch: held-out rows of this process, with the targets of all nodes.
            batch_idx: not used.
        """
        counted = batch.row_weights_B > 0
        levels = self.scores(batch.input_ids_BT, batch.attention_mask_BT)
        for number, (logits_BK, targets) in enumerate(zip(levels, batch.targets, strict=True), 1):
            assert targets is not None
            true_BK = torch.zeros_like(logits_BK, dtype=torch.bool)
            true_BK[targets.rows_E, targets.nodes_E] = targets.values_E > 0
            ndcg_B, first_B = _figures(logits_BK, true_BK)
            figures = {"ndcg_at_5": ndcg_B[counted].sum(), "p_at_1": first_B[counted].sum()}
            size = int(counted.sum())
            for name, total in figures.items():
                self.log(f"held_out/level_{number}/{name}", total / max(size, 1), on_step=False,
                         on_epoch=True, batch_size=size, sync_dist=True)  # fmt: skip


def _figures(logits_BK: Tensor, true_BK: Tensor) -> tuple[Tensor, Tensor]:
    """nDCG@5 and P@1 of each row, (B,)."""
    depth = min(DEPTH, logits_BK.shape[1])
    hits_Bk = true_BK.gather(1, logits_BK.topk(depth, dim=1).indices).float()
    discounts_k = 1 / torch.log2(torch.arange(2, depth + 2, device=logits_BK.device))
    num_true_B = true_BK.sum(1).clamp(max=depth)
    ideal_B = torch.cat([discounts_k.new_zeros(1), discounts_k.cumsum(0)])[num_true_B]
    return (hits_Bk @ discounts_k) / ideal_B.clamp(min=1e-9), hits_Bk[:, 0]


class HeldOutBatches:
    """Rows for validation, of like length in a batch."""

    def __init__(self, batches: LevelBatches, cuts: Sequence[np.ndarray]) -> None:
        self.batches, self.cuts = batches, cuts

    def __len__(self) -> int:
        return len(self.cuts)

    def __iter__(self) -> Iterator[LevelBatch]:
        return map(self.batches.of_rows, self.cuts)


class EpochBatches:
    """The batches of one epoch after another: a pass is an epoch."""

    def __init__(self, batches: LevelBatches) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return self.batches.stream.plan.num_batches

    def __iter__(self) -> Iterator[LevelBatch]:
        return itertools.islice(iter(self.batches), len(self))


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows with their targets at each level."""

    tokens: TokenStore
    levels: tuple[LevelData, ...]


class MatcherData(pl.LightningDataModule):
    """Batches of like length for training, and, where there are held-out rows, for validation.

    Each process takes its share of a batch, so the steps do not depend on their number; Lightning
    must leave the batches as they are (`use_distributed_sampler` has no effect on them).
    """

    def __init__(self, training: _Rows, held_out: _Rows | None, plan: BatchPlan) -> None:
        super().__init__()
        self.training, self.held_out, self.plan = training, held_out, plan
        self.batches = LevelBatches(training.tokens, training.levels, plan)

    def train_dataloader(self) -> EpochBatches:
        """The training rows, in an order that follows from the seed and the epoch.

        Returns:
            Batches; `len` is their number in an epoch.
        """
        self._take_share(self.batches)
        return EpochBatches(self.batches)

    def val_dataloader(self) -> Any:
        """The held-out rows, sorted by length.

        Returns:
            Batches; an empty list without held-out rows.
        """
        if self.held_out is None:
            return []
        tokens = self.held_out.tokens
        order = tokens.lengths.argsort(kind="stable")
        cuts = cut_sorted(tokens.lengths[order], 4096, 256)
        batches = LevelBatches(tokens, self.held_out.levels, self.plan)
        self._take_share(batches)
        return HeldOutBatches(batches, [order[a:b] for a, b in itertools.pairwise(cuts)])

    def state_dict(self) -> dict[str, int]:
        """Where a resumed fit goes on.

        Returns:
            Steps done, which are batches handed out.
        """
        assert self.trainer is not None
        return {"position": self.trainer.global_step * self.trainer.accumulate_grad_batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the last step of a checkpoint.

        Args:
            state: what `state_dict` gave.
        """
        self.batches.stream.load_state_dict(state)

    def _take_share(self, batches: LevelBatches) -> None:
        if self.trainer is not None:
            batches.rank, batches.world_size = self.trainer.global_rank, self.trainer.world_size


def matcher_modules(
    texts: Sequence[str],
    Y_NL: sp.csr_array,
    tree: LabelTree,
    *,
    folder: str | Path,
    encoder: EncoderParams | None = None,
    params: MatcherParams | None = None,
    held_out: tuple[Sequence[str], sp.csr_array] | None = None,
    seed: int = 0,
) -> tuple[MatcherModule, MatcherData]:
    """The matcher and its data, to be fitted by a Trainer of Lightning's.

    The heads start at zero. The learning rates rise and fall over `matcher.num_epochs` or
    `matcher.steps`, which are steps of one batch: give the Trainer the same end.

    Args:
        texts: the N training texts.
        Y_NL: their labels.
        tree: the label tree; `LabelTree.flat(L)` for one head over all labels.
        folder: for an encoder that is made, `tiny-random`.
        encoder: which encoder, and how it reads; None for the defaults.
        params: batches, steps and learning rates; None for the defaults.
        held_out: texts and labels to validate on; None for no validation.
        seed: of batches and dropout.

    Returns:
        The module and the data.

    Raises:
        ConfigError: the encoder cannot be had, or a level of the tree is too wide to be trained on
            all of its nodes and has nothing above it.
        DataError: texts and labels differ in number.
    """
    encoder, params = encoder or EncoderParams(), params or MatcherParams()
    if tree.num_nodes(0) > params.max_match_clusters:
        raise ConfigError(
            f"matcher.max_match_clusters = {params.max_match_clusters}: level 0 of the tree has "
            f"{tree.num_nodes(0)} nodes; raise it, or grow a tree with less branching"
        )
    backbone = resolve_encoder(encoder.name, work_folder=Path(folder), texts=texts, seed=seed)
    model = TextEncoder.from_pretrained(backbone, encoder)
    training = _rows_of(texts, Y_NL, tree, model, encoder, params)
    validation = None
    if held_out is not None:
        validation = _rows_of(*held_out, tree, model, encoder, params, candidates=False)
    plan = BatchPlan(training.tokens.lengths, params.token_budget, params.max_batch_rows, seed)
    model.freeze(encoder.frozen_layers)
    add_adapters(model.model, encoder.lora_rank, "own-trainer")
    heads = [LevelHead(level.num_nodes, model.hidden_size) for level in training.levels]
    module = MatcherModule(
        model, heads, params, num_steps=params.num_steps(plan.num_batches),
        level=len(heads) - 1, seed=seed, dropout=encoder.dropout, level_data=training.levels,
    )  # fmt: skip
    module.train()  # a Trainer leaves modules in the mode they are in
    return module, MatcherData(training, validation, plan)


def _rows_of(
    texts: Sequence[str],
    Y_NL: sp.csr_array,
    tree: LabelTree,
    model: TextEncoder,
    encoder: EncoderParams,
    params: MatcherParams,
    candidates: bool = True,
) -> _Rows:
    if len(texts) != Y_NL.shape[0]:
        raise DataError(f"{len(texts)} texts, but {Y_NL.shape[0]} rows of labels")
    tokens = TokenStore.of_texts(texts, model.tokenizer, encoder.max_length)
    targets = tree.level_confidences(Y_NL)
    levels = []
    for t, target in enumerate(targets):
        if tree.num_nodes(t) > params.max_match_clusters:
            break
        is_wide = candidates and t and not params.is_dense(tree.num_nodes(t))
        above = teacher_forced(targets[t - 1]) if is_wide else None
        levels.append(LevelData(target, above, tree, t))
    return _Rows(tokens, tuple(levels))
