"""What is learnt on held-out rows of how sources become scores: fusion, curves, thresholds.

N held-out rows, L labels. Each choice is judged by cross-fitting before it is made on all rows, and
made only where it helps there.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError
from xrt.fusion.calibration import LOWEST_COUNTS, Calibration, fit_calibration, hits_of
from xrt.fusion.candidates import Candidates
from xrt.fusion.cross_fitting import Sources, cross_fitted, gain_of
from xrt.fusion.frequencies import LabelFrequencies
from xrt.fusion.fusion import Fusion, fit_fusion
from xrt.fusion.judging import judge_step
from xrt.fusion.thresholds import tune_thresholds
from xrt.fusion.weights import fit_weights, fuse
from xrt.metrics.calibration import reliability
from xrt.metrics.judgement import Judgement
from xrt.sources.base import CANDIDATES
from xrt.sparse import load_csr, save_csr, top_k_rows
from xrt.storage.atomic import write_json
from xrt.storage.reading import read_json_bounded

logger = logging.getLogger(__name__)

FEWEST_ROWS = 50
"""Held-out rows on which a fusion may beat the baseline; noise does on fewer."""
MIN_HITS = 50
"""True predictions among the held-out rows' candidates that calibration needs."""

KEPT = 10
"""Scores of each held-out row that are kept for the report."""
HELD_OUT = "held-out"
"""The file of these scores."""
ECE_K = 5
BOOSTING = "boosted trees over the scores of the sources"


