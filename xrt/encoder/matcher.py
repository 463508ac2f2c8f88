"""The matcher at one stage of training, as Lightning runs it: encoder, a head for each level of the
stage, losses, learning rates.

Shapes: B rows, T tokens, H hidden width, K nodes of a level, S steps.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from xrt.encoder.adapters import frozen_names
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.batches import BatchPlan, BatchStream, rows_of_rank
from xrt.encoder.distributed import shard_weights, whole
from xrt.encoder.heads import LevelHead
from xrt.encoder.levels import LevelData, LevelTargets, best_nodes
from xrt.encoder.loss import row_losses_dense, row_losses_ragged
from xrt.encoder.optimizers import GRADIENT_CLIP, LinearSchedule, make_optimizer
from xrt.encoder.params import MatcherParams
from xrt.encoder.tokens import TokenStore
from xrt.errors import TrainingError

HEAD_SCALE = 10.0
"""Length of the pooled vector that heads read in training: their logits move faster."""
END = "end_step"
"""Buffer of a matcher whose last step may be moved."""
MAN_TOP_K = 20
"""Nodes of the level above, ranked highest by the matcher, whose children become candidates."""


class LevelBatch(NamedTuple):
    """A process's share of a step: its rows, the weight of each in the step's mean over all rows,
    and what each level wants of them; None for a level whose candidates depend on the step.
    """

    input_ids_BT: Tensor
    attention_mask_BT: Tensor
    row_weights_B: Tensor
    targets: tuple[LevelTargets | None, ...]
    rows: np.ndarray


class LevelBatches:
    """Batches for Lightning, from `position` on and without end; the trainer stops at its last
    step.
    """

    def __init__(
        self,
        tokens: TokenStore,
        level_data: Sequence[LevelData],
        plan: BatchPlan,
        weights_N: np.ndarray | None = None,
    ) -> None:
        """`weights_N` is how much each row counts; None where each counts 1."""
        self.tokens = tokens
        self.level_data = tuple(level_data)
        self.stream = BatchStream(plan)
        self.rank, self.world_size = 0, 1
        self.shares_N = None if weights_N is None else weights_N / weights_N.mean(dtype=np.float64)

    def __iter__(self) -> Iterator[LevelBatch]:
        for rows in self.stream:
            yield self.of_rows(rows)

    def of_rows(self, rows: np.ndarray) -> LevelBatch:
        """This process's share of a step.

        Weights add up so that the mean over processes is the mean over all rows of the step, where
        a row counts by its weight beside the mean weight of all training rows: a step of rows that
        count little is a small one.

        Args:
            rows: row numbers of the step.

        Returns:
            The share; a row of weight 0 where there are fewer rows than processes.
        """
        mine = rows_of_rank(rows, self.rank, self.world_size)
        weight = self.world_size / len(rows)
        if not len(mine):  # a step with fewer rows than processes: take part with weight 0
            mine, weight = rows[:1], 0.0
        weights_B = torch.full((len(mine),), weight)
        if self.shares_N is not None:
            weights_B *= torch.from_numpy(self.shares_N[mine].astype(np.float32))
        targets = tuple(
            None if level.M_above is not None else level.of_rows(mine) for level in self.level_data
        )
        return LevelBatch(*self.tokens.padded(mine), weights_B, targets, mine)


def in_micro_batches(
    vectors: Callable[[Tensor, Tensor], Tensor],
    input_ids_BT: Tensor,
    attention_mask_BT: Tensor,
    num_micro_batches: int,
) -> Tensor:
    """What `vectors` gives for all rows, (B, H), with the intermediate results of one part of
    the rows in memory at a time.

    All parts but the last keep nothing but their vectors: the backward pass, which adds their
    gradients up, computes them again, with the same dropout.

    Args:
        vectors: token ids and mask to vectors.
        input_ids_BT: token ids, (B, T).
        attention_mask_BT: 1 for a token, 0 for padding, (B, T).
        num_micro_batches: parts that rows are cut into.

    Returns:
        The vectors.
    """
    if num_micro_batches < 2 or len(input_ids_BT) < 2 or not torch.is_grad_enabled():
        return vectors(input_ids_BT, attention_mask_BT)
    num_micro_batches = min(num_micro_batches, len(input_ids_BT))
    ids, masks = (t.tensor_split(num_micro_batches) for t in (input_ids_BT, attention_mask_BT))
    parts = [
        checkpoint(vectors, part_ids, part_mask, use_reentrant=False)
        for part_ids, part_mask in zip(ids[:-1], masks[:-1], strict=True)
    ]
    parts.append(vectors(ids[-1], masks[-1]))
    return torch.cat(parts)


class LevelMatcher(pl.LightningModule):
    """Encoder and heads of the levels of one stage, coarse to fine.

    The loss of a step is the sum over levels of the mean over the rows of all processes.
    """

    losses_S: Tensor
    schedule: LinearSchedule

    def __init__(
        self,
        encoder: TextEncoder,
        heads: Sequence[LevelHead],
        params: MatcherParams,
        *,
        num_steps: int,
        level: int,
        seed: int = 0,
        dropout: float = 0.0,
        level_data: Sequence[LevelData] = (),
        most_steps: int | None = None,
    ) -> None:
        """`level` is that of the last head; `level_data` are needed for levels with candidates,
        which depend on the step. With `most_steps` the last step may be moved, up to there.
        """
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(heads)
        self.params = params
        self.num_steps = num_steps
        self.seed = seed
        self.man_top_k = MAN_TOP_K
        self.level = level
        self.dropout = nn.Dropout(dropout)
        self.level_data = tuple(level_data)
        self.num_micro_batches = 1  # in which the encoder reads a batch
        # In the state dict, so that a resumed run and the parent of spawned processes know them.
        self.most_steps = num_steps if most_steps is None else most_steps
        self.register_buffer("losses_S", torch.full((self.most_steps,), torch.nan))
        if most_steps is not None:
            self.register_buffer(END, torch.tensor(num_steps))
        # Frozen weights are not in checkpoints: they are those the stage starts with.
        self.strict_loading = all(p.requires_grad for p in encoder.parameters())

    @property
    def last_step(self) -> int:
        """Steps of the fit as planned now."""
        return int(self.get_buffer(END)) if END in self._buffers else self.num_steps

    def end_at(self, step: int, num_steps: int) -> None:
        """Move the last step; the learning rate comes down to 0 there.

        Args:
            step: steps done so far.
            num_steps: steps in all, from `step` + 1 to `most_steps`.
        """
        self.get_buffer(END).fill_(num_steps)
        self.schedule.end_at(step, num_steps)

    @property
    def head(self) -> LevelHead:
        """The head of the finest level."""
        head = self.heads[-1]
        assert isinstance(head, LevelHead)
        return head

    def pooled(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> list[Tensor]:
        """What each head reads: (B, H) of length `HEAD_SCALE`.

        Args:
            input_ids_BT: token ids, (B, T).
            attention_mask_BT: 1 for a token, 0 for padding, (B, T).

        Returns:
            A tensor for each head.
        """
        vector_BH = in_micro_batches(
            self.encoder, input_ids_BT, attention_mask_BT, self.num_micro_batches
        )
        # one graph a head: the order in which their gradients add up is part of a run's bytes
        return [HEAD_SCALE * nn.functional.normalize(vector_BH, dim=1) for _ in self.heads]

    def scores(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> list[Tensor]:
        """Logits of all nodes of each level: (B, K_t).

        Args:
            input_ids_BT: token ids, (B, T).
            attention_mask_BT: 1 for a token, 0 for padding, (B, T).

        Returns:
            The logits, from coarse to fine.
        """
        pooled = self.pooled(input_ids_BT, attention_mask_BT)
        return [head(pooled_BH) for head, pooled_BH in zip(self.heads, pooled, strict=True)]

    def training_step(self, batch: LevelBatch, batch_idx: int) -> Tensor:
        """Loss of this process's rows, weighted for the mean over all processes.

        Args:
            batch: rows of this process, with targets.
            batch_idx: not used.

        Returns:
            The loss, a scalar.
        """
        pooled = self.pooled(batch.input_ids_BT, batch.attention_mask_BT)
        best_above, losses = None, []
        for i, head in enumerate(self.heads):
            targets = batch.targets[i]
            if targets is None:
                own = self.level_data[i].of_rows(batch.rows, best_above)
                targets = own.to(self.device)
            assert isinstance(head, LevelHead)
            logits, losses_B = self._level(head, self.dropout(pooled[i]), targets)
            losses.append((losses_B * batch.row_weights_B).sum())
            if i + 1 < len(self.heads) and batch.targets[i + 1] is None:
                best_above = best_nodes(
                    logits.detach(), targets, len(batch.rows), head.num_nodes, self.man_top_k
                )
        loss = torch.stack(losses).sum()
        mean_loss = self.trainer.strategy.reduce(loss.detach(), reduce_op="mean")
        assert isinstance(mean_loss, Tensor)
        self._note(mean_loss, len(batch.rows))
        return loss

    def _note(self, loss: Tensor, num_rows: int) -> None:
        """Keep the loss of the step; loggers and callbacks get it with the learning rates."""
        if self.global_step < len(self.losses_S):  # more only in a trainer of the user's own
            self.losses_S[self.global_step] = loss
        groups = self.trainer.optimizers[0].param_groups
        figures = {
            "loss": loss,
            "learning_rate/encoder": groups[0]["lr"],
            "learning_rate/heads": groups[-1]["lr"],
        }
        self.log_dict(figures, on_step=True, on_epoch=False, batch_size=num_rows)

    def _level(
        self, head: LevelHead, pooled_BH: Tensor, targets: LevelTargets
    ) -> tuple[Tensor, Tensor]:
        """Logits of a level, (B, K) or (E,), and the loss of each row, (B,)."""
        rows_E, nodes_E, values_E, dense, all_ones = targets
        num_rows = len(pooled_BH)
        if not dense:
            logits_E = head.at(pooled_BH, rows_E, nodes_E)
            return logits_E, row_losses_ragged(logits_E, values_E, rows_E, num_rows, all_ones)
        targets_BK = pooled_BH.new_zeros(num_rows, head.num_nodes)
        targets_BK[rows_E, nodes_E] = values_E
        logits_BK = head(pooled_BH)
        return logits_BK, row_losses_dense(logits_BK, targets_BK, all_ones)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out the weights that training does not change.

        Args:
            checkpoint: content of the checkpoint, changed in place.
        """
        frozen, state = frozen_names(self), checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: t for name, t in state.items() if name not in frozen}

    def configure_model(self) -> None:
        """Spread the weights over the processes where the strategy is to."""
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            shard_weights(self, self.encoder)

    def on_train_batch_start(self, batch: LevelBatch, batch_idx: int) -> None:
        """Dropout of a step is f(seed, level, step, process): a resumed run draws what it would
        have.

        Args:
            batch: not used.
            batch_idx: not used.
        """
        name = f"{self.seed}/{self.level}/{self.global_step}/{self.global_rank}"
        torch.manual_seed(zlib.crc32(name.encode()))

    def configure_optimizers(self) -> Any:
        """Adam of encoder and heads as one optimiser; the rate rises and falls over the steps.

        Returns:
            Optimiser and schedule, as Lightning takes them.
        """
        optimizer = make_optimizer(self.encoder, self.heads, self.params, self.device)
        self.schedule = LinearSchedule(self.num_steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip encoder and head apart; refuse a step that would not leave finite weights.

        Runs after gradients are averaged and before weights change, so all processes agree and the
        last good weights stay.

        Args:
            optimizer: the optimiser; its learning rates stand in the message.
            gradient_clip_val: not used.
            gradient_clip_algorithm: not used.

        Raises:
            TrainingError: the loss or a gradient is not finite.
        """
        norms = [
            whole(nn.utils.clip_grad_norm_(part.parameters(), GRADIENT_CLIP))
            for part in (self.encoder, self.heads)
        ]
        checked = torch.stack([self.losses_S[self.global_step], *norms])
        if not torch.isfinite(checked).all():
            loss, encoder_norm, head_norm = checked.tolist()
            rates = [group["lr"] for group in optimizer.param_groups]
            raise TrainingError(
                f"level {self.level}, step {self.global_step + 1} of {self.last_step}: "
                f"loss {loss:.4g}, gradient norm {encoder_norm:.4g} (encoder), {head_norm:.4g} "
                f"(head) at learning rates {rates[0]:.3g} and {rates[-1]:.3g}: lower "
                "the learning rates; that trains anew, until then the last checkpoint is kept",
                settings={
                    "matcher.encoder_learning_rate": f"below {rates[0]:.3g}",
                    "matcher.head_learning_rate": f"below {rates[-1]:.3g}",
                    "trainer.precision=fp32": "to compute in 32 bits",
                },
            )
