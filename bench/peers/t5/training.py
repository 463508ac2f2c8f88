"""Trains a text-to-text model, in steps that can be stopped and gone on with.

The order of rows is a function of the seed and the epoch, dropout of the seed and the step, so that
a run that was stopped ends as one that was not. A checkpoint has the weights, the optimiser's
averages and the position; nothing in it is pickled. N rows, B rows of a step, T tokens.
"""

import copy
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from bench.peers.t5.targets import IGNORED
from xrt.errors import ConfigError, DataError
from xrt.storage.atomic import atomic_folder, recover_folder, write_json


@dataclass(frozen=True, kw_only=True)
class TrainingParams:
    """How the model is trained."""

    epochs: int = 20
    batch_rows: int = 32
    accumulate: int = 1
    """Parts of equal size that a step's rows are computed in, to save memory."""
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    """`cosine` to zero, or `constant`; both after the warm-up."""
    warmup_share: float = 0.05
    weight_decay: float = 0.0
    clip: float = 1.0
    patience: int = 3
    """Epochs without a better loss on held-out rows before training ends; 0 for all epochs."""
    save_every: int = 500
    """Steps between two checkpoints; one is also written at the end of each epoch."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_rows", "accumulate", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: at least 1 is needed")
        if self.schedule not in ("cosine", "constant"):
            raise ConfigError(f"schedule = {self.schedule!r}: choose cosine or constant")


@dataclass(frozen=True)
class Examples:
    """Token ids of each row: its text, its target, and what of the target is learnt."""

    inputs: list[list[int]]
    targets: list[list[int]]
    learnt: list[list[int]]

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Sequence[int]) -> "Examples":
        """The given rows."""
        parts = (self.inputs, self.targets, self.learnt)
        return Examples(*([part[row] for row in rows] for part in parts))


@dataclass
class Position:
    """How far training has come."""

    epoch: int = 0
    step_of_epoch: int = 0
    step: int = 0
    best_loss: float | None = None
    best_epoch: int = -1
    done: bool = False
    losses: list[float] = field(default_factory=list)
    """Mean loss of the held-out rows after each epoch."""


def train(
    model: Any,
    tokenizer: Any,
    fit: Examples,
    held_out: Examples,
    params: TrainingParams,
    folder: Path,
    max_steps: int | None = None,
) -> Position:
    """Train until the last epoch, or until held-out rows get no better; the best weights end up in
    `folder/best`, as transformers saves them.

    Goes on from `folder/checkpoint` where there is one. `max_steps` stops this call early, after a
    checkpoint. Raises ConfigError when the checkpoint is of other rows or settings, DataError when
    there is no row.
    """
    if not len(fit):
        raise DataError("no row to train on: every one was left out as too long or held out")
    key = _key(model, fit, held_out, params)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay
    )
    position = _resume(folder / "checkpoint", model, optimiser, key)
    steps_per_epoch = -(-len(fit) // params.batch_rows)
    device = next(model.parameters()).device
    stop_at = math.inf if max_steps is None else position.step + max_steps
    while not position.done:
        batches = list(_batches(len(fit), params, position.epoch))
        for rows in batches[position.step_of_epoch :]:
            if position.step >= stop_at:
                _save(folder / "checkpoint", model, optimiser, position, key)
                return position
            rate = _rate(position.step, steps_per_epoch * params.epochs, params)
            _step(model, optimiser, fit.take(rows), params, rate, position.step, device)
            position.step += 1
            position.step_of_epoch += 1
            if position.step % params.save_every == 0:
                _save(folder / "checkpoint", model, optimiser, position, key)
        _end_epoch(model, tokenizer, held_out, params, position, folder)
        _save(folder / "checkpoint", model, optimiser, position, key)
    return position


def mean_loss(model: Any, rows: Examples, batch_rows: int) -> float:
    """Mean loss of a learnt token."""
    model.eval()
    device = next(model.parameters()).device
    total, count = 0.0, 0
    with torch.inference_mode(), autocast(device):
        for low in range(0, len(rows), batch_rows):
            part = rows.take(range(low, min(low + batch_rows, len(rows))))
            loss, num_tokens = _summed_loss(model, part, device)
            total, count = total + float(loss), count + num_tokens
    return total / max(1, count)


def autocast(device: torch.device) -> Any:
    """Bfloat16 where a GPU has it."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def padded(rows: list[list[int]], fill: int, device: torch.device) -> torch.Tensor:
    """Rows of token ids as one matrix (B, T), filled up on the right."""
    width = max(map(len, rows))
    filled = [row + [fill] * (width - len(row)) for row in rows]
    return torch.tensor(filled, dtype=torch.long, device=device)


