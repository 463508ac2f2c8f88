"""What the deep model's rankers see of a text besides TF-IDF: embeddings, and how long each is.

N training rows, R some of them, L labels, F TF-IDF columns, H hidden width of the fine-tuned
encoder, G of the frozen one where there is one, M = H + G. A row is [TF-IDF ; weight * tuned ;
frozen_weight * frozen], each part of length 1 before it is weighted. The frozen encoder is the one
that fine-tuning began with: it still knows what the labels did not need.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.fusion.judging import judge_step
from xrt.fusion.weights import quality
from xrt.hybrid import HybridMatrix
from xrt.metrics.judgement import Judgement
from xrt.pipeline.encoding import MatcherOutputs, embed_frozen, embed_names
from xrt.pipeline.rows import HeldOut, TrainingRows
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.trees import TreeGrower, paths_above
from xrt.search.beam import SearchParams
from xrt.sources.base import SourceRows
from xrt.sources.blocks import EmbeddingBlocks
from xrt.sources.ranker import train_ranker
from xrt.sources.trees import TreeEnsemble
from xrt.sparse import as_csr
from xrt.storage.atomic import write_json
from xrt.storage.hashing import content_hash
from xrt.storage.reading import read_json_bounded
from xrt.storage.stages import Hash, Settings, Stage, Workspace

logger = logging.getLogger(__name__)

WEIGHTS = (1.0, 0.7, 0.5, 1.4)
"""Lengths of the fine-tuned embedding that are tried, the likeliest first: among equals it wins."""
MAX_TRIAL_ROWS = 50_000
"""Rows, drawn at random, that rankers are trained on to compare lengths."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Embeddings of the training rows, and the length of each block in the rankers' rows.

    Attributes:
        tuned_folder: the fine-tuned encoder.
        tuned_NH: its embeddings.
        hash: of the embeddings and their encoders.
        weight: length of the fine-tuned block.
        frozen_folder: the frozen encoder; None where there is none.
        frozen_NG: its embeddings.
        frozen_weight: length of the frozen block.
    """

    tuned_folder: Path
    tuned_NH: np.ndarray
    hash: Hash
    weight: float = 1.0
    frozen_folder: Path | None = None
    frozen_NG: np.ndarray | None = None
    frozen_weight: float = 0.0

    @property
    def inputs(self) -> dict[str, Hash]:
        """What rankers on these blocks depend on, as a stage's inputs."""
        frozen: dict[str, Hash] = {}
        if self.frozen_NG is not None:
            frozen = {"frozen weight": str(self.frozen_weight)}
        return {"blocks": self.hash, "weight": str(self.weight), **frozen}

    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        """Embeddings of some rows as the model's encoder gives them.

        Args:
            rows: positions of R training rows.

        Returns:
            float32 (R, M): the fine-tuned block, then the frozen one where there is one.
        """
        tuned_RH = np.asarray(self.tuned_NH[rows])
        if self.frozen_NG is None:
            return tuned_RH
        return np.hstack([tuned_RH, self.frozen_NG[rows]])

    @property
    def widths(self) -> EmbeddingBlocks:
        """Widths and weights of the embeddings in a hybrid row."""
        frozen_width = 0 if self.frozen_NG is None else self.frozen_NG.shape[1]
        return EmbeddingBlocks(
            self.tuned_NH.shape[1], self.weight, frozen_width, self.frozen_weight
        )

    def join(self, X_RF: sp.csr_array, embeddings_RM: np.ndarray) -> HybridMatrix:
        """The rankers' rows of TF-IDF rows and embeddings.

        Args:
            X_RF: TF-IDF rows.
            embeddings_RM: their embeddings as `embeddings` gives them.

        Returns:
            The rows, (R, F + M).
        """
        return self.widths.join(X_RF, embeddings_RM)

    def rows(self, rows: TrainingRows, chosen: np.ndarray) -> SourceRows:
        """Some of the training rows as sources take them, with their weights.

        Args:
            rows: the training rows.
            chosen: positions of those to take, (R,).

        Returns:
            The R rows; embeddings are read when they are first asked for.
        """
        X = HybridMatrix.of(as_csr(rows.X_NF[chosen])).weighted(rows.weights_of(chosen))
        return SourceRows(X, self.widths, lambda: self.embeddings(chosen))

    def names(self, runner: StageRunner, rows: TrainingRows) -> np.ndarray:
        """The names of the labels as they stand in the rankers' rows.

        Args:
            runner: runs the stage that encodes the names.
            rows: the training rows, which have names.

        Returns:
            float32 (R, M), for R labels that have a name.
        """
        assert rows.names is not None
        folders = [folder for folder in (self.tuned_folder, self.frozen_folder) if folder]
        embeddings_RM = embed_names(runner, rows.names.names, folders, self.hash)
        return self.join(rows.names.X_RF, embeddings_RM).dense