@dataclass(frozen=True, eq=False)
class FusionFit:
    """The fusion of the sources, the calibration (None where there was too little to learn it
    from), and what was found about both on the held-out rows, by cross-fitting; each learnt step
    beside its plain alternative in `judgements`. `held_out_NL` are the best KEPT scores of each
    held-out row, fused and calibrated by what the other half of the rows gave; None where the fit
    was saved by an earlier version.
    """

    fusion: Fusion
    calibration: Calibration | None
    figures: Mapping[str, Any]
    judgements: tuple[Judgement, ...] = ()
    held_out_NL: sp.csr_array | None = None

    def save(self, folder: Path) -> None:
        """Write all of it into a folder.

        Args:
            folder: the folder; it is made where it does not exist.
        """
        folder.mkdir(parents=True, exist_ok=True)
        calibration = None if self.calibration is None else self.calibration.to_dict()
        content = {
            "fusion": self.fusion.save(folder),
            "calibration": calibration,
            "figures": dict(self.figures),
            "judgements": [judgement.to_dict() for judgement in self.judgements],
        }
        write_json(folder / "scores.json", content)
        if self.held_out_NL is not None:
            save_csr(folder, HELD_OUT, self.held_out_NL)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Args:
            folder: the folder that `save` wrote.

        Returns:
            The fit.

        Raises:
            ArtifactError: it is damaged.
        """
        content = read_json_bounded(folder / "scores.json")
        try:
            weighted = content["fusion" if "fusion" in content else "mixture"]  # its earlier name
            calibrated, figures = content["calibration"], content["figures"]
            judgements = tuple(map(Judgement.from_dict, content.get("judgements", ())))
        except (KeyError, TypeError) as err:
            raise ArtifactError(f"{folder}: unreadable scores.json ({err!r}); run again") from err
        calibration = None if calibrated is None else Calibration.from_dict(calibrated)
        scored = any(folder.glob(f"{HELD_OUT}*"))
        held_out_NL = load_csr(folder, HELD_OUT) if scored else None
        return cls(Fusion.load(weighted, folder), calibration, figures, judgements, held_out_NL)


def fit_scores(
    sources: Sources,
    Y_true: sp.csr_array,
    frequencies: LabelFrequencies,
    seed: int,
    baseline: str | None = None,
    weights_N: np.ndarray | None = None,
    optional: Sequence[str] = (),
) -> FusionFit:
    """Fusion, calibration and thresholds of sources (N, L) that were not trained on these rows.

    Trees are kept where they are better than weights alone, and of more than two sources an
    `optional` one where the fusion is better with it than without, by however little: many small
    gains make a large one. Where a `baseline` is named, a fusion is kept only where it is better
    than that source alone, and never on fewer than FEWEST_ROWS rows. Otherwise better is by at
    least one standard error of (P@1 + nDCG@10) / 2 over the rows.
    `frequencies` are those of the rows that the sources were trained on. `weights_N` is how much
    each row counts. Confidences of labels reach trees and curves; where rankings are compared a
    label is true or not.

    Args:
        sources: scores of each source by its name, csr_array (N, L).
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.
        frequencies: how often labels occur in the rows that the sources were trained on.
        seed: seed of what is random.
        baseline: name of the source that a fusion has to be better than; None: no such test.
        weights_N: how much each row counts, (N,); None counts all alike.
        optional: names of sources that the fusion is also tried without, one after the other.

    Returns:
        The fusion, the calibration with thresholds, and figures by name. The calibration is None
        with fewer than MIN_HITS true predictions.
    """
    sources = Candidates.of(sources)
    fitted = fit_weights(sources, Y_true, weights_N)
    figures: dict[str, Any] = {"weighted": fitted.figures, "alone": fitted.alone}
    fused_NL = cross_fitted_fusion(sources, Y_true, frequencies, seed, False, weights_N)
    boosted = False
    judgements = []
    if len(sources) > 1:  # a source alone stays what it is: the baseline of every report
        boosted_NL = cross_fitted_fusion(sources, Y_true, frequencies, seed, True, weights_N)
        step = judge_step(BOOSTING, "weighted mean of the sources", Y_true, boosted_NL, fused_NL,
                          weights_N)  # fmt: skip
        judgements.append(step)
        figures["boosted"] = _gain(step)
        if step.ships:
            fused_NL, boosted = boosted_NL, True
    for name in optional:
        if name not in sources or len(sources) < 3:  # two are judged as a fusion over the baseline
            continue
        fewer = sources.of_sources([other for other in sources if other != name])
        without_NL = cross_fitted_fusion(fewer, Y_true, frequencies, seed, boosted, weights_N)
        step = judge_step(f"source {name}", "the fusion without it", Y_true, fused_NL, without_NL,
                          weights_N)  # fmt: skip
        step = replace(step, ships=step.learnt > step.plain)
        judgements.append(step)
        if not step.ships:
            sources, fused_NL = fewer, without_NL
    if baseline is not None:
        alone_NL = fuse(sources, {baseline: 1.0}, CANDIDATES)
        name = f"fusion of {', '.join(sources)}"
        step = judge_step(name, f"{baseline} alone", Y_true, fused_NL, alone_NL, weights_N)
        if step.ships and Y_true.shape[0] < FEWEST_ROWS:
            note = f"{Y_true.shape[0]} held-out rows cannot tell; {FEWEST_ROWS} can"
            step = replace(step, ships=False, note=note)
        figures["over " + baseline] = _gain(step)
        if len(sources) > 1:
            judgements.append(step)
        if not step.ships:
            judgements = [
                each if each is step or not each.ships
                else replace(each, ships=False, note="fusion does not ship")
                for each in judgements
            ]  # fmt: skip
            sources, fused_NL, boosted = sources.alone(baseline), alone_NL, False
    fusion = fit_fusion(sources, Y_true, frequencies.counts_L, boosted, seed, weights_N)
    calibration, held_out_NL = None, fused_NL
    if int(hits_of(fused_NL, Y_true).sum()) >= MIN_HITS:
        calibration, held_out_NL, calibration_figures, step = _calibrate(
            fused_NL, Y_true, frequencies, seed, weights_N
        )
        figures.update(calibration_figures)
        judgements.append(step)
    else:
        logger.info("too few held-out rows to calibrate scores; they stay ranks in [0, 1]")
    kept_NL = top_k_rows(held_out_NL, KEPT)
    return FusionFit(fusion, calibration, figures, tuple(judgements), kept_NL)


def cross_fitted_fusion(
    sources: Sources,
    Y_true: sp.csr_array,
    frequencies: LabelFrequencies,
    seed: int,
    boosted: bool,
    weights_N: np.ndarray | None = None,
) -> sp.csr_array:
    """Scores of the fusion on rows (N, L), each half by what was fitted on the other.

    Args:
        sources: scores of each source by its name, csr_array (N, L).
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.
        frequencies: how often labels occur in the rows that the sources were trained on.
        seed: seed of what is random.
        boosted: whether trees score the candidates anew.
        weights_N: how much each row counts, (N,); None counts all alike.

    Returns:
        At most CANDIDATES labels a row, csr_array (N, L).
    """
    counts_L = frequencies.counts_L
    return cross_fitted(
        Candidates.of(sources), Y_true, seed,
        lambda s, Y, w: fit_fusion(s, Y, counts_L, boosted, seed, w),
        lambda chosen, s: chosen.scores(s, counts_L, CANDIDATES), weights_N,
    )  # fmt: skip


def _gain(step: Judgement) -> dict[str, float | bool | None]:
    gain = step.learnt - step.plain
    return {"gain": gain, "standard_error": step.error, "better": step.ships}


def _calibrate(
    fused_NL: sp.csr_array,
    Y_true: sp.csr_array,
    frequencies: LabelFrequencies,
    seed: int,
    weights_N: np.ndarray | None,
) -> tuple[Calibration, sp.csr_array, dict[str, Any], Judgement]:
    """Curves by frequency where they rank no worse and are better calibrated than one for all; with
    the scores of each half by the curves of the other.
    """
    counts_L, source = frequencies.counts_L, {"fused": fused_NL}

    def judged(lowest_counts: tuple[int, ...]) -> sp.csr_array:
        return cross_fitted(
            source, Y_true, seed + 1,
            lambda s, Y, w: fit_calibration(s["fused"], Y, counts_L, lowest_counts, w),
            lambda chosen, s: chosen.apply(s["fused"], counts_L), weights_N,
        )  # fmt: skip

    one_NL, bins_NL = judged((0,)), judged(LOWEST_COUNTS)
    gain, _ = gain_of(Y_true, bins_NL, one_NL, weights_N)
    before, one, bins = (
        reliability(Y_true, s, ECE_K, weights_N) for s in (fused_NL, one_NL, bins_NL)
    )
    by_frequency = gain >= 0 and bins.expected_error <= one.expected_error
    lowest, calibrated_NL = (LOWEST_COUNTS, bins_NL) if by_frequency else ((0,), one_NL)
    calibration = fit_calibration(fused_NL, Y_true, counts_L, lowest, weights_N)
    thresholds = tune_thresholds(top_k_rows(calibrated_NL, CANDIDATES), Y_true, weights_N)
    figures = {
        f"ECE@{ECE_K}": {"before": before.expected_error, "after": one.expected_error},
        "by_frequency": {
            "kept": by_frequency, "gain": gain, f"ECE@{ECE_K}": bins.expected_error
        },
    }  # fmt: skip
    step = Judgement(
        name="calibration by the label's frequency", plain_name="one curve for all labels",
        figure=f"ECE@{ECE_K}, lower is better", plain=one.expected_error,
        learnt=bins.expected_error, error=None, ships=by_frequency,
        note="" if gain >= 0 or bins.expected_error > one.expected_error else "ranks are worse",
    )  # fmt: skip
    return replace(calibration, thresholds=thresholds), calibrated_NL, figures, step
