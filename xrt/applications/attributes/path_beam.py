"""Finds the best paths of a taxonomy for each row: a beam from coarse to fine.

N rows, L labels, D levels, M paths kept. A node gains what its label is worth in the row, or what
the level says of labels that the row has no score for, and what the node is worth in any row. A
beam as wide as the widest level is exhaustive.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.taxonomy import Taxonomy
from xrt.jit import njit
from xrt.threads import run_blocks

BLOCK_ROWS = 1024


@dataclass(frozen=True, eq=False)
class PathLevels:
    """The nodes of a taxonomy for the kernel, all levels one after another: `node_ptr` (D + 1,)
    bounds each level's nodes, `child_ptr` each node's children, the root first.
    """

    node_ptr: np.ndarray
    child_ptr: np.ndarray
    children: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> Self:
        """Levels of at least one level."""
        depth, tree = taxonomy.depth, taxonomy.tree
        columns = [taxonomy.column_of_node(d) for d in range(depth)]
        node_ptr = np.concatenate([[0], np.cumsum([len(c) for c in columns])]).astype(np.int64)
        tables = [tree.children(d) for d in range(depth)]
        starts = [tables[d][0][:-1] + node_ptr[d] for d in range(depth)]
        child_ptr = np.concatenate([*starts, [node_ptr[-1]]]).astype(np.int64)
        children = np.concatenate([table[1] for table in tables]).astype(np.int32)
        return cls(node_ptr, child_ptr, children, np.concatenate(columns).astype(np.int32))


def best_paths(
    worth_NL: sp.csr_array,
    levels: PathLevels,
    worth_K: np.ndarray,
    absent_D: np.ndarray,
    beam: int,
    num_paths: int,
    num_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The `num_paths` best paths of each row, best first: int32 (N, M) padded with -1, and their
    worth, float32 (N, M) padded with -inf. Of equals the lower path comes first.

    `worth_NL` holds what a label is worth in a row, with an entry for every label that has a score;
    `worth_K` what each node of all levels is worth in any row, `absent_D` what a label without a
    score is worth, or a level of which nothing is known.
    """
    num_rows, num_labels = worth_NL.shape
    paths_NM = np.full((num_rows, num_paths), -1, np.int32)
    totals_NM = np.full((num_rows, num_paths), -np.inf, np.float32)
    entries = worth_NL.indptr, worth_NL.indices, worth_NL.data.astype(np.float32, copy=False)
    nodes = levels.node_ptr, levels.child_ptr, levels.children, levels.columns
    worth = worth_K.astype(np.float32, copy=False), np.asarray(absent_D, np.float32)

    def block(number: int) -> None:
        low, high = number * BLOCK_ROWS, min((number + 1) * BLOCK_ROWS, num_rows)
        scratch_L = np.full(num_labels, np.nan, np.float32)
        _descend(low, high, *entries, *nodes, *worth, beam, scratch_L, paths_NM, totals_NM)

    run_blocks(block, -(-num_rows // BLOCK_ROWS), num_threads)
    return paths_NM, totals_NM


@njit(nogil=True, cache=True)
def _descend(  # type: ignore[no-untyped-def]
    low, high, indptr, indices, data, node_ptr, child_ptr, children, columns, worth_K, absent_D,
    beam, scratch_L, paths_NM, totals_NM,
):  # fmt: skip
    depth, num_paths = len(node_ptr) - 1, paths_NM.shape[1]
    for row in range(low, high):
        for at in range(indptr[row], indptr[row + 1]):
            scratch_L[indices[at]] = data[at]
        nodes, totals = np.zeros(1, np.int32), np.zeros(1, np.float32)
        for d in range(depth):
            above = 0 if d == 0 else node_ptr[d - 1] + 1  # the root stands before all nodes
            keep = num_paths if d == depth - 1 else beam
            nodes, totals = _down(
                nodes, totals, child_ptr[above:], children, columns[node_ptr[d]:],
                worth_K[node_ptr[d]:], scratch_L, absent_D[d], keep,
            )  # fmt: skip
        order = np.argsort(-totals, kind="mergesort")
        paths_NM[row, : len(nodes)] = nodes[order]
        totals_NM[row, : len(nodes)] = totals[order]
        for at in range(indptr[row], indptr[row + 1]):
            scratch_L[indices[at]] = np.nan


@njit(nogil=True, cache=True)
def _down(nodes, totals, child_ptr, children, columns_K, worth_K, scratch_L, absent, keep):  # type: ignore[no-untyped-def]
    """The `keep` best children of the nodes, in ascending order as the nodes are."""
    size = 0
    for node in nodes:
        size += child_ptr[node + 1] - child_ptr[node]
    found = np.empty(size, np.int32)
    gained = np.empty(size, np.float32)
    at = 0
    for i in range(len(nodes)):
        for j in range(child_ptr[nodes[i]], child_ptr[nodes[i] + 1]):
            child = children[j]
            column = columns_K[child]
            worth = absent
            if column >= 0 and not np.isnan(scratch_L[column]):
                worth = scratch_L[column]
            found[at] = child
            gained[at] = totals[i] + worth + worth_K[child]
            at += 1
    if size > keep:
        order = np.argsort(-gained, kind="mergesort")[:keep]
        order.sort()  # nodes ascend at every level, so that of equals the lower one comes first
        found, gained = found[order], gained[order]
    return found, gained


@njit(nogil=True, cache=True)
def positions_of(indptr, indices, columns_NM):  # type: ignore[no-untyped-def]
    """Where each column's entry lies among a row's entries, which are sorted by column: int64
    (N, M), -1 where there is none.
    """
    found_NM = np.full(columns_NM.shape, -1, np.int64)
    for row in range(columns_NM.shape[0]):
        low, high = indptr[row], indptr[row + 1]
        for m in range(columns_NM.shape[1]):
            column = columns_NM[row, m]
            if column < 0:
                continue
            at = low + np.searchsorted(indices[low:high], column)
            if at < high and indices[at] == column:
                found_NM[row, m] = at
    return found_NM


@njit(nogil=True, cache=True)
def best_entries(indptr, indices, worth, attribute_of_L, attribute, num_kept):  # type: ignore[no-untyped-def]
    """Entries of a row that belong to one attribute, the best first: int64 (N, V) padded with -1;
    of equals the lower column comes first.
    """
    num_rows = len(indptr) - 1
    kept_NV = np.full((num_rows, num_kept), -1, np.int64)
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
        order = np.argsort(values, kind="mergesort")[:num_kept]
        for i in range(len(order)):
            kept_NV[row, i] = mine[order[i]]
    return kept_NV