def _step(
    model: Any,
    optimiser: torch.optim.Optimizer,
    rows: Examples,
    params: TrainingParams,
    rate: float,
    step: int,
    device: torch.device,
) -> None:
    """One step on the mean loss over all learnt tokens of the rows, whatever the parts."""
    model.train()
    torch.manual_seed(_mixed(params.seed, step))
    num_learnt = sum(token != IGNORED for row in rows.learnt for token in row)
    size = -(-len(rows) // params.accumulate)
    for low in range(0, len(rows), size):
        part = rows.take(range(low, min(low + size, len(rows))))
        with autocast(device):
            loss, _ = _summed_loss(model, part, device)
        (loss / num_learnt).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), params.clip)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def _summed_loss(model: Any, rows: Examples, device: torch.device) -> tuple[torch.Tensor, int]:
    """Summed loss of the learnt tokens, and how many they are."""
    learnt = padded(rows.learnt, IGNORED, device)
    logits = forward(model, rows.inputs, rows.targets, device).float()
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), learnt.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return loss, int((learnt != IGNORED).sum())


def forward(
    model: Any, inputs: list[list[int]], targets: list[list[int]], device: torch.device
) -> torch.Tensor:
    """Logits (B, T, V) of each target token, given the text and the target tokens before it."""
    pad, start = model.config.pad_token_id, model.config.decoder_start_token_id
    ids = padded(inputs, pad, device)
    lengths = torch.tensor([[len(row)] for row in inputs], device=device)
    mask = (torch.arange(ids.shape[1], device=device) < lengths).long()
    shifted = padded([[start, *row[:-1]] for row in targets], pad, device)
    logits: torch.Tensor = model(
        input_ids=ids, attention_mask=mask, decoder_input_ids=shifted, use_cache=False
    ).logits
    return logits


def _end_epoch(
    model: Any, tokenizer: Any, held_out: Examples, params: TrainingParams, position: Position,
    folder: Path,
) -> None:  # fmt: skip
    """Judge the epoch on held-out rows, and keep the weights if they are the best so far."""
    loss = mean_loss(model, held_out, params.batch_rows) if len(held_out) else None
    if loss is None or position.best_loss is None or loss < position.best_loss:
        position.best_loss, position.best_epoch = loss, position.epoch
        with atomic_folder(folder / "best") as best:
            model.save_pretrained(best)
            tokenizer.save_pretrained(best)
    if loss is not None:
        position.losses.append(loss)
    waited = position.epoch - position.best_epoch
    position.epoch += 1
    position.step_of_epoch = 0
    tired = params.patience > 0 and waited >= params.patience
    position.done = tired or position.epoch >= params.epochs


def _batches(num_rows: int, params: TrainingParams, epoch: int) -> Iterator[list[int]]:
    order = np.random.default_rng([params.seed, epoch]).permutation(num_rows).tolist()
    for low in range(0, num_rows, params.batch_rows):
        yield order[low : low + params.batch_rows]


def _rate(step: int, num_steps: int, params: TrainingParams) -> float:
    """Learning rate of a step, 0 being the first."""
    warmup = max(1, round(params.warmup_share * num_steps))
    if step < warmup:
        return params.learning_rate * (step + 1) / warmup
    if params.schedule == "constant":
        return params.learning_rate
    done = (step - warmup) / max(1, num_steps - warmup)
    return params.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _mixed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)


def _key(model: Any, fit: Examples, held_out: Examples, params: TrainingParams) -> str:
    """What a checkpoint belongs to: rows, settings but how often it is written, sizes."""
    settings = {k: v for k, v in asdict(params).items() if k not in ("save_every", "accumulate")}
    shapes = {name: list(p.shape) for name, p in model.named_parameters()}
    saved = [settings, shapes, asdict(fit), asdict(held_out)]
    return hashlib.sha256(json.dumps(saved, sort_keys=True).encode()).hexdigest()


def _save(
    folder: Path, model: Any, optimiser: torch.optim.Optimizer, position: Position, key: str
) -> None:
    """Write the checkpoint, whole or not at all."""
    tensors = {}
    for name, parameter in model.named_parameters():
        tensors[f"weight {name}"] = parameter.detach().cpu().contiguous()
        for what, value in optimiser.state.get(parameter, {}).items():
            tensors[f"{what} {name}"] = value.detach().cpu().contiguous()
    with atomic_folder(folder) as written:
        save_file(tensors, written / "state.safetensors")
        write_json(written / "position.json", {"key": key, **asdict(position)})


def _resume(folder: Path, model: Any, optimiser: torch.optim.Optimizer, key: str) -> Position:
    """Put model and optimiser where the checkpoint left them; the beginning without one."""
    if folder.parent.is_dir():
        recover_folder(folder)
    if not folder.is_dir():
        return Position()
    saved = json.loads((folder / "position.json").read_text())
    if saved.pop("key") != key:
        raise ConfigError(
            f"{folder}: of other rows or settings; remove the folder or choose another --output"
        )
    tensors = load_file(folder / "state.safetensors")
    state = copy.copy(optimiser.state_dict())
    state["state"] = {}
    for index, (name, parameter) in enumerate(model.named_parameters()):
        with torch.no_grad():
            parameter.copy_(tensors[f"weight {name}"])
        parts = {what: tensors.get(f"{what} {name}") for what in ("step", "exp_avg", "exp_avg_sq")}
        if parts["step"] is not None:
            state["state"][index] = parts
    optimiser.load_state_dict(state)
    return Position(**saved)
