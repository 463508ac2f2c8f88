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
from xrt.hybrid import HybridMatrix, unit_rows
from xrt.model import XrtModel
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
    every_source,
    frequencies_of,
    fuse_linear,
    learn_scores,
    with_scores,
)
from xrt.pipeline.label_rows import LabelRows, label_rows
from xrt.pipeline.memories import dense_memory, sparse_memory
from xrt.pipeline.name_embeddings import embed_names
from xrt.pipeline.params import MatcherFeatures, PipelineParams
from xrt.pipeline.shortlists import make_shortlists
from xrt.pipeline.trees import TreeGrower, hold_out, taxonomy_input
from xrt.pipeline.verdict import Verdict, reach_verdict
from xrt.search.beam import SearchParams
from xrt.sources.deep import DeepPart
from xrt.sources.label_head import LabelHead
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
    linear = _rank_linear(runner, "", corpus, X, corpus.Y, names, inputs, params.num_trees)
    known = frequencies_of(runner, corpus.Y)
    model = XrtModel(corpus.labels, rows.features, linear, search=search, frequencies=known)
    if params.encoder is None and params.fused:

        def train(X: HybridMatrix, Y_NL: sp.csr_array, held: dict[str, str]) -> TreeEnsemble:
            return _rank_linear(runner, "fit-", corpus, X, Y_NL, names, held, params.num_trees)

        model = fuse_linear(runner, corpus, model, rows, names, train, inputs)
    return model, rows


def _rank_linear(
    runner: StageRunner,
    prefix: str,
    corpus: Corpus,
    X: HybridMatrix,
    Y_NL: sp.csr_array,
    names: LabelRows | None,
    inputs: dict[str, str],
    num_trees: int,
) -> TreeEnsemble:
    """Linear trees on rows X (N, F) with labels Y (N, L), and on the names of the labels."""
    if names is not None:
        X, Y_NL = names.join(X, Y_NL)
        inputs = {**inputs, **names.inputs}
    return rank_trees(runner, prefix, X, Y_NL, corpus.labels, inputs, num_trees)


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
    trial = _rank_linear(runner, "trial-", corpus, X_fit, Y_fit, names, inputs, 1)
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
        return trial.sources(
            X_NF, embeddings_NM, num_threads=runner.num_threads, candidates=runner.candidates
        )

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
    X_NF, Y = as_csr(rows.X_NF[used]), as_csr(corpus.Y[used])
    unit_NH = unit_rows(matched.embeddings_NH[used])
    ranker = _rank_hybrid(runner, prefix, corpus, X_NF, Y, used, blocks, names, inputs)
    if prefix:  # the linear model of all rows must not judge rows it was trained on
        X = HybridMatrix.of(X_NF).weighted(weights_of(corpus, used))
        seen = {name: inputs[name] for name in ("rows", "labels", "held out")}
        linear = _rank_linear(runner, prefix, corpus, X, Y, names, seen, params.num_trees)
        model = replace(model, linear=linear)
    width = matched.embeddings_NH.shape[1]
    names_RH = None if names is None else embed_names(runner, names, blocks)[:, :width]
    device = best_device(params.trainer.accelerator)
    frozen = blocks.frozen_folder
    deep = DeepPart(
        encoder=TextEncoder.load(matched.encoder_folder).to(device),
        ranker=ranker,
        head=None if matched.head is None else LabelHead(*matched.head),
        embedding_weight=blocks.weight,
        frozen=None if frozen is None else TextEncoder.load(frozen).to(device),
        frozen_weight=blocks.frozen_weight,
        shortlists=make_shortlists(
            params.shortlist,
            model.search,
            ranker,
            blocks,
            rows.X_NF,
            corpus.Y,
            used,
            runner.num_threads,
        ),
        embedding_neighbours=dense_memory(
            unit_NH, Y, names, names_RH, params.embedding_neighbours, weights_of(corpus, used)
        ),
        bf16=params.trainer.precision is not Precision.fp32,
    )
    memory = sparse_memory(X_NF, Y, names, params.neighbours, weights_of(corpus, used))
    return replace(model, deep=deep, neighbours=memory, fusion=every_source(params, deep=True))


def _rank_hybrid(
    runner: StageRunner,
    prefix: str,
    corpus: Corpus,
    X_NF: sp.csr_array,
    Y_NL: sp.csr_array,
    used: np.ndarray,
    blocks: Blocks,
    names: LabelRows | None,
    inputs: dict[str, str],
) -> TreeEnsemble:
    """Trees on [TF-IDF ; embeddings] of the `used` rows, and of the names of the labels."""
    X = blocks.join(X_NF, blocks.embeddings(used)).weighted(weights_of(corpus, used))
    inputs = {**inputs, **blocks.settings}
    if names is not None:
        X, Y_NL = names.join(X, Y_NL, embed_names(runner, names, blocks))
    num_trees, stages = runner.params.num_deep_trees, ("ranker-tree", "ranker")
    return rank_trees(runner, prefix, X, Y_NL, corpus.labels, inputs, num_trees, stages)
