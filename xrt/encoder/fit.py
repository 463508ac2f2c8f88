"""One fit by Lightning: devices, precision, callbacks, and how a fit that was cut short ends.

Everything that Lightning does is in here.
"""

import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerStatus
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from xrt.encoder.checkpoints import (
    LIGHTNING_LOGGERS,
    TERMINATED,
    AtomicCheckpointIO,
    Checkpointer,
    ForwardTermination,
    TellProgress,
    signals_given_back,
)
from xrt.encoder.devices import check_devices, computes_in_bf16, device_of, num_devices
from xrt.encoder.freed_memory import KeepFreedMemory
from xrt.encoder.half_states import HalfStates
from xrt.encoder.matcher import LevelBatches, LevelMatcher
from xrt.encoder.params import Strategy, TrainerParams
from xrt.encoder.sharding import FullyShardedStrategy
from xrt.encoder.spawned import OwnProcesses, SpawnedDDP
from xrt.encoder.validation import Validation
from xrt.errors import TrainingError
from xrt.progress import Progress

logger = logging.getLogger(__name__)

CHECKPOINT_EVERY_STEPS = 500


def fit_level(
    matcher: LevelMatcher,
    batches: LevelBatches,
    checkpoint: Path,
    resume: bool,
    params: TrainerParams,
    progress: Progress | None = None,
    validation: Validation | None = None,
    further: Sequence[pl.Callback] = (),
) -> bool:
    """Train a level to its last step, or to where validation stops it, in place; everything
    Lightning does is in here. `further` callbacks come last.

    True when SIGTERM came during the last step. Raises SystemExit(143) when it came before, and
    KeyboardInterrupt after Ctrl-C, the checkpoint written; TrainingError when the loss is not
    finite or a process died.
    """
    checkpointer = Checkpointer(checkpoint, CHECKPOINT_EVERY_STEPS, batches)
    description = f"matcher, level {matcher.level + 1} ({matcher.head.num_nodes} nodes)"
    callbacks: list[pl.Callback] = [checkpointer, TellProgress(progress, description), *further]
    if validation is not None:  # first, so that a checkpoint of the same step knows its figures
        callbacks.insert(0, validation)
    if device_of(params) == "cpu":
        callbacks += [HalfStates(), KeepFreedMemory()]
    trainer = pl.Trainer(
        **device_settings(params, [AtomicCheckpointIO()]),
        max_steps=matcher.num_steps,
        max_epochs=-1,
        callbacks=callbacks,
        default_root_dir=checkpoint.parent,
        num_sanity_val_steps=0,
    )
    matcher.train()
    ckpt_path = str(checkpoint) if resume else None
    with signals_given_back(), supervised(trainer, num_devices(params)) as forwarded:
        trainer.fit(matcher, batches, ckpt_path=ckpt_path, weights_only=True)
    matcher.to("cpu")
    steps_done = int(torch.isfinite(matcher.losses_S).sum())
    stopped_early = validation is not None and validation.stops(matcher)
    if steps_done < matcher.num_steps and not stopped_early:
        cause = "Ctrl-C" if checkpointer.interrupted else "SIGTERM"
        logger.warning("stopped by %s after step %d of %d; run again to go on",
                       cause, steps_done, matcher.num_steps)  # fmt: skip
        raise KeyboardInterrupt if checkpointer.interrupted else SystemExit(TERMINATED)
    return (forwarded or checkpointer).asked_to_stop


@contextlib.contextmanager
def supervised(trainer: pl.Trainer, num_processes: int) -> Iterator[ForwardTermination | None]:
    """Around what Lightning does: SIGTERM is passed on to other processes, and how one of them
    ended is told in one line.

    Raises SystemExit(143) when one was terminated with nothing to save; TrainingError when it
    failed or was killed; KeyboardInterrupt after Ctrl-C.
    """
    with ForwardTermination() if num_processes > 1 else contextlib.nullcontext() as forwarded:
        try:
            yield forwarded
        except ProcessRaisedException as err:
            raise TrainingError(str(err).strip().splitlines()[-1]) from err
        except ProcessExitedException as err:
            if err.signal_name == "SIGTERM":  # before its first step, when there is nothing to save
                raise SystemExit(TERMINATED) from err
            raise TrainingError(f"{err}; out of memory? The last checkpoint is kept") from err
        except SystemExit as err:
            if trainer.state.status != TrainerStatus.INTERRUPTED:
                raise
            # Lightning answers Ctrl-C with exit code 1 and leaves later ones unheard
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from err


def device_settings(params: TrainerParams, plugins: Sequence[Any] = ()) -> dict[str, Any]:
    """What Lightning's trainer needs to know of devices, and to keep quiet; with further plugins.

    Which processes there are is decided here alone, whatever a job scheduler has put into the
    environment: a run is one process, which starts the others itself.
    """
    check_devices(params)
    return {
        "accelerator": params.accelerator,
        "devices": num_devices(params),
        "strategy": lightning_strategy(params),
        "precision": lightning_precision(params),
        "plugins": [OwnProcesses(), *plugins],
        "use_distributed_sampler": False,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }


def lightning_strategy(params: TrainerParams) -> Any:
    """Lightning's engine for as many processes as there are devices; others than the first are
    spawned, since to repeat the command line would open their own run folders in a sweep.
    """
    num_processes = num_devices(params)
    if num_processes == 1:
        return "auto"
    if params.strategy is Strategy.fsdp:
        return FullyShardedStrategy(num_processes)
    return SpawnedDDP()


def lightning_precision(params: TrainerParams) -> Any:
    """Lightning's word for the arithmetic."""
    return "bf16-mixed" if computes_in_bf16(params) else "32-true"


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Errors only: progress is told by our own callback."""
    loggers = [logging.getLogger(name) for name in LIGHTNING_LOGGERS]
    before = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        for log, level in zip(loggers, before, strict=True):
            log.setLevel(level)
