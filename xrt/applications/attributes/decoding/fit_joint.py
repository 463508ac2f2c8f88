"""Learns the weights of the joint model on held-out rows, by maximum likelihood.

The likelihood of a row is P(its values); values that it does not give are summed over. Gradients
are the evidence expected with the row's values less that expected without them. N rows, A
attributes.
"""

import numpy as np
from scipy.optimize import minimize

from xrt.applications.attributes.decoding.candidates import CandidateFinder, RowCandidates
from xrt.applications.attributes.decoding.joint import AllowedChoices, Posterior, compute_posterior
from xrt.applications.attributes.decoding.weights import LEAST_2, JointWeights

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
