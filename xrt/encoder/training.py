"""Training of the matcher: down the tree, coarse to fine, one level after the other.

Shapes: N rows, L labels, K_t nodes of level t, H hidden width.
"""

import contextlib
import itertools
import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import scipy.sparse as sp
import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerStatus

from xrt.atomic import sha256_of
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.batches import BatchPlan
from xrt.encoder.checkpoints import (
    LIGHTNING_LOGGERS,
    TERMINATED,
    AtomicCheckpointIO,
    Checkpointer,
    ForwardTermination,
    TellProgress,
    resumable,
)
from xrt.encoder.embed import best_device, encode, supports_bf16
from xrt.encoder.heads import LabelHead
from xrt.encoder.levels import Head, LevelProblem, bootstrap_head, level_candidates
from xrt.encoder.matcher import LevelBatches, LevelMatcher
from xrt.encoder.params import (
    Bootstrap,
    EncoderParams,
    MatcherParams,
    Precision,
    TrainerParams,
)
from xrt.encoder.resolve import resolve_encoder
from xrt.encoder.run_folder import RunFolder
from xrt.encoder.token_store import TokenStore
from xrt.errors import ConfigError, DataError, TrainingError
from xrt.hashing import content_hash
from xrt.progress import Progress
from xrt.threads import default_num_threads
from xrt.tree.label_tree import LabelTree

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class MatcherResult:
    """A trained matcher: the encoder, and for each trained level its head as it was at that
    level's end.

    Only the last head belongs to the encoder as it is now; earlier ones were left behind by its
    training. train_embeddings (N, H) are the training rows under the final encoder, not normalised.
    """

    encoder: TextEncoder
    heads: list[Head]
    train_embeddings: np.ndarray
    levels: list[int]


@dataclass(frozen=True, eq=False)
class _Run:
    """What all levels share."""

    folder: RunFolder
    tokens: TokenStore
    tree: LabelTree
    targets: list[sp.csr_array]
    encoder_params: EncoderParams
    params: MatcherParams
    trainer: TrainerParams
    progress: Progress | None


def train_matcher(
    texts: Sequence[str] | TokenStore,
    Y_NL: sp.csr_array,
    tree: LabelTree,
    *,
    run_folder: Path,
    encoder: EncoderParams | None = None,
    params: MatcherParams | None = None,
    trainer: TrainerParams | None = None,
    progress: Progress | None = None,
) -> MatcherResult:
    """Fine-tune an encoder on the levels of the tree and return it with the heads.

    Each level is kept in `run_folder` when it is done and skipped when the call is repeated; a
    level cut short goes on from its checkpoint, to the bytes an unbroken run gives (same machine,
    same number of threads).
    Raises ConfigError, DataError, TrainingError; SystemExit(143) after SIGTERM, the checkpoint
    written.
    """
    encoder, params = encoder or EncoderParams(), params or MatcherParams()
    trainer = trainer or TrainerParams()
    narrow = (tree.num_nodes(t) <= params.max_match_clusters for t in range(tree.depth))
    levels = [t for t, _ in enumerate(itertools.takewhile(bool, narrow))]
    if not levels:
        raise ConfigError(
            f"matcher.max_match_clusters = {params.max_match_clusters}: level 0 of the tree "
            f"has {tree.num_nodes(0)} nodes already; raise it, or grow a tree with less branching"
        )
    folder = RunFolder(run_folder)
    backbone, tokens = _read_texts(texts, encoder, params, run_folder, progress)
    if tokens.num_rows != Y_NL.shape[0]:
        raise DataError(f"{tokens.num_rows} texts, but {Y_NL.shape[0]} rows of labels")
    weights_hash = sha256_of(backbone / "model.safetensors")
    parts = [encoder, params, trainer.precision, weights_hash, list(tree.parents), Y_NL]
    folder.claim(content_hash([*parts, tokens.ids, tokens.indptr]))
    run = _Run(folder, tokens, tree, tree.level_targets(Y_NL), encoder, params, trainer, progress)
    with _torch_threads(), _quiet_lightning():
        return _train_levels(run, backbone, levels)


def _read_texts(
    texts: Sequence[str] | TokenStore,
    encoder: EncoderParams,
    params: MatcherParams,
    run_folder: Path,
    progress: Progress | None,
) -> tuple[Path, TokenStore]:
    """The encoder's folder, and the texts as its tokens; tokens of an earlier call are not used
    again.
    """
    raw = [] if isinstance(texts, TokenStore) else list(texts)
    backbone = resolve_encoder(encoder.name, work_folder=run_folder, texts=raw, seed=params.seed)
    if isinstance(texts, TokenStore):
        return backbone, texts
    tokenizer = TextEncoder.from_pretrained(backbone, encoder).tokenizer
    tokens = TokenStore.build(raw, tokenizer, encoder.max_length, run_folder / "tokens", progress)
    if tokens.num_truncated:
        logger.info("%d of %d texts are longer than %d tokens and were cut",
                    tokens.num_truncated, tokens.num_rows, encoder.max_length)  # fmt: skip
    return backbone, tokens


