"""Puts the stages together: linear first, then what the encoder adds, then how they are fused."""

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.splits import Split, validation_split
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.embed import best_device
from xrt.encoder.params import Precision
from xrt.errors import ConfigError
from xrt.features.tfidf_params import TfidfParams
from xrt.fusion.path_weight import choose_path_weight
from xrt.hybrid import HybridMatrix
from xrt.model import XrtModel
from xrt.model_encoder import ModelEncoder
from xrt.pipeline.blocks import Blocks, make_blocks
from xrt.pipeline.fit import (
    Matched,
    Rows,
    StageRunner,
    grow_tree,
    labels_key,
    make_rows,
    match,
    rank_trees,
    weights_of,
)
from xrt.pipeline.fusing import (
    frequencies_of,
    fuse_linear,
    learn_scores,
    with_scores,
)
from xrt.pipeline.label_rows import LabelRows, label_rows
from xrt.pipeline.name_embeddings import embed_names
from xrt.pipeline.params import MatcherFeatures, PipelineParams
from xrt.pipeline.source_fits import fit_sources, with_sources
from xrt.pipeline.trees import TreeGrower, hold_out, taxonomy_input
from xrt.pipeline.verdict import Verdict, reach_verdict
from xrt.search.beam import SearchParams
from xrt.sources.base import Source, SourceRows, Training, TreeTrainer
from xrt.sources.linear_trees import LinearTrees
from xrt.sources.registry import BASELINE, by_name
from xrt.sources.trees import TreeEnsemble
from xrt.sparse import as_csr
from xrt.storage.atomic import write_json
from xrt.storage.hashing import content_hash
from xrt.storage.reading import read_json_bounded

logger = logging.getLogger(__name__)


def fit_linear(runner: StageRunner, corpus: Corpus) -> tuple[XrtModel, Rows]:
    """The linear model on all rows: features, trees, rankers, and how they are searched."""
    params = runner.params
    rows = make_rows(runner, corpus, params.features)
    taxonomy = taxonomy_input(params.tree, corpus.labels)
    inputs = {"rows": rows.key, "labels": labels_key(corpus), **taxonomy}
    X = HybridMatrix.of(rows.X_NF).weighted(corpus.row_weights)
    names = label_rows(rows.features, corpus.labels, params.label_text_weight)
    search = params.search
    if search.path_weight is None:
        search = _choose_path_weight(runner, corpus, X, names, inputs)

    def training_of(prefix: str, used: np.ndarray | None, told: dict[str, str]) -> Training:
        X_used, Y_used = X, corpus.Y
        if used is not None:
            X_used, Y_used = X.take(used), as_csr(corpus.Y[used])
        return Training(
            SourceRows(X_used), Y_used, params, _tree_trainer(runner, prefix, corpus, names, told),
            search, names, num_threads=runner.num_threads,
        )  # fmt: skip

    trees = LinearTrees.fit(training_of("", None, inputs))
    known = frequencies_of(runner, corpus.Y)
    model = XrtModel(
        corpus.labels, rows.features, by_name([trees]), search=search, frequencies=known
    )
    if params.encoder is None and params.fused:
        model = fuse_linear(runner, corpus, model, rows, names, training_of, inputs)
    return model, rows


def _tree_trainer(
    runner: StageRunner,
    prefix: str,
    corpus: Corpus,
    names: LabelRows | None,
    inputs: dict[str, str],
    blocks: Blocks | None = None,
) -> TreeTrainer:
    """Grows and trains trees as stages whose names begin with the prefix."""
    told = inputs if names is None else {**inputs, **names.inputs}

    def train(
        source: type[Source], X: HybridMatrix, Y_NL: sp.csr_array, num_trees: int
    ) -> TreeEnsemble:
        stages = "tree" if source.name == BASELINE else f"{source.name}-tree", source.name
        of_source = told
        if source.uses_embeddings:
            assert blocks is not None
            of_source = {**told, **blocks.settings}
        elif blocks is not None:  # what the matcher learnt does not reach these trees
            seen = {name: inputs[name] for name in ("rows", "labels", "held out")}
            of_source = seen if names is None else {**seen, **names.inputs}
        return rank_trees(runner, prefix, X, Y_NL, corpus.labels, of_source, num_trees, stages)

    return train


def _choose_path_weight(
    runner: StageRunner,
    corpus: Corpus,
    X: HybridMatrix,
    names: LabelRows | None,
    inputs: dict[str, str],
) -> SearchParams:
    """The search with the path weight that is best for one tree on rows it was not trained on."""
    params = runner.params
    held = hold_out(corpus.Y, params.validation_rows, params.seed)
    if held is None:
        return replace(params.search, path_weight=1.0)
    inputs = {**inputs, "held out": content_hash(held.validation)}
    X_fit, Y_fit = X.take(held.train), as_csr(corpus.Y[held.train])
    train = _tree_trainer(runner, "trial-", corpus, names, inputs)
    rows_fit = (X_fit, Y_fit) if names is None else names.join(X_fit, Y_fit)
    trial = train(LinearTrees, *rows_fit, 1)
    inputs = inputs if names is None else {**inputs, **names.inputs}

    def produce(folder: Path) -> None:
        rows, Y_true = X.take(held.validation), as_csr(corpus.Y[held.validation])
        chosen = choose_path_weight(trial, rows, Y_true, params.search, runner.num_threads)
        figures = {str(weight): found for weight, found in chosen.figures.items()}
        write_json(
            folder / "path_weight.json", {"path_weight": chosen.path_weight, "figures": figures}
        )

    settings = {name: asdict(getattr(params, name)) for name in ("search", "ranker", "tree")}
    stage = runner.run("path-weight", 1, settings, inputs, produce)
    chosen = read_json_bounded(stage.folder / "path_weight.json")
    logger.info("path weight on %d held-out rows: %s", len(held.validation), chosen)
    return replace(params.search, path_weight=float(chosen["path_weight"]))


