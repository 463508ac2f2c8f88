"""How much more frequent a value is under a path of the hierarchy than in all rows.

A brand is sold in some categories and not in others. log lift = log P(value | path) - log P(value),
where P(value | node) = (n(value, node) + b P(value | node above)) / (n(node) + b), from the root
down, as in a back-off model: a path seen rarely says what the nodes above it say. N rows, M paths,
V values, D levels, L labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.decoding.taxonomy import Taxonomy
from xrt.errors import ArtifactError
from xrt.jit import njit
from xrt.sparse import as_csr, load_csr, save_csr

BACK_OFF = 5.0
"""Rows that the node above counts for."""


@dataclass(frozen=True, eq=False)
class PathLift:
    """Rows of each value (a column) under each node of all levels, the root first: csr (1 + K, L).

    `bases` (D,) is where the nodes of a level begin.
    """

    counts_KL: sp.csr_array
    bases: np.ndarray

    @classmethod
    def of(cls, taxonomy: Taxonomy, paths_N: np.ndarray, values_N: np.ndarray, L: int) -> Self:
        """Count the rows that give both a path (its number) and a value (its column); -1: gives
        none.

        Args:
            taxonomy: The paths that have numbers.
            paths_N: The number of each row's path, int64 (N,), or -1.
            values_N: The label column of each row's value, int32 (N,), or -1.
            L: Labels of all attributes.

        Returns:
            The counts; a row with a value and no path counts for the root alone.
        """
        sizes = [taxonomy.tree.num_nodes(d) for d in range(taxonomy.depth)]
        bases = (1 + np.concatenate([[0], np.cumsum(sizes)[:-1]])).astype(np.int64)
        has_value = values_N >= 0
        rows, columns = [np.zeros(has_value.sum(), np.int64)], [values_N[has_value]]
        both = has_value & (paths_N >= 0)
        for d in range(taxonomy.depth):
            rows.append(bases[d] + taxonomy.nodes_PD[paths_N[both], d])
            columns.append(values_N[both])
        places = np.concatenate(rows), np.concatenate(columns)
        ones = np.ones(len(places[0]), np.float32)
        shape = (1 + int(np.sum(sizes)), L)
        return cls(as_csr(sp.coo_array((ones, places), shape=shape).tocsr(), "counts"), bases)

    def log_lift(
        self, taxonomy: Taxonomy, paths_NM: np.ndarray, columns_NV: np.ndarray
    ) -> np.ndarray:
        """Log lift of each value under each path: float32 (N, M, V); 0 where either is -1.

        Args:
            taxonomy: The taxonomy that the rows were counted with.
            paths_NM: Numbers of paths, (N, M), or -1.
            columns_NV: Label columns of values, (N, V), or -1.

        Returns:
            Natural logarithms; above 0 where the value is more frequent under the path than in all
            rows.
        """
        lift_NMV = np.zeros((*paths_NM.shape, columns_NV.shape[1]), np.float32)
        counts = self.counts_KL.indptr, self.counts_KL.indices, self.counts_KL.data
        nodes_PD = taxonomy.nodes_PD + self.bases
        _log_lift(
            *counts, self.totals_K, nodes_PD, paths_NM, columns_NV, self.num_values, BACK_OFF,
            lift_NMV,
        )  # fmt: skip
        return lift_NMV

    @cached_property
    def totals_K(self) -> np.ndarray:
        """Rows under each node: float64 (1 + K,)."""
        return np.asarray(self.counts_KL.sum(axis=1), np.float64)

    @cached_property
    def num_values(self) -> int:
        """Values that any row gives, at least 1."""
        return max(1, len(np.unique(self.counts_KL.indices)))

    def save(self, folder: Path, name: str) -> None:
        """Write the counts into the folder.

        Args:
            folder: An existing folder.
            name: The name that the files begin with.
        """
        save_csr(folder, name, self.counts_KL)

    @classmethod
    def load(cls, folder: Path, name: str, taxonomy: Taxonomy, settings: Mapping[str, Any]) -> Self:
        """Read what `save` wrote.

        Args:
            folder: Where the counts are.
            name: The name that they were saved under.
            taxonomy: The taxonomy that the rows were counted with.
            settings: Has the number of all `labels`.

        Returns:
            The counts.

        Raises:
            ArtifactError: The counts do not fit the taxonomy and the labels, or one is below 0.
        """
        sizes = [taxonomy.tree.num_nodes(d) for d in range(taxonomy.depth)]
        counts_KL = load_csr(folder, name)
        shape = (1 + int(np.sum(sizes)), int(settings["labels"]))
        if counts_KL.shape != shape:
            raise ArtifactError(
                f"{folder}: counts of shape {counts_KL.shape}, not {shape}; restore or train anew"
            )
        if counts_KL.data.min(initial=0) < 0:
            raise ArtifactError(f"{folder / name}: a count below 0; restore or train anew")
        bases = (1 + np.concatenate([[0], np.cumsum(sizes)[:-1]])).astype(np.int64)
        return cls(counts_KL, bases)


@njit(nogil=True, cache=True)
def _log_lift(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    totals_K: np.ndarray,
    nodes_PD: np.ndarray,
    paths_NM: np.ndarray,
    columns_NV: np.ndarray,
    num_values: int,
    back_off: float,
    lift_NMV: np.ndarray,
) -> None:
    for row in range(paths_NM.shape[0]):
        for v in range(columns_NV.shape[1]):
            column = columns_NV[row, v]
            if column < 0:
                continue
            root = (_count(indptr, indices, data, 0, column) + 1.0) / (totals_K[0] + num_values)
            for m in range(paths_NM.shape[1]):
                path = paths_NM[row, m]
                if path < 0:
                    continue
                share = root
                for d in range(nodes_PD.shape[1]):
                    node = nodes_PD[path, d]
                    count = _count(indptr, indices, data, node, column)
                    share = (count + back_off * share) / (totals_K[node] + back_off)
                lift_NMV[row, m, v] = np.log(share / root)


@njit(nogil=True, cache=True)
def _count(
    indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, node: int, column: np.int32
) -> float:
    low, high = indptr[node], indptr[node + 1]
    at = low + np.searchsorted(indices[low:high], column)
    if at < high and indices[at] == column:
        return np.float64(data[at])
    return 0.0
