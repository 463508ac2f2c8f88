"""What held-out rows teach the joint model: its weights, and whether values depend on the path.

N rows, A attributes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.decoding.candidates import CandidateFinder, RowCandidates
from xrt.applications.attributes.decoding.fit_joint import allow_consistent, fit_weights
from xrt.applications.attributes.decoding.joint import AllowedChoices, compute_posterior
from xrt.applications.attributes.decoding.unseen import add_room
from xrt.applications.attributes.decoding.weights import JointWeights

HalfWeights = tuple[JointWeights, JointWeights]
MAX_SEARCHES = 4
"""Searches for candidates at most; the paths that change in the last ones are hardly probable."""


@dataclass(frozen=True, eq=False)
class WeightsFit:
    """Weights of all rows, those of the even and of the odd rows, and figures of the fit."""

    weights: JointWeights
    halves: HalfWeights
    figures: Mapping[str, Any]


def learn_weights(
    finder: CandidateFinder, scores_NL: sp.csr_array, cells_NA: np.ndarray, unseen_B: np.ndarray
) -> WeightsFit:
    """Weights for rows with these scores that give these label columns, int32 (N, A), with room for
    unseen values.

    Values count as dependent on the path where that makes the rows more likely by cross-fitting:
    the weights of each half score the other. The search for candidates starts with the initial
    weights and goes on with the fitted ones, until the paths stay.
    """
    initial = JointWeights.initial(finder.taxonomy.depth, len(finder.free))
    candidates = finder.find(scores_NL, initial, with_lifts=True)
    lift, fits, likelihoods = _dependent(finder, candidates, cells_NA)
    for num_searches in range(1, MAX_SEARCHES + 1):
        candidates = candidates if lift else drop_lifts(candidates)
        fits = _fit(finder, candidates, cells_NA, fits)
        if num_searches == MAX_SEARCHES:
            break
        again = finder.find(scores_NL, fits.every, with_lifts=True)
        if _same_paths(candidates, again):
            break
        candidates = again
    candidates = candidates if lift else drop_lifts(candidates)

    def finish(weights: JointWeights) -> JointWeights:
        return add_room(weights if lift else drop_lift_weight(weights), candidates, unseen_B)

    figures = {
        "rows": len(cells_NA),
        "searches": num_searches,
        "log likelihood of a row": {
            "values depend on the path": likelihoods[True],
            "values do not": likelihoods[False],
        },
        "share of unseen values": unseen_B.tolist(),
    }
    halves = finish(fits.even), finish(fits.odd)
    return WeightsFit(finish(fits.every), halves, figures)


@dataclass(frozen=True, eq=False)
class _SplitFit:
    """Weights of all rows, and of the even and the odd ones."""

    every: JointWeights
    even: JointWeights
    odd: JointWeights


def _fit(
    finder: CandidateFinder, candidates: RowCandidates, cells_NA: np.ndarray, start: "_SplitFit"
) -> "_SplitFit":
    """Fit the weights of all rows and of both halves, each from where it was."""
    even = np.arange(len(cells_NA)) % 2 == 0
    return _SplitFit(
        fit_weights(finder, candidates, cells_NA, start.every),
        fit_weights(finder, take_rows(candidates, even), cells_NA[even], start.even),
        fit_weights(finder, take_rows(candidates, ~even), cells_NA[~even], start.odd),
    )


def _dependent(
    finder: CandidateFinder, candidates: RowCandidates, cells_NA: np.ndarray
) -> tuple[bool, _SplitFit, dict[bool, float]]:
    """Whether values depend on the path, the weights to begin with, and both log likelihoods."""
    variants = {True: candidates, False: drop_lifts(candidates)}
    halves = {lift: _halves(finder, variant, cells_NA) for lift, variant in variants.items()}
    likelihoods = {
        lift: _cross_likelihood(finder, variants[lift], halves[lift], cells_NA) for lift in halves
    }
    lift = likelihoods[True] > likelihoods[False]
    return lift, _SplitFit(halves[lift][0], *halves[lift]), likelihoods


def _same_paths(a: RowCandidates, b: RowCandidates) -> bool:
    """Whether every row has the same candidate paths, in whatever order."""
    return np.array_equal(np.sort(a.paths_NM, axis=1), np.sort(b.paths_NM, axis=1))


def log_likelihood(
    finder: CandidateFinder, candidates: RowCandidates, weights: JointWeights, cells_NA: np.ndarray
) -> float:
    """Log P(what the rows give), summed over the rows."""
    over_all = compute_posterior(candidates, weights, AllowedChoices.every(candidates))
    over_right = compute_posterior(
        candidates, weights, allow_consistent(finder, candidates, cells_NA)
    )
    return float((over_right.log_z - over_all.log_z).sum())


def _halves(
    finder: CandidateFinder, candidates: RowCandidates, cells_NA: np.ndarray
) -> HalfWeights:
    even = np.arange(len(cells_NA)) % 2 == 0
    return (
        fit_weights(finder, take_rows(candidates, even), cells_NA[even]),
        fit_weights(finder, take_rows(candidates, ~even), cells_NA[~even]),
    )


def _cross_likelihood(
    finder: CandidateFinder, candidates: RowCandidates, halves: HalfWeights, cells_NA: np.ndarray
) -> float:
    even = np.arange(len(cells_NA)) % 2 == 0
    total = sum(
        log_likelihood(finder, take_rows(candidates, rows), weights, cells_NA[rows])
        for weights, rows in zip(halves, (~even, even), strict=True)
    )
    return total / len(cells_NA)


def drop_lift_weight(weights: JointWeights) -> JointWeights:
    """The weights for values that do not depend on the path."""
    free_B4 = weights.free_B4.copy()
    free_B4[:, 2] = 0.0
    return replace(weights, free_B4=free_B4)


def drop_lifts(candidates: RowCandidates) -> RowCandidates:
    """The candidates as if no value went with any path."""
    values = [replace(v, lift_NMV=np.zeros_like(v.lift_NMV)) for v in candidates.values]
    return replace(candidates, values=values)


def take_rows(candidates: RowCandidates, rows: np.ndarray) -> RowCandidates:
    """Some of the rows."""
    values = [
        replace(
            v, columns_NV=v.columns_NV[rows], evidence_NV2=v.evidence_NV2[rows],
            lift_NMV=v.lift_NMV[rows],
        )
        for v in candidates.values
    ]  # fmt: skip
    return RowCandidates(candidates.paths_NM[rows], candidates.evidence_NMK[rows], values)
