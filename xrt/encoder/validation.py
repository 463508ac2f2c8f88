"""Validation while the matcher trains: figures of a sample of held-out rows, the best weights
saved, an early end where one is set.

The best weights come back at the end where the last ones rank the same rows worse by more than one
standard error: a sample is small, and the last weights are those the learning rate has come down
with.

The record of all validations is a buffer of the matcher: it lies in every checkpoint, and comes
back from spawned processes. What is best, and when to stop, follow from it alone. Every process
scores the same sample, since weights may be spread over all of them; the figures of the first count
for all.

Shapes: N held-out rows, n sampled ones, V validations, L labels, K nodes of a level, B rows of a
batch.
"""

import itertools
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method

from xrt.encoder.adapters import frozen_names
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.batches import cut_sorted
from xrt.encoder.checkpoints import RECORD
from xrt.encoder.hooks import FitHook
from xrt.encoder.loss import row_losses_dense
from xrt.encoder.matcher import LevelMatcher
from xrt.encoder.params import EncoderParams
from xrt.encoder.tokens import TokenStore
from xrt.errors import ArtifactError, DataError
from xrt.metrics.ranking import judge, ndcg_of_rows, precision_at
from xrt.storage.atomic import atomic_file
from xrt.storage.seals import remove_sealed, write_seal
from xrt.tree.label_tree import LabelTree

if TYPE_CHECKING:
    import lightning.pytorch as pl

logger = logging.getLogger(__name__)

SAMPLE = 512
"""Held-out rows that a validation looks at."""
DEPTH = 5
TOKENS = 4096
LOGITS = 2**23  # 32 MiB at a time


@dataclass(frozen=True, eq=False)
class ValidationRows:
    """A sample of held-out rows: their tokens, their targets (n, K), and those of the levels above
    from coarse to fine.
    """

    tokens: TokenStore
    Y_nK: sp.csr_array
    above: tuple[sp.csr_array, ...] = ()

    def at_level(self, tree: LabelTree, t: int) -> "ValidationRows":
        """The same rows with the targets of a level; these have those of the labels.

        Args:
            tree: the label tree.
            t: the level, from 0.

        Returns:
            Rows with targets (n, K_t), and those of all levels above.
        """
        *above, Y_nK = tree.level_confidences(self.Y_nK)[: t + 1]
        return ValidationRows(self.tokens, Y_nK, tuple(above))


def sample_of(Y_NL: sp.csr_array, seed: int) -> np.ndarray:
    """Row numbers of `SAMPLE` rows with a label, ascending; all where there are fewer.

    The sample depends on the seed alone, so a resumed run looks at the same rows.

    Args:
        Y_NL: labels of the held-out rows, csr_array (N, L).
        seed: seed of the sample.

    Returns:
        Row numbers, (n,).
    """
    labelled_N = np.flatnonzero(np.diff(Y_NL.indptr))
    size = min(SAMPLE, len(labelled_N))
    rng = np.random.default_rng([seed, 5])
    return np.sort(rng.choice(labelled_N, size, replace=False))


def sample_held_out(
    texts: Sequence[str] | TokenStore,
    Y_NL: sp.csr_array,
    backbone: Path,
    encoder: EncoderParams,
    seed: int,
) -> ValidationRows | None:
    """The sample that validations look at, with its labels (n, L); None where there is nothing to
    see.

    Args:
        texts: the held-out texts, or their tokens, N.
        Y_NL: their labels, csr_array (N, L).
        backbone: folder of the pretrained encoder, whose tokenizer is used for texts.
        encoder: how texts are read.
        seed: seed of the sample.

    Returns:
        The sample, or None.

    Raises:
        DataError: texts and labels differ in number.
    """
    num_rows = texts.num_rows if isinstance(texts, TokenStore) else len(texts)
    if num_rows != Y_NL.shape[0]:
        raise DataError(f"validation: {num_rows} texts, but {Y_NL.shape[0]} rows of labels")
    rows_n = sample_of(Y_NL, seed)
    if not len(rows_n):
        logger.warning("no validation: none of the %d held-out rows has a label of the tree",
                       num_rows)  # fmt: skip
        return None
    if isinstance(texts, TokenStore):
        return ValidationRows(texts.subset(rows_n), Y_NL[rows_n])
    tokenizer = TextEncoder.from_pretrained(backbone, encoder).tokenizer
    sampled = [texts[row] for row in rows_n]
    tokens = TokenStore.of_texts(sampled, tokenizer, encoder.max_length)
    return ValidationRows(tokens, Y_NL[rows_n])


