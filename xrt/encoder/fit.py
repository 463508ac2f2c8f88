"""All that Lightning runs: a fit of the matcher, and an encoding by several processes.

Shapes: N rows, B rows of a batch, H hidden width.
"""

import contextlib
import gc
import itertools
import logging
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import (
    LightningEnvironment,
    find_free_network_port,
)
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities import rank_zero
from torch import Tensor
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from xrt.encoder.attachments import Attachments, attached
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.checkpoints import SIGNALLED, TERMINATED, Checkpointer, ReportProgress
from xrt.encoder.cpu_tuning import Bf16Activations, GlibcMallocTuning, glibc_malloc_tuned
from xrt.encoder.devices import check_devices, computes_in_bf16, device_of, num_devices
from xrt.encoder.distributed import (
    LIGHTNING_LOGGERS,
    ForwardTermination,
    gather_weights,
    quiet_spawned,
    signals_restored,
)
from xrt.encoder.embed import cut_batches, encode
from xrt.encoder.hooks import FitHook
from xrt.encoder.launcher import Group, Rank
from xrt.encoder.matcher import LevelBatches, LevelMatcher
from xrt.encoder.params import Strategy, TrainerParams
from xrt.encoder.tokens import TokenStore
from xrt.encoder.validation import Validation
from xrt.errors import ConfigError, TrainingError
from xrt.progress import Progress
from xrt.storage.atomic import atomic_file, sweep_stale
from xrt.storage.seals import remove_sealed, write_seal

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
    further: Sequence[FitHook] = (),
    pacing: FitHook | None = None,
    attachments: Attachments | None = None,
) -> bool:
    """Train a level to its last step, or to where validation or a callback stops it, in place;
    everything Lightning does is in here. `further` hooks come last, `pacing` first, which may move
    the last step.

    True when SIGTERM came during the last step.

    Args:
        matcher: what to train, in place.
        batches: the batches.
        checkpoint: file of the checkpoint.
        resume: whether training goes on from the checkpoint.
        params: devices and arithmetic.
        progress: receives the progress; None for none.
        validation: validates while training; None: nothing does.
        further: more hooks.
        pacing: keeps to a time; None: nothing does.
        attachments: loggers and callbacks beside those of `params`; None for none.

    Returns:
        Whether the run is to stop after this level.

    Raises:
        SystemExit: with 143, SIGTERM came before the last step; the checkpoint is written.
        KeyboardInterrupt: Ctrl-C came; the checkpoint is written.
        TrainingError: the loss is not finite, or a process died.
    """
    checkpointer = Checkpointer(checkpoint, CHECKPOINT_EVERY_STEPS, batches)
    description = f"matcher, level {matcher.level + 1} ({matcher.head.num_nodes} nodes)"
    hooks: list[FitHook] = [checkpointer, ReportProgress(progress, description), *further]
    if validation is not None:  # first, so that a checkpoint of the same step knows its figures
        hooks.insert(0, validation)
    if pacing is not None:  # before validation, which comes at the last step
        hooks.insert(0, pacing)
    if device_of(params) == "cpu":
        hooks += [Bf16Activations(), GlibcMallocTuning()]
    attachments = attachments or Attachments()
    group = attachments.group
    of_users = attached(params, attachments)
    callbacks = of_users.pop("callbacks")  # before xrt's own, which see what they stop
    if callbacks:
        matcher.register_buffer(SIGNALLED, torch.tensor(False))
    trainer = pl.Trainer(
        **{**device_settings(params, [AtomicCheckpointIO()], group), **of_users},
        max_steps=matcher.most_steps,
        max_epochs=-1,
        callbacks=[*callbacks, _Hooks(hooks)],
        default_root_dir=checkpoint.parent,
        num_sanity_val_steps=0,
    )
    matcher.train()
    ckpt_path = str(checkpoint) if resume else None
    num_own = 1 if group is not None else num_devices(params)  # and those that are started here
    with signals_restored(), supervised(trainer, num_own) as forwarded:
        trainer.fit(matcher, batches, ckpt_path=ckpt_path, weights_only=True)
    if group is not None:
        gather_weights(matcher)
    matcher.to("cpu")
    steps_done = int(torch.isfinite(matcher.losses_S).sum())
    stopped_early = validation is not None and validation.stops(matcher)
    stopped_early |= bool(callbacks) and not matcher.get_buffer(SIGNALLED)
    if steps_done < matcher.last_step and not stopped_early:
        cause = "Ctrl-C" if checkpointer.interrupted else "SIGTERM"
        logger.warning("stopped by %s after step %d of %d; run again to go on",
                       cause, steps_done, matcher.last_step)  # fmt: skip
        raise KeyboardInterrupt if checkpointer.interrupted else SystemExit(TERMINATED)
    return (forwarded or checkpointer).stop_requested


