"""Finds the best paths of a taxonomy for each row, from coarse to fine.

N rows, E scores of all rows, L labels, D levels, K nodes of all levels, M best paths. A node gains
what its label is worth in the row, or what the level says of labels that the row has no score for,
and what the node is worth in any row.

A narrow beam first finds M good paths. Then all nodes are followed that can lead to a path as good
as the worst of these (branch and bound), and all with a score at every level so far; so the paths
are the best of all, as long as no more of a level's nodes are left than the beam is wide.

Where nodes must go, those that agree with the given values stay first, then those with a score at
every level so far, then those with one at this level: a label without a score never replaces one
that has one. Of equals the node with fewer such levels stays, then the lower one.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.decoding.taxonomy import Taxonomy
from xrt.jit import njit
from xrt.threads import run_blocks

BLOCK_ROWS = 1024
NARROW = 32
"""Nodes of a level in the first pass; what it finds only bounds the second."""
_TIER = 1e7
"""More than scores can be worth: sets nodes apart that are not compared by worth."""
_AGREEMENT = 1e8
"""Worth of a given value: more than anything can speak against it."""
_ROUNDING = 1e-6
"""What sums in another order may differ by."""


@dataclass(frozen=True, eq=False)
class PathLevels:
    """The nodes of a taxonomy for the kernel, all levels one after another: `node_ptr` (D + 1,)
    bounds each level's nodes, `child_ptr` each node's children, the root first. `parents` are the
    nodes above, numbered within their level, `columns` the nodes' labels, `scored_columns` those
    whose scores speak for them.
    """

    node_ptr: np.ndarray
    child_ptr: np.ndarray
    children: np.ndarray
    parents: np.ndarray
    columns: np.ndarray
    scored_columns: np.ndarray

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> Self:
        """Levels of at least one level.

        Args:
            taxonomy: The paths; its depth is at least 1.

        Returns:
            The nodes of its levels.
        """
        depth, tree = taxonomy.depth, taxonomy.tree
        firsts = [taxonomy.first_path_of_node(d) for d in range(depth)]
        node_ptr = np.concatenate([[0], np.cumsum([len(f) for f in firsts])]).astype(np.int64)
        tables = [tree.children(d) for d in range(depth)]
        starts = [tables[d][0][:-1] + node_ptr[d] for d in range(depth)]
        child_ptr = np.concatenate([*starts, [node_ptr[-1]]]).astype(np.int64)
        children = np.concatenate([table[1] for table in tables]).astype(np.int32)
        columns, scored_columns = (
            np.concatenate([paths_PD[firsts[d], d] for d in range(depth)]).astype(np.int32)
            for paths_PD in (taxonomy.paths_PD, taxonomy.scored_PD)
        )
        parents = np.concatenate(tree.parents).astype(np.int32)
        return cls(node_ptr, child_ptr, children, parents, columns, scored_columns)

    def best_below(self, worth_K: np.ndarray) -> np.ndarray:
        """The most that the nodes under each node can be worth together, one of each level: float64
        (K,).

        Args:
            worth_K: What each node is worth, float64 (K,).

        Returns:
            The sums; 0 for the nodes of the last level.
        """
        below_K = np.zeros(len(worth_K), np.float64)
        for d in reversed(range(1, len(self.node_ptr) - 1)):
            above, low, high = self.node_ptr[d - 1], self.node_ptr[d], self.node_ptr[d + 1]
            most = np.full(low - above, -np.inf)
            np.maximum.at(most, self.parents[low:high], worth_K[low:high] + below_K[low:high])
            below_K[above:low] = most
        return below_K

    def is_scored_at(self, num_labels: int) -> np.ndarray:
        """Whether a label's score speaks for nodes of a level: bool (D, L).

        Args:
            num_labels: L.

        Returns:
            For each level the labels that are among its `scored_columns`.
        """
        depth = len(self.node_ptr) - 1
        is_scored_DL = np.zeros((depth, num_labels), bool)
        for d in range(depth):
            columns = self.scored_columns[self.node_ptr[d] : self.node_ptr[d + 1]]
            is_scored_DL[d, columns[columns >= 0]] = True
        return is_scored_DL


def find_best_paths(
    scores_NL: sp.csr_array,
    evidence_E2: np.ndarray,
    levels: PathLevels,
    weights_D3: np.ndarray,
    worth_K: np.ndarray,
    beam: int,
    num_paths: int,
    num_scored: int = 0,
    cells_ND: np.ndarray | None = None,
    num_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The `num_paths` best paths of each row, best first.

    Args:
        scores_NL: Which labels have a score in which row; the scores themselves are not read.
        evidence_E2: For each of these entries two numbers that speak for the label.
        levels: The taxonomy.
        weights_D3: Of both numbers at each level, and what a label without a score is worth.
        worth_K: What each node of all levels is worth in any row.
        beam: Nodes of a level that are followed at most.
        num_paths: Paths of a row, M.
        num_scored: Of these, the places for paths with a score at every level, as many as there
            are, whatever other paths are worth.
        cells_ND: Label columns that a row gives, int32, -1 where it gives none: paths that agree
            with more of them come first.
        num_threads: Threads; None takes the default.

    Returns:
        Paths, int32 (N, M) padded with -1, and their worth, float64 (N, M) padded with -inf.
    """
    num_rows, num_labels = scores_NL.shape
    paths_NM = np.full((num_rows, num_paths), -1, np.int32)
    totals_NM = np.full((num_rows, num_paths), -np.inf, np.float64)
    if cells_ND is None:
        cells_ND = np.full((num_rows, len(weights_D3)), -1, np.int32)
    weights_D3 = np.asarray(weights_D3, np.float64)
    worth_K = np.asarray(worth_K, np.float64)
    without_K = worth_K + np.repeat(weights_D3[:, 2], np.diff(levels.node_ptr))
    entries = scores_NL.indptr, scores_NL.indices, evidence_E2.astype(np.float32, copy=False)
    nodes = (
        levels.node_ptr, levels.child_ptr, levels.children, levels.columns, levels.scored_columns,
        levels.is_scored_at(num_labels),
    )  # fmt: skip
    worth = weights_D3, worth_K, levels.best_below(without_K)
    cells = np.ascontiguousarray(cells_ND, np.int32)

    def block(number: int) -> None:
        low, high = number * BLOCK_ROWS, min((number + 1) * BLOCK_ROWS, num_rows)
        scratch_L = np.full(num_labels, -1, np.int64)
        _search(
            low, high, *entries, *nodes, *worth, cells, beam, num_scored, scratch_L, paths_NM,
            totals_NM,
        )  # fmt: skip

    run_blocks(block, -(-num_rows // BLOCK_ROWS), num_threads)
    return paths_NM, totals_NM


@njit(nogil=True, cache=True)
def _search(
    low: int,
    high: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    evidence_E2: np.ndarray,
    node_ptr: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    columns: np.ndarray,
    scored_columns: np.ndarray,
    is_scored_DL: np.ndarray,
    weights_D3: np.ndarray,
    worth_K: np.ndarray,
    below_K: np.ndarray,
    cells_ND: np.ndarray,
    beam: int,
    num_scored: int,
    scratch_L: np.ndarray,
    paths_NM: np.ndarray,
    totals_NM: np.ndarray,
) -> None:
    num_paths = paths_NM.shape[1]
    for row in range(low, high):
        for at in range(indptr[row], indptr[row + 1]):
            scratch_L[indices[at]] = at
        cells_D = cells_ND[row]
        labels, evidence = (
            indices[indptr[row] : indptr[row + 1]], evidence_E2[indptr[row] : indptr[row + 1]]
        )  # fmt: skip
        to_come_D = _most_to_come(labels, evidence, is_scored_DL, weights_D3, cells_D)
        least = -np.inf
        if len(columns) > NARROW:
            _, totals, _ = _descend(
                node_ptr, child_ptr, children, columns, scored_columns, weights_D3, worth_K,
                below_K, to_come_D, cells_D, evidence_E2, scratch_L, least, min(beam, NARROW),
            )  # fmt: skip
            if len(totals) >= num_paths:
                worst = len(totals) - num_paths
                least = np.partition(totals, worst)[worst] - _ROUNDING
        nodes, totals, num_open = _descend(
            node_ptr, child_ptr, children, columns, scored_columns, weights_D3, worth_K, below_K,
            to_come_D, cells_D, evidence_E2, scratch_L, least, beam,
        )  # fmt: skip
        best = _pick_best(totals, num_open, num_paths, num_scored)
        for m in range(len(best)):
            paths_NM[row, m] = nodes[best[m]]
            total = totals[best[m]]
            totals_NM[row, m] = total - _AGREEMENT * np.round(total / _AGREEMENT)
        for at in range(indptr[row], indptr[row + 1]):
            scratch_L[indices[at]] = -1


@njit(nogil=True, cache=True)
def _most_to_come(
    labels: np.ndarray,
    evidence: np.ndarray,
    is_scored_DL: np.ndarray,
    weights_D3: np.ndarray,
    cells_D: np.ndarray,
) -> np.ndarray:
    """The most that scores and given values can add below each level, over labels without a score:
    float64 (D,).
    """
    depth = len(weights_D3)
    to_come_D = np.zeros(depth, np.float64)
    for d in range(depth - 1, 0, -1):
        most = 0.0
        for i in range(len(labels)):
            if is_scored_DL[d, labels[i]]:
                worth = evidence[i, 0] * weights_D3[d, 0] + evidence[i, 1] * weights_D3[d, 1]
                most = max(most, worth - weights_D3[d, 2])
        to_come_D[d - 1] = to_come_D[d] + most + _AGREEMENT * (cells_D[d] >= 0)
    return to_come_D


@njit(nogil=True, cache=True)
def _descend(
    node_ptr: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    columns: np.ndarray,
    scored_columns: np.ndarray,
    weights_D3: np.ndarray,
    worth_K: np.ndarray,
    below_K: np.ndarray,
    to_come_D: np.ndarray,
    cells_D: np.ndarray,
    evidence_E2: np.ndarray,
    scratch_L: np.ndarray,
    least: float,
    beam: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paths that may be worth `least`, ascending: their worth, and their levels without a score."""
    nodes, totals = np.zeros(1, np.int32), np.zeros(1, np.float64)
    num_open = np.zeros(1, np.int32)
    depth = len(cells_D)
    for d in range(depth):
        above = 0 if d == 0 else node_ptr[d - 1] + 1  # the root stands before all nodes
        first = node_ptr[d]
        nodes, totals, num_open, has_score = _expand(
            nodes, totals, num_open, child_ptr[above:], children, columns[first:],
            scored_columns[first:], worth_K[first:], below_K[first:], weights_D3[d], cells_D[d],
            evidence_E2, scratch_L, least - to_come_D[d],
        )  # fmt: skip
        if d < depth - 1 and len(nodes) > beam:
            places = _most_worthy(totals, num_open, has_score, beam)
            nodes, totals, num_open = nodes[places], totals[places], num_open[places]
    return nodes, totals, num_open


@njit(nogil=True, cache=True)
def _expand(
    nodes: np.ndarray,
    totals: np.ndarray,
    num_open: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    columns_K: np.ndarray,
    scored_columns_K: np.ndarray,
    worth_K: np.ndarray,
    below_K: np.ndarray,
    weights_3: np.ndarray,
    cell: np.int32,
    evidence_E2: np.ndarray,
    scratch_L: np.ndarray,
    least: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The children of the nodes that may be worth `least` with what is below them, ascending as
    these are: what they are worth so far, their levels without a score, and whether their own label
    has one.
    """
    size = 0
    for node in nodes:
        size += child_ptr[node + 1] - child_ptr[node]
    child_nodes, child_totals = np.empty(size, np.int32), np.empty(size, np.float64)
    child_open, has_score = np.empty(size, np.int32), np.empty(size, np.bool_)
    i = 0
    for parent in range(len(nodes)):
        for j in range(child_ptr[nodes[parent]], child_ptr[nodes[parent] + 1]):
            child = children[j]
            column = scored_columns_K[child]
            at = scratch_L[column] if column >= 0 else -1
            worth = weights_3[2]
            if at >= 0:
                worth = evidence_E2[at, 0] * weights_3[0] + evidence_E2[at, 1] * weights_3[1]
            if cell >= 0 and columns_K[child] == cell:
                worth += _AGREEMENT
            total = totals[parent] + worth + worth_K[child]
            is_open = num_open[parent] + (at < 0)
            if is_open and total + below_K[child] < least:
                continue
            child_nodes[i], child_totals[i] = child, total
            child_open[i], has_score[i] = is_open, at >= 0
            i += 1
    return child_nodes[:i], child_totals[:i], child_open[:i], has_score[:i]


@njit(nogil=True, cache=True)
def _most_worthy(
    totals: np.ndarray, num_open: np.ndarray, has_score: np.ndarray, beam: int
) -> np.ndarray:
    """Places of the `beam` nodes that are followed, ascending."""
    keys = np.empty(len(totals), np.float64)
    for i in range(len(totals)):
        tier = 2.0 if num_open[i] == 0 else 1.0 if has_score[i] else 0.0
        keys[i] = totals[i] + _TIER * tier
    least = np.partition(keys, len(keys) - beam)[len(keys) - beam]
    num_equal = beam - (keys > least).sum()
    places = np.empty(beam, np.int64)
    size = 0
    for i in range(len(keys)):
        if keys[i] > least or (keys[i] == least and num_equal > 0):
            num_equal -= keys[i] == least
            places[size] = i
            size += 1
    return places


@njit(nogil=True, cache=True)
def _pick_best(
    totals: np.ndarray, num_open: np.ndarray, num_paths: int, num_scored: int
) -> np.ndarray:
    """Places of the best paths, the best first; the last ones without a score at some level make
    room for `num_scored` that have one at every level and agree with given values as the best does.
    """
    best, size = np.empty(num_paths, np.int64), 0
    full, num_full = np.empty(num_scored, np.int64), 0
    for i in range(len(totals)):
        size = _insert(best, size, i, totals, num_open)
        if num_open[i] == 0:
            num_full = _insert(full, num_full, i, totals, num_open)
    for s in range(num_full):
        place = full[s]
        agrees_less = totals[best[0]] - totals[place] > _AGREEMENT / 2
        if agrees_less or (best[:size] == place).any():
            continue
        last = size - 1
        while last >= 0 and num_open[best[last]] == 0:
            last -= 1
        if last >= 0:
            best[last : size - 1] = best[last + 1 : size].copy()
            best[size - 1] = place
    return best[:size]


@njit(nogil=True, cache=True)
def _insert(
    best: np.ndarray, size: int, place: int, totals: np.ndarray, num_open: np.ndarray
) -> int:
    """Insert a path into the sorted places if it is good enough; how many there are then."""
    at = size
    while at > 0 and _is_better(place, best[at - 1], totals, num_open):
        at -= 1
    if at == len(best):
        return size
    size = min(size + 1, len(best))
    for i in range(size - 1, at, -1):
        best[i] = best[i - 1]
    best[at] = place
    return size


@njit(nogil=True, cache=True)
def _is_better(a: int, b: int, totals: np.ndarray, num_open: np.ndarray) -> bool:
    if totals[a] != totals[b]:
        return bool(totals[a] > totals[b])
    return bool(num_open[a] < num_open[b])


@njit(nogil=True, cache=True)
def find_positions(indptr: np.ndarray, indices: np.ndarray, columns_NM: np.ndarray) -> np.ndarray:
    """Where each column's entry lies among a row's entries, which are sorted by column: int64
    (N, M), -1 where there is none.

    Args:
        indptr: Where each row's entries begin, (N + 1,), as in csr.
        indices: Columns of the entries, (E,), ascending within a row.
        columns_NM: Columns that are looked for in each row, (N, M); -1 is never found.

    Returns:
        Positions in `indices`.
    """
    positions_NM = np.full(columns_NM.shape, -1, np.int64)
    for row in range(columns_NM.shape[0]):
        low, high = indptr[row], indptr[row + 1]
        for m in range(columns_NM.shape[1]):
            column = columns_NM[row, m]
            if column < 0:
                continue
            at = low + np.searchsorted(indices[low:high], column)
            if at < high and indices[at] == column:
                positions_NM[row, m] = at
    return positions_NM


@njit(nogil=True, cache=True)
def find_best_entries(
    indptr: np.ndarray,
    indices: np.ndarray,
    worth: np.ndarray,
    attribute_of_L: np.ndarray,
    attribute: int,
    num_best: int,
) -> np.ndarray:
    """Entries of a row that belong to one attribute, the best first: int64 (N, V) padded with -1;
    of equals the lower column comes first.

    Args:
        indptr: Where each row's entries begin, (N + 1,), as in csr.
        indices: Columns of the entries, (E,), ascending within a row.
        worth: What each entry is worth, (E,); more is better.
        attribute_of_L: The attribute of each label, -1 for none.
        attribute: The attribute whose entries are taken.
        num_best: V, entries of a row at most.

    Returns:
        Positions in `indices`.
    """
    num_rows = len(indptr) - 1
    best_NV = np.full((num_rows, num_best), -1, np.int64)
    for row in range(num_rows):
        low, high = indptr[row], indptr[row + 1]
        mine = np.empty(high - low, np.int64)
        size = 0
        for at in range(low, high):
            if attribute_of_L[indices[at]] == attribute:
                mine[size] = at
                size += 1
        values = np.empty(size, np.float32)
        for i in range(size):
            values[i] = -worth[mine[i]]
        order = np.argsort(values, kind="mergesort")[:num_best]
        for i in range(len(order)):
            best_NV[row, i] = mine[order[i]]
    return best_NV