def make_blocks(
    runner: StageRunner,
    rows: TrainingRows,
    matcher: MatcherOutputs,
    matcher_hash: Hash,
    held: HeldOut,
    search: SearchParams,
    inputs: Mapping[str, Hash],
) -> Blocks:
    """Make the blocks that the settings name.

    Where they leave the length of the embedding open it is chosen on the held-out rows.

    Args:
        runner: runs the stages.
        rows: the training rows.
        matcher: the fine-tuned encoder with its embeddings.
        matcher_hash: of it.
        held: rows to train on, and the held-out rows.
        search: how trees are searched.
        inputs: hashes of rows, labels and held-out rows.

    Returns:
        The blocks with their lengths.
    """
    params = runner.params
    tuned = Blocks(matcher.encoder_folder, matcher.embeddings_NH, matcher_hash)
    candidates = [tuned]
    if params.frozen_weight > 0:
        frozen = _with_frozen(runner, rows, tuned)
        candidates = [frozen] if params.embedding_weight is not None else [tuned, frozen]
    if params.embedding_weight is not None:
        return replace(candidates[0], weight=params.embedding_weight)
    return _choose(runner, rows, candidates, held, search, inputs)


def _with_frozen(runner: StageRunner, rows: TrainingRows, tuned: Blocks) -> Blocks:
    frozen, frozen_hash = embed_frozen(runner, rows)

    def both() -> str:
        hashes = (tuned.hash, frozen_hash)
        return content_hash([hash if isinstance(hash, str) else hash() for hash in hashes])

    return replace(
        tuned,
        hash=cache(both),
        frozen_folder=frozen.encoder_folder,
        frozen_NG=frozen.embeddings_NH,
        frozen_weight=runner.params.frozen_weight,
    )


BLOCK_WEIGHTS = Stage[dict[str, Any]](
    "block-weights", 3, ("ranker", "tree", "search", "seed", "frozen_weight"),
    save=lambda chosen, folder: write_json(folder / "weights.json", chosen),
    load=lambda folder: read_json_bounded(folder / "weights.json"),
)  # fmt: skip


def _choose(
    runner: StageRunner,
    rows: TrainingRows,
    candidates: list[Blocks],
    held: HeldOut,
    search: SearchParams,
    inputs: Mapping[str, Hash],
) -> Blocks:
    """The stage that tries lengths: the best mean of P@1 and nDCG@10 of one ranker alone, where it
    is better than the first of them, the plain one, by a standard error.
    """
    tried = [replace(blocks, weight=weight) for blocks in candidates for weight in WEIGHTS]

    def make(settings: Settings, workspace: Workspace) -> dict[str, Any]:
        rng = np.random.default_rng(settings["seed"])
        size = min(MAX_TRIAL_ROWS, len(held.train))
        sample = np.sort(rng.choice(held.train, size, replace=False))
        cheap = replace(settings["ranker"], matcher_negatives=0)
        shape, seed = settings["tree"], settings["seed"]
        paths = paths_above(shape, rows.corpus.labels)
        Y_fit, Y_true = rows.labels_of(sample), rows.labels_of(held.validation)
        figures, scores = [], []
        for blocks in tried:
            X_fit, X_held = (
                blocks.rows(rows, chosen).hybrid for chosen in (sample, held.validation)
            )
            tree = TreeGrower(X_fit, Y_fit, runner.num_threads).grow(shape, seed, paths)
            ranker = train_ranker(X_fit, Y_fit, tree, cheap, seed, runner.num_threads)
            scores.append(TreeEnsemble((ranker,)).search(X_held, 10, search, runner.num_threads))
            figures.append({
                "weight": blocks.weight, "frozen_weight": blocks.frozen_weight,
                **quality(Y_true, scores[-1], X_held.weights_N),
            })  # fmt: skip
        best = max(range(len(tried)), key=lambda i: figures[i]["P@1"] + figures[i]["nDCG@10"])
        if best == 0:  # the plain one
            return {"chosen": 0, "tried": figures, "judgement": None}
        plain_name, name = (f"embedding of {_lengths(tried[i])}" for i in (0, best))
        weights_n = rows.weights_of(held.validation)
        step = judge_step(name, plain_name, Y_true, scores[best], scores[0], weights_n)
        chosen = best if step.ships else 0
        return {"chosen": chosen, "tried": figures, "judgement": step.to_dict()}

    keys = {f"blocks {i}": blocks.hash for i, blocks in enumerate(candidates)}
    parameters = {"search": search, "tried": WEIGHTS}
    output = runner.run(BLOCK_WEIGHTS, make, {**inputs, **keys}, parameters=parameters)
    chosen = output.value
    logger.info("lengths of the embedding on %d held-out rows: %s", len(held.validation), chosen)
    if chosen["judgement"] is not None:
        runner.judgements.append(Judgement.from_dict(chosen["judgement"]))
    return tried[int(chosen["chosen"])]


def _lengths(blocks: Blocks) -> str:
    frozen = f", frozen one of {blocks.frozen_weight:g}" if blocks.frozen_weight else ""
    return f"length {blocks.weight:g}{frozen}"
