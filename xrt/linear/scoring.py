"""Scores the children of the nodes in a beam: one step down the tree.

N rows, K_t nodes at level t, B beam size. Scores are logarithms of the product of f(margin) along
the path. Pairs of (row, cluster) are grouped by cluster: a group writes the cluster's columns into
a lookup table once, and every row of it reads its nonzeros there; for a lone row they are found by
bisection.
"""

import threading

import numpy as np
import scipy.sparse as sp
from numba import njit

from xrt.errors import DataError
from xrt.hybrid import HybridMatrix
from xrt.linear.dual import SIMD
from xrt.linear.weights import LevelWeights
from xrt.threads import run_blocks
from xrt.tree.path_scores import TRANSFORM_CODES, PathTransform, log_score

ROWS_PER_BLOCK = 1024


def root_beam(num_rows: int) -> sp.csr_array:
    """The beam in which every row stands at the root with log score 0: (N, 1), zeros stored."""
    beam = sp.csr_array((num_rows, 1), dtype=np.float32)
    beam.data = np.zeros(num_rows, np.float32)
    beam.indices = np.zeros(num_rows, np.int32)
    beam.indptr = np.arange(num_rows + 1, dtype=np.int32)
    return beam


def check_columns(weights: LevelWeights, X: HybridMatrix) -> None:
    """Raise DataError when rows have other columns than those the weights were trained on."""
    if (X.num_features, X.num_dense) != (weights.num_features, weights.num_dense):
        raise DataError(
            f"rows have {X.num_features} sparse and {X.num_dense} dense features, the model was "
            f"trained on {weights.num_features} and {weights.num_dense}; use the model's own "
            "vectoriser and encoder"
        )


def step(
    weights: LevelWeights,
    X: HybridMatrix,
    beam: sp.csr_array,
    keep: int,
    transform: PathTransform,
    num_threads: int | None = None,
    path_weight: float = 1.0,
) -> sp.csr_array:
    """Score the children of every node in the beam and keep the `keep` best of each row: (N, K_t).

    A child's score is log f(margin) + `path_weight` * (the node's score). Entries are log scores,
    at most 0; an entry of 0 is stored, absence means "not in the beam". Among equal scores the
    lower node wins.
    """
    check_columns(weights, X)
    bounds = np.append(np.arange(0, X.num_rows, ROWS_PER_BLOCK), X.num_rows)
    scratch = threading.local()

    def search_rows(block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not hasattr(scratch, "lookup"):
            scratch.lookup = np.zeros(weights.num_features, np.int64)
        low, high = bounds[block], bounds[block + 1]
        return _step(
            X.sparse.indptr, X.sparse.indices, X.sparse.data, X.dense, low, high,
            beam.indptr, beam.indices, beam.data, weights.child_ptr, weights.children,
            weights.chunk_ptr, weights.row_columns, weights.row_ptr, weights.entry_children,
            weights.entry_values, weights.dense, weights.bias,
            TRANSFORM_CODES[transform], np.float32(path_weight), keep, scratch.lookup,
        )  # fmt: skip

    parts = run_blocks(search_rows, len(bounds) - 1, num_threads)
    counts = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0, np.int64)
    found = sp.csr_array((X.num_rows, weights.num_nodes), dtype=np.float32)
    found.indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    found.indices = np.concatenate([part[1] for part in parts]) if parts else found.indices
    found.data = np.concatenate([part[2] for part in parts]) if parts else found.data
    return found


