"""The deep model: matcher, hybrid rankers and neighbours beside the linear trees, fused on held-out
rows, and the verdict on it.

N training rows, L labels, F TF-IDF columns, H hidden width.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.devices import device_of
from xrt.encoder.pacing import TimeLimit
from xrt.encoder.params import Precision
from xrt.fusion.candidates import Candidates
from xrt.hybrid import HybridMatrix
from xrt.model import XrtModel
from xrt.model_encoder import ModelEncoder
from xrt.pipeline.blocks import Blocks, make_blocks
from xrt.pipeline.encoding import MatcherOutputs, fine_tune_matcher
from xrt.pipeline.fusing import (
    HeldOutRows,
    choose_fusion,
    held_out_scores,
    with_fusion,
)
from xrt.pipeline.linear import tree_trainer
from xrt.pipeline.params import MatcherFeatures
from xrt.pipeline.rows import HeldOut, TrainingRows, hold_out, lazy_hash, make_features
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.source_fits import fit_sources, with_sources
from xrt.pipeline.trees import grow_trees
from xrt.pipeline.verdict import Verdict, no_held_out_rows, reach_verdict
from xrt.pipeline.word_trees import word_columns, word_inputs
from xrt.sources.base import Source, Training
from xrt.sparse import as_csr
from xrt.storage.stages import Hash


def fit_deep(
    runner: StageRunner,
    rows: TrainingRows,
    model: XrtModel,
    compared: bool,
    limit: TimeLimit | None = None,
    watch: Callable[[MatcherOutputs], None] | None = None,
) -> tuple[XrtModel, XrtModel | None, Verdict, HeldOutRows]:
    """Join the linear model by what the encoder adds, and see whether that is better.

    Args:
        runner: runs the stages.
        rows: the training rows; they have texts.
        model: the linear model of all rows.
        compared: finish the deep model even where it does not ship.
        limit: a time that the fine-tuning keeps.
        watch: is shown the fine-tuned matcher, before rankers are trained.

    Returns:
        The linear model, calibrated; the deep one, or None; the verdict; the held-out rows.

    Raises:
        DataError: no row can be held out.
    """
    params, corpus = runner.params, rows.corpus
    held = hold_out(rows, params.validation_rows, params.seed)
    if held is None:
        raise no_held_out_rows(corpus)
    inputs = {**rows.inputs, **held.inputs, "texts": lazy_hash(corpus.texts)}
    matcher, matcher_hash = _fine_tune(runner, rows, held, inputs, limit)
    if watch is not None:
        watch(matcher)
    inputs["matcher"] = matcher_hash
    blocks = make_blocks(runner, rows, matcher, matcher_hash, held, model.search, inputs)
    inputs |= rows.name_inputs

    def score() -> Candidates:
        trial = _deep_model(runner, model, rows, matcher, blocks, held.train, inputs, "fit-")
        every = held.every
        held_rows = trial.source_rows(as_csr(rows.X_NF[every]), blocks.embeddings(every))
        return trial.candidates(held_rows, runner.candidates, runner.num_threads)

    own = {**inputs, **rows.source_inputs, **blocks.inputs, **word_inputs(params, rows.features)}
    fits = choose_fusion(runner, rows, held, score, own)
    chosen = fits.value
    known = {"labels": inputs["labels"], **held.inputs, "fusion": fits.hash}
    verdict = reach_verdict(runner, rows, held, chosen, known)
    runner.judgements.append(verdict.judgement)
    ships = chosen.fused if verdict.ships_deep else chosen.linear
    runner.judgements.extend(ships.judgements)
    linear = with_fusion(model, chosen.linear)
    slices = ships.figures.get("slices", {})
    scores = held_out_scores(linear=chosen.linear, deep=chosen.fused)
    held_out = HeldOutRows(held.validation, chosen.sources, verdict.criterion, scores, slices)
    if not (compared or verdict.ships_deep):
        return linear, None, verdict, held_out
    every_row = np.arange(corpus.num_instances)
    deep = _deep_model(runner, model, rows, matcher, blocks, every_row, inputs, "")
    return linear, with_fusion(deep, chosen.fused), verdict, held_out


def _fine_tune(
    runner: StageRunner,
    rows: TrainingRows,
    held: HeldOut,
    inputs: Mapping[str, Hash],
    limit: TimeLimit | None,
) -> tuple[MatcherOutputs, Hash]:
    """The matcher, on a tree over the run's rows or over those of `matcher_features`."""
    params, words = runner.params, runner.params.features.single_words
    inputs = {name: inputs[name] for name in ("rows", "labels", "texts", "held out")}
    X_NF = rows.X_NF
    if params.matcher_features is MatcherFeatures.words and params.features != words:
        made, inputs["rows"] = make_features(runner, rows.corpus, words, name="matcher-features")
        X_NF = made.X_NF
    X = HybridMatrix.of(as_csr(X_NF[held.train])).weighted(rows.weights_of(held.train))
    (tree,) = grow_trees(
        runner, "matcher-tree", X, rows.labels_of(held.train), rows.corpus.labels, inputs,
        params.matcher_tree.tree,
    )  # fmt: skip
    return fine_tune_matcher(runner, rows, tree, held, inputs, limit)


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
    params, corpus = runner.params, rows.corpus
    others = np.setdiff1d(np.arange(corpus.num_instances), used)

    def inputs_of(source: type[Source]) -> Mapping[str, Hash]:
        if source.uses_embeddings:
            return {**inputs, **blocks.inputs}
        seen = {**rows.inputs, "held out": inputs["held out"]}  # nothing of the matcher's
        return {**seen, **rows.name_inputs}

    training = Training(
        blocks.rows(rows, used),
        rows.labels_of(used),
        params,
        tree_trainer(
            runner,
            prefix,
            corpus.labels,
            inputs_of,
            words=word_columns(params, rows.features, rows.X.num_dense),
        ),
        model.search,
        rows.names,
        None if rows.names is None else lambda: blocks.names(runner, rows),
        matcher.head,
        rows.name_words,
        blocks.rows(rows, others) if len(others) else None,
        runner.num_threads,
    )
    device = device_of(params.trainer)
    frozen = blocks.frozen_folder
    encoder = ModelEncoder(
        tuned=TextEncoder.load(matcher.encoder_folder).to(device),
        weight=blocks.weight,
        frozen=None if frozen is None else TextEncoder.load(frozen).to(device),
        frozen_weight=blocks.frozen_weight,
        bf16=params.trainer.precision is not Precision.fp32,
    )
    # the linear trees of all rows must not judge rows that they were trained on
    fitted = None if prefix else model.sources
    return with_sources(replace(model, encoder=encoder), fit_sources(training, fitted))
