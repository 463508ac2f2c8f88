"""Fine-tuning within a time: the last step is moved so that the time is met, and the learning rate
comes down to 0 there.

What was used, and where the end lies, are buffers of the matcher: they lie in every checkpoint, so
that a fit that was stopped goes on with the time it had left.

S steps as planned.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xrt.encoder.checkpoints import RECORD
from xrt.encoder.hooks import FitHook
from xrt.encoder.matcher import LevelMatcher
from xrt.encoder.validation import ROWS_RECORD, record_of

if TYPE_CHECKING:
    import lightning.pytorch as pl

logger = logging.getLogger(__name__)

LOOKS = 20
"""How often, of S steps, the pace is looked at."""
LEAST_MOVE = 0.02
"""Share of the steps by which the end is moved at the least."""
FLAT_VALIDATIONS = 3
"""Validations without a gain after which the fine-tuning comes to its end."""
FLAT_UNTIL = 0.7
"""Share of the steps after which a flat curve ends nothing: the rate is coming down anyway."""
COOL_DOWN = 0.1
"""Steps in which the rate comes down to 0 after a flat curve, beside those done."""
USED = "seconds_used"


@dataclass(frozen=True)
class TimeLimit:
    """How long a fine-tuning may take, and how long it may become.

    Attributes:
        seconds: time of the steps with their validations.
        most_epochs: passes over the rows at most, where the pace allows more than was planned.
        planned: what the planned steps with their validations were expected to take; 0 where
            nobody knows.
        after: what everything behind them was expected to take. Where steps are slower than
            expected, so will that be, and the steps leave it so much more of their time.
    """

    seconds: float
    most_epochs: float
    planned: float = 0.0
    after: float = 0.0

    def seconds_at(self, used: float, share: float) -> float:
        """The time of the steps at the pace that they have.

        Args:
            used: seconds so far.
            share: of the planned steps that is done, above 0.

        Returns:
            `seconds`, less what `after` takes longer than expected.
        """
        if not self.planned:
            return self.seconds
        slower = max(1.0, used / (share * self.planned))
        return self.seconds - (slower - 1) * self.after


class Pacing(FitHook):
    """Moves the last step of a fit to where its time ends."""

    def __init__(
        self, limit: TimeLimit, matcher: LevelMatcher, now: Callable[[], float] = time.perf_counter
    ) -> None:
        """Gives the matcher its record of the time.

        Args:
            limit: time of the fit.
            matcher: what is trained; its `most_steps` bound the steps.
            now: the clock, seconds.
        """
        self.limit = limit
        self.now = now
        self.every = max(1, matcher.num_steps // LOOKS)
        self._mark = 0.0
        matcher.register_buffer(USED, torch.zeros(1))

    def on_train_start(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule") -> None:
        """The clock runs from here.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
        """
        self._mark = self.now()

    def on_train_batch_end(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", outputs: Any, *_: Any
    ) -> None:
        """Count the time; look at the pace now and then; stop at the last step.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            outputs: what the step returned.
        """
        assert isinstance(pl_module, LevelMatcher)
        used, now, step = pl_module.get_buffer(USED), self.now(), trainer.global_step
        used += now - self._mark
        self._mark = now
        if step % self.every == 0 and step < pl_module.last_step:
            used.fill_(trainer.strategy.broadcast(float(used)))  # all processes decide alike
            self._look(pl_module, step, float(used))
        if step >= pl_module.last_step:
            trainer.should_stop = True

    def _look(self, matcher: LevelMatcher, step: int, used: float) -> None:
        planned, why = matcher.last_step, "time"
        seconds = self.limit.seconds_at(used, step / matcher.num_steps)
        affordable = int((seconds - used) * step / max(used, 1e-9))
        end = min(step + max(1, step // 50, affordable), matcher.most_steps)
        cooled = step + max(1, round(COOL_DOWN * step))
        if cooled < min(end, FLAT_UNTIL * planned) and is_flat(matcher):
            end, why = cooled, "held-out figures no longer rise"
        if abs(end - planned) < LEAST_MOVE * planned:
            return
        matcher.end_at(step, end)
        logger.info("fine-tuning ends at step %d instead of %d (%s; %.0f of %.0f s used at step "
                    "%d)", end, planned, why, used, seconds, step)  # fmt: skip


def is_flat(matcher: LevelMatcher) -> bool:
    """Whether the last validations were no better than an earlier one by a standard error.

    Args:
        matcher: a matcher; one without validations is not flat.

    Returns:
        False where there were too few validations to tell.
    """
    done = record_of(matcher) if RECORD in dict(matcher.named_buffers()) else np.empty((0, 4))
    if len(done) <= FLAT_VALIDATIONS:
        return False
    ndcg_Vn = matcher.get_buffer(ROWS_RECORD).cpu().numpy()[: len(done)]
    means_V = ndcg_Vn.mean(1)
    before = int(means_V[:-FLAT_VALIDATIONS].argmax())
    after = len(done) - FLAT_VALIDATIONS + int(means_V[-FLAT_VALIDATIONS:].argmax())
    gain_n = ndcg_Vn[after] - ndcg_Vn[before]
    return bool(gain_n.mean() <= gain_n.std() / np.sqrt(len(gain_n)))


def seconds_used(matcher: LevelMatcher) -> float:
    """Seconds of a fit so far, in all processes that worked on it.

    Args:
        matcher: a matcher with a `Pacing`.

    Returns:
        The seconds.
    """
    return float(matcher.get_buffer(USED))
