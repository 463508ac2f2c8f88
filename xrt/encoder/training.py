"""Fine-tuning of the matcher: the encoder and a head for each level of a label tree.

Shapes: N rows, L labels, K_t nodes of level t, H hidden width.
"""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.encoder.adapters import add_adapters, merge_adapters
from xrt.encoder.attachments import Attachments
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.batches import BatchPlan
from xrt.encoder.checkpoints import TERMINATED, resumable
from xrt.encoder.devices import attention_of, check_devices
from xrt.encoder.fit import encode_sharded, quiet_lightning
from xrt.encoder.folder import encoder_hash
from xrt.encoder.heads import (
    ROWS_PER_LABEL,
    Head,
    LevelHead,
    centroid_head,
    prior_log_odds,
    sample_rows,
)
from xrt.encoder.launcher import FitEnded, Group
from xrt.encoder.levels import LevelData
from xrt.encoder.matcher import HEAD_SCALE, LevelBatches, LevelMatcher
from xrt.encoder.out_of_memory import fit_with_retry
from xrt.encoder.pacing import Pacing, TimeLimit, seconds_used
from xrt.encoder.params import EncoderParams, MatcherParams, TrainerParams
from xrt.encoder.resolve import TINY_RANDOM, resolve_encoder
from xrt.encoder.run_folder import RunFolder
from xrt.encoder.tokens import TokenStore
from xrt.encoder.validation import Validation, ValidationRows, sample_held_out
from xrt.errors import ConfigError, DataError
from xrt.hybrid import as_row_weights, unit_rows
from xrt.progress import Progress
from xrt.storage.hashing import content_hash
from xrt.threads import default_num_threads, torch_threads
from xrt.tree.candidates import teacher_forced
from xrt.tree.label_tree import LabelTree

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class MatcherOutputs:
    """A fine-tuned matcher.

    Shapes: N training rows, H hidden width, K_t nodes of level t, S steps.
    """

    encoder: TextEncoder
    """The fine-tuned encoder."""
    heads: list[Head]
    """The head of each trained level, weights (K_t, H) and bias (K_t,), for pooled vectors of
    length 1."""
    train_embeddings: np.ndarray
    """The training rows under the encoder, float32 (N, H), not normalised."""
    levels: list[int]
    """The levels that were trained, from 0."""
    losses: np.ndarray
    """Loss of each step, float32 (S,)."""
    validations: list[dict[str, float]]
    """Figures of each validation."""
    pace: dict[str, float] | None = None
    """Of a fit within a time: steps as planned, steps made, seconds of these; None without one."""


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
    held_out: ValidationRows | None
    weights_N: np.ndarray | None
    seed: int
    limit: TimeLimit | None
    attachments: Attachments


def fine_tune_matcher(
    texts: Sequence[str] | TokenStore,
    Y_NL: sp.csr_array,
    tree: LabelTree,
    *,
    run_folder: Path,
    encoder: EncoderParams | None = None,
    params: MatcherParams | None = None,
    trainer: TrainerParams | None = None,
    progress: Progress | None = None,
    validation: tuple[Sequence[str] | TokenStore, sp.csr_array] | None = None,
    row_weights: np.ndarray | None = None,
    seed: int = 0,
    limit: TimeLimit | None = None,
    attachments: Attachments | None = None,
) -> MatcherOutputs:
    """Fine-tune an encoder on the levels of a label tree, all of them at every step.

    What is done stays in `run_folder`: a call that was cut short goes on from its checkpoint, to
    the bytes an unbroken one gives (same machine, same number of threads), and a finished one is
    read from there.

    Args:
        texts: The N training texts, or their tokens.
        Y_NL: Labels of each text; entries are confidences and multiply the loss of a right node.
        tree: The label tree.
        run_folder: Where checkpoints and results lie.
        encoder: Which encoder, and how it reads; None for the defaults.
        params: How it is fine-tuned; None for the defaults.
        trainer: Devices; None for the defaults.
        progress: Receives steps and losses.
        validation: Held-out texts (n) and their labels (n, L): a sample of them chooses the best
            weights.
        row_weights: How much each row counts, float (N,), beside their mean; None where each
            counts 1.
        seed: Of batches, dropout and samples.
        limit: A time to keep: the last step is moved to where it ends.
        attachments: Loggers and callbacks beside those of `trainer`, and where they write; None for
            none.

    Returns:
        The encoder, its heads and the embeddings of the training texts.

    Raises:
        ConfigError: The encoder or the settings do not fit.
        DataError: Texts and labels differ in number.
        TrainingError: The loss is not finite, or a process died.
        CapacityError: Memory ran out twice.
        SystemExit: 143 after SIGTERM, the checkpoint written.
    """
    encoder, params = encoder or EncoderParams(), params or MatcherParams()
    check_devices(trainer := trainer or TrainerParams())
    narrow = (tree.num_nodes(t) <= params.max_match_clusters for t in range(tree.depth))
    levels = [t for t, _ in enumerate(itertools.takewhile(bool, narrow))]
    if not levels:
        raise ConfigError(
            f"matcher.max_match_clusters = {params.max_match_clusters}: level 0 of the tree "
            f"has {tree.num_nodes(0)} nodes already; raise it, or grow a tree with less branching"
        )
    folder = RunFolder(run_folder)
    attachments = attachments or Attachments()
    backbone, tokens = _read_texts(texts, encoder, seed, run_folder, progress, attachments.group)
    if tokens.num_rows != Y_NL.shape[0]:
        raise DataError(f"{tokens.num_rows} texts, but {Y_NL.shape[0]} rows of labels")
    weights_N = as_row_weights(row_weights, tokens.num_rows)
    settings = [replace(encoder, name="files"), params, seed, trainer.precision]
    parts = [*settings, encoder_hash(backbone), list(tree.parents), Y_NL]
    held_out = None
    if validation is not None:
        held_out = sample_held_out(*validation, backbone, encoder, seed)
    if held_out is not None:
        parts += [held_out.tokens.ids, held_out.tokens.indptr, held_out.Y_nK]
    if weights_N is not None or (Y_NL.data != 1).any():
        parts += ["weighted", weights_N]
    if trainer.changing or attachments.callbacks:
        parts += ["lightning", trainer.changing, attachments.names]
    folder.claim(content_hash([*parts, tokens.ids, tokens.indptr]))
    run = _Run(folder, tokens, tree, tree.level_confidences(Y_NL), encoder, params,
               trainer, progress, held_out, weights_N, seed, limit, attachments)  # fmt: skip
    with torch_threads(default_num_threads()), quiet_lightning():
        return _fine_tune(run, backbone, levels)


