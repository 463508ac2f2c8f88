"""Stage 8: how the scores of the sources are fused and calibrated, learnt on held-out rows.

N rows, L labels. A trial model of the other rows gives the scores of every source; what is learnt
from them goes into the model of all rows.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.splits import Split
from xrt.fusion.fit import FusionFit, fit_scores
from xrt.fusion.frequencies import LabelFrequencies
from xrt.fusion.fusion import Fusion
from xrt.hybrid import HybridMatrix
from xrt.model import XrtModel
from xrt.pipeline.fit import Rows, StageRunner, weights_of
from xrt.pipeline.hooks import HeldOutScores
from xrt.pipeline.label_rows import LabelRows
from xrt.pipeline.memories import sparse_memory
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trees import hold_out
from xrt.sources.trees import TreeEnsemble
from xrt.sparse import as_csr, load_csr, save_csr
from xrt.storage.hashing import content_hash

logger = logging.getLogger(__name__)

SOURCES = ("linear", "ranker", "matcher", "neighbours", "embedding_neighbours")

Scores = Mapping[str, sp.csr_array]


@dataclass(frozen=True, eq=False)
class Learnt:
    """What was learnt for all sources, and for the linear trees alone."""

    fused: FusionFit
    linear: FusionFit


def every_source(params: PipelineParams, deep: bool) -> Fusion:
    """What a trial model is asked for: all sources there are, neighbours where rows are to vote."""
    asked = ["linear"] + ["ranker", "matcher"] * deep
    if params.neighbours.num_neighbours:
        asked.append("neighbours")
    if deep and params.embedding_neighbours.num_neighbours:
        asked.append("embedding_neighbours")
    return Fusion(dict.fromkeys(asked, 1.0))


def frequencies_of(runner: StageRunner, Y_NL: sp.csr_array) -> LabelFrequencies:
    """How often each label occurs in the rows Y (N, L)."""
    counts_L = np.bincount(Y_NL.indices, minlength=Y_NL.shape[1])
    return LabelFrequencies(counts_L, Y_NL.shape[0], runner.params.dataset.propensity)


def learn_scores(
    runner: StageRunner,
    corpus: Corpus,
    split: Split,
    score: Callable[[], Scores],
    inputs: dict[str, str],
    name: str = "fusion",
    baseline: str | None = None,
) -> Learnt:
    """Fusion and calibration from `score()`, the sources' scores of the held-out rows; the scores
    are kept in the folder of the stage `name`. A `baseline` as in `fit_scores`.
    """
    params = runner.params

    def produce(folder: Path) -> None:
        found = score()
        sources = {name: found[name] for name in SOURCES if name in found}
        Y_true = as_csr(corpus.Y[split.validation])
        frequencies = frequencies_of(runner, as_csr(corpus.Y[split.train]))
        weights_n = weights_of(corpus, split.validation)
        fused = fit_scores(sources, Y_true, frequencies, params.seed, baseline, weights_n)
        fused.save(folder / "fused")
        alone = {"linear": sources["linear"]}
        linear = fit_scores(alone, Y_true, frequencies, params.seed, "linear", weights_n)
        linear.save(folder / "linear")
        for source, scores_NL in sources.items():
            save_csr(folder / "sources", source, scores_NL)

    settings = {
        "search": asdict(params.search),
        "num_trees": params.num_trees,
        "num_deep_trees": params.num_deep_trees,
        "shortlist": asdict(params.shortlist),
        "neighbours": asdict(params.neighbours),
        "embedding_neighbours": asdict(params.embedding_neighbours),
        "ranker": asdict(params.ranker),
        "tree": asdict(params.tree),
        "propensity": asdict(params.dataset.propensity),
        "seed": params.seed,
        "candidates": runner.candidates,
    }
    stage = runner.run(name, 7, settings, inputs, produce)
    learnt = Learnt(*(FusionFit.load(stage.folder / part) for part in ("fused", "linear")))
    weights, figures = dict(learnt.fused.fusion.weights), dict(learnt.fused.figures)
    logger.info("fusion on %d held-out rows: %s, %s", len(split.validation), weights, figures)
    return learnt


def kept_sources(folder: Path) -> dict[str, sp.csr_array]:
    """The sources' scores of the held-out rows, as the stage in `folder` kept them."""
    kept = folder / "sources"
    return {n: load_csr(kept, n) for n in SOURCES if (kept / f"{n}.shape.json").is_file()}


def held_out_scores(runner: StageRunner, corpus: Corpus, model: XrtModel) -> HeldOutScores | None:
    """What the model's sources, not trained on them, say of the held-out rows, fused and calibrated
    as the model does; None where no row was held out.
    """
    params, deep = runner.params, runner.params.encoder is not None
    if not deep and not params.fused:
        return None
    held = hold_out(corpus.Y, params.validation_rows, params.seed)
    if held is None:
        return None
    sources = kept_sources(runner.folder / "stages" / ("fusion" if deep else "linear-fusion"))
    counts_L = None if model.frequencies is None else model.frequencies.counts_L
    scores_NL = model.fusion.scores(sources, counts_L, runner.candidates)
    if model.calibration is not None:
        assert counts_L is not None
        scores_NL = model.calibration.apply(scores_NL, counts_L)
    return HeldOutScores(held.validation, scores_NL)


def with_scores(model: XrtModel, learnt: FusionFit) -> XrtModel:
    """The model with what was learnt; memories that have no say are left out."""
    asked = learnt.fusion.sources
    deep = model.deep
    if deep is not None and "embedding_neighbours" not in asked:
        deep = replace(deep, embedding_neighbours=None)
    return replace(
        model,
        deep=deep,
        neighbours=model.neighbours if "neighbours" in asked else None,
        fusion=learnt.fusion,
        calibration=learnt.calibration,
    )


def fuse_linear(
    runner: StageRunner,
    corpus: Corpus,
    model: XrtModel,
    rows: Rows,
    names: LabelRows | None,
    train: Callable[[HybridMatrix, sp.csr_array, dict[str, str]], TreeEnsemble],
    inputs: dict[str, str],
) -> XrtModel:
    """The linear model joined by the votes of the nearest training rows where they help, and
    calibrated; as it was where no row can be held out.

    `train` gives the linear trees of other rows, with the `names` of labels.
    """
    held = hold_out(corpus.Y, runner.params.validation_rows, runner.params.seed)
    if held is None:
        return model
    inputs = {**inputs, "held out": content_hash(held.validation)}
    X_NF, Y_NL = as_csr(rows.X_NF[held.train]), as_csr(corpus.Y[held.train])
    weights_n = weights_of(corpus, held.train)
    told = inputs if names is None else {**inputs, **names.inputs}
    params = runner.params.neighbours

    def score() -> Scores:
        trial = replace(
            model,
            linear=train(HybridMatrix.of(X_NF).weighted(weights_n), Y_NL, inputs),
            neighbours=sparse_memory(X_NF, Y_NL, names, params, weights_n),
            fusion=every_source(runner.params, deep=False),
        )
        return trial.sources(
            as_csr(rows.X_NF[held.validation]), num_threads=runner.num_threads,
            candidates=runner.candidates,
        )  # fmt: skip

    learnt = learn_scores(runner, corpus, held, score, told, "linear-fusion", "linear").fused
    if "neighbours" in learnt.fusion.sources:
        memory = sparse_memory(rows.X_NF, corpus.Y, names, params, corpus.row_weights)
        model = replace(model, neighbours=memory)
    return with_scores(model, learnt)
