"""Stage 8: how the scores of the sources are fused and calibrated, chosen on held-out rows.

N rows, L labels. A trial model of the other rows gives the scores of every source; what is chosen
on them goes into the model of all rows.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.fusion.candidate_recall import CandidateRecall
from xrt.fusion.candidates import Candidates
from xrt.fusion.fit import FusionFit, fit_scores
from xrt.fusion.frequencies import LabelFrequencies
from xrt.model import XrtModel
from xrt.pipeline.hooks import HeldOutScores
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.rows import HeldOut, TrainingRows
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.slices import DRAWN, NEWEST, Slices, measure_scores, measure_slice
from xrt.sources.registry import BASELINE, OPTIONAL
from xrt.sparse import as_csr
from xrt.storage.stages import Hash, Settings, Stage, StageOutput, Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FusionFits:
    """What was chosen on the held-out rows.

    Attributes:
        fused: fusion and calibration of all sources.
        linear: those of the linear trees alone.
        sources: the candidates that they were chosen on, of n rows, scored by every source.
    """

    fused: FusionFit
    linear: FusionFit
    sources: Candidates


def _save_fits(fits: FusionFits, folder: Path) -> None:
    fits.fused.save(folder / "fused")
    fits.linear.save(folder / "linear")
    fits.sources.save(folder / "candidates")


def _load_fits(folder: Path) -> FusionFits:
    return FusionFits(
        FusionFit.load(folder / "fused"),
        FusionFit.load(folder / "linear"),
        Candidates.load(folder / "candidates"),
    )


FUSION = Stage(
    "fusion", 17,
    (
        "search", "num_trees", "num_deep_trees", "neighbours", "embedding_neighbours",
        "ranker", "tree", "dataset.propensity", "seed",
    ),
    _save_fits, _load_fits,
)  # fmt: skip


def frequencies_of(params: PipelineParams, Y_NL: sp.csr_array) -> LabelFrequencies:
    """How often each label occurs in the rows Y (N, L).

    Args:
        params: of these, `dataset.propensity` is used.
        Y_NL: labels of N rows, (N, L).

    Returns:
        Counts (L,) with the number of rows.
    """
    counts_L = np.bincount(Y_NL.indices, minlength=Y_NL.shape[1])
    return LabelFrequencies(counts_L, Y_NL.shape[0], params.dataset.propensity)


def choose_fusion(
    runner: StageRunner,
    rows: TrainingRows,
    held: HeldOut,
    score: Callable[[], Candidates],
    inputs: Mapping[str, Hash],
    name: str | None = None,
    baseline: str | None = None,
) -> StageOutput[FusionFits]:
    """Choose fusion and calibration on the held-out rows.

    Args:
        runner: runs the stage.
        rows: the training rows.
        held: rows to train on, and the held-out rows.
        score: gives the candidates of `held.every`, scored by sources trained on the former.
        inputs: hashes of all that `score` uses.
        name: of the stage.
        baseline: the source that a fusion must beat, as in `fit_scores`.

    Returns:
        What was chosen, and its hash.
    """

    def make(settings: Settings, workspace: Workspace) -> FusionFits:
        every, seed = score(), settings["seed"]
        size = len(held.validation)
        sources = every.rows(np.arange(size))
        Y_true = rows.labels_of(held.validation)
        frequencies = frequencies_of(runner.params, rows.labels_of(held.train))
        weights_n = rows.weights_of(held.validation)
        fused = fit_scores(
            sources, Y_true, frequencies, seed, baseline, weights_n, optional=OPTIONAL
        )
        recall = CandidateRecall.of(sources, Y_true, weights_n).to_dict()
        fused = replace(fused, figures={**fused.figures, "candidates": recall})
        alone = sources.alone(BASELINE)
        linear = fit_scores(alone, Y_true, frequencies, seed, BASELINE, weights_n)
        if len(held.drawn):
            drawn = every.rows(np.arange(size, every.num_rows))
            Y_drawn = rows.labels_of(held.drawn)
            fused, linear = (
                replace(fit, figures={**fit.figures, "slices": {
                    NEWEST: measure_scores(fit.held_out_NL, Y_true, fit.calibration is not None),
                    DRAWN: measure_slice(fit, drawn, Y_drawn, frequencies),
                }})
                for fit in (fused, linear)
            )  # fmt: skip
        return FusionFits(fused, linear, sources)

    output = runner.run(FUSION, make, inputs, name, {"candidates": runner.candidates})
    chosen = output.value.fused
    weights, figures = dict(chosen.fusion.weights), dict(chosen.figures)
    logger.info("fusion on %d held-out rows: %s, %s", len(held.validation), weights, figures)
    return output


def with_fusion(model: XrtModel, fit: FusionFit) -> XrtModel:
    """The model with what was chosen; sources without weight are left out where they may be.

    Args:
        model: the model.
        fit: fusion and calibration that were chosen.

    Returns:
        A new model; the one given stays as it is.
    """
    weighted = fit.fusion.sources
    sources = {
        name: source
        for name, source in model.sources.items()
        if name in weighted or source.stays_without_weight
    }
    return replace(model, sources=sources, fusion=fit.fusion, calibration=fit.calibration)


def held_out_scores(**fits: FusionFit) -> dict[str, sp.csr_array]:
    """The scores of the held-out rows, for `HeldOutRows.scores`.

    Args:
        **fits: the fit of each model, by its name.

    Returns:
        Scores by name; empty where one is not known.
    """
    scores = {name: fit.held_out_NL for name, fit in fits.items() if fit.held_out_NL is not None}
    return scores if len(scores) == len(fits) else {}


def criterion_of(fit: FusionFit) -> float:
    """(P@1 + nDCG@10) / 2, in [0, 1], of a fusion that had to beat the baseline, by cross-fitting.

    Args:
        fit: the fusion; its baseline was `BASELINE`.

    Returns:
        That of the baseline, and the gain over it where the fusion was taken.
    """
    alone, over = fit.figures["alone"][BASELINE], fit.figures["over " + BASELINE]
    gain = over["gain"] if over["better"] else 0.0
    return float((alone["P@1"] + alone["nDCG@10"]) / 2 + gain)


@dataclass(frozen=True, eq=False)
class HeldOutRows:
    """The held-out rows, positions (n,), and their candidates, scored by sources that were not
    trained on them.
    """

    rows: np.ndarray
    sources: Candidates
    criterion: float
    """(P@1 + nDCG@10) / 2, in [0, 1], of the model that ships, by cross-fitting: each half of the
    rows with the fusion that the other half gives."""
    scores: Mapping[str, sp.csr_array] = field(default_factory=dict)
    """The best scores of these rows, (n, L), by the model's name (`linear`, `deep`), each half with
    the fusion and calibration of the other; empty where an earlier version fitted them."""
    slices: Slices = field(default_factory=dict)
    """The newest rows and rows drawn at random, where times are known; else empty."""

    def recall_of(self, model: XrtModel, corpus: Corpus) -> CandidateRecall:
        """How many of the true labels the sources of a model name.

        Args:
            model: the model, for its sources; it scores nothing itself.
            corpus: the training corpus.

        Returns:
            Recall by source and for their union.
        """
        weights_N = corpus.row_weights
        return CandidateRecall.of(
            self.sources.of_sources(model.fusion.sources),
            as_csr(corpus.Y[self.rows]),
            None if weights_N is None else weights_N[self.rows],
        )

    def scored_by(self, model: XrtModel, candidates: int) -> HeldOutScores:
        """The rows with scores as the model fuses and calibrates them.

        Args:
            model: the model, for its fusion and calibration; it scores nothing itself.
            candidates: labels of each row.

        Returns:
            The rows and their scores, (n, L).
        """
        counts_L = None if model.frequencies is None else model.frequencies.counts_L
        scores_NL = model.fusion.scores(self.sources, counts_L, candidates)
        if model.calibration is not None:
            assert counts_L is not None
            scores_NL = model.calibration.apply(scores_NL, counts_L)
        return HeldOutScores(self.rows, scores_NL)
