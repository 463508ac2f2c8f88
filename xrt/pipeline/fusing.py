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
from xrt.model import XrtModel
from xrt.pipeline.fit import Rows, StageRunner, weights_of
from xrt.pipeline.hooks import HeldOutScores
from xrt.pipeline.label_rows import LabelRows
from xrt.pipeline.source_fits import fit_sources, with_sources
from xrt.pipeline.trees import hold_out
from xrt.sources.base import Training
from xrt.sources.registry import BASELINE, SOURCES
from xrt.sparse import as_csr, load_csr, save_csr
from xrt.storage.hashing import content_hash

logger = logging.getLogger(__name__)

Scores = Mapping[str, sp.csr_array]


@dataclass(frozen=True, eq=False)
class Learnt:
    """What was learnt for all sources, and for the linear trees alone."""

    fused: FusionFit
    linear: FusionFit


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
        sources = score()
        Y_true = as_csr(corpus.Y[split.validation])
        frequencies = frequencies_of(runner, as_csr(corpus.Y[split.train]))
        weights_n = weights_of(corpus, split.validation)
        fused = fit_scores(sources, Y_true, frequencies, params.seed, baseline, weights_n)
        fused.save(folder / "fused")
        alone = {BASELINE: sources[BASELINE]}
        linear = fit_scores(alone, Y_true, frequencies, params.seed, BASELINE, weights_n)
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
    """The model with what was learnt; sources without weight are left out where they may be."""
    weighted = learnt.fusion.sources
    sources = {
        name: source
        for name, source in model.sources.items()
        if name in weighted or source.stays_without_weight
    }
    return replace(model, sources=sources, fusion=learnt.fusion, calibration=learnt.calibration)


def fuse_linear(
    runner: StageRunner,
    corpus: Corpus,
    model: XrtModel,
    rows: Rows,
    names: LabelRows | None,
    training_of: Callable[[str, np.ndarray | None, dict[str, str]], Training],
    inputs: dict[str, str],
) -> XrtModel:
    """The linear model joined by further sources where they help, and calibrated; as it was where
    no row can be held out.

    `training_of` gives the training on some rows, or on all, with the prefix of its stages.
    """
    held = hold_out(corpus.Y, runner.params.validation_rows, runner.params.seed)
    if held is None:
        return model
    inputs = {**inputs, "held out": content_hash(held.validation)}
    told = inputs if names is None else {**inputs, **names.inputs}

    def score() -> Scores:
        trial = with_sources(model, fit_sources(training_of("fit-", held.train, inputs)))
        return trial.score_sources(
            trial.source_rows(as_csr(rows.X_NF[held.validation])),
            runner.candidates, runner.num_threads,
        )  # fmt: skip

    learnt = learn_scores(runner, corpus, held, score, told, "linear-fusion", BASELINE).fused
    further = learnt.fusion.sources - set(model.sources)
    if further:
        model = with_sources(
            model, fit_sources(training_of("", None, inputs), model.sources, further)
        )
    return with_scores(model, learnt)
