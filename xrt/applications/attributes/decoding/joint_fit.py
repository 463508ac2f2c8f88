"""Fits the joint model to held-out rows: its weights, whether values depend on the path, and room
for values that training has not seen.

The weights are those of maximum likelihood. The likelihood of a row is P(its values); values that
it does not give are summed over. Gradients are the evidence expected with the row's values less
that expected without them.

A row may only be held out of training if all its labels have another row, so held-out rows never
show a value that is new (a path they may). How many rows of a new file will: as large a share as
values seen once have of the training rows (Good and Turing's estimate). The joint model's choice
"none of the candidates" is raised until its mean probability over the held-out rows grows by that
share. N rows, A attributes, B of them outside of the hierarchy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize

from xrt.applications.attributes.decoding.candidates import CandidateFinder, RowCandidates
from xrt.applications.attributes.decoding.joint_model import (
    AllowedChoices,
    Posterior,
    compute_posterior,
)
from xrt.applications.attributes.decoding.joint_weights import LEAST_2, JointWeights

MAX_ROUNDS = 100
PULL = 0.02
"""Log likelihood that a weight costs at a distance of 1 from where it began, twice."""


def fit_weights(
    finder: CandidateFinder,
    candidates: RowCandidates,
    cells_NA: np.ndarray,
    start: JointWeights | None = None,
) -> JointWeights:
    """The most likely weights for rows that give these label columns, int32 (N, A); -1: none. The
    search for them begins at `start`; the weights are pulled towards the initial ones in any case.

    Args:
        finder: What is known of the attributes.
        candidates: The candidates of the N rows.
        cells_NA: What these rows give, label columns int32 (N, A), -1 where they give none.
        start: Where the search begins; None for the initial weights.

    Returns:
        The weights, after at most MAX_ROUNDS rounds of the search.
    """
    depth, num_free = finder.taxonomy.depth, len(finder.free)
    initial = JointWeights.initial(depth, num_free)
    centre = initial.to_vector()
    every, right = AllowedChoices.every(candidates), allow_consistent(finder, candidates, cells_NA)
    scale = 1.0 / max(candidates.num_rows, 1)

    def loss(vector: np.ndarray) -> tuple[float, np.ndarray]:
        weights = JointWeights.from_vector(vector, depth, num_free)
        over_all = compute_posterior(candidates, weights, every)
        over_right = compute_posterior(candidates, weights, right)
        pull = vector - centre
        value = (over_all.log_z - over_right.log_z).sum() + 0.5 * PULL * float(pull @ pull)
        slope = (
            expect_evidence(candidates, over_all)
            - expect_evidence(candidates, over_right)
            + PULL * pull
        )
        return float(value) * scale, slope * scale

    bounds = JointWeights.bounds(depth, num_free)
    begin = centre if start is None else start.to_vector()
    result = minimize(
        loss, begin, jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": MAX_ROUNDS, "ftol": 1e-6},
    )  # fmt: skip
    return JointWeights.from_vector(np.asarray(result.x), depth, num_free)


def allow_consistent(
    finder: CandidateFinder, candidates: RowCandidates, cells_NA: np.ndarray
) -> AllowedChoices:
    """The choices that agree with the given values; where no candidate does, the choice is "none of
    the candidates".

    Args:
        finder: What is known of the attributes.
        candidates: The candidates of the N rows.
        cells_NA: What these rows give, label columns int32 (N, A), -1 where they give none.

    Returns:
        The choices. Where a row gives no level, or no value of an attribute, all candidates and
        "none of the candidates" are allowed.
    """
    taxonomy = finder.taxonomy
    paths_NM = candidates.paths_NM >= 0
    has_level_N = np.zeros(candidates.num_rows, bool)
    for d, attribute in enumerate(finder.hierarchy):
        cells_N1 = cells_NA[:, attribute, None]
        columns_NM = taxonomy.paths_PD[candidates.paths_NM, d]
        paths_NM = paths_NM & ((cells_N1 < 0) | (columns_NM == cells_N1))
        has_level_N |= cells_N1[:, 0] >= 0
    other_N = ~has_level_N | ~paths_NM.any(axis=1)
    values = []
    for part, attribute in zip(candidates.values, finder.free, strict=True):
        cells_N1 = cells_NA[:, attribute, None]
        right_NV = (part.columns_NV >= 0) & ((cells_N1 < 0) | (part.columns_NV == cells_N1))
        other_value_N = (cells_N1[:, 0] < 0) | ~right_NV.any(axis=1)
        values.append(np.column_stack([right_NV, other_value_N]))
    return AllowedChoices(np.column_stack([paths_NM, other_N]), values)


def expect_evidence(candidates: RowCandidates, posterior: Posterior) -> np.ndarray:
    """The evidence expected under the model, summed over the rows: in the order of a vector. Of a
    label without a score it is that of the lowest score, and once more that it has none.

    Args:
        candidates: The candidates of the N rows.
        posterior: How probable their combinations are.

    Returns:
        The sums, float64, as long as `JointWeights.to_vector` and in its order.
    """
    path_NM = posterior.path_probabilities
    paths_K = np.einsum("nm,nmk->k", path_NM[:, :-1], candidates.evidence_NMK, optimize=True)
    levels_D3 = paths_K[:-1].reshape(-1, 3)
    levels_D3[:, :2] += levels_D3[:, 2:] * LEAST_2
    parts = [paths_K, [path_NM[:, -1].sum()]]
    for b, values in enumerate(candidates.values):
        pair_NMV = posterior.pair_probabilities(b)
        value_NV = pair_NMV.sum(axis=1)
        scores_2 = np.einsum("nv,nvk->k", value_NV[:, :-1], values.evidence_NV2, optimize=True)
        lift = float((pair_NMV[:, :-1, :-1] * values.lift_NMV).sum())
        parts += [scores_2, [lift, value_NV[:, -1].sum()]]
    return np.concatenate(parts).astype(np.float64)


ROUNDS = 20
REACH = 12.0
"""The highest worth that is added."""


def estimate_unseen_shares(finder: CandidateFinder, cells_NA: np.ndarray) -> np.ndarray:
    """The share of rows whose value of each attribute outside of the hierarchy is expected to be
    new: float64 (B,).

    Args:
        finder: What is known of the attributes.
        cells_NA: What the training rows give, label columns int32 (N, A), -1 where they give none.

    Returns:
        Values that only one row gives, as a share of the rows that give a value, in [0, 1]: float64
        (B,), 0 where no row gives one.
    """
    shares = []
    for attribute in finder.free:
        columns = cells_NA[cells_NA[:, attribute] >= 0, attribute]
        once = int((np.bincount(columns) == 1).sum()) if len(columns) else 0
        shares.append(once / max(1, len(columns)))
    return np.array(shares, np.float64)


def add_room(
    weights: JointWeights, candidates: RowCandidates, shares_B: np.ndarray
) -> JointWeights:
    """The weights with the choice "none of the candidates" of each attribute raised by its
    share.

    Args:
        weights: Fitted weights.
        candidates: Candidates of held-out rows.
        shares_B: Share of rows expected to have a new value of each attribute outside of the
            hierarchy, float64 (B,).

    Returns:
        The weights; as they were where no share is above 0. At most REACH is added to a worth.
    """
    every = AllowedChoices.every(candidates)

    def means(raised: JointWeights) -> np.ndarray:
        posterior = compute_posterior(candidates, raised, every)
        others = (posterior.pair_probabilities(b)[:, :, -1] for b in range(len(shares_B)))
        return np.array([other_NM.sum(axis=1).mean() for other_NM in others])

    if not (shares_B > 0).any():
        return weights
    before = means(weights)
    target = before + (1 - before) * shares_B
    low, high = np.zeros(len(shares_B)), np.full(len(shares_B), REACH)
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        short = means(_raise_other(weights, middle)) < target
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return _raise_other(weights, np.where(shares_B > 0, (low + high) / 2, 0.0))


def _raise_other(weights: JointWeights, more_B: np.ndarray) -> JointWeights:
    free_B4 = weights.free_B4.copy()
    free_B4[:, 3] += more_B
    return replace(weights, free_B4=free_B4)


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

    Args:
        finder: What is known of the attributes.
        scores_NL: Scores of the labels in [0, 1], csr (N, L), of rows held out of training.
        cells_NA: What these rows give, label columns int32 (N, A), -1 where they give none.
        unseen_B: Share of rows expected to have a new value of each attribute outside of the
            hierarchy, float64 (B,).

    Returns:
        The weights of all rows and of both halves, and the figures of the fit.
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
    """Log P(what the rows give), summed over the rows.

    Args:
        finder: What is known of the attributes.
        candidates: The candidates of the N rows.
        weights: The weights that are judged.
        cells_NA: What these rows give, label columns int32 (N, A), -1 where they give none.

    Returns:
        The sum of natural logarithms.
    """
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
    """The weights for values that do not depend on the path.

    Args:
        weights: The weights; they stay as they are.

    Returns:
        A copy with 0 as the weight of each lift.
    """
    free_B4 = weights.free_B4.copy()
    free_B4[:, 2] = 0.0
    return replace(weights, free_B4=free_B4)


def drop_lifts(candidates: RowCandidates) -> RowCandidates:
    """The candidates as if no value went with any path.

    Args:
        candidates: The candidates; they stay as they are.

    Returns:
        A copy with all lifts 0.
    """
    values = [replace(v, lift_NMV=np.zeros_like(v.lift_NMV)) for v in candidates.values]
    return replace(candidates, values=values)


def take_rows(candidates: RowCandidates, rows: np.ndarray) -> RowCandidates:
    """Some of the rows.

    Args:
        candidates: The candidates of the N rows.
        rows: Which rows: bool (N,), or positions.

    Returns:
        The candidates of these rows.
    """
    values = [
        replace(
            v, columns_NV=v.columns_NV[rows], evidence_NV2=v.evidence_NV2[rows],
            lift_NMV=v.lift_NMV[rows],
        )
        for v in candidates.values
    ]  # fmt: skip
    return RowCandidates(candidates.paths_NM[rows], candidates.evidence_NMK[rows], values)
