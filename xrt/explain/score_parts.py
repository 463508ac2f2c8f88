"""How a label's score came about: sources, weighted mean, boosted trees, calibration.

One row; L labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.explain.explanation import ScoreParts, SourcePart
from xrt.fusion.candidates import Candidates
from xrt.fusion.weights import weighted_mean
from xrt.model import XrtModel
from xrt.sources.evidence import LabelEvidence
from xrt.sparse import as_csr, best_places, top_k_rows


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of one row at each step, all (1, L): of the sources, fused, boosted and calibrated."""

    weights: Mapping[str, float]
    sources: Candidates
    mean: sp.csr_array
    boosted: sp.csr_array | None
    calibrated: sp.csr_array | None

    @property
    def final(self) -> sp.csr_array:
        """Scores as they are told."""
        steps = (self.calibrated, self.boosted, self.mean)
        return next(scores for scores in steps if scores is not None)


def score_steps(model: XrtModel, sources: Candidates) -> Scored:
    """The steps from the sources' scores of a row to what `XrtModel.predict` tells.

    Args:
        model: the model.
        sources: the candidates of the row, scored by every source.

    Returns:
        The scores after each step; None for a step that the model does not have.
    """
    fusion, known = model.fusion, model.frequencies
    boosted = calibrated = None
    if len(sources) == 1 and fusion.booster is None:  # as it is, whatever its weight
        (mean,) = sources.values()
    else:
        mean = weighted_mean(sources, fusion.weights)
        if fusion.booster is not None:
            assert known is not None
            boosted = fusion.booster.apply(mean, sources, known.counts_L)
    if model.calibration is not None:
        assert known is not None
        raw = mean if boosted is None else boosted
        calibrated = model.calibration.apply(raw, known.counts_L)
    return Scored(fusion.weights, sources, mean, boosted, calibrated)


def parts_of(
    scored: Scored,
    label: int,
    evidence: Mapping[str, LabelEvidence],
) -> ScoreParts:
    """The parts of a label's score; `evidence` is what each source says about the label.

    Args:
        scored: the steps of the row's scores.
        label: the label's column.
        evidence: evidence by source; a source may be missing.

    Returns:
        The part of each source, their sum (at most 1), and what later steps made of it.
    """
    total = sum(weight for weight in scored.weights.values() if weight > 0)
    parts = []
    for source, scores in scored.sources.items():
        score = entry(scores, label)
        weight = max(0.0, scored.weights.get(source, 0.0)) / total
        of_source = evidence.get(source, LabelEvidence())
        parts.append(
            SourcePart(
                source,
                score or 0.0,
                entry(scored.sources.own.get(source), label) is not None,
                weight,
                weight * (score or 0.0),
                of_source.tree_scores,
                of_source.voters,
                of_source.num_nearest,
                of_source.name_words,
            )
        )
    boosted = None if scored.boosted is None else entry(scored.boosted, label)
    calibrated = None if scored.calibrated is None else entry(scored.calibrated, label)
    return ScoreParts(tuple(parts), min(1.0, sum(p.part for p in parts)), boosted, calibrated)


def entry(scores: sp.csr_array | None, label: int) -> float | None:
    """A label's score in a row (1, L); None where it has none. An entry of 0 is a score.

    Args:
        scores: scores, csr_array (1, L), or None for none at all.
        label: the label's column.

    Returns:
        The score, or None.
    """
    if scores is None:
        return None
    here = np.flatnonzero(scores.indices == label)
    return float(scores.data[here[0]]) if len(here) else None


def best_of(scores: sp.csr_array, k: int) -> list[int]:
    """The `k` best labels of a row (1, L), best first; among equals the lower one.

    Args:
        scores: scores, csr_array (1, L).
        k: most labels.

    Returns:
        Columns of the labels.
    """
    best = top_k_rows(as_csr(scores), k)
    return [int(best.indices[j]) for j in best_places(best.data, k)]
