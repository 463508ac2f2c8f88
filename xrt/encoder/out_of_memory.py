"""On out of memory the fine-tuning goes on with two micro-batches a step; once.

The sequence of batches, the number of steps and what each step computes stay as they are, up to
rounding and to which entries dropout hits.
"""

import gc
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.multiprocessing.spawn import ProcessRaisedException

from xrt.encoder.checkpoints import resumable
from xrt.encoder.fit import fit_level
from xrt.encoder.hooks import FitHook
from xrt.encoder.matcher import LevelBatches, LevelMatcher
from xrt.encoder.params import TrainerParams
from xrt.encoder.validation import Validation
from xrt.errors import CapacityError, XrtError
from xrt.progress import Progress

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from xrt.encoder.attachments import Attachments

_SIGNS = ("out of memory", "OutOfMemoryError", "can't allocate memory", "DefaultCPUAllocator",
          "ALLOC_FAILED")  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """True where memory ran out, of a GPU or of the machine, in this process or in one started by
    it.

    Args:
        error: what was raised.

    Returns:
        False for any other error.
    """
    if isinstance(error, XrtError):  # worded already, or the one line of another process
        return error.__cause__ is not None and is_out_of_memory(error.__cause__)
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    if isinstance(error, ProcessRaisedException):
        last = text.strip().splitlines()[-1]
        return last.startswith("MemoryError") or any(sign in last for sign in _SIGNS)
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


logger = logging.getLogger(__name__)

PARTS = "xrt_parts"


class SaveMicroBatches(FitHook):
    """Writes the number of micro-batches to every checkpoint; writes a checkpoint when memory runs
    out, where there is one process and no other to wait for.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint

    def on_save_checkpoint(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", checkpoint: dict[str, Any]
    ) -> None:
        """Add the number of micro-batches.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            checkpoint: content of the checkpoint, added to.
        """
        assert isinstance(pl_module, LevelMatcher)
        checkpoint[PARTS] = pl_module.num_micro_batches

    def on_load_checkpoint(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", checkpoint: dict[str, Any]
    ) -> None:
        """Go on with as many, or more where there are more by now.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            checkpoint: content of the checkpoint.
        """
        assert isinstance(pl_module, LevelMatcher)
        pl_module.num_micro_batches = max(
            pl_module.num_micro_batches, int(checkpoint.get(PARTS, 1))
        )

    def on_exception(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", exception: BaseException
    ) -> None:
        """Save the state after the last whole step: a step that failed has changed no weights.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            exception: what was raised.
        """
        if is_out_of_memory(exception) and trainer.world_size == 1 and trainer.global_step:
            assert isinstance(pl_module, LevelMatcher)
            pl_module.zero_grad(set_to_none=True)
            trainer.save_checkpoint(self.checkpoint)


def fit_with_retry(
    matcher: LevelMatcher,
    batches: LevelBatches,
    checkpoint: Path,
    resume: bool,
    params: TrainerParams,
    progress: Progress | None = None,
    validation: Validation | None = None,
    pacing: FitHook | None = None,
    attachments: "Attachments | None" = None,
) -> bool:
    """`fit_level`, and again from the last whole step with half the tokens at a time when memory
    runs out.

    Args:
        matcher: what to train, in place.
        batches: the batches.
        checkpoint: file of the checkpoint.
        resume: whether training goes on from the checkpoint.
        params: devices and arithmetic.
        progress: receives the progress; None for none.
        validation: validates while training; None: nothing does.
        pacing: keeps to a time; None: nothing does.
        attachments: loggers and callbacks; None for none.

    Returns:
        Whether the run is to stop after this level.

    Raises:
        CapacityError: memory runs out again. What `fit_level` raises passes as it is.
    """
    further = [SaveMicroBatches(checkpoint)]
    arguments = (params, progress, validation, further, pacing, attachments)
    if attachments is not None and attachments.group is not None:  # others would wait for ever
        return fit_level(matcher, batches, checkpoint, resume, *arguments)
    try:
        return fit_level(matcher, batches, checkpoint, resume, *arguments)
    except Exception as err:
        if not is_out_of_memory(err):
            raise
        if matcher.num_micro_batches > params.batches_a_step:
            raise _too_little_memory(matcher, batches) from err
    # out of the handler: the error's frames hold on to what the step had computed
    budget = matcher.params.token_budget
    logger.warning("out of memory with %d tokens at a time: each batch is now cut in two, %d at a "
                   "time; same batches and steps, but slower",
                   budget, -(-budget // 2))  # fmt: skip
    matcher.num_micro_batches = 2 * params.batches_a_step
    matcher.zero_grad(set_to_none=True)
    matcher.to("cpu")
    _release()
    batches.stream.load_state_dict({"position": 0})
    try:
        return fit_level(matcher, batches, checkpoint, resumable(checkpoint), *arguments)
    except Exception as err:
        if is_out_of_memory(err):
            raise _too_little_memory(matcher, batches) from err
        raise


def _too_little_memory(matcher: LevelMatcher, batches: LevelBatches) -> CapacityError:
    budget, longest = matcher.params.token_budget, int(batches.tokens.lengths.max())
    return CapacityError(
        f"out of memory with half of matcher.token_budget = {budget} tokens at a time (longest "
        f"text: {longest} tokens): lower matcher.token_budget or encoder.max_length, or take a "
        "smaller encoder; the last checkpoint is kept, other settings train anew"
    )


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
