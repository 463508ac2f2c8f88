"""Puts the stages together: linear first, then what the encoder adds, then how they are fused."""

import logging
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from xrt.atomic import write_json
from xrt.data.corpus import Corpus
from xrt.data.splits import validation_split
from xrt.deep import DeepPart
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.embed import best_device
from xrt.encoder.params import Precision
from xrt.errors import ConfigError
from xrt.hashing import content_hash
from xrt.hybrid import HybridMatrix, unit_rows
from xrt.model import XrtModel
from xrt.pipeline.fit import (
    Matched,
    Rows,
    StageRunner,
    grow_tree,
    make_rows,
    match,
    rank,
    rank_trees,
)
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trees import TreeGrower, hold_out
from xrt.pipeline.verdict import Verdict, reach_verdict
from xrt.ranker import TreeRanker
from xrt.reading import read_json_bounded
from xrt.search.beam import SearchParams
from xrt.search.ensemble import CANDIDATES
from xrt.search.fusion import fit_weights
from xrt.search.label_head import LabelHead
from xrt.search.neighbours import DenseNeighbours, SparseNeighbours
from xrt.search.path_weight import choose_path_weight
from xrt.search.shortlist import IndexKind, Shortlist, centroids
from xrt.sparse import as_csr, save_csr

logger = logging.getLogger(__name__)

SOURCES = ("linear", "ranker", "matcher", "neighbours", "embedding_neighbours")


def fit_linear(runner: StageRunner, corpus: Corpus) -> tuple[XrtModel, Rows]:
    """The linear model on all rows: features, trees, rankers, and how they are searched."""
    rows, params = make_rows(runner, corpus), runner.params
    inputs = {"rows": rows.key, "labels": content_hash(corpus.Y)}
    X = HybridMatrix.of(rows.X_NF)
    search = params.search
    if search.path_weight is None:
        search = _choose_path_weight(runner, corpus, X, inputs)
    linear = rank_trees(runner, "", X, corpus.Y, corpus.labels, inputs, params.num_trees)
    return XrtModel(corpus.labels, rows.features, linear, search=search), rows


def _choose_path_weight(
    runner: StageRunner, corpus: Corpus, X: HybridMatrix, inputs: dict[str, str]
) -> SearchParams:
    """The search with the path weight that is best for one tree on rows it was not trained on."""
    params = runner.params
    held = hold_out(corpus.Y, params.validation_rows, params.seed)
    if held is None:
        return replace(params.search, path_weight=1.0)
    inputs = {**inputs, "held out": content_hash(held.validation)}
    X_fit, Y_fit = X.take(held.train), as_csr(corpus.Y[held.train])
    trial = rank_trees(runner, "trial-", X_fit, Y_fit, corpus.labels, inputs, 1)

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
            "say encoder=none, or give a file with texts"
        )


def fit_deep(
    runner: StageRunner, corpus: Corpus, model: XrtModel, rows: Rows, compared: bool = True
) -> tuple[XrtModel | None, Verdict]:
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
        "labels": content_hash(corpus.Y),
        "texts": content_hash(corpus.texts),
        "held out": content_hash(held_out),
    }
    X_fit, Y_fit = as_csr(rows.X_NF[fit_rows]), as_csr(corpus.Y[fit_rows])
    grower = TreeGrower(HybridMatrix.of(X_fit), Y_fit, runner.num_threads, runner.progress)
    tree, tree_key = grow_tree(
        runner, "matcher-tree", params.matcher_tree, grower, corpus.labels, inputs
    )
    del grower
    matched = match(runner, corpus, tree, fit_rows, held_out, {**inputs, "tree": tree_key})
    inputs["matcher"] = matched.key
    trial = _deep_model(runner, corpus, model, rows, matched, fit_rows, inputs, "fit-")
    fusion = _choose_fusion(runner, corpus, trial, rows, matched, held_out, inputs)
    verdict = reach_verdict(runner, corpus, split, fusion, inputs)
    if not (compared or verdict.ships_deep):
        return None, verdict
    every_row = np.arange(corpus.num_instances)
    if params.refit:
        trial = _deep_model(runner, corpus, model, rows, matched, every_row, inputs, "")
    return _with_fusion(trial, fusion), verdict