def _read_texts(
    texts: Sequence[str] | TokenStore,
    encoder: EncoderParams,
    seed: int,
    run_folder: Path,
    progress: Progress | None,
    group: Group | None,
) -> tuple[Path, TokenStore]:
    """The encoder's folder, and the texts as its tokens; tokens of an earlier call are not used
    again.
    """
    raw = [] if isinstance(texts, TokenStore) else list(texts)
    if group is None or group.is_first or encoder.name != TINY_RANDOM:
        backbone = resolve_encoder(encoder.name, work_folder=run_folder, texts=raw, seed=seed)
    if group is not None and encoder.name == TINY_RANDOM:  # transformers saves in one process only
        backbone = group.share(backbone.absolute() if group.is_first else None)
    if isinstance(texts, TokenStore):
        return backbone, texts
    tokenizer = TextEncoder.from_pretrained(backbone, encoder).tokenizer
    tokens = TokenStore.build(raw, tokenizer, encoder.max_length, run_folder / "tokens", progress)
    if tokens.num_truncated:
        logger.info("%d of %d texts are longer than %d tokens and were cut",
                    tokens.num_truncated, tokens.num_rows, encoder.max_length)  # fmt: skip
    return backbone, tokens


def _fine_tune(run: _Run, backbone: Path, levels: list[int]) -> MatcherOutputs:
    finest, group = levels[-1], run.attachments.group
    is_done = run.folder.is_done(finest)
    if group is not None:  # what the first process has counts
        is_done = group.share(is_done)
        if is_done and not group.is_first:
            raise FitEnded
    if is_done:
        encoder = run.folder.load_encoder(finest)
    else:
        encoder = TextEncoder.from_pretrained(backbone, run.encoder_params)
        _train_levels(run, encoder, levels)
    heads = [run.folder.load_head(finest, t) for t in levels]
    losses_S = run.folder.load_losses(finest)
    facts = run.folder.load_facts(finest)
    return MatcherOutputs(
        encoder, heads, _embeddings(run, encoder, finest), levels, losses_S,
        facts.get("validation", []), facts.get("pace"),
    )  # fmt: skip


