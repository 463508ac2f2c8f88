"""The deep model: matcher, hybrid rankers and neighbours beside the linear trees, fused on held-out
rows, and the verdict on it.

N training rows, L labels, F TF-IDF columns, H hidden width.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from xrt.data.splits import Split, validation_split
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.embed import best_device
from xrt.encoder.params import Precision
from xrt.features.tfidf_params import TfidfParams
from xrt.hybrid import HybridMatrix, unit_rows
from xrt.model import XrtModel
from xrt.pipeline.blocks import Blocks, make_blocks
from xrt.pipeline.encoding import MatcherOutputs, fine_tune_matcher
from xrt.pipeline.fusing import (
    HeldOutRows,
    SourceScores,
    choose_fusion,
    trial_fusion,
    with_fusion,
)
from xrt.pipeline.linear import train_linear_trees, train_trees
from xrt.pipeline.neighbours import dense_neighbours, sparse_neighbours
from xrt.pipeline.params import MatcherFeatures
from xrt.pipeline.rows import TrainingRows, lazy_hash, make_features
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.shortlists import make_shortlists
from xrt.pipeline.trees import grow_trees
from xrt.pipeline.verdict import Verdict, reach_verdict
from xrt.sources.deep import DeepPart
from xrt.sources.label_head import LabelHead
from xrt.sources.trees import TreeEnsemble
from xrt.sparse import as_csr
from xrt.storage.stages import Hash


def fit_deep(
    runner: StageRunner, rows: TrainingRows, model: XrtModel, compared: bool
) -> tuple[XrtModel, XrtModel | None, Verdict, HeldOutRows]:
    """Join the linear model by what the encoder adds, and see whether that is better.

    Args:
        runner: runs the stages.
        rows: the training rows; they have texts.
        model: the linear model of all rows.
        compared: finish the deep model even where it does not ship.

    Returns:
        The linear model, calibrated; the deep one, or None; the verdict; the held-out rows.
    """
    params, corpus = runner.params, rows.corpus
    size = max(1, min(params.validation_rows, corpus.num_instances // 10))
    split = validation_split(corpus.Y, size=size, seed=params.seed)
    held_out = split.validation
    held_out_input: dict[str, Hash] = {"held out": lazy_hash(held_out)}
    inputs = {**rows.inputs, **held_out_input, "texts": lazy_hash(corpus.texts)}
    matcher, matcher_hash = _fine_tune(runner, rows, split, inputs)
    inputs["matcher"] = matcher_hash
    blocks = make_blocks(runner, rows, matcher, matcher_hash, split, model.search, inputs)
    inputs |= rows.name_inputs

    def score() -> SourceScores:
        linear = train_linear_trees(
            runner, rows, split.train, "fit-", (), {**rows.inputs, **held_out_input},
            params.num_trees,
        )  # fmt: skip
        trial = replace(model, linear=linear)  # that of all rows has seen the held-out rows
        trial = _deep_model(runner, trial, rows, matcher, blocks, split.train, inputs, "fit-")
        return trial.sources(
            as_csr(rows.X_NF[held_out]), blocks.embeddings(held_out),
            num_threads=runner.num_threads, candidates=runner.candidates,
        )  # fmt: skip

    fits = choose_fusion(runner, rows, split, score, {**inputs, **blocks.inputs})
    chosen = fits.value
    known = {"labels": inputs["labels"], **held_out_input, "fusion": fits.hash}
    verdict = reach_verdict(runner, rows, split, chosen, known)
    linear, held = with_fusion(model, chosen.linear), HeldOutRows(held_out, chosen.sources)
    if not (compared or verdict.ships_deep):
        return linear, None, verdict, held
    every_row = np.arange(corpus.num_instances)
    deep = _deep_model(runner, model, rows, matcher, blocks, every_row, inputs, "")
    return linear, with_fusion(deep, chosen.fused), verdict, held


def _fine_tune(
    runner: StageRunner, rows: TrainingRows, split: Split, inputs: Mapping[str, Hash]
) -> tuple[MatcherOutputs, Hash]:
    """The matcher, on a tree over the run's rows or over those of `matcher_features`."""
    params, words = runner.params, TfidfParams()
    inputs = {name: inputs[name] for name in ("rows", "labels", "texts", "held out")}
    X_NF = rows.X_NF
    if params.matcher_features is MatcherFeatures.words and params.features != words:
        made, inputs["rows"] = make_features(runner, rows.corpus, words, name="matcher-features")
        X_NF = made.X_NF
    X = HybridMatrix.of(as_csr(X_NF[split.train])).weighted(rows.weights_of(split.train))
    (tree,) = grow_trees(
        runner, "matcher-tree", X, rows.labels_of(split.train), rows.corpus.labels, inputs,
        params.matcher_tree,
    )  # fmt: skip
    return fine_tune_matcher(runner, rows, tree, *split, inputs)


def _deep_model(
    runner: StageRunner,
    model: XrtModel,
    rows: TrainingRows,
    matcher: MatcherOutputs,
    blocks: Blocks,
    used: np.ndarray,
    inputs: Mapping[str, Hash],
    prefix: str,
) -> XrtModel:
    """All sources trained on the `used` rows; every source has weight 1 until fusion is chosen."""
    params, Y, weights = runner.params, rows.labels_of(used), rows.weights_of(used)
    names_RM = blocks.names(runner, rows)
    width = matcher.embeddings_NH.shape[1]
    device = best_device(params.trainer.accelerator)
    frozen = blocks.frozen_folder
    ranker = _hybrid_rankers(runner, prefix, rows, used, blocks, names_RM, inputs)
    deep = DeepPart(
        encoder=TextEncoder.load(matcher.encoder_folder).to(device),
        ranker=ranker,
        head=None if matcher.head is None else LabelHead(*matcher.head),
        embedding_weight=blocks.weight,
        frozen=None if frozen is None else TextEncoder.load(frozen).to(device),
        frozen_weight=blocks.frozen_weight,
        shortlists=make_shortlists(
            params.shortlist, model.search, ranker, blocks, rows.X_NF, rows.corpus.Y, used,
            runner.num_threads,
        ),
        embedding_neighbours=dense_neighbours(
            unit_rows(matcher.embeddings_NH[used]), Y, rows.names,
            None if names_RM is None else names_RM[:, :width],
            params.embedding_neighbours, weights,
        ),
        bf16=params.trainer.precision is not Precision.fp32,
    )  # fmt: skip
    votes = sparse_neighbours(as_csr(rows.X_NF[used]), Y, rows.names, params.neighbours, weights)
    return replace(model, deep=deep, neighbours=votes, fusion=trial_fusion(params, deep=True))


def _hybrid_rankers(
    runner: StageRunner,
    prefix: str,
    rows: TrainingRows,
    used: np.ndarray,
    blocks: Blocks,
    names_RM: np.ndarray | None,
    inputs: Mapping[str, Hash],
) -> TreeEnsemble:
    """Trees on [TF-IDF ; embeddings] of the `used` rows, and of the names of the labels."""
    X, Y_NL = blocks.rows(rows, used), rows.labels_of(used)
    if rows.names is not None:
        X, Y_NL = rows.names.join(X, Y_NL, names_RM)
    return train_trees(
        runner, X, Y_NL, rows.corpus.labels, {**inputs, **blocks.inputs}, prefix=prefix,
        names=("ranker-tree", "ranker"), num_trees=runner.params.num_deep_trees,
    )  # fmt: skip
