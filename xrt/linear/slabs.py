"""Weights of a level laid out to score many rows on many of its nodes: the levels above a
shortlist.

It needs more memory than chunks. `beam_step.expand` looks every nonzero of a row up in each chunk
it enters. Most nonzeros of a row lie in few columns; here the weights of the D columns that most
nodes use are a dense slab for each cluster, children side by side, so that such a nonzero costs one
product of vectors and no search. The other columns have postings: the nodes that use them, walked
once for a row. n rows, F sparse columns, K nodes, C children of one cluster. Nodes stand in chunk
order, as in `LevelWeights`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xrt.jit import njit
from xrt.linear.kernels.beam_step import add_dense, by_cluster, keep_best
from xrt.linear.scoring import Beam, RowBlock
from xrt.linear.weights import LevelWeights
from xrt.storage.array_faults import read_only
from xrt.tree.path_scores import log_score

MAX_FREQUENT = 1 << 15
"""Columns in slabs: on library titles nine tenths of all nonzeros are in so many."""
MAX_SLAB_WEIGHTS = 1 << 26
"""Weights in the slabs of a level, K * D: 256 MB."""


class Pattern(NamedTuple):
    """Some nodes of each row, ascending, as in a csr matrix without values: int64, int32."""

    indptr: np.ndarray
    nodes: np.ndarray


@dataclass(frozen=True, eq=False)
class ChunkSlabs:
    """place_F int32: a column's place in the slabs, -1 where it has postings. slabs float32 (K *
    D,): for each cluster a matrix (D, C). post_ptr int64 (F + 1,), post_nodes int32 and post_values
    float32: positions of nodes in chunk order, and their weights, for each other column.
    """

    weights: LevelWeights
    place_F: np.ndarray
    slabs: np.ndarray
    post_ptr: np.ndarray
    post_nodes: np.ndarray
    post_values: np.ndarray

    @classmethod
    def of(cls, weights: LevelWeights) -> "ChunkSlabs":
        """Lay out a level's weights; a pass over all of them.

        Args:
            weights: of the level.

        Returns:
            The layout.

        Raises:
            ArtifactError: a chunk is damaged.
        """
        weights.check()
        num_columns, num_nodes = weights.num_features, weights.num_nodes
        per_row = np.diff(weights.row_ptr)
        used_F = np.bincount(weights.row_columns, per_row, num_columns)
        num_frequent = min(num_columns, MAX_FREQUENT, max(1, MAX_SLAB_WEIGHTS // num_nodes))
        frequent_D = np.argsort(-used_F, kind="stable")[:num_frequent]
        place_F = np.full(num_columns, -1, np.int32)
        place_F[frequent_D] = np.arange(num_frequent)

        cluster_R = np.repeat(np.arange(len(weights.chunk_ptr) - 1), np.diff(weights.chunk_ptr))
        cluster = np.repeat(cluster_R, per_row)
        column = np.repeat(weights.row_columns, per_row)
        child = weights.entry_children.astype(np.int64)
        value = weights.entry_values.astype(np.float32)
        slabs = np.zeros(num_nodes * num_frequent, np.float32)
        inside = place_F[column] >= 0
        first, size = weights.child_ptr[cluster], np.diff(weights.child_ptr)[cluster]
        slot = first * num_frequent + place_F[column] * size + child
        slabs[slot[inside]] = value[inside]

        order = np.flatnonzero(~inside)
        order = order[np.argsort(column[order], kind="stable")]
        counts = np.bincount(column[order], minlength=num_columns)
        post_ptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        post_nodes = (first + child)[order].astype(np.int32)
        return cls(weights, place_F, slabs, post_ptr, post_nodes, value[order])

    def best(self, rows: RowBlock, beam: Beam, keep: int) -> Beam:
        """The `keep` best children of the nodes in a beam, as `step_block` gives them.

        Args:
            rows: feature rows (n, F + H).
            beam: the nodes above.
            keep: nodes of a row, at most.

        Returns:
            The beam at this level.
        """
        beam_ptr, nodes, pairs_ptr, scores = self._log_scores(rows, beam)
        child_ptr, children = self._tables
        return Beam(*_best(beam_ptr, nodes, pairs_ptr, scores, child_ptr, children, keep))

    def chosen(self, rows: RowBlock, beam: Beam, chosen: Pattern, parents_K: np.ndarray) -> Beam:
        """The log scores of chosen nodes; the parent of each is in the beam.

        Args:
            rows: feature rows (n, F + H).
            beam: the nodes above.
            chosen: the nodes to score.
            parents_K: the parent of each node.

        Returns:
            The nodes with their log scores.
        """
        beam_ptr, nodes, pairs_ptr, all_scores = self._log_scores(rows, beam)
        child_ptr, children = self._tables
        scores = _chosen(
            beam_ptr, nodes, pairs_ptr, all_scores, child_ptr, children, chosen.indptr,
            chosen.nodes, parents_K,
        )  # fmt: skip
        return Beam(chosen.indptr, chosen.nodes, scores)

    @property
    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        return self.weights.kernel_arrays[:2]  # type: ignore[return-value]

    def _log_scores(self, rows: RowBlock, beam: Beam) -> tuple[Any, ...]:
        """The beam's pointers and nodes, where each pair's children begin, and their scores."""
        arrays = self.weights.kernel_arrays
        slabs = (self.place_F, self.slabs, self.post_ptr, self.post_nodes, self.post_values)
        beam_arrays = tuple(read_only(array) for array in beam)
        arguments = (
            *rows,
            *beam_arrays,
            arrays[0],
            *(read_only(array) for array in slabs),
            *arrays[7:9],
        )
        pairs_ptr, scores = _log_scores(*arguments)
        return beam_arrays[0], beam_arrays[1], pairs_ptr, scores


@njit(nogil=True, cache=True)
def _log_scores(  # noqa: C901
    indptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    dense_nH: np.ndarray,
    beam_ptr: np.ndarray,
    beam_nodes: np.ndarray,
    beam_scores: np.ndarray,
    child_ptr: np.ndarray,
    place_F: np.ndarray,
    slabs: np.ndarray,
    post_ptr: np.ndarray,
    post_nodes: np.ndarray,
    post_values: np.ndarray,
    dense_KH: np.ndarray,
    bias_K: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Rare columns row by row, then the others cluster by cluster, whose slabs stay near."""
    num_rows, num_pairs = len(beam_ptr) - 1, len(beam_nodes)
    pairs_ptr = np.zeros(num_pairs + 1, np.int64)
    for pair in range(num_pairs):
        num_children = child_ptr[beam_nodes[pair] + 1] - child_ptr[beam_nodes[pair]]
        pairs_ptr[pair + 1] = pairs_ptr[pair] + num_children
    scores = np.empty(pairs_ptr[num_pairs], np.float32)
    row_of = np.empty(num_pairs, np.int64)
    slab_ptr, num_slab = np.zeros(num_rows + 1, np.int64), 0
    places, slab_values = np.empty(len(columns), np.int32), np.empty(len(columns), np.float32)
    sums_K = np.zeros(len(bias_K), np.float32)
    for row in range(num_rows):
        walked = False
        for j in range(indptr[row], indptr[row + 1]):
            place = place_F[columns[j]]
            if place >= 0:
                places[num_slab], slab_values[num_slab] = place, values[j]
                num_slab += 1
            else:
                for entry in range(post_ptr[columns[j]], post_ptr[columns[j] + 1]):
                    sums_K[post_nodes[entry]] += values[j] * post_values[entry]
                    walked = True
        slab_ptr[row + 1] = num_slab
        for pair in range(beam_ptr[row], beam_ptr[row + 1]):
            row_of[pair] = row
            low, high = child_ptr[beam_nodes[pair]], child_ptr[beam_nodes[pair] + 1]
            scores[pairs_ptr[pair] : pairs_ptr[pair + 1]] = bias_K[low:high] + sums_K[low:high]
        if walked:
            sums_K[:] = 0
    order, floats = np.empty(num_pairs, np.int64), np.empty(4 * dense_nH.shape[1], np.float32)
    by_cluster(beam_nodes, len(child_ptr) - 1, order, np.empty(len(child_ptr), np.int64))
    num_frequent, begin = len(slabs) // len(bias_K), 0
    while begin < num_pairs:
        cluster, end = beam_nodes[order[begin]], begin
        low, high = child_ptr[cluster], child_ptr[cluster + 1]
        slab_DC = slabs[low * num_frequent : high * num_frequent].reshape(num_frequent, high - low)
        while end < num_pairs and beam_nodes[order[end]] == cluster:
            pair, row = order[end], row_of[order[end]]
            columns_of_row = slice(slab_ptr[row], slab_ptr[row + 1])
            _add_slab(
                places[columns_of_row],
                slab_values[columns_of_row],
                slab_DC,
                scores[pairs_ptr[pair] : pairs_ptr[pair + 1]],
            )
            end += 1
        group = order[begin:end]
        if dense_nH.shape[1] > 0:
            add_dense(dense_nH, row_of[group], pairs_ptr[group], dense_KH[low:high], scores, floats)
        begin = end
    for pair in range(num_pairs):
        for place in range(pairs_ptr[pair], pairs_ptr[pair + 1]):
            scores[place] = beam_scores[pair] + log_score(scores[place])
    return pairs_ptr, scores


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _add_slab(
    places: np.ndarray, values: np.ndarray, slab_DC: np.ndarray, margins_C: np.ndarray
) -> None:
    """Four columns at once, so that sums go to memory and back less often."""
    four = len(places) // 4 * 4
    for j in range(0, four, 4):
        a_C, b_C = slab_DC[places[j]], slab_DC[places[j + 1]]
        c_C, d_C = slab_DC[places[j + 2]], slab_DC[places[j + 3]]
        a, b, c, d = values[j], values[j + 1], values[j + 2], values[j + 3]
        for child in range(len(margins_C)):
            margins_C[child] += (a * a_C[child] + b * b_C[child]) + (
                c * c_C[child] + d * d_C[child]
            )
    for j in range(four, len(places)):
        a_C, a = slab_DC[places[j]], values[j]
        for child in range(len(margins_C)):
            margins_C[child] += a * a_C[child]