def _train_levels(run: _Run, backbone: Path, levels: list[int]) -> MatcherResult:
    plan = BatchPlan(
        run.tokens.lengths, run.params.token_budget, run.params.max_batch_rows, run.params.seed
    )
    steps = run.params.steps_of_levels(len(levels), plan.num_batches)
    done = 0
    while done < len(levels) and run.folder.is_done(levels[done]):
        done += 1
    if done:
        encoder = run.folder.load_encoder(levels[done - 1])
    else:
        encoder = TextEncoder.from_pretrained(backbone, run.encoder_params)
    for t in levels[done:]:
        _train_level(run, encoder, plan, t, steps[t])
    heads = [run.folder.load_head(t) for t in levels]
    return MatcherResult(encoder, heads, _embeddings(run, encoder, levels[-1]), levels)


def _train_level(run: _Run, encoder: TextEncoder, plan: BatchPlan, t: int, num_steps: int) -> None:
    """One level: candidates, head, fit, and the result into the run folder."""
    Y_above = run.targets[t - 1] if t else None
    above = run.folder.load_head(t - 1) if t else None
    M_above = embeddings_NH = None
    if not run.params.is_dense(run.tree.num_nodes(t)) and above is not None and Y_above is not None:
        embeddings_NH = _embeddings(run, encoder, t - 1)
        M_above = level_candidates(Y_above, above, embeddings_NH, run.params)
    if run.params.bootstrap is Bootstrap.linear and embeddings_NH is None:
        embeddings_NH = _embeddings(run, encoder, t - 1)
    problem = LevelProblem(run.targets[t], M_above, run.tree, t)
    resume = resumable(run.folder.checkpoint(t))
    if resume:
        start = (np.zeros((problem.num_nodes, encoder.hidden_size), np.float32),
                 np.zeros(problem.num_nodes, np.float32))  # fmt: skip
    else:
        start = bootstrap_head(embeddings_NH, run.targets[t], Y_above, above, run.tree, t,
                               encoder.hidden_size, run.params, run.progress)  # fmt: skip
    matcher = LevelMatcher(encoder, LabelHead.of_arrays(*start), run.params, num_steps=num_steps,
                           level=t, dropout=run.encoder_params.dropout)  # fmt: skip
    asked_to_stop = fit_level(matcher, LevelBatches(run.tokens, problem, plan),
                              run.folder.checkpoint(t), resume, run.trainer,
                              run.progress)  # fmt: skip
    losses_S = matcher.losses_S.cpu().numpy()
    facts = {"level": t, "nodes": problem.num_nodes, "steps": num_steps,
             "candidates": "all" if M_above is None else "tfn+man",
             "last_loss": float(losses_S[-20:].mean())}  # fmt: skip
    run.folder.save_level(t, encoder, matcher.head.arrays(), losses_S, facts)
    if asked_to_stop:
        raise SystemExit(TERMINATED)


def _embeddings(run: _Run, encoder: TextEncoder, t: int) -> np.ndarray:
    """Embeddings of the training rows under the encoder of level t, kept for the next call."""
    kept = run.folder.embeddings(t)
    if kept is not None:
        return kept
    device = _device(run.trainer)
    bf16 = _precision(run.trainer) == "bf16-mixed"
    embeddings_NH = encode(encoder, run.tokens, token_budget=max(4096, run.params.token_budget),
                           bf16=bf16, device=device, progress=run.progress)  # fmt: skip
    run.folder.save_embeddings(t, embeddings_NH)
    return embeddings_NH


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
    devices = _num_devices(params)
    trainer = pl.Trainer(
        accelerator=params.accelerator,
        devices=devices,
        strategy=DDPStrategy(start_method="spawn") if devices > 1 else "auto",
        precision=_precision(params),
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


def _device(params: TrainerParams) -> str:
    """The device for work of one process."""
    return best_device(params.accelerator)


def _num_devices(params: TrainerParams) -> int:
    if params.devices:
        return params.devices
    return torch.cuda.device_count() if _device(params) == "cuda" else 1


def _precision(params: TrainerParams) -> Any:
    """Lightning's word for the arithmetic."""
    auto = params.precision is Precision.auto
    if params.precision is Precision.bf16 or (auto and supports_bf16(_device(params))):
        return "bf16-mixed"
    return "32-true"


@contextlib.contextmanager
def _torch_threads() -> Iterator[None]:
    """As many threads as this process may use, not as the machine has; XRT_NUM_THREADS is heard."""
    before = torch.get_num_threads()
    torch.set_num_threads(default_num_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
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