@contextlib.contextmanager
def supervised(trainer: pl.Trainer, num_processes: int) -> Iterator[ForwardTermination | None]:
    """Around what Lightning does: SIGTERM is passed on to other processes, and the end of one of
    them becomes an error of one line.

    Args:
        trainer: Lightning's trainer.
        num_processes: number of processes.

    Yields:
        What passes SIGTERM on; None for one process.

    Raises:
        SystemExit: with 143, a process was terminated with nothing to save.
        TrainingError: a process failed or was killed.
        KeyboardInterrupt: Ctrl-C came.
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


def device_settings(
    params: TrainerParams, plugins: Sequence[Any] = (), group: Group | None = None
) -> dict[str, Any]:
    """What Lightning's trainer needs to know of devices, and to keep quiet; with further plugins.

    Which processes there are is decided here, whatever a job scheduler has put into the
    environment: those of `group`, or a run is one process, which starts the others itself.
    Lightning reads RANK and the like when it is imported, and loggers of a process that is not the
    first write nothing.

    Args:
        params: devices and arithmetic.
        plugins: further plugins.
        group: the processes that a launcher has started; None for none.

    Returns:
        Arguments of `pl.Trainer`.
    """
    check_devices(params)
    first: Any = rank_zero.rank_zero_only  # type: ignore[attr-defined]
    first.rank = 0 if group is None else group.rank.number
    processes: LightningEnvironment = OwnProcesses()
    devices: int | list[int] = num_devices(params)
    if isinstance(params.devices, list):
        devices = params.devices
    if group is not None:
        processes = LaunchedProcesses(group.rank)
        devices = devices if isinstance(devices, list) else group.rank.local_size
    return {
        "accelerator": params.accelerator,
        "devices": devices,
        "num_nodes": 1 if group is None else group.rank.num_nodes,
        "strategy": lightning_strategy(params, group),
        "precision": lightning_precision(params),
        "plugins": [processes, *plugins],
        "use_distributed_sampler": False,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }


_SPAWNED = (Strategy.auto.value, Strategy.ddp_spawn.value, "ddp")


def lightning_strategy(params: TrainerParams, group: Group | None = None) -> Any:
    """Lightning's engine for as many processes as there are devices; others than the first are
    spawned, since to repeat the command line would open their own run folders in a sweep.

    Args:
        params: devices and arithmetic.
        group: the processes that a launcher has started; None for none.

    Returns:
        `auto` for one process, else an engine, or the name of one.

    Raises:
        ConfigError: the strategy needs processes that others have started.
    """
    if group is not None:
        if params.strategy == Strategy.fsdp.value:
            return ModelParallelStrategy(
                data_parallel_size=group.rank.world_size, tensor_parallel_size=1,
                save_distributed_checkpoint=False,
            )  # fmt: skip
        return "ddp" if params.strategy in _SPAWNED else params.strategy
    num_processes = num_devices(params)
    if num_processes == 1:
        return "auto"
    if params.strategy == Strategy.fsdp.value:
        return FullyShardedStrategy(num_processes)
    if params.strategy not in _SPAWNED:
        raise ConfigError(
            f"trainer.lightning.strategy = {params.strategy}: would start its processes by "
            "repeating the command line; start them by torchrun, or choose ddp_spawn or fsdp"
        )
    return SpawnedDDP()


def lightning_precision(params: TrainerParams) -> Any:
    """Lightning's word for the arithmetic.

    Args:
        params: devices and arithmetic.

    Returns:
        `bf16-mixed` or `32-true`.
    """
    return "bf16-mixed" if computes_in_bf16(params) else "32-true"


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Errors only: progress is reported by `ReportProgress`.

    Yields:
        Nothing.
    """
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


