"""The paths of a hierarchy of attributes that training has seen, as a tree.

D levels of the hierarchy, P distinct paths, K_d nodes of level d, A attributes. A path holds the
label column of each level, coarse to fine; the label "none" is a column like any other, and -1
stands for a level of which no row says anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from xrt.errors import ArtifactError
from xrt.storage.atomic import save_array
from xrt.storage.reading import load_array
from xrt.tree.label_tree import LabelTree


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """`paths_PD` int32, sorted and distinct; `counts_P` int64, training rows of each.

    Without a hierarchy there is one path of length 0.
    """

    paths_PD: np.ndarray
    counts_P: np.ndarray

    @classmethod
    def of(cls, cells_ND: np.ndarray, none_D: Sequence[int] = ()) -> Self:
        """The paths of rows that give at least the first level.

        A row that leaves a level open counts for the path it fits, where there is one: for the most
        frequent of those that agree with it. Where there is none, the open levels become "none", of
        which `none_D` has the label column (-1 where no row says none: it stays open).

        Args:
            cells_ND: Label columns of the levels, coarse to fine, int32 (N, D), -1 where a row
                gives none.
            none_D: The label column of "none" at each level, or -1; empty leaves all open levels
                open.

        Returns:
            The paths and the rows of each. Where no row gives the first level, it is one path,
            whose levels are open or "none".
        """
        cells_ND = np.ascontiguousarray(cells_ND, np.int32)
        if not cells_ND.shape[1]:
            return cls(np.zeros((1, 0), np.int32), np.array([len(cells_ND)], np.int64))
        rows_ND = cells_ND[cells_ND[:, 0] >= 0]
        if not len(rows_ND):
            rows_ND = np.full((1, cells_ND.shape[1]), -1, np.int32)
        paths_PD, counts_P = np.unique(rows_ND, axis=0, return_counts=True)
        whole_P = (paths_PD >= 0).all(axis=1)
        full_PD, num_rows_P = paths_PD[whole_P], counts_P[whole_P].astype(np.int64)
        extra: list[tuple[np.ndarray, int]] = []
        homes = _by_prefix(full_PD)
        for path_D, count in zip(paths_PD[~whole_P], counts_P[~whole_P], strict=True):
            home = _home(path_D, full_PD, num_rows_P, homes)
            if home is None:
                closed_D = np.where(path_D >= 0, path_D, none_D) if len(none_D) else path_D
                extra.append((closed_D.astype(np.int32), int(count)))
            else:
                num_rows_P[home] += count
        if extra:
            full_PD = np.vstack([full_PD, *(path_D[None] for path_D, _ in extra)])
            num_rows_P = np.concatenate([num_rows_P, [count for _, count in extra]])
        full_PD, back_P = np.unique(full_PD, axis=0, return_inverse=True)  # two may be closed alike
        counts_P = np.bincount(back_P.ravel(), weights=num_rows_P).astype(np.int64)
        return cls(np.ascontiguousarray(full_PD), counts_P)

    @property
    def num_paths(self) -> int:
        """P."""
        return len(self.paths_PD)

    @property
    def depth(self) -> int:
        """D."""
        return int(self.paths_PD.shape[1])

    @cached_property
    def nodes_PD(self) -> np.ndarray:
        """The node of each path at each level, numbered within the level: int32 (P, D)."""
        nodes_PD = np.zeros((self.num_paths, self.depth), np.int32)
        for d in range(self.depth):
            prefixes = self.paths_PD[:, : d + 1]
            new_P = np.ones(self.num_paths, bool)
            new_P[1:] = (prefixes[1:] != prefixes[:-1]).any(axis=1)
            nodes_PD[:, d] = np.cumsum(new_P) - 1
        return nodes_PD

    @cached_property
    def scored_PD(self) -> np.ndarray:
        """The label whose score speaks for each level of each path: int32 (P, D). It is the level's
        own label; a level that is open has the nearest one above, whose only child it is.
        """
        scored_PD = self.paths_PD.copy()
        for d in range(1, self.depth):
            open_P = scored_PD[:, d] < 0
            scored_PD[open_P, d] = scored_PD[open_P, d - 1]
        return scored_PD

    @cached_property
    def tree(self) -> LabelTree:
        """The nodes as a tree; the last level's are the paths."""
        parents = []
        for d in range(self.depth):
            first = np.unique(self.nodes_PD[:, d], return_index=True)[1]
            above = self.nodes_PD[first, d - 1] if d else np.zeros(len(first), np.int32)
            parents.append(above.astype(np.int32))
        return LabelTree(tuple(parents))

    def column_of_node(self, d: int) -> np.ndarray:
        """The label column of each node of level d: int32 (K_d,).

        Args:
            d: The level, from 0.

        Returns:
            The columns; -1 for a node that is open at this level.
        """
        return np.ascontiguousarray(self.paths_PD[self.first_path_of_node(d), d])

    def first_path_of_node(self, d: int) -> np.ndarray:
        """The lowest path through each node of level d: int64 (K_d,).

        Args:
            d: The level, from 0.

        Returns:
            The number of the path, for each node.
        """
        return np.unique(self.nodes_PD[:, d], return_index=True)[1].astype(np.int64)

    def log_shares(self, d: int) -> np.ndarray:
        """Log P(node | node above) of each node of level d, add-one smoothed: float32 (K_d,).

        Args:
            d: The level, from 0.

        Returns:
            Natural logarithms, at most 0.
        """
        counts_K = np.bincount(self.nodes_PD[:, d], weights=self.counts_P) + 1.0
        parents_K = self.tree.parents[d]
        totals = np.bincount(parents_K, weights=counts_K)
        logs_K: np.ndarray = np.log(counts_K / totals[parents_K]).astype(np.float32)
        return logs_K

    def contains(self, paths_ND: np.ndarray) -> np.ndarray:
        """Whether each path was seen in training: bool (N,).

        Args:
            paths_ND: Label columns of the levels, coarse to fine, (N, D).

        Returns:
            True where the path is one of `paths_PD`.
        """
        path_bytes = {path.tobytes() for path in self.paths_PD}
        rows = np.ascontiguousarray(paths_ND, np.int32)
        return np.fromiter((path.tobytes() in path_bytes for path in rows), bool, len(rows))

    def save(self, folder: Path) -> None:
        """Write both arrays into the folder.

        Args:
            folder: An existing folder.
        """
        save_array(folder / "paths.npy", self.paths_PD)
        save_array(folder / "path_counts.npy", self.counts_P)

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """Read what `save` wrote; `settings` names the `depth` and the number of `labels`.

        Args:
            folder: Where the arrays are.
            settings: Has the `depth` and the number of `labels`.

        Returns:
            The taxonomy.

        Raises:
            ArtifactError: There is no path, or arrays do not fit together, are not sorted, or hold
                columns that are not there.
        """
        paths_PD = load_array(folder / "paths.npy", np.int32, 2)
        counts_P = load_array(folder / "path_counts.npy", np.int64, 1)
        num_labels, depth = int(settings["labels"]), int(settings["depth"])
        sound = len(paths_PD) == len(counts_P) and paths_PD.shape[1] == depth
        if sound and paths_PD.size:
            sound = bool(-1 <= paths_PD.min() and paths_PD.max() < num_labels)
        sound = sound and counts_P.min(initial=0) >= 0 and _ascend(paths_PD)
        if not sound or not len(paths_PD):
            raise ArtifactError(f"{folder}: paths do not fit the labels; restore it or train anew")
        return cls(np.ascontiguousarray(paths_PD), counts_P)


