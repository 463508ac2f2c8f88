"""What held-out rows teach the joint model: its weights, and whether values depend on the path.

N rows, A attributes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.decoding.candidates import CandidateFinder, Candidates
from xrt.applications.attributes.decoding.fit_joint import consistent, fit_weights
from xrt.applications.attributes.decoding.joint import Allowed, posterior
from xrt.applications.attributes.decoding.unseen import with_room
from xrt.applications.attributes.decoding.weights import JointWeights

Halves = tuple[JointWeights, JointWeights]
MAX_SEARCHES = 4
"""Searches for candidates at most; the paths that change in the last ones are hardly probable."""


@dataclass(frozen=True, eq=False)
class LearntWeights:
    """Weights of all rows, those of the even and of the odd rows, and what was found on the way."""

    weights: JointWeights
    halves: Halves
    figures: Mapping[str, Any]


def learn_weights(
    finder: CandidateFinder, scores_NL: sp.csr_array, given_NA: np.ndarray, unseen_B: np.ndarray
) -> LearntWeights:
    """Weights for rows with these scores that give these label columns, int32 (N, A), with room for
    unseen values.

    Values count as dependent on the path where that makes the rows more likely by cross-fitting:
    weights of each half judge the other. Candidates are found with the initial weights, then again
    with those learnt from them, until they stay.
    """
    initial = JointWeights.initial(finder.taxonomy.depth, len(finder.free))
    candidates = finder.find(scores_NL, initial, lifted=True)
    lift, fits, likelihoods = _dependent(finder, candidates, given_NA)
    for num_searches in range(1, MAX_SEARCHES + 1):
        candidates = candidates if lift else without_lift(candidates)
        fits = _fit(finder, candidates, given_NA, fits)
        if num_searches == MAX_SEARCHES:
            break
        again = finder.find(scores_NL, fits.every, lifted=True)
        if _same_paths(candidates, again):
            break
        candidates = again
    candidates = candidates if lift else without_lift(candidates)

    def finished(weights: JointWeights) -> JointWeights:
        return with_room(weights if lift else no_lift(weights), candidates, unseen_B)

    figures = {
        "rows": len(given_NA),
        "searches": num_searches,
        "log likelihood of a row": {
            "values depend on the path": likelihoods[True],
            "values do not": likelihoods[False],
        },
        "share of unseen values": unseen_B.tolist(),
    }
    halves = finished(fits.even), finished(fits.odd)
    return LearntWeights(finished(fits.every), halves, figures)


@dataclass(frozen=True, eq=False)
class _Fits:
    """Weights of all rows, and of the even and the odd ones."""

    every: JointWeights
    even: JointWeights
    odd: JointWeights


def _fit(
    finder: CandidateFinder, candidates: Candidates, given_NA: np.ndarray, start: "_Fits"
) -> "_Fits":
    """Fit the weights of all rows and of both halves, each from where it was."""
    even = np.arange(len(given_NA)) % 2 == 0
    return _Fits(
        fit_weights(finder, candidates, given_NA, start.every),
        fit_weights(finder, take(candidates, even), given_NA[even], start.even),
        fit_weights(finder, take(candidates, ~even), given_NA[~even], start.odd),
    )


def _dependent(
    finder: CandidateFinder, candidates: Candidates, given_NA: np.ndarray
) -> tuple[bool, _Fits, dict[bool, float]]:
    """Whether values depend on the path, the weights to begin with, and both log likelihoods."""
    variants = {True: candidates, False: without_lift(candidates)}
    halves = {lift: _halves(finder, found, given_NA) for lift, found in variants.items()}
    likelihoods = {
        lift: _cross_likelihood(finder, variants[lift], halves[lift], given_NA) for lift in halves
    }
    lift = likelihoods[True] > likelihoods[False]
    return lift, _Fits(halves[lift][0], *halves[lift]), likelihoods


def _same_paths(a: Candidates, b: Candidates) -> bool:
    """Whether every row has the same candidate paths, in whatever order."""
    return np.array_equal(np.sort(a.paths_NM, axis=1), np.sort(b.paths_NM, axis=1))


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
