"""Training of the matcher: down the tree, coarse to fine, one level after the other.

Shapes: N rows, L labels, K_t nodes of level t, H hidden width.
"""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.atomic import sha256_of
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.batches import BatchPlan
from xrt.encoder.checkpoints import TERMINATED, resumable
from xrt.encoder.embed import encode
from xrt.encoder.fit import (
    device_of,
    fit_level,
    lightning_precision,
    quiet_lightning,
    torch_threads,
)
from xrt.encoder.heads import LabelHead
from xrt.encoder.levels import Head, LevelProblem, bootstrap_head, level_candidates
from xrt.encoder.matcher import LevelBatches, LevelMatcher
from xrt.encoder.params import (
    Bootstrap,
    EncoderParams,
    MatcherParams,
    TrainerParams,
)
from xrt.encoder.resolve import resolve_encoder
from xrt.encoder.run_folder import RunFolder
from xrt.encoder.token_store import TokenStore
from xrt.errors import ConfigError, DataError
from xrt.hashing import content_hash
from xrt.progress import Progress
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
    with torch_threads(), quiet_lightning():
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
    device = device_of(run.trainer)
    bf16 = lightning_precision(run.trainer) == "bf16-mixed"
    embeddings_NH = encode(encoder, run.tokens, token_budget=max(4096, run.params.token_budget),
                           bf16=bf16, device=device, progress=run.progress)  # fmt: skip
    run.folder.save_embeddings(t, embeddings_NH)
    return embeddings_NH