def _ascend(paths_PD: np.ndarray) -> bool:
    """Whether rows are in ascending order, each once."""
    steps = np.diff(paths_PD.astype(np.int64), axis=0)
    if not steps.size:
        return len(paths_PD) < 2
    first = (steps != 0).argmax(axis=1)  # the column in which a row differs from the one before
    return bool((steps[np.arange(len(steps)), first] > 0).all())


def _by_prefix(paths_PD: np.ndarray) -> dict[int, np.ndarray]:
    """Positions of the paths under each value of the first level."""
    first = paths_PD[:, 0] if len(paths_PD) else np.zeros(0, np.int32)
    order = np.argsort(first, kind="stable")
    values, starts = np.unique(first[order], return_index=True)
    parts = np.split(order, starts[1:]) if len(values) else []
    return dict(zip(values.tolist(), parts, strict=True))


def _home(
    path_D: np.ndarray, paths_PD: np.ndarray, counts_P: np.ndarray, homes: dict[int, np.ndarray]
) -> int | None:
    near = homes.get(int(path_D[0]))
    if near is None:
        return None
    has_value = path_D >= 0
    fits = near[(paths_PD[near][:, has_value] == path_D[has_value]).all(axis=1)]
    return int(fits[np.argmax(counts_P[fits])]) if len(fits) else None