def _deep_model(
    runner: StageRunner,
    corpus: Corpus,
    model: XrtModel,
    rows: Rows,
    matched: Matched,
    used: np.ndarray,
    inputs: dict[str, str],
    prefix: str,
) -> XrtModel:
    """All sources trained on the `used` rows; every source has weight 1 until fusion is chosen."""
    params = runner.params
    Y = as_csr(corpus.Y[used])
    X_NF, unit_NH = as_csr(rows.X_NF[used]), unit_rows(matched.embeddings_NH[used])
    X = HybridMatrix.of(X_NF, unit_NH * np.float32(params.embedding_weight))
    inputs = {**inputs, "weight": str(params.embedding_weight)}
    grower = TreeGrower(X, Y, runner.num_threads, runner.progress)
    tree, tree_key = grow_tree(
        runner, f"{prefix}ranker-tree", params.tree, grower, corpus.labels, inputs
    )
    del grower
    ranker = rank(runner, f"{prefix}ranker", X, Y, tree, {**inputs, "tree": tree_key})
    if prefix:  # the linear model of all rows must not judge rows it was trained on
        linear = rank_trees(
            runner, prefix, HybridMatrix.of(X_NF), Y, corpus.labels, inputs, params.num_trees
        )
        model = replace(model, linear=linear)
    deep = DeepPart(
        encoder=TextEncoder.load(matched.encoder_folder).to(
            best_device(params.trainer.accelerator)
        ),
        ranker=ranker,
        head=None if matched.head is None else LabelHead(*matched.head),
        fusion=dict.fromkeys(SOURCES, 1.0),
        embedding_weight=params.embedding_weight,
        shortlist=_shortlist(runner, ranker, unit_NH, Y),
        neighbours=SparseNeighbours(X_NF, Y, params.neighbours),
        embedding_neighbours=DenseNeighbours(unit_NH, Y, params.embedding_neighbours),
        bf16=params.trainer.precision is not Precision.fp32,
    )
    return replace(model, deep=deep)


def _shortlist(
    runner: StageRunner, ranker: TreeRanker, unit_NH: np.ndarray, Y: object
) -> Shortlist | None:
    """An index over the clusters just above the labels; a flat tree has none."""
    params, depth = runner.params.shortlist, ranker.tree.depth
    if params.index is IndexKind.none or depth < 2:
        return None
    level = depth - 2
    vectors_KH = centroids(unit_NH, ranker.tree.level_targets(as_csr(Y))[level])
    shortlist = Shortlist(vectors_KH, params, level)
    sample_NH = unit_NH[:: max(1, len(unit_NH) // 500)]
    recall = shortlist.recall(sample_NH, min(10, params.width))
    logger.info("shortlist of %d clusters: recall@10 %.3f", shortlist.num_nodes, recall)
    return shortlist


def _choose_fusion(
    runner: StageRunner,
    corpus: Corpus,
    trial: XrtModel,
    rows: Rows,
    matched: Matched,
    held_out: np.ndarray,
    inputs: dict[str, str],
) -> dict[str, float]:
    """Stage 8: the weights of the sources, chosen on the rows that none of them was trained on."""

    def produce(folder: Path) -> None:
        sources = trial.sources(
            as_csr(rows.X_NF[held_out]),
            np.asarray(matched.embeddings_NH[held_out]),
            num_threads=runner.num_threads,
        )
        write_json(folder / "fusion.json", asdict(fit_weights(sources, as_csr(corpus.Y[held_out]))))
        for name, scores_NL in sources.items():
            save_csr(folder / "sources", name, scores_NL)

    settings = {
        "search": asdict(trial.search),
        "num_trees": runner.params.num_trees,
        "shortlist": asdict(runner.params.shortlist),
        "neighbours": asdict(runner.params.neighbours),
        "embedding_neighbours": asdict(runner.params.embedding_neighbours),
        "ranker": asdict(runner.params.ranker),
        "tree": asdict(runner.params.tree),
        "candidates": CANDIDATES,
    }
    stage = runner.run("fusion", 4, settings, inputs, produce)
    chosen = read_json_bounded(stage.folder / "fusion.json")
    logger.info("fusion weights on %d validation rows: %s", len(held_out), chosen)
    return {str(name): float(weight) for name, weight in chosen["weights"].items()}


def _with_fusion(model: XrtModel, fusion: dict[str, float]) -> XrtModel:
    """The model with its fusion weights; memories that have no say are left out."""
    assert model.deep is not None
    dropped = {
        name: None for name in ("neighbours", "embedding_neighbours") if not fusion.get(name)
    }
    return replace(model, deep=replace(model.deep, fusion=fusion, **dropped))  # type: ignore[arg-type]
