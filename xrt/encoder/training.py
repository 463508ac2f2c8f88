"""Training of the matcher: down the tree, one level after the other or all in a single pass.

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
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.batches import BatchPlan
from xrt.encoder.bootstrap import Above, Sample, sample_rows, start_head
from xrt.encoder.checkpoints import TERMINATED, resumable
from xrt.encoder.devices import attention_of, check_devices, num_devices
from xrt.encoder.embed_sharded import encode_sharded
from xrt.encoder.fit import quiet_lightning
from xrt.encoder.folder import encoder_hash
from xrt.encoder.halving import fit_in_memory
from xrt.encoder.heads import LabelHead
from xrt.encoder.held_out import ValidationRows, sample_held_out
from xrt.encoder.levels import Head, LevelProblem, level_candidates, level_targets
from xrt.encoder.matcher import LevelBatches, LevelMatcher
from xrt.encoder.params import (
    Bootstrap,
    EncoderParams,
    MatcherParams,
    Strategy,
    TrainerParams,
)
from xrt.encoder.resolve import resolve_encoder
from xrt.encoder.run_folder import RunFolder
from xrt.encoder.token_store import TokenStore
from xrt.encoder.validation import Validation
from xrt.errors import ConfigError, DataError
from xrt.hybrid import as_row_weights, unit_rows
from xrt.progress import Progress
from xrt.storage.hashing import content_hash
from xrt.threads import default_num_threads, torch_threads
from xrt.tree.candidates import teacher_forced
from xrt.tree.label_tree import LabelTree

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class MatcherResult:
    """A trained matcher: the encoder, and for each trained level its head as it was at the end of
    that level's stage.

    Heads read pooled vectors of length 1. Only those of the last stage belong to the encoder as it
    is now; earlier ones were left behind by its training. train_embeddings (N, H) are the training
    rows under the final encoder, not normalised. losses holds the loss of each step of each stage,
    validations the figures of each validation of each stage.
    """

    encoder: TextEncoder
    heads: list[Head]
    train_embeddings: np.ndarray
    levels: list[int]
    losses: list[np.ndarray]
    validations: list[list[dict[str, float]]]


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
    validation: tuple[Sequence[str] | TokenStore, sp.csr_array] | None = None,
    row_weights: np.ndarray | None = None,
) -> MatcherResult:
    """Fine-tune an encoder on the levels of the tree and return it with the heads.

    Each level is kept in `run_folder` when it is done and skipped when the call is repeated; a
    level cut short goes on from its checkpoint, to the bytes an unbroken run gives (same machine,
    same number of threads). Entries of Y are confidences and multiply the loss of a right node;
    `row_weights` (N,) that of a row, beside their mean. `validation` are held-out rows with their
    labels (n, L): a sample of them chooses the best weights of each stage.
    Raises ConfigError, DataError, TrainingError; SystemExit(143) after SIGTERM, checkpoint written.
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
    backbone, tokens = _read_texts(texts, encoder, params, run_folder, progress)
    if tokens.num_rows != Y_NL.shape[0]:
        raise DataError(f"{tokens.num_rows} texts, but {Y_NL.shape[0]} rows of labels")
    weights_N = as_row_weights(row_weights, tokens.num_rows)
    settings = [replace(encoder, name="files"), params, trainer.precision]
    parts = [*settings, encoder_hash(backbone), list(tree.parents), Y_NL]
    held_out = None
    if validation is not None:
        held_out = sample_held_out(*validation, backbone, encoder, params)
    if held_out is not None:
        parts += [held_out.tokens.ids, held_out.tokens.indptr, held_out.Y_nK]
    if weights_N is not None or (Y_NL.data != 1).any():
        parts += ["weighted", weights_N]
    folder.claim(content_hash([*parts, tokens.ids, tokens.indptr]))
    run = _Run(folder, tokens, tree, level_targets(tree, Y_NL, params.loss), encoder, params,
               trainer, progress, held_out, weights_N)  # fmt: skip
    with torch_threads(default_num_threads()), quiet_lightning():
        return _train_stages(run, backbone, levels)


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


def _train_stages(run: _Run, backbone: Path, levels: list[int]) -> MatcherResult:
    params = run.params
    plan = BatchPlan(run.tokens.lengths, params.token_budget, params.max_batch_rows, params.seed)
    stages = params.stages(levels)
    steps = params.steps_of_stages(len(stages), plan.num_batches)
    done = 0
    while done < len(stages) and run.folder.is_done(stages[done][-1]):
        done += 1
    if done:
        encoder = run.folder.load_encoder(stages[done - 1][-1])
    else:
        encoder = TextEncoder.from_pretrained(backbone, run.encoder_params)
    for stage, num_steps in list(zip(stages, steps, strict=True))[done:]:
        _train_stage(run, encoder, plan, stage, num_steps)
    heads = [run.folder.load_head(stage[-1], t) for stage in stages for t in stage]
    losses = [run.folder.load_losses(stage[-1]) for stage in stages]
    validations = [run.folder.load_facts(stage[-1]).get("validation", []) for stage in stages]
    embeddings_NH = _embeddings(run, encoder, levels[-1])
    return MatcherResult(encoder, heads, embeddings_NH, levels, losses, validations)