class _Hooks(pl.Callback):
    """Passes each event on to the hooks, in their order."""

    def __init__(self, hooks: Sequence[FitHook]) -> None:
        self.hooks = tuple(hooks)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for hook in self.hooks:
            hook.setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for hook in self.hooks:
            hook.on_fit_start(trainer, pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for hook in self.hooks:
            hook.on_train_start(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        for hook in self.hooks:
            hook.on_train_batch_end(trainer, pl_module, outputs)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        for hook in self.hooks:
            hook.on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        for hook in self.hooks:
            hook.on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        for hook in self.hooks:
            hook.on_exception(trainer, pl_module, exception)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for hook in self.hooks:
            hook.teardown(trainer, pl_module, stage)


class AtomicCheckpointIO(CheckpointIO):
    """Writes beside the target, flushes, renames: a killed writer or a full disk leaves the old
    file.

    Leftovers of killed writers are swept when a run starts and at every save.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write the whole checkpoint or keep the old one.

        Args:
            checkpoint: content of the checkpoint.
            path: the file.
            storage_options: not used.

        Raises:
            CapacityError: the disk is full.
        """
        with atomic_file(path) as temporary:
            torch.save(checkpoint, temporary)
            write_seal(Path(path), temporary)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read tensors and plain values only, whatever the arguments say: nothing in the file is
        run.

        Args:
            path: the file.
            map_location: where tensors go; None: the CPU.
            weights_only: not used.

        Returns:
            Content of the checkpoint.
        """
        content: dict[str, Any] = torch.load(
            path, map_location=map_location or "cpu", weights_only=True
        )
        return content

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file and the leftovers of killed writers.

        Args:
            path: the file.
        """
        remove_sealed(Path(path))
        sweep_stale(path)


class OwnProcesses(LightningEnvironment):
    """All processes are on this machine and started by the first, which is the run itself.

    Lightning would otherwise ask the environment: in a job of SLURM, torchrun, LSF or MPI it takes
    each process for one that the scheduler has started, with the scheduler's rank.
    """

    @property
    def creates_processes_externally(self) -> bool:
        """No: `LOCAL_RANK` in the environment of the first process is of somebody else."""
        return False

    @property
    def main_address(self) -> str:
        """This machine, whatever MASTER_ADDR says."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """A free one, whatever MASTER_PORT says: another run may have been given the same."""
        if self._main_port == -1:
            self._main_port = find_free_network_port()
        return self._main_port

    def node_rank(self) -> int:
        """There is one machine.

        Returns:
            0.
        """
        return 0


class LaunchedProcesses(LightningEnvironment):
    """Processes that a launcher has started, which `Group` has joined."""

    def __init__(self, rank: Rank) -> None:
        super().__init__()
        self.rank = rank
        self.set_global_rank(rank.number)
        self.set_world_size(rank.world_size)

    @property
    def creates_processes_externally(self) -> bool:
        """Yes."""
        return True

    @property
    def main_address(self) -> str:
        """Of the first process's machine."""
        return self.rank.address

    @property
    def main_port(self) -> int:
        """Where the first process is met."""
        return self.rank.port

    def local_rank(self) -> int:
        """The process's number on its machine.

        Returns:
            From 0.
        """
        return self.rank.local_number

    def node_rank(self) -> int:
        """The machine's number.

        Returns:
            From 0.
        """
        return self.rank.number // self.rank.local_size


class SpawnLauncher(_MultiProcessingLauncher):
    """Spawns a process for each device. To repeat the command line, Lightning's default, would open
    run folders of their own for them in a sweep.

    Lightning leaves the process group to the end of the interpreter, where gloo's threads abort a
    process now and then (PyTorch issue 190489).
    """

    def _collect_rank_zero_results(self, trainer: pl.Trainer, results: Any) -> Any:
        collected = super()._collect_rank_zero_results(trainer, results)
        gc.collect()  # what DDP holds of the group
        dist.barrier()
        dist.destroy_process_group()
        return collected


class SpawnedDDP(DDPStrategy):
    """DDP over spawned processes: each holds all weights and sees its share of a step."""

    def __init__(self) -> None:
        super().__init__(start_method="spawn")

    def _configure_launcher(self) -> None:
        self._launcher = SpawnLauncher(self, start_method="spawn")


class _WholeWeightsLauncher(SpawnLauncher):
    """Hands the parent the weights of all processes, put together."""

    def _collect_rank_zero_results(self, trainer: pl.Trainer, results: Any) -> Any:
        gather_weights(trainer.lightning_module, keep=trainer.is_global_zero)
        return super()._collect_rank_zero_results(trainer, results)


class FullyShardedStrategy(ModelParallelStrategy):
    """FSDP2 over all processes; checkpoints are one file that any number of processes can read."""

    def __init__(self, num_processes: int) -> None:
        super().__init__(
            data_parallel_size=num_processes,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
        )

    def _configure_launcher(self) -> None:
        self._launcher = _WholeWeightsLauncher(self, start_method="spawn")


MIN_BATCHES = 256
"""Batches of a process that are worth its start."""

Batch = tuple[np.ndarray, Tensor, Tensor]


def encode_sharded(
    encoder: TextEncoder,
    tokens: TokenStore,
    params: TrainerParams,
    *,
    token_budget: int = 4096,
    target: Path | None = None,
    progress: Progress | None = None,
    alone: bool = False,
) -> np.ndarray:
    """What `encode` gives, made by all devices where there is work for them: float32 (N, H).

    The batches are those of one process, so vectors are the same to the bit where kernels and
    numbers of threads are. Kept as `target` (npy), whole or not at all, where one is given.

    Args:
        encoder: the encoder.
        tokens: tokens of N texts.
        params: devices and arithmetic.
        token_budget: most tokens of a batch, padding included.
        target: file of the vectors; None: they are not kept.
        progress: receives the progress; None for none.
        alone: no other processes are started.

    Returns:
        The vectors.

    Raises:
        SystemExit: with 143, after SIGTERM.
        TrainingError: a process died.
    """
    if target is None:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "embeddings.npy")
            return encode_sharded(
                encoder, tokens, params, token_budget=token_budget, target=target,
                progress=progress, alone=alone,
            )  # fmt: skip
    order, cuts = cut_batches(tokens, token_budget)
    shape = tokens.num_rows, encoder.hidden_size
    with atomic_file(target) as temporary:
        embeddings_NH = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        if alone or num_devices(params) == 1 or len(cuts) - 1 < MIN_BATCHES * num_devices(params):
            device, bf16 = device_of(params), computes_in_bf16(params)
            with glibc_malloc_tuned() if device == "cpu" else contextlib.nullcontext():
                encode(encoder, tokens, token_budget=token_budget, bf16=bf16, device=device,
                       progress=progress, out_NH=embeddings_NH)  # fmt: skip
            embeddings_NH.flush()
        else:
            _predict(_Encoding(encoder, tokens, order, cuts, temporary, progress), params)
    written_NH: np.ndarray = np.load(target, allow_pickle=False)
    return written_NH


def _predict(encoding: "_Encoding", params: TrainerParams) -> None:
    settings = device_settings(params)
    settings["strategy"] = SpawnedDDP()  # without gradients the weights fit every device
    trainer = pl.Trainer(**settings)
    was_training = encoding.encoder.training
    try:
        with supervised(trainer, num_devices(params)):
            trainer.predict(encoding, return_predictions=False)
    finally:
        encoding.encoder.train(was_training)


class _Share:
    """The batches of one process: every world-size-th one."""

    def __init__(self, encoding: "_Encoding", rank: int, world_size: int) -> None:
        self.tokens, self.order = encoding.tokens, encoding.order
        self.cuts = list(itertools.pairwise(encoding.cuts))[rank::world_size]

    def __len__(self) -> int:
        return len(self.cuts)

    def __iter__(self) -> Iterator[Batch]:
        for first, last in self.cuts:
            rows = self.order[first:last]
            yield (rows, *self.tokens.padded(rows))


class _Encoding(pl.LightningModule):
    """Writes the vectors of its process's rows into the file at `path`."""

    def __init__(
        self,
        encoder: TextEncoder,
        tokens: TokenStore,
        order: np.ndarray,
        cuts: np.ndarray,
        path: Path,
        progress: Progress | None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.tokens, self.order, self.cuts = tokens, order, cuts
        self.path = path
        self.kind_of_progress = None if progress is None else type(progress)
        self.progress: Progress | None = None

    def setup(self, stage: str) -> None:
        """In each process."""
        quiet_spawned()

    def predict_dataloader(self) -> _Share:
        """The share of this process."""
        return _Share(self, self.trainer.global_rank, self.trainer.world_size)

    def on_predict_start(self) -> None:
        """Open the file; SIGTERM ends the process at once, since there is nothing to save."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.embeddings_NH = np.load(self.path, mmap_mode="r+", allow_pickle=False)
        if self.trainer.is_global_zero and self.kind_of_progress is not None:
            self.progress = self.kind_of_progress()
            self.progress.start("encode", len(self.order))

    def predict_step(self, batch: Batch, batch_idx: int) -> None:
        """Vectors of a batch, into their rows."""
        rows, input_ids_BT, attention_mask_BT = batch
        pooled_BH = self.encoder(input_ids_BT, attention_mask_BT)
        self.embeddings_NH[rows] = pooled_BH.float().cpu().numpy()
        if self.progress is not None:  # the others are about as far
            world_size = self.trainer.world_size
            first = batch_idx * world_size
            last = min(first + world_size, len(self.cuts) - 1)
            self.progress.advance(int(self.cuts[last] - self.cuts[first]))

    def on_predict_end(self) -> None:
        """Close the file."""
        self.embeddings_NH.flush()
        if self.progress is not None:
            self.progress.finish()
