"""Texts to vectors on all devices of a run: each process encodes its share of the batches into one
memory-mapped file.

Shapes: N rows, B rows of a batch, H hidden width.
"""

import contextlib
import itertools
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
from torch import Tensor

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.checkpoints import quiet_spawned
from xrt.encoder.devices import computes_in_bf16, device_of, num_devices
from xrt.encoder.embed import cut_batches, encode
from xrt.encoder.fit import device_settings, supervised
from xrt.encoder.freed_memory import freed_memory_kept
from xrt.encoder.params import TrainerParams
from xrt.encoder.spawned import SpawnedDDP
from xrt.encoder.token_store import TokenStore
from xrt.progress import Progress
from xrt.storage.atomic import atomic_file

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
) -> np.ndarray:
    """What `encode` gives, made by all devices where there is work for them: float32 (N, H).

    The batches are those of one process, so vectors are the same to the bit where kernels and
    numbers of threads are. Kept as `target` (npy), whole or not at all, where one is given.

    Raises SystemExit(143) after SIGTERM; TrainingError when a process died.
    """
    if target is None:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "embeddings.npy")
            return encode_sharded(
                encoder, tokens, params, token_budget=token_budget, target=target, progress=progress
            )
    order, cuts = cut_batches(tokens, token_budget)
    shape = tokens.num_rows, encoder.hidden_size
    with atomic_file(target) as temporary:
        embeddings_NH = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        if num_devices(params) == 1 or len(cuts) - 1 < MIN_BATCHES * num_devices(params):
            device, bf16 = device_of(params), computes_in_bf16(params)
            with freed_memory_kept() if device == "cpu" else contextlib.nullcontext():
                encode(encoder, tokens, token_budget=token_budget, bf16=bf16, device=device,
                       progress=progress, out_NH=embeddings_NH)  # fmt: skip
            embeddings_NH.flush()
        else:
            _predict(_Encoding(encoder, tokens, order, cuts, temporary, progress), params)
    found: np.ndarray = np.load(target, allow_pickle=False)
    return found


def _predict(encoding: "_Encoding", params: TrainerParams) -> None:
    settings = device_settings(params)
    settings["strategy"] = SpawnedDDP()  # weights alone fit every device
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
        self.told: Progress | None = None

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
            self.told = self.kind_of_progress()
            self.told.start("encode", len(self.order))

    def predict_step(self, batch: Batch, batch_idx: int) -> None:
        """Vectors of a batch, into their rows."""
        rows, input_ids_BT, attention_mask_BT = batch
        pooled_BH = self.encoder(input_ids_BT, attention_mask_BT)
        self.embeddings_NH[rows] = pooled_BH.float().cpu().numpy()
        if self.told is not None:  # the others are about as far
            world_size = self.trainer.world_size
            first = batch_idx * world_size
            last = min(first + world_size, len(self.cuts) - 1)
            self.told.advance(int(self.cuts[last] - self.cuts[first]))

    def on_predict_end(self) -> None:
        """Close the file."""
        self.embeddings_NH.flush()
        if self.told is not None:
            self.told.finish()