@njit(nogil=True, cache=True)
def _best(
    beam_ptr: np.ndarray,
    beam_nodes: np.ndarray,
    pairs_ptr: np.ndarray,
    scores: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    keep: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    num_rows = len(beam_ptr) - 1
    next_ptr = np.zeros(num_rows + 1, np.int64)
    for row in range(num_rows):
        num_children = pairs_ptr[beam_ptr[row + 1]] - pairs_ptr[beam_ptr[row]]
        next_ptr[row + 1] = next_ptr[row] + min(keep, num_children)
    nodes = np.empty(next_ptr[num_rows], np.int32)
    best_scores = np.empty(next_ptr[num_rows], np.float32)
    for row in range(num_rows):
        row_entries = slice(next_ptr[row], next_ptr[row + 1])
        keep_best(
            beam_ptr[row], beam_ptr[row + 1], 0, beam_nodes, child_ptr, children, pairs_ptr,
            scores, nodes[row_entries], best_scores[row_entries],
        )  # fmt: skip
    return next_ptr, nodes, best_scores


@njit(nogil=True, cache=True)
def _chosen(
    beam_ptr: np.ndarray,
    beam_nodes: np.ndarray,
    pairs_ptr: np.ndarray,
    scores: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    chosen_ptr: np.ndarray,
    chosen: np.ndarray,
    parents_K: np.ndarray,
) -> np.ndarray:
    log_scores = np.empty(len(chosen), np.float32)
    for row in range(len(chosen_ptr) - 1):
        begin, end = beam_ptr[row], beam_ptr[row + 1]
        for place in range(chosen_ptr[row], chosen_ptr[row + 1]):
            node = chosen[place]
            parent = parents_K[node]
            pair = begin + np.searchsorted(beam_nodes[begin:end], parent)
            siblings = children[child_ptr[parent] : child_ptr[parent + 1]]
            log_scores[place] = scores[pairs_ptr[pair] + np.searchsorted(siblings, node)]
    return log_scores
