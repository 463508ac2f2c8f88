"""What held-out rows teach the joint model: its weights, and whether values depend on the path.

N rows, A attributes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xrt.applications.attributes.candidates import CandidateFinder, Candidates
from xrt.applications.attributes.fit_joint import consistent, fit_weights
from xrt.applications.attributes.joint import Allowed, posterior
from xrt.applications.attributes.unseen import with_room
from xrt.applications.attributes.weights import JointWeights

Halves = tuple[JointWeights, JointWeights]


@dataclass(frozen=True, eq=False)
class LearntWeights:
    """Weights of all rows, those of the even and of the odd rows, and what was found on the way."""

    weights: JointWeights
    halves: Halves
    figures: Mapping[str, Any]


def learn_weights(
    finder: CandidateFinder, candidates: Candidates, given_NA: np.ndarray, unseen_B: np.ndarray
) -> LearntWeights:
    """Weights for rows that give these label columns, int32 (N, A), with room for unseen values.

    Values count as dependent on the path where that makes the rows more likely by cross-fitting:
    weights of each half judge the other.
    """
    apart = without_lift(candidates)
    halves = {
        lift: _halves(finder, candidates if lift else apart, given_NA) for lift in (True, False)
    }
    likelihoods = {
        lift: _cross_likelihood(finder, candidates if lift else apart, weights, given_NA)
        for lift, weights in halves.items()
    }
    lift = likelihoods[True] > likelihoods[False]
    chosen = candidates if lift else apart

    def finished(weights: JointWeights) -> JointWeights:
        return with_room(weights if lift else no_lift(weights), chosen, unseen_B)

    weights = finished(fit_weights(finder, chosen, given_NA))
    even, odd = (finished(half) for half in halves[lift])
    figures = {
        "rows": len(given_NA),
        "log likelihood of a row": {
            "values depend on the path": likelihoods[True],
            "values do not": likelihoods[False],
        },
        "share of unseen values": unseen_B.tolist(),
    }
    return LearntWeights(weights, (even, odd), figures)


def log_likelihood(
    finder: CandidateFinder, candidates: Candidates, weights: JointWeights, given_NA: np.ndarray
) -> float:
    """Log P(what the rows give), summed over the rows."""
    free = posterior(candidates, weights, Allowed.every(candidates))
    held = posterior(candidates, weights, consistent(finder, candidates, given_NA))
    return float((held.log_z - free.log_z).sum())


def _halves(finder: CandidateFinder, candidates: Candidates, given_NA: np.ndarray) -> Halves:
    even = np.arange(len(given_NA)) % 2 == 0
    return (
        fit_weights(finder, take(candidates, even), given_NA[even]),
        fit_weights(finder, take(candidates, ~even), given_NA[~even]),
    )


def _cross_likelihood(
    finder: CandidateFinder, candidates: Candidates, halves: Halves, given_NA: np.ndarray
) -> float:
    even = np.arange(len(given_NA)) % 2 == 0
    total = sum(
        log_likelihood(finder, take(candidates, rows), weights, given_NA[rows])
        for weights, rows in zip(halves, (~even, even), strict=True)
    )
    return total / len(given_NA)


def no_lift(weights: JointWeights) -> JointWeights:
    """The weights for values that do not depend on the path."""
    free_B4 = weights.free_B4.copy()
    free_B4[:, 2] = 0.0
    return replace(weights, free_B4=free_B4)


def without_lift(candidates: Candidates) -> Candidates:
    """The candidates as if no value went with any path."""
    values = [replace(v, lift_NMV=np.zeros_like(v.lift_NMV)) for v in candidates.values]
    return replace(candidates, values=values)


def take(candidates: Candidates, rows: np.ndarray) -> Candidates:
    """Some of the rows."""
    values = [
        replace(
            v, columns_NV=v.columns_NV[rows], evidence_NV2=v.evidence_NV2[rows],
            lift_NMV=v.lift_NMV[rows],
        )
        for v in candidates.values
    ]  # fmt: skip
    return Candidates(candidates.paths_NM[rows], candidates.evidence_NMK[rows], values)
