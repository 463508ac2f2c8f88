"""One fit by Lightning: devices, precision, callbacks, and how a fit that was cut short ends.

Everything that Lightning does is in here.
"""

import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerStatus

from xrt.encoder.checkpoints import (
    LIGHTNING_LOGGERS,
    TERMINATED,
    AtomicCheckpointIO,
    Checkpointer,
    ForwardTermination,
    TellProgress,
)
from xrt.encoder.embed import best_device, supports_bf16
from xrt.encoder.matcher import LevelBatches, LevelMatcher
from xrt.encoder.params import Precision, TrainerParams
from xrt.errors import TrainingError
from xrt.progress import Progress
from xrt.threads import default_num_threads

logger = logging.getLogger(__name__)


def fit_level(
    matcher: LevelMatcher,
    batches: LevelBatches,
    checkpoint: Path,
    resume: bool,
    params: TrainerParams,
    progress: Progress | None = None,
) -> bool:
    """Train a level to its last step, in place; everything Lightning does is in here.

    True when SIGTERM came during the last step. Raises SystemExit(143) when it came before, and
    KeyboardInterrupt after Ctrl-C, the checkpoint written; TrainingError when the loss is not
    finite or a process died.
    """
    checkpointer = Checkpointer(checkpoint, matcher.params.checkpoint_every_steps, batches)
    description = f"matcher, level {matcher.level + 1} ({matcher.head.num_nodes} nodes)"
    devices = num_devices(params)
    trainer = pl.Trainer(
        accelerator=params.accelerator,
        devices=devices,
        strategy=DDPStrategy(start_method="spawn") if devices > 1 else "auto",
        precision=lightning_precision(params),
        max_steps=matcher.num_steps,
        max_epochs=-1,
        callbacks=[checkpointer, TellProgress(progress, description)],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=checkpoint.parent,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    matcher.train()
    ckpt_path = str(checkpoint) if resume else None
    with ForwardTermination() if devices > 1 else contextlib.nullcontext(checkpointer) as listener:
        try:
            trainer.fit(matcher, train_dataloaders=batches, ckpt_path=ckpt_path)
        except torch.multiprocessing.ProcessRaisedException as err:
            raise TrainingError(str(err).strip().splitlines()[-1]) from err
        except torch.multiprocessing.ProcessExitedException as err:
            if err.signal_name == "SIGTERM":  # before its first step, when there is nothing to save
                raise SystemExit(TERMINATED) from err
            raise TrainingError(f"{err}; out of memory? The last checkpoint is kept") from err
        except SystemExit as err:
            if trainer.state.status != TrainerStatus.INTERRUPTED:
                raise
            # Lightning answers Ctrl-C with exit code 1 and leaves later ones unheard
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from err
    matcher.to("cpu")
    steps_done = int(torch.isfinite(matcher.losses_S).sum())
    if steps_done < matcher.num_steps:
        cause = "Ctrl-C" if checkpointer.interrupted else "SIGTERM"
        logger.warning("stopped by %s after step %d of %d; run again to go on",
                       cause, steps_done, matcher.num_steps)  # fmt: skip
        raise KeyboardInterrupt if checkpointer.interrupted else SystemExit(TERMINATED)
    return listener.asked_to_stop


def device_of(params: TrainerParams) -> str:
    """The device for work of one process."""
    return best_device(params.accelerator)


def num_devices(params: TrainerParams) -> int:
    """Processes of a fit, one a device."""
    if params.devices:
        return params.devices
    return torch.cuda.device_count() if device_of(params) == "cuda" else 1


def lightning_precision(params: TrainerParams) -> Any:
    """Lightning's word for the arithmetic."""
    auto = params.precision is Precision.auto
    if params.precision is Precision.bf16 or (auto and supports_bf16(device_of(params))):
        return "bf16-mixed"
    return "32-true"


@contextlib.contextmanager
def torch_threads() -> Iterator[None]:
    """As many threads as this process may use, not as the machine has; XRT_NUM_THREADS is heard."""
    before = torch.get_num_threads()
    torch.set_num_threads(default_num_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