def require_texts(params: PipelineParams, corpus: Corpus) -> None:
    """Raise ConfigError when an encoder is set and the corpus has rows of features, no texts."""
    if params.encoder is not None and corpus.texts is None:
        where = corpus.report.path or "the corpus"
        raise ConfigError(
            f"encoder is set, but {where} has rows of features instead of texts; "
            "give a file with texts",
            settings={"encoder=none": "to train a linear model"},
        )


@dataclass(frozen=True, eq=False)
class DeepFit:
    """The linear model, calibrated; the deep one, None where nobody asks for it; the verdict."""

    linear: XrtModel
    deep: XrtModel | None
    verdict: Verdict


def fit_deep(
    runner: StageRunner, corpus: Corpus, model: XrtModel, rows: Rows, compared: bool = True
) -> DeepFit:
    """The linear model joined by matcher, hybrid rankers and neighbours, fused on validation rows;
    and whether it is better than the linear model there.

    Where it does not ship and is not `compared` on other rows, it is not finished, and None.
    Raises ConfigError when the corpus has rows of features instead of texts.
    """
    params = runner.params
    require_texts(params, corpus)
    assert corpus.texts is not None
    size = max(1, min(params.validation_rows, corpus.num_instances // 10))
    split = validation_split(corpus.Y, size=size, seed=params.seed)
    fit_rows, held_out = split
    inputs = {
        "rows": rows.key,
        "labels": labels_key(corpus),
        "texts": content_hash(corpus.texts),
        "held out": content_hash(held_out),
    }
    matched = _fine_tune(runner, corpus, rows, split, inputs)
    inputs |= {"matcher": matched.key, **taxonomy_input(params.tree, corpus.labels)}
    blocks = make_blocks(runner, corpus, rows.X_NF, matched, split, model.search, inputs)
    names = label_rows(rows.features, corpus.labels, params.label_text_weight)
    inputs |= {} if names is None else names.inputs
    parts = matched, blocks, names
    trial = _deep_model(runner, corpus, model, rows, *parts, fit_rows, inputs, "fit-")

    def score() -> dict[str, sp.csr_array]:
        X_NF, embeddings_NM = as_csr(rows.X_NF[held_out]), blocks.embeddings(held_out)
        held_rows = trial.source_rows(X_NF, embeddings_NM)
        return trial.score_sources(held_rows, runner.candidates, runner.num_threads)

    learnt = learn_scores(runner, corpus, split, score, {**inputs, **blocks.settings})
    verdict = reach_verdict(runner, corpus, split, learnt.fused.fusion, inputs)
    linear = with_scores(model, learnt.linear)
    if not (compared or verdict.ships_deep):
        return DeepFit(linear, None, verdict)
    every_row = np.arange(corpus.num_instances)
    if params.refit:
        trial = _deep_model(runner, corpus, model, rows, *parts, every_row, inputs, "")
    return DeepFit(linear, with_scores(trial, learnt.fused), verdict)


def _fine_tune(
    runner: StageRunner, corpus: Corpus, rows: Rows, split: Split, inputs: dict[str, str]
) -> Matched:
    """The matcher, on a tree over the run's rows or over those of `matcher_features`."""
    params, (fit_rows, held_out) = runner.params, split
    words = TfidfParams()
    if params.matcher_features is MatcherFeatures.words and params.features != words:
        rows = make_rows(runner, corpus, words, "matcher-features")
        inputs = {**inputs, "rows": rows.key}
    X_fit, Y_fit = as_csr(rows.X_NF[fit_rows]), as_csr(corpus.Y[fit_rows])
    X = HybridMatrix.of(X_fit).weighted(weights_of(corpus, fit_rows))
    grower = TreeGrower(X, Y_fit, runner.num_threads, runner.progress)
    tree, key = grow_tree(
        runner, "matcher-tree", params.matcher_tree, grower, corpus.labels, inputs
    )
    del grower  # label features are not needed any more
    return match(runner, corpus, tree, fit_rows, held_out, {**inputs, "tree": key})


def _deep_model(
    runner: StageRunner,
    corpus: Corpus,
    model: XrtModel,
    rows: Rows,
    matched: Matched,
    blocks: Blocks,
    names: LabelRows | None,
    used: np.ndarray,
    inputs: dict[str, str],
    prefix: str,
) -> XrtModel:
    """All sources trained on the `used` rows; every source has weight 1 until fusion is chosen."""
    params = runner.params
    held = np.setdiff1d(np.arange(corpus.num_instances), used)
    held_out = blocks.rows(as_csr(rows.X_NF[held]), held) if len(held) else None
    training = Training(
        blocks.rows(as_csr(rows.X_NF[used]), used, weights_of(corpus, used)),
        as_csr(corpus.Y[used]),
        params,
        _tree_trainer(runner, prefix, corpus, names, inputs, blocks),
        model.search,
        names,
        None if names is None else lambda: embed_names(runner, names, blocks),
        matched.head,
        held_out,
        runner.num_threads,
    )
    device = best_device(params.trainer.accelerator)
    frozen = blocks.frozen_folder
    encoder = ModelEncoder(
        tuned=TextEncoder.load(matched.encoder_folder).to(device),
        weight=blocks.weight,
        frozen=None if frozen is None else TextEncoder.load(frozen).to(device),
        frozen_weight=blocks.frozen_weight,
        bf16=params.trainer.precision is not Precision.fp32,
    )
    # the linear model of all rows must not judge rows it was trained on
    fitted = None if prefix else model.sources
    return with_sources(replace(model, encoder=encoder), fit_sources(training, fitted))