@dataclass(frozen=True, eq=False)
class Score:
    """What a validation gives.

    Attributes:
        ndcg_n: nDCG@5 of each sampled row over all nodes of the finest level, float32 (n,).
        p_at_1: mean P@1 of the finest level.
        loss: mean loss of the finest level.
        levels: mean nDCG@5 and P@1 of each level of the matcher, from coarse to fine.
    """

    ndcg_n: np.ndarray
    p_at_1: float
    loss: float
    levels: tuple[tuple[float, float], ...]

    def figures(self) -> dict[str, float]:
        """Figures by names that every logger takes.

        Returns:
            `held_out/level_1/ndcg_at_5` and so on, levels from 1.
        """
        figures = {"held_out/loss": self.loss}
        for number, (ndcg, p_at_1) in enumerate(self.levels, 1):
            figures[f"held_out/level_{number}/ndcg_at_5"] = ndcg
            figures[f"held_out/level_{number}/p_at_1"] = p_at_1
        return figures


def score(matcher: LevelMatcher, trainer: "pl.Trainer", rows: ValidationRows) -> Score:
    """Score sampled rows at all levels whose targets are known.

    Nothing random is drawn. The loss counts all nodes, also where training looks at candidates
    only.

    Args:
        matcher: the matcher; it is in training mode at the end.
        trainer: Lightning's trainer.
        rows: the sample, n rows.

    Returns:
        The figures.
    """
    num_rows, num_nodes = rows.Y_nK.shape
    targets = (*rows.above, rows.Y_nK)
    order = np.argsort(rows.tokens.lengths, kind="stable")
    cuts = cut_sorted(rows.tokens.lengths[order], TOKENS, max(1, LOGITS // num_nodes))
    best = [np.zeros((num_rows, min(DEPTH, Y.shape[1])), np.int64) for Y in targets]
    loss = 0.0
    matcher.eval()
    try:
        with torch.no_grad(), trainer.precision_plugin.val_step_context():
            for first, last in itertools.pairwise(cuts):
                batch = order[first:last]
                ids_BT, mask_BT = (t.to(matcher.device) for t in rows.tokens.padded(batch))
                levels = matcher.scores(ids_BT, mask_BT)[-len(targets) :]
                for best_nk, logits in zip(best, levels, strict=True):
                    top = logits.float().topk(best_nk.shape[1], dim=1)
                    best_nk[batch] = top.indices.cpu().numpy()
                logits_BK = levels[-1].float()
                targets_BK = torch.from_numpy(rows.Y_nK[batch].toarray()).to(logits_BK)
                losses_B = row_losses_dense(logits_BK, targets_BK)
                loss += float(losses_B.sum())
    finally:
        matcher.train()
        if isinstance(matcher, FSDPModule):
            matcher.reshard()
    means = []
    for Y_nK, best_nk in zip(targets, best, strict=True):
        judged = judge(Y_nK, _ranked(best_nk, Y_nK.shape[1]), DEPTH)
        ndcg_n = ndcg_of_rows(judged)[:, -1].astype(np.float32)
        means.append((float(ndcg_n.mean()), float(precision_at(judged)[0])))
    return Score(ndcg_n, means[-1][1], loss / num_rows, tuple(means))


def _ranked(best_nk: np.ndarray, num_nodes: int) -> sp.csr_array:
    """Scores that put the given nodes in their order: (n, K)."""
    num_rows, depth = best_nk.shape
    scores = np.tile(np.arange(depth, 0, -1, dtype=np.float32), num_rows)
    indptr = np.arange(num_rows + 1) * depth
    return sp.csr_array((scores, best_nk.ravel(), indptr), shape=(num_rows, num_nodes))


FIGURES = ("step", "ndcg@5", "p@1", "loss")
ROWS_RECORD = "validation_ndcg_Vn"
SECONDS = "validation_seconds"


class Validation(FitHook):
    """Validates a stage's finest level every few steps and at its last, and keeps the best weights
    beside the checkpoint.
    """

    def __init__(
        self,
        rows: ValidationRows,
        checkpoint: Path,
        matcher: LevelMatcher,
        lines: Path | None = None,
    ) -> None:
        """Gives the matcher its record; weights go to `<checkpoint's stem>.best-<step>.pt`, a line
        of JSON for each validation behind those of `lines`.
        """
        params = matcher.params
        self.every = params.validate_every_steps or -(-matcher.num_steps // 4)
        self.rows = rows
        self.lines = lines
        self.folder, self.stem = checkpoint.parent, checkpoint.stem
        self.patience = params.patience
        self._best_in_checkpoint = 0
        self._mark = 0.0
        V, n = -(-matcher.most_steps // self.every), rows.tokens.num_rows
        matcher.register_buffer(RECORD, torch.full((V, len(FIGURES)), torch.nan))
        matcher.register_buffer(ROWS_RECORD, torch.full((V, n), torch.nan))
        matcher.register_buffer(SECONDS, torch.zeros(2))  # of validation, of all training

    def on_train_start(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule") -> None:
        """Go on from the record; make up for a validation that was cut off.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.

        Raises:
            ArtifactError: the best weights so far are gone.
        """
        assert isinstance(pl_module, LevelMatcher)
        if isinstance(pl_module, FSDPModule):  # gathers weights for it as for a step
            register_fsdp_forward_method(pl_module, "scores")
        self._mark = time.perf_counter()
        best = self._best_in_checkpoint = best_step(pl_module)
        if best and best < pl_module.last_step and not self.path(best).is_file():
            raise ArtifactError(
                f"{self.path(best)} is missing, the best weights of a stage that goes on; delete "
                f"{self.folder / self.stem}.ckpt to train the stage anew"
            )
        self._validate_where_due(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", outputs: Any, *_: Any
    ) -> None:
        """Validate when it is time; stop when `patience` validations brought no gain.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            outputs: what the step returned.
        """
        assert isinstance(pl_module, LevelMatcher)
        self._validate_where_due(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", checkpoint: dict[str, Any]
    ) -> None:
        """The weights that this checkpoint's record names stay until the next one.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            checkpoint: not used.
        """
        assert isinstance(pl_module, LevelMatcher)
        self._best_in_checkpoint = best_step(pl_module)

    def on_exception(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", exception: BaseException
    ) -> None:
        """Say where the best weights so far lie.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            exception: what was raised.
        """
        assert isinstance(pl_module, LevelMatcher)
        best = best_step(pl_module)
        if trainer.is_global_zero and best and isinstance(exception, Exception):
            logger.warning("the best weights so far, of step %d, are kept in %s",
                           best, self.path(best))  # fmt: skip

    def path(self, step: int) -> Path:
        """Where the weights of a step lie.

        Args:
            step: the step, from 1.

        Returns:
            The path.
        """
        return self.folder / f"{self.stem}.best-{step}.pt"

    def stops(self, matcher: LevelMatcher) -> bool:
        """True when `patience` validations in a row brought no gain.

        Args:
            matcher: the matcher.

        Returns:
            False without `patience`.
        """
        done = record_of(matcher)
        if not self.patience or not len(done):
            return False
        return len(done) - 1 - int(done[:, 1].argmax()) >= self.patience

    def finish(self, matcher: LevelMatcher) -> dict[str, Any]:
        """After the last step: bring the best weights back where the last ones are worse, tell, and
        give the figures for the stage's facts.

        Args:
            matcher: the matcher.

        Returns:
            Figures of each validation, and the step whose weights stay.
        """
        done, chosen = record_of(matcher), step_to_keep(matcher)
        last = int(done[-1, 0])
        if chosen != last:
            weights = torch.load(self.path(chosen), map_location="cpu", weights_only=True)
            matcher.load_state_dict({**matcher.state_dict(), **weights})
        validating, training = matcher.get_buffer(SECONDS).tolist()
        logger.info(
            "%d validations on %d rows took %.1f s, %.1f %% of the training; the weights are "
            "those of step %d (nDCG@5 %.4f; last step %d: %.4f)",
            len(done), self.rows.tokens.num_rows, validating,
            100 * validating / max(training, 1e-9), chosen, done[done[:, 0] == chosen, 1][0],
            last, done[-1, 1],
        )  # fmt: skip
        figures = [dict(zip(FIGURES, row, strict=True)) for row in done.tolist()]
        return {
            "validation": [{**row, "step": int(row["step"])} for row in figures],
            "validation_rows": self.rows.tokens.num_rows,
            "weights_of_step": chosen,
            "stopped_early": last < matcher.last_step,
        }

    def _validate_where_due(self, trainer: "pl.Trainer", matcher: LevelMatcher) -> None:
        step, started = trainer.global_step, time.perf_counter()
        seconds_2 = matcher.get_buffer(SECONDS)
        ends = step == matcher.last_step or trainer.should_stop  # a callback may have stopped it
        due = step > 0 and (ends or step % self.every == 0)
        record_V4, done = matcher.get_buffer(RECORD), record_of(matcher)
        if due and not (len(done) and int(done[-1, 0]) == step):
            position = len(done)
            before = best_step(matcher)
            scored = trainer.strategy.broadcast(score(matcher, trainer, self.rows))
            figures = [float(scored.ndcg_n.mean()), scored.p_at_1, scored.loss]
            record_V4[position] = torch.tensor([step, *figures])
            matcher.get_buffer(ROWS_RECORD)[position] = torch.from_numpy(scored.ndcg_n)
            self._tell(trainer, matcher, scored)
            if best_step(matcher) != before and step < matcher.last_step:
                self._save_best(trainer, step)
            seconds_2[0] += time.perf_counter() - started
            logger.info("level %d, step %d of %d, held-out rows: nDCG@5 %.4f, P@1 %.4f, loss %.4g",
                        matcher.level, step, matcher.last_step, *figures)  # fmt: skip
        now = time.perf_counter()
        seconds_2[1] += now - self._mark
        self._mark = now
        if due and self.stops(matcher):
            trainer.should_stop = True

    def _tell(self, trainer: "pl.Trainer", matcher: LevelMatcher, scored: Score) -> None:
        """Give the figures to callbacks, to loggers at this very step, and to the file."""
        figures = scored.figures()
        matcher.log_dict(figures, logger=False, batch_size=1)
        for logger in trainer.loggers:
            logger.log_metrics(figures, trainer.global_step)
        if self.lines is not None and trainer.is_global_zero:
            line = {"step": trainer.global_step, "steps": matcher.last_step, **figures}
            with open(self.lines, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _save_best(self, trainer: "pl.Trainer", step: int) -> None:
        """Write the weights; drop earlier ones, but for those that the last checkpoint names."""
        state = trainer.strategy.lightning_module_state_dict()  # all processes must call it
        if not trainer.is_global_zero:
            return
        frozen = frozen_names(trainer.lightning_module)
        weights = {
            name: tensor
            for name, tensor in state.items()
            if name not in frozen and name.startswith(("encoder.", "heads."))
        }
        with atomic_file(self.path(step)) as temporary:
            torch.save(weights, temporary)
            write_seal(self.path(step), temporary)
        current = {self.path(step), self.path(self._best_in_checkpoint)}
        for path in self.folder.glob(f"{self.stem}.best-*.pt"):
            if path not in current:
                remove_sealed(path)


def record_of(matcher: LevelMatcher) -> np.ndarray:
    """The validations so far, in order: (v, 4), columns as `FIGURES`.

    Args:
        matcher: the matcher.

    Returns:
        Figures of the validations done.
    """
    record_V4: np.ndarray = matcher.get_buffer(RECORD).cpu().numpy()
    finite_V4: np.ndarray = record_V4[np.isfinite(record_V4[:, 0])]
    return finite_V4


def best_step(matcher: LevelMatcher) -> int:
    """The step with the highest nDCG@5 so far, the first of equals; 0 before any validation.

    Args:
        matcher: the matcher.

    Returns:
        The step, from 1, or 0.
    """
    done = record_of(matcher)
    return int(done[done[:, 1].argmax(), 0]) if len(done) else 0


def step_to_keep(matcher: LevelMatcher) -> int:
    """The last step, or the best where its nDCG@5 on the same rows is higher by more than one
    standard error of the difference.

    Args:
        matcher: a matcher that was validated once at least.

    Returns:
        The step, from 1.
    """
    done = record_of(matcher)
    best, last = int(done[:, 1].argmax()), len(done) - 1
    ndcg_Vn = matcher.get_buffer(ROWS_RECORD).cpu().numpy()
    gain_n = ndcg_Vn[best] - ndcg_Vn[last]
    better = gain_n.mean() > gain_n.std() / np.sqrt(len(gain_n))
    return int(done[best if better else last, 0])