def _train_stage(
    run: _Run, encoder: TextEncoder, plan: BatchPlan, stage: list[int], num_steps: int
) -> None:
    """The levels of one stage: candidates, heads, fit, and the result into the run folder."""
    finest, params = stage[-1], run.params
    layers = params.layers_of(stage, encoder.num_layers)
    problems = _problems(run, encoder, stage)
    checkpoint = run.folder.checkpoint(finest)
    resume = resumable(checkpoint)
    starts = None if resume else _start_heads(run, encoder, stage, layers)
    heads = _heads(run, encoder.hidden_size, problems, starts)
    encoder.freeze(run.encoder_params.frozen_layers)
    add_adapters(encoder.model, run.encoder_params.lora, f"lora/{params.seed}/{finest}")
    matcher = LevelMatcher(encoder, heads, params, num_steps=num_steps, level=finest,
                           dropout=run.encoder_params.dropout, layers=layers,
                           problems=problems)  # fmt: skip
    validation = None
    if run.held_out is not None:
        held_out = run.held_out.at_level(run.tree, finest, params.loss)
        validation = Validation(held_out, checkpoint, matcher)
    batches = LevelBatches(run.tokens, problems, plan, run.weights_N)
    rest = checkpoint, resume, run.trainer, run.progress, validation
    with attention_of(encoder, run.tokens.max_length, run.trainer):
        asked_to_stop = fit_in_memory(matcher, batches, *rest)
    validated = {} if validation is None else validation.finish(matcher)
    merge_adapters(encoder.model)
    losses_S = matcher.losses_S.cpu().numpy()
    losses_S = losses_S[np.isfinite(losses_S)]  # fewer than planned where it stopped early
    facts = {"levels": stage, "nodes": [problem.num_nodes for problem in problems],
             "layers": layers, "steps": len(losses_S),
             "candidates": ["all" if problem.M_above is None else "tfn+man"
                            for problem in problems],
             "last_loss": float(losses_S[-20:].mean()), **validated}  # fmt: skip
    trained = {
        t: (params.head_scale * head.arrays()[0], head.arrays()[1])
        for t, head in zip(stage, heads, strict=True)
    }
    run.folder.save_level(finest, encoder, trained, losses_S, facts)
    if asked_to_stop:
        raise SystemExit(TERMINATED)


def _heads(
    run: _Run, hidden_size: int, problems: list[LevelProblem], starts: list[Head] | None
) -> list[LabelHead]:
    """The heads of a stage; without starts they are empty, for weights of a checkpoint.

    Wide heads on candidates move row by row, unless their weights are spread over processes.
    """
    scale, limit = run.params.head_scale, run.params.row_wise_above
    spread = num_devices(run.trainer) > 1 and run.trainer.strategy is Strategy.fsdp
    heads = []
    for i, problem in enumerate(problems):
        row_wise = problem.M_above is not None and problem.num_nodes > limit and not spread
        if starts is None:
            heads.append(LabelHead(problem.num_nodes, hidden_size, row_wise))
        else:
            weight_KH, bias_K = starts[i]
            heads.append(LabelHead.of_arrays(weight_KH / scale, bias_K, row_wise))
    return heads


def _problems(run: _Run, encoder: TextEncoder, stage: list[int]) -> list[LevelProblem]:
    """Targets and candidates of the levels of a stage.

    A wide level's candidates are the children of the true nodes above and of those that the matcher
    ranks highest: as the level above left it, or, in a single pass, as it is at each step.
    """
    problems = []
    for t in stage:
        M_above = None
        live = t > stage[0]
        if t and not run.params.is_dense(run.tree.num_nodes(t)):
            if live:
                M_above = teacher_forced(run.targets[t - 1])
            else:
                unit_NH = unit_rows(_embeddings(run, encoder, t - 1))
                head = run.folder.load_head(t - 1, t - 1)
                M_above = level_candidates(run.targets[t - 1], head, unit_NH, run.params.man_top_k)
        live = live and M_above is not None
        problems.append(LevelProblem(run.targets[t], M_above, run.tree, t, live))
    return problems


def _start_heads(
    run: _Run, encoder: TextEncoder, stage: list[int], layers: list[int]
) -> list[Head]:
    """Where the heads of a stage start; heads that read the same layer share a sample."""
    samples: dict[int, Sample] = {}
    if run.params.bootstrap in (Bootstrap.centroid, Bootstrap.linear):
        rows_n = sample_rows(run.targets[-1], run.params.bootstrap_rows_per_label, run.params.seed)
        tokens = run.tokens.subset(rows_n)
        weights_n = None if run.weights_N is None else run.weights_N[rows_n]
        for layer in dict.fromkeys(layers):
            pooled_nH = encode_sharded(encoder, tokens, run.trainer, progress=run.progress,
                                       layer=layer)  # fmt: skip
            samples[layer] = Sample(rows_n, unit_rows(pooled_nH), weights_n)
    heads: list[Head] = []
    for t, layer in zip(stage, layers, strict=True):
        above = None
        if t:
            inside = t > stage[0]
            head = heads[-1] if inside else run.folder.load_head(t - 1, t - 1)
            above = Above(run.targets[t - 1], head)
        heads.append(start_head(run.targets[t], above, samples.get(layer), run.tree, t,
                                encoder.hidden_size, run.params, run.progress))  # fmt: skip
    return heads


def _embeddings(run: _Run, encoder: TextEncoder, t: int) -> np.ndarray:
    """Embeddings of the training rows under the encoder of level t, kept for the next call."""
    kept = run.folder.embeddings(t)
    if kept is not None:
        return kept
    found_NH = encode_sharded(encoder, run.tokens, run.trainer,
                              token_budget=max(4096, run.params.token_budget),
                              target=run.folder.embeddings_path(t),
                              progress=run.progress)  # fmt: skip
    run.folder.seal_embeddings(t)
    return found_NH
