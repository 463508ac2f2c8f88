"""Checkpoints: when they are saved, also on SIGTERM, which can be resumed from; and the report of
progress.
"""

import logging
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from xrt.encoder.distributed import quiet_spawned
from xrt.encoder.hooks import FitHook
from xrt.encoder.matcher import LevelBatches, LevelMatcher
from xrt.progress import Progress
from xrt.storage.atomic import sweep_stale
from xrt.storage.seals import remove_sealed, seal_fits

if TYPE_CHECKING:
    import lightning.pytorch as pl

logger = logging.getLogger(__name__)

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a run that SIGTERM ended after a checkpoint: 143."""
POSITION = "xrt_position"
RECORD = "validations_V4"
"""Buffer of a matcher: the validations so far, see `xrt.encoder.validation`."""

SIGNALLED = "stopped_by_signal"
"""Buffer of a matcher that callbacks may stop: whether it was a signal that stopped it."""


def resumable(path: Path) -> bool:
    """Whether there is a checkpoint to go on from; sweeps leftovers beside it.

    A checkpoint that is altered, cut off or not ours is deleted with a warning, and with it the
    best weights beside it: the level is then trained from its start.

    Args:
        path: the checkpoint.

    Returns:
        False, too, after a checkpoint was deleted.
    """
    if not path.parent.is_dir():
        return False
    sweep_stale(path)
    if not path.is_file():
        return False
    best = sorted(path.parent.glob(f"{path.stem}.best-*.pt"))
    fault = _fault_of(path)
    fault = fault or next((f"{p.name} beside it is altered" for p in best if not _fits(p)), "")
    if fault:
        logger.warning("%s: cannot be used (%s); the level is trained from its start", path, fault)
        for part in (path, *best):
            remove_sealed(part)
    return not fault


def _fits(path: Path) -> bool:
    return seal_fits(path, needed=False)


def _fault_of(path: Path) -> str:
    """What is wrong with a checkpoint; '' for nothing."""
    if not _fits(path):
        return "its sha256 differs"
    try:
        state = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except Exception as err:  # zip, pickle and torch each have errors of their own
        return f"unreadable: {type(err).__name__}"
    position = state.get(POSITION) if isinstance(state, dict) else None
    step = position.get("position") if isinstance(position, dict) else None
    if not isinstance(step, int) or step < 0 or step != state.get("global_step"):
        return f"no {POSITION} in it"
    best = _best_step(path)
    if best and not path.with_name(f"{path.stem}.best-{best}.pt").is_file():
        return f"the best weights so far, of step {best}, are missing"
    return ""


def _best_step(path: Path) -> int:
    """The step whose weights lie beside a checkpoint, since they are the best so far; 0 for
    none.
    """
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    weights = state.get("state_dict")
    record_V4 = weights.get(RECORD) if isinstance(weights, dict) else None
    if record_V4 is None or "losses_S" not in weights:
        return 0
    done_V4 = record_V4[torch.isfinite(record_V4[:, 0])]
    best = int(done_V4[done_V4[:, 1].argmax(), 0]) if len(done_V4) else 0
    return best if best < len(weights["losses_S"]) else 0


class Checkpointer(FitHook):
    """Saves every n steps and, after SIGTERM or Ctrl-C to any process, at the end of the batch;
    then stops.

    The handler only sets a flag: processes agree on it after each batch, so none waits for another.
    A second Ctrl-C stops at once.
    """

    def __init__(self, path: Path, every_steps: int, batches: LevelBatches) -> None:
        self.path = path
        self.every_steps = every_steps
        self.batches = batches
        self.stop_requested = False
        self.interrupted = False
        self._previous: dict[int, Any] = {}

    def on_load_checkpoint(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", checkpoint: dict[str, Any]
    ) -> None:
        """Go on with the batch after the last one trained.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            checkpoint: content of the checkpoint.
        """
        self.batches.stream.load_state_dict(checkpoint[POSITION])

    def on_save_checkpoint(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", checkpoint: dict[str, Any]
    ) -> None:
        """Position = steps done: batches fetched ahead do not count.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            checkpoint: content of the checkpoint, added to.
        """
        checkpoint[POSITION] = {"position": trainer.global_step}

    def setup(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", stage: str) -> None:
        """In each process.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            stage: Lightning's word for what is run.
        """
        quiet_spawned()

    def on_fit_start(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule") -> None:
        """Tell the batches which share of them this process takes.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
        """
        self.batches.rank, self.batches.world_size = trainer.global_rank, trainer.world_size

    def on_train_start(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule") -> None:
        """Take over SIGTERM from Lightning, which has put up its own handler after `on_fit_start`.

        That one talks to the other processes from within the signal: they hang or abort.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
        """
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._request_stop)

    def on_train_batch_end(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", outputs: Any, *_: Any
    ) -> None:
        """Save when it is time, or when a process got a signal to stop.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            outputs: what the step returned.
        """
        stop = trainer.strategy.reduce_boolean_decision(self.stop_requested, all=False)
        last = trainer.global_step >= trainer.max_steps or trainer.should_stop
        if not last and (stop or trainer.global_step % self.every_steps == 0):
            trainer.save_checkpoint(self.path)
        if stop and not last:
            trainer.should_stop = True
            # behind the checkpoint, which goes on without it
            if SIGNALLED in dict(pl_module.named_buffers(recurse=False)):
                pl_module.get_buffer(SIGNALLED).fill_(True)

    def on_exception(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", exception: BaseException
    ) -> None:
        """Lightning tears nothing down after an error.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            exception: what was raised.
        """
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", stage: str) -> None:
        """Give the signals back.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            stage: Lightning's word for what is run.
        """
        for number in list(self._previous):
            signal.signal(number, self._previous.pop(number))

    def _request_stop(self, signum: int, frame: Any) -> None:
        self.stop_requested = True
        if signum == signal.SIGINT:
            self.interrupted = True
            signal.signal(signal.SIGINT, signal.default_int_handler)


class ReportProgress(FitHook):
    """Reports steps and the loss to a `Progress`; only its class crosses to a spawned
    process.
    """

    def __init__(self, progress: Progress | None, description: str) -> None:
        self.progress = progress
        self.description = description

    def __reduce__(self) -> Any:
        kind = None if self.progress is None else type(self.progress)
        return _report_anew, (kind, self.description)

    def on_train_start(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule") -> None:
        """Begin at the step resumed from.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
        """
        if self.progress is not None and trainer.is_global_zero:
            assert isinstance(pl_module, LevelMatcher)
            self.progress.start(self.description, pl_module.last_step)
            if trainer.global_step:
                self.progress.advance(trainer.global_step)

    def on_train_batch_end(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", outputs: Any, *_: Any
    ) -> None:
        """One step done; the loss is the mean of the last 20.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            outputs: what the step returned.
        """
        if self.progress is not None and trainer.is_global_zero:
            assert isinstance(pl_module, LevelMatcher)
            done = trainer.global_step
            recent = pl_module.losses_S[max(0, done - 20) : done]
            self.progress.advance(1, loss=float(recent.mean()))

    def teardown(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", stage: str) -> None:
        """End the step, however training ended.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            stage: Lightning's word for what is run.
        """
        if self.progress is not None:
            self.progress.finish()


def _report_anew(kind: type | None, description: str) -> ReportProgress:
    return ReportProgress(None if kind is None else kind(), description)
