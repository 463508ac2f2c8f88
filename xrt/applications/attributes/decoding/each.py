"""Each attribute by itself: its most probable value, whatever the others of the row are.

N rows, M paths, V values, A attributes.
"""

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.decoding.candidates import CandidateFinder, RowCandidates
from xrt.applications.attributes.decoding.joint import Posterior, sum_logs
from xrt.applications.attributes.decoding.path_beam import find_best_entries


def pick_most_probable_each(
    finder: CandidateFinder, candidates: RowCandidates, posterior: Posterior, num_attributes: int
) -> np.ndarray:
    """The value of each attribute with the highest probability, summed over all that the other
    attributes may be: label columns int32 (N, A), -1 where there is no candidate.
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