@njit(nogil=True, cache=True)
def _step(  # type: ignore[no-untyped-def]
    indptr, indices, data, dense_NH, low, high, beam_ptr, beam_nodes, beam_scores, child_ptr,
    children, chunk_ptr, row_columns, row_ptr, entry_children, entry_values, dense_KH, bias_K,
    code, path_weight, keep, lookup,
):  # fmt: skip
    """One level for rows low .. high - 1: counts a row, then nodes (ascending) and scores of what
    is kept.
    """
    first_pair, num_pairs = beam_ptr[low], beam_ptr[high] - beam_ptr[low]
    row_of_pair = np.empty(num_pairs, np.int64)
    offset = np.zeros(num_pairs + 1, np.int64)  # where a pair's children stand in `scores`
    for row in range(low, high):
        for pair in range(beam_ptr[row] - first_pair, beam_ptr[row + 1] - first_pair):
            cluster = beam_nodes[first_pair + pair]
            row_of_pair[pair] = row
            offset[pair + 1] = offset[pair] + child_ptr[cluster + 1] - child_ptr[cluster]
    scores = np.empty(offset[num_pairs], np.float32)
    order = np.argsort(beam_nodes[first_pair : first_pair + num_pairs], kind="mergesort")
    begin = 0
    while begin < num_pairs:
        cluster = beam_nodes[first_pair + order[begin]]
        end = begin + 1
        while end < num_pairs and beam_nodes[first_pair + order[end]] == cluster:
            end += 1
        chunk_lo, chunk_hi = chunk_ptr[cluster], chunk_ptr[cluster + 1]
        child_lo, child_hi = child_ptr[cluster], child_ptr[cluster + 1]
        grouped = end - begin > 3
        if grouped:
            for r in range(chunk_lo, chunk_hi):
                lookup[row_columns[r]] = r + 1
        for g in range(begin, end):
            pair = order[g]
            row = row_of_pair[pair]
            margins = scores[offset[pair] : offset[pair + 1]]
            margins[:] = bias_K[child_lo:child_hi]
            for j in range(indptr[row], indptr[row + 1]):
                if grouped:
                    r = lookup[indices[j]] - 1
                else:
                    r = _bisect(row_columns, chunk_lo, chunk_hi, indices[j])
                if r >= 0:
                    for e in range(row_ptr[r], row_ptr[r + 1]):
                        margins[entry_children[e]] += data[j] * entry_values[e]
            _add_dense(dense_NH[row], dense_KH[child_lo:child_hi], margins)
            above = path_weight * beam_scores[first_pair + pair]
            for c in range(child_hi - child_lo):
                margins[c] = above + log_score(margins[c], code)
        if grouped:
            for r in range(chunk_lo, chunk_hi):
                lookup[row_columns[r]] = 0
        begin = end
    return _keep_best(low, high, beam_ptr, beam_nodes, child_ptr, children, offset, scores, keep)


@njit(nogil=True, cache=True, inline="always")
def _bisect(row_columns, low, high, column):  # type: ignore[no-untyped-def]
    """Position of a column among those of a chunk, or -1."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if row_columns[middle] < column:
            low = middle + 1
        else:
            high = middle
    if low < end and row_columns[low] == column:
        return low
    return -1


@njit(nogil=True, cache=True, fastmath=SIMD)
def _add_dense(x_H, weights_CH, margins_C):  # type: ignore[no-untyped-def]
    for c in range(len(margins_C)):
        total = np.float32(0)
        for h in range(len(x_H)):
            total += x_H[h] * weights_CH[c, h]
        margins_C[c] += total


@njit(nogil=True, cache=True)
def _keep_best(low, high, beam_ptr, beam_nodes, child_ptr, children, offset, scores, keep):  # type: ignore[no-untyped-def]
    """The `keep` best-scored children of each row, in ascending node order."""
    first_pair = beam_ptr[low]
    counts = np.empty(high - low, np.int64)
    total = 0
    for row in range(low, high):
        begin, end = beam_ptr[row] - first_pair, beam_ptr[row + 1] - first_pair
        counts[row - low] = min(keep, offset[end] - offset[begin])
        total += counts[row - low]
    nodes_out, scores_out = np.empty(total, np.int32), np.empty(total, np.float32)
    best_nodes, best_scores = np.empty(keep + 1, np.int32), np.empty(keep + 1, np.float32)
    position = 0
    for row in range(low, high):
        held = 0
        for pair in range(beam_ptr[row] - first_pair, beam_ptr[row + 1] - first_pair):
            cluster = beam_nodes[first_pair + pair]
            for c in range(child_ptr[cluster + 1] - child_ptr[cluster]):
                node, score = children[child_ptr[cluster] + c], scores[offset[pair] + c]
                if held == keep:
                    worst = best_scores[held - 1]
                    if score < worst or (score == worst and node > best_nodes[held - 1]):
                        continue
                place = min(held, keep - 1)
                while place > 0 and (
                    best_scores[place - 1] < score
                    or (best_scores[place - 1] == score and best_nodes[place - 1] > node)
                ):
                    best_nodes[place], best_scores[place] = (
                        best_nodes[place - 1],
                        best_scores[place - 1],
                    )
                    place -= 1
                best_nodes[place], best_scores[place] = node, score
                held = min(held + 1, keep)
        order = np.argsort(best_nodes[:held])
        for p in range(held):
            nodes_out[position + p] = best_nodes[order[p]]
            scores_out[position + p] = best_scores[order[p]]
        position += held
    return counts, nodes_out, scores_out
