"""The joint model of a row's values: one path of the hierarchy, one value of each other attribute.

    log P(path, values | row) = worth(path) + sum over attributes of worth(value, path) - log Z

where a worth is the weighted sum of the evidence. Given the path, the other attributes do not
depend on each other, so that sums and maxima over all combinations take one pass. A path and a
value that are no candidates are one further choice each, which is never suggested: it holds the
probability that the right one is not among the candidates.

The most probable values are those of the row together, or of each attribute by itself, whatever the
others of the row are. N rows, M paths, V values, D levels, A attributes, B of them outside of the
hierarchy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.decoding.candidates import (
    CandidateFinder,
    RowCandidates,
    ValueCandidates,
)
from xrt.applications.attributes.decoding.joint_weights import JointWeights
from xrt.applications.attributes.decoding.path_beam import find_best_entries


@dataclass(frozen=True, eq=False)
class AllowedChoices:
    """Choices that each row may take: bool (N, M + 1) for paths, (N, V + 1) for the values of each
    other attribute, the last of them "none of the candidates".
    """

    paths_NM: np.ndarray
    values: Sequence[np.ndarray]

    @classmethod
    def every(cls, candidates: RowCandidates) -> "AllowedChoices":
        """All candidates there are.

        Args:
            candidates: The candidates of the N rows.

        Returns:
            Each row's candidates, and "none of the candidates" for the path and for each value.
        """
        return cls(
            _append_other(candidates.paths_NM >= 0),
            [_append_other(values.columns_NV >= 0) for values in candidates.values],
        )


@dataclass(frozen=True, eq=False)
class Posterior:
    """Log worths of a batch, -inf for what is not allowed: of paths alone float64 (N, M + 1), and
    of the values of each other attribute under each path (N, M + 1, V + 1); `log_z` (N,) is the log
    of the sum over all combinations.
    """

    paths_NM: np.ndarray
    values: Sequence[np.ndarray]
    joined_NM: np.ndarray
    """Worth of a path and of all that may go with it."""
    log_z: np.ndarray

    @property
    def path_probabilities(self) -> np.ndarray:
        """P(path | row): float64 (N, M + 1)."""
        probabilities_NM: np.ndarray = np.exp(self.joined_NM - self.log_z[:, None])
        return probabilities_NM

    def pair_probabilities(self, b: int) -> np.ndarray:
        """P(path, value of attribute b | row): float64 (N, M + 1, V + 1).

        Args:
            b: Position among the attributes outside of the hierarchy.

        Returns:
            The probabilities; the last path and the last value are "none of the candidates".
        """
        worth_NMV = self.values[b]
        inner_NM = sum_logs(worth_NMV, axis=2)
        with np.errstate(invalid="ignore"):
            shares_NMV = np.exp(worth_NMV - inner_NM[:, :, None])
        shares_NMV[~np.isfinite(worth_NMV)] = 0.0
        return np.asarray(self.path_probabilities[:, :, None] * shares_NMV)


def compute_posterior(
    candidates: RowCandidates, weights: JointWeights, allowed: AllowedChoices
) -> Posterior:
    """Weigh all combinations of the allowed choices. Every row needs one.

    Args:
        candidates: The candidates of the N rows.
        weights: What each kind of evidence counts.
        allowed: Choices that each row may take; the others have the worth -inf.

    Returns:
        The log worths of the combinations and the log of their sum.
    """
    path_weights = np.append(weights.levels_D3.ravel(), weights.share)
    worth_NM = candidates.evidence_NMK.astype(np.float64) @ path_weights
    paths_NM = _mask_worth(_append(worth_NM, weights.other_path), allowed.paths_NM)
    values = [
        _value_worths(part, weights.free_B4[b], allowed.values[b], paths_NM.shape[1])
        for b, part in enumerate(candidates.values)
    ]
    joined_NM = paths_NM + sum(sum_logs(worth_NMV, axis=2) for worth_NMV in values)
    return Posterior(paths_NM, values, joined_NM, sum_logs(joined_NM, axis=1))


def _value_worths(
    values: ValueCandidates, weights_4: np.ndarray, allowed_NV: np.ndarray, num_paths: int
) -> np.ndarray:
    """Worth of each value under each path, the last path and the last value being the others."""
    worth_NV = values.evidence_NV2.astype(np.float64) @ weights_4[:2]
    worth_NMV = np.repeat(_append(worth_NV, weights_4[3])[:, None, :], num_paths, axis=1)
    worth_NMV[:, :-1, :-1] += weights_4[2] * values.lift_NMV
    return _mask_worth(worth_NMV, allowed_NV[:, None, :])


@dataclass(frozen=True, eq=False)
class BestCombination:
    """The most probable combination of each row: candidates' places, int64 (N,) for the path and
    for the value of each other attribute (-1 where there is no candidate), and the log of its
    probability, float64 (N,).
    """

    path_N: np.ndarray
    values: Sequence[np.ndarray]
    log_probability_N: np.ndarray


def pick_most_probable(posterior: Posterior) -> BestCombination:
    """The best combination of candidates. Where a row has no candidate path, the values are the
    best under a path that is not known, and where an attribute has no candidate, it has no value.

    Args:
        posterior: How probable the combinations of each row are.

    Returns:
        The best combination of each row and its log probability.
    """
    tops, picks = [], []
    for worth_NMV in posterior.values:
        candidates_NMV = worth_NMV[:, :, :-1]
        if not candidates_NMV.shape[2]:
            picks.append(np.full(candidates_NMV.shape[:2], -1))
            tops.append(worth_NMV[:, :, -1])
            continue
        pick_NM = candidates_NMV.argmax(axis=2)
        top_NM = np.take_along_axis(candidates_NMV, pick_NM[:, :, None], axis=2)[:, :, 0]
        none_NM = ~np.isfinite(top_NM)
        picks.append(np.where(none_NM, -1, pick_NM))
        tops.append(np.where(none_NM, worth_NMV[:, :, -1], top_NM))
    total_NM = posterior.paths_NM + sum(tops)
    path_N = (
        total_NM[:, :-1].argmax(axis=1) if total_NM.shape[1] > 1 else np.full(len(total_NM), -1)
    )
    rows = np.arange(len(total_NM))
    no_path_N = ~np.isfinite(total_NM[rows, path_N])
    path_N = np.where(no_path_N, total_NM.shape[1] - 1, path_N)
    values = [pick_NM[rows, path_N] for pick_NM in picks]
    log_N = total_NM[rows, path_N] - posterior.log_z
    return BestCombination(np.where(no_path_N, -1, path_N), values, log_N)


def sum_logs(worth: np.ndarray, axis: int) -> np.ndarray:
    """Log of the sum of exponentials; -inf where all are.

    Args:
        worth: Logarithms, of any shape.
        axis: The axis that is summed over.

    Returns:
        Natural logarithms, in the shape of `worth` without the axis.
    """
    top = worth.max(axis=axis, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        summed = np.log(np.exp(worth - safe).sum(axis=axis, keepdims=True)) + safe
    return np.asarray(summed.squeeze(axis=axis))


def _append(worth: np.ndarray, last: float) -> np.ndarray:
    return np.concatenate([worth, np.full((*worth.shape[:-1], 1), last)], axis=-1)


def _mask_worth(worth: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    return np.where(allowed, worth, -np.inf)


def _append_other(allowed: np.ndarray) -> np.ndarray:
    return np.concatenate([allowed, np.ones((len(allowed), 1), bool)], axis=1)


def pick_most_probable_each(
    finder: CandidateFinder, candidates: RowCandidates, posterior: Posterior, num_attributes: int
) -> np.ndarray:
    """The value of each attribute with the highest probability, summed over all that the other
    attributes may be: label columns int32 (N, A), -1 where there is no candidate.

    Args:
        finder: What is known of the attributes.
        candidates: The candidates of the N rows.
        posterior: How probable their combinations are.
        num_attributes: A, those of the hierarchy and the others.

    Returns:
        The label columns, int32 (N, A).
    """
    rows = np.arange(candidates.num_rows)
    columns_NA = np.full((len(rows), num_attributes), -1, np.int32)
    path_NM = np.where(candidates.paths_NM >= 0, posterior.path_probabilities[:, :-1], 0.0)
    for d, attribute in enumerate(finder.hierarchy):
        columns_NM = finder.taxonomy.paths_PD[candidates.paths_NM, d]
        same_NMM = columns_NM[:, :, None] == columns_NM[:, None, :]
        best_N = np.einsum("nmk,nk->nm", same_NMM, path_NM).argmax(axis=1)
        has_candidate_N = candidates.paths_NM[rows, best_N] >= 0
        columns_NA[:, attribute] = np.where(has_candidate_N, columns_NM[rows, best_N], -1)
    for b, attribute in enumerate(finder.free):
        columns_NV = candidates.values[b].columns_NV
        if columns_NV.shape[1]:
            value_NV = posterior.pair_probabilities(b).sum(axis=1)[:, :-1]
            best_N = np.where(columns_NV >= 0, value_NV, -1.0).argmax(axis=1)
            columns_NA[:, attribute] = columns_NV[rows, best_N]
    return columns_NA


def pick_best_scored_each(
    scores_NL: sp.csr_array, attribute_of_L: np.ndarray, num_attributes: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best-scored value of each attribute, of equals the lower column: label columns int32
    (N, A), -1 where there is no score, and the scores, float32 (N, A).

    Args:
        scores_NL: Scores of the labels, csr (N, L).
        attribute_of_L: The attribute of each label, -1 for none.
        num_attributes: A.

    Returns:
        The label columns, and their scores, 0 where there is none.
    """
    if not scores_NL.has_sorted_indices:
        scores_NL = scores_NL.sorted_indices()
    columns_NA = np.full((scores_NL.shape[0], num_attributes), -1, np.int32)
    scores_NA = np.zeros(columns_NA.shape, np.float32)
    entries = scores_NL.indptr, scores_NL.indices, scores_NL.data
    for a in range(num_attributes):
        at_N = find_best_entries(*entries, attribute_of_L, a, 1)[:, 0]
        columns_NA[at_N >= 0, a] = scores_NL.indices[at_N[at_N >= 0]]
        scores_NA[at_N >= 0, a] = scores_NL.data[at_N[at_N >= 0]]
    return columns_NA, scores_NA


