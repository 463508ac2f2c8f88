"""The candidate values of a row, and the evidence for each.

N rows, M paths of the hierarchy, V values of an attribute outside of it, D levels, A attributes. A
score p in [0, 1] speaks twice: log p tells how far a value is from certain, -log(1 - p) how close
it is to certain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.decoding.joint_weights import JointWeights, compute_evidence
from xrt.applications.attributes.decoding.path_beam import (
    PathLevels,
    find_best_entries,
    find_best_paths,
    find_positions,
)
from xrt.applications.attributes.decoding.path_lift import PathLift
from xrt.applications.attributes.decoding.taxonomy import Taxonomy
from xrt.sources.base import CANDIDATES

BEAM = 4096
"""Nodes of each level of the hierarchy that are followed: with fewer, every path is tried."""
NUM_PATHS = 16
"""Paths of a row; half of them are for those with a score at every level."""
NUM_VALUES = 16
PER_ATTRIBUTE = 8
"""Labels that a source names for each attribute of a row, on average: the decoder chooses among
them."""


def count_candidates(num_attributes: int) -> int:
    """Labels that each source names for a row with a value of each of so many attributes.

    Args:
        num_attributes: Attributes of the catalogue.

    Returns:
        The number of labels, at least CANDIDATES.
    """
    return max(CANDIDATES, PER_ATTRIBUTE * num_attributes)


@dataclass(frozen=True, eq=False)
class ValueCandidates:
    """Candidates of an attribute outside of the hierarchy: columns int32 (N, V), -1 where there are
    no more; `evidence_NV2` log p and -log(1 - p); `lift_NMV` how much more frequent they are under
    each path.
    """

    columns_NV: np.ndarray
    evidence_NV2: np.ndarray
    lift_NMV: np.ndarray


@dataclass(frozen=True, eq=False)
class RowCandidates:
    """Candidates of a batch of rows: paths int32 (N, M), -1 where there are no more;
    `evidence_NMK` for each level log p, -log(1 - p) and whether there is no score, then the log
    share of the path among all rows.
    """

    paths_NM: np.ndarray
    evidence_NMK: np.ndarray
    values: Sequence[ValueCandidates]

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.paths_NM)


@dataclass(frozen=True, eq=False)
class CandidateFinder:
    """What is known of the attributes: the taxonomy, which label belongs to which attribute, and
    for each attribute outside of the hierarchy how its values go with the paths.
    """

    taxonomy: Taxonomy
    attribute_of_L: np.ndarray
    """The attribute of each label, -1 for none."""
    hierarchy: tuple[int, ...]
    """Attributes of the levels, coarse to fine."""
    free: tuple[int, ...]
    """Attributes outside of the hierarchy."""
    lifts: tuple[PathLift, ...]
    num_paths: int = NUM_PATHS
    num_values: int = NUM_VALUES
    beam: int = BEAM

    def find(
        self,
        scores_NL: sp.csr_array,
        weights: JointWeights,
        num_threads: int | None = None,
        cells_NA: np.ndarray | None = None,
        with_lifts: bool = False,
    ) -> RowCandidates:
        """The best paths by these weights and the best values of each other attribute; where values
        are given, int32 (N, A) or -1, the best of the paths that agree with them, if there are any,
        and the given values among the others. Lifts are looked up where they have a weight, or all
        with `with_lifts`.

        Args:
            scores_NL: Scores of the labels in [0, 1], csr (N, L).
            weights: What each kind of evidence counts; they rank the paths.
            num_threads: Threads that search for paths; None for the default.
            cells_NA: Label columns that the rows give, int32 (N, A), -1 where they give none; None
                where no row gives any.
            with_lifts: Look up the lifts of every attribute outside of the hierarchy.

        Returns:
            The candidates of the N rows. Without a hierarchy each row has one path, of length 0;
            lifts that were not looked up are 0.
        """
        if not scores_NL.has_sorted_indices:
            scores_NL = scores_NL.sorted_indices()
        evidence_E2 = compute_evidence(scores_NL.data)
        paths_NM, evidence_NMK = self._paths(scores_NL, evidence_E2, weights, num_threads, cells_NA)
        values = [
            self._values(
                scores_NL, evidence_E2, paths_NM, attribute,
                lift if with_lifts or weights.free_B4[b, 2] else None,
                None if cells_NA is None else cells_NA[:, attribute],
            )
            for b, (attribute, lift) in enumerate(zip(self.free, self.lifts, strict=True))
        ]  # fmt: skip
        return RowCandidates(paths_NM, evidence_NMK, values)

    def _paths(
        self,
        scores_NL: sp.csr_array,
        evidence_E2: np.ndarray,
        weights: JointWeights,
        num_threads: int | None,
        cells_NA: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        depth, num_rows = self.taxonomy.depth, scores_NL.shape[0]
        if not depth:
            return np.zeros((num_rows, 1), np.int32), np.zeros((num_rows, 1, 1), np.float32)
        levels = PathLevels.of(self.taxonomy)
        shares = [self.taxonomy.log_shares(d) for d in range(depth)]
        paths_NM, _ = find_best_paths(
            scores_NL, evidence_E2, levels, weights.levels_D3,
            weights.share * np.concatenate(shares), self.beam,
            min(self.num_paths, self.taxonomy.num_paths), max(1, self.num_paths // 2),
            None if cells_NA is None else cells_NA[:, self.hierarchy], num_threads,
        )  # fmt: skip
        return paths_NM, self._path_evidence(scores_NL, evidence_E2, paths_NM, shares)

    def _path_evidence(
        self,
        scores_NL: sp.csr_array,
        evidence_E2: np.ndarray,
        paths_NM: np.ndarray,
        shares: Sequence[np.ndarray],
    ) -> np.ndarray:
        taxonomy = self.taxonomy
        evidence_NMK = np.zeros((*paths_NM.shape, 3 * taxonomy.depth + 1), np.float32)
        for d in range(taxonomy.depth):
            columns_NM = taxonomy.scored_PD[paths_NM, d]
            at_NM = find_positions(scores_NL.indptr, scores_NL.indices, columns_NM)
            has_score = at_NM >= 0
            evidence_NMK[has_score, 3 * d : 3 * d + 2] = evidence_E2[at_NM[has_score]]
            evidence_NMK[..., 3 * d + 2] = ~has_score
            evidence_NMK[..., -1] += shares[d][taxonomy.nodes_PD[paths_NM, d]]
        evidence_NMK[paths_NM < 0] = 0.0
        return evidence_NMK

    def _values(
        self,
        scores_NL: sp.csr_array,
        evidence_E2: np.ndarray,
        paths_NM: np.ndarray,
        attribute: int,
        lift: PathLift | None,
        cells_N: np.ndarray | None,
    ) -> ValueCandidates:
        at_NV = find_best_entries(
            scores_NL.indptr, scores_NL.indices, scores_NL.data, self.attribute_of_L, attribute,
            self.num_values,
        )  # fmt: skip
        has_score = at_NV >= 0
        columns_NV = np.full(at_NV.shape, -1, np.int32)
        columns_NV[has_score] = scores_NL.indices[at_NV[has_score]]
        evidence_NV2 = np.zeros((*at_NV.shape, 2), np.float32)
        evidence_NV2[has_score] = evidence_E2[at_NV[has_score]]
        if cells_N is not None:
            absent = np.flatnonzero((cells_N >= 0) & ~(columns_NV == cells_N[:, None]).any(axis=1))
            columns_NV[absent, -1] = cells_N[absent]
            evidence_NV2[absent, -1] = compute_evidence(np.zeros(1))
        if self.taxonomy.depth and lift is not None:
            lift_NMV = lift.log_lift(self.taxonomy, paths_NM, columns_NV)
        else:
            lift_NMV = np.zeros((*paths_NM.shape, columns_NV.shape[1]), np.float32)
        return ValueCandidates(columns_NV, evidence_NV2, lift_NMV)