def _train_levels(run: _Run, encoder: TextEncoder, levels: list[int]) -> None:
    """Candidates, heads and the fit; what comes of them goes into the run folder."""
    finest, params = levels[-1], run.params
    batches_a_step = run.trainer.batches_a_step
    plan = BatchPlan(
        run.tokens.lengths, params.token_budget * batches_a_step,
        params.max_batch_rows * batches_a_step, run.seed,
    )  # fmt: skip
    level_data = _level_data(run, levels)
    checkpoint = run.folder.checkpoint(finest)
    resume, group = resumable(checkpoint), run.attachments.group
    if group is not None:  # as the first process has it, in the folder that all see
        resume, checkpoint = group.share((resume, checkpoint.absolute()))
    if resume:  # the weights are in the checkpoint
        heads = [LevelHead(level.num_nodes, encoder.hidden_size) for level in level_data]
    else:
        starts = _start_heads(run, encoder, levels)
        heads = [
            LevelHead.of_arrays(weight_KH / HEAD_SCALE, bias_K) for weight_KH, bias_K in starts
        ]
    encoder.freeze(run.encoder_params.frozen_layers)
    add_adapters(encoder.model, run.encoder_params.lora_rank, f"lora/{run.seed}/{finest}")
    num_steps, most_steps = params.num_steps(plan.num_batches), None
    if run.limit is not None:
        most_steps = max(num_steps, round(run.limit.most_epochs * plan.num_batches))
    matcher = LevelMatcher(encoder, heads, params, num_steps=num_steps,
                           level=finest, seed=run.seed, dropout=run.encoder_params.dropout,
                           level_data=level_data, most_steps=most_steps)  # fmt: skip
    matcher.num_micro_batches = batches_a_step
    pacing = None if run.limit is None else Pacing(run.limit, matcher)
    validation = None
    if run.held_out is not None:
        rows = run.held_out.at_level(run.tree, finest)
        validation = Validation(rows, checkpoint, matcher, run.attachments.record)
    batches = LevelBatches(run.tokens, level_data, plan, run.weights_N)
    with attention_of(encoder, run.tokens.max_length, run.trainer):
        stop_requested = fit_with_retry(
            matcher, batches, checkpoint, resume, run.trainer, run.progress, validation, pacing,
            run.attachments,
        )  # fmt: skip
    if group is not None and not group.is_first:
        raise SystemExit(TERMINATED) if stop_requested else FitEnded
    figures = {} if validation is None else validation.finish(matcher)
    merge_adapters(encoder.model)
    losses_S = matcher.losses_S.cpu().numpy()
    losses_S = losses_S[np.isfinite(losses_S)]  # fewer than planned where it stopped early
    facts = {"levels": levels, "nodes": [level.num_nodes for level in level_data],
             "steps": len(losses_S),
             "candidates": ["all" if level.M_above is None else "tfn+man"
                            for level in level_data],
             "last_loss": float(losses_S[-20:].mean()), **figures}  # fmt: skip
    if pacing is not None:
        facts["pace"] = {"planned_steps": num_steps, "steps": len(losses_S),
                         "seconds": round(seconds_used(matcher), 3)}  # fmt: skip
    trained = {
        t: (HEAD_SCALE * head.arrays()[0], head.arrays()[1])
        for t, head in zip(levels, heads, strict=True)
    }
    run.folder.save_level(finest, encoder, trained, losses_S, facts)
    if stop_requested:
        raise SystemExit(TERMINATED)


def _level_data(run: _Run, levels: list[int]) -> list[LevelData]:
    """Targets and candidates of the levels.

    A wide level's candidates are the children of the true nodes above, and, at each step, of those
    that the matcher ranks highest then.
    """
    level_data = []
    for t in levels:
        wide = t and not run.params.is_dense(run.tree.num_nodes(t))
        M_above = teacher_forced(run.targets[t - 1]) if wide else None
        level_data.append(LevelData(run.targets[t], M_above, run.tree, t))
    return level_data


def _start_heads(run: _Run, encoder: TextEncoder, levels: list[int]) -> list[Head]:
    """Where the heads start: at the centroids of a sample of rows."""
    rows_n = sample_rows(run.targets[-1], ROWS_PER_LABEL, run.seed)
    weights_n = None if run.weights_N is None else run.weights_N[rows_n]
    pooled_nH = encode_sharded(
        encoder, run.tokens.subset(rows_n), run.trainer, progress=run.progress,
        alone=run.attachments.group is not None,
    )  # fmt: skip
    unit_nH = unit_rows(pooled_nH)
    heads = []
    for t in levels:
        Y_level = run.targets[t]
        counts_K = np.bincount(Y_level.indices, minlength=Y_level.shape[1])
        prior_K = prior_log_odds(counts_K, Y_level.shape[0])
        heads.append(centroid_head(unit_nH, Y_level[rows_n], prior_K, weights_n))
    return heads


def _embeddings(run: _Run, encoder: TextEncoder, t: int) -> np.ndarray:
    """Embeddings of the training rows under the trained encoder, left for the next call."""
    earlier_NH = run.folder.embeddings(t)
    if earlier_NH is not None:
        return earlier_NH
    embeddings_NH = encode_sharded(encoder, run.tokens, run.trainer,
                                   token_budget=max(4096, run.params.token_budget),
                                   target=run.folder.embeddings_path(t), progress=run.progress,
                                   alone=run.attachments.group is not None)  # fmt: skip
    run.folder.seal_embeddings(t)
    return embeddings_NH