def compute_row_probabilities(
    finder: CandidateFinder, candidates: RowCandidates, posterior: Posterior, columns_NA: np.ndarray
) -> np.ndarray:
    """The probability of all these values of a row together, those that are -1 left open: float32
    (N,), 0 where they are no candidates.

    Args:
        finder: What is known of the attributes.
        candidates: The candidates of the N rows.
        posterior: How probable their combinations are.
        columns_NA: One label column of each attribute of each row, int32 (N, A), or -1.

    Returns:
        The probabilities in [0, 1], float32 (N,).
    """
    path_NM = np.column_stack([candidates.paths_NM, np.full(candidates.num_rows, -1)])
    fits_NM = np.ones(path_NM.shape, bool)
    for d, attribute in enumerate(finder.hierarchy):
        column_N1 = columns_NA[:, attribute, None]
        same_NM = (finder.taxonomy.paths_PD[path_NM, d] == column_N1) & (path_NM >= 0)
        fits_NM &= same_NM | (column_N1 < 0)
    worth_NM = np.where(fits_NM, posterior.paths_NM, -np.inf)
    for b, attribute in enumerate(finder.free):
        column_N1, worth_NMV = columns_NA[:, attribute, None], posterior.values[b]
        same_NV = candidates.values[b].columns_NV == column_N1
        fits_NV = np.column_stack([same_NV, np.zeros(len(same_NV), bool)]) | (column_N1 < 0)
        worth_NM = worth_NM + sum_logs(np.where(fits_NV[:, None], worth_NMV, -np.inf), axis=2)
    log_N = sum_logs(worth_NM, axis=1) - posterior.log_z
    probabilities_N: np.ndarray = np.exp(np.minimum(log_N, 0.0)).astype(np.float32)
    return probabilities_N
