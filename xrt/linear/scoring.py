"""Scores the children of the nodes in a beam: one step down the tree.

N rows, K_t nodes at level t. Scores are logarithms of the product of f(margin) along the path. Rows
are scored in blocks, each on one thread, which reuses its scratch memory.
"""

import copy
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.hybrid import HybridMatrix
from xrt.linear.buffers import NEW_BUFFERS, BeamBuffers, scratch
from xrt.linear.kernels.beam_step import expand, measure
from xrt.linear.weights import LevelWeights
from xrt.storage.array_faults import read_only
from xrt.threads import default_num_threads, run_blocks

ROWS_PER_BLOCK = 4096
MIN_ROWS_PER_BLOCK = 128
MAX_SCORES_AT_ONCE = 1 << 24
"""Scores that a thread holds at once; a block with more is scored in parts."""


class Beam(NamedTuple):
    """The nodes of each row and their log scores, as in a csr matrix: int64, int32, float32."""

    indptr: np.ndarray
    nodes: np.ndarray
    scores: np.ndarray


class RowBlock(NamedTuple):
    """Some feature rows as compiled code takes them: int64, int32, float32, float32 (n, H)."""

    indptr: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    dense: np.ndarray

    @classmethod
    def of(cls, X: HybridMatrix, low: int, high: int) -> "RowBlock":
        """Rows low .. high - 1; indices may be int32 or int64, however many nonzeros there are.

        Args:
            X: feature rows.
            low: first row.
            high: the row behind the last.

        Returns:
            The rows, read-only.
        """
        indptr = X.sparse.indptr[low : high + 1].astype(np.int64)
        begin, end = indptr[0], indptr[-1]
        columns = X.sparse.indices[begin:end].astype(np.int32, copy=False)
        values = X.sparse.data[begin:end].astype(np.float32, copy=False)
        dense = X.dense[low:high].astype(np.float32, copy=False)
        indptr -= begin
        return cls(read_only(indptr), read_only(columns), read_only(values), read_only(dense))


def root_beam(num_rows: int) -> sp.csr_array:
    """The beam in which every row stands at the root with log score 0: (N, 1), zeros stored.

    Args:
        num_rows: N.

    Returns:
        csr (N, 1).
    """
    beam = sp.csr_array((num_rows, 1), dtype=np.float32)
    beam.data = np.zeros(num_rows, np.float32)
    beam.indices = np.zeros(num_rows, np.int32)
    beam.indptr = np.arange(num_rows + 1, dtype=np.int32)
    return beam


def block_beam(start: sp.csr_array | None, low: int, high: int) -> Beam:
    """Rows low .. high - 1 of a beam; None is the root's.

    Args:
        start: log scores (N, K); None for the root.
        low: first row.
        high: the row after the last one.

    Returns:
        The beam.
    """
    if start is None:
        num_rows = high - low
        zeros = np.zeros(num_rows, np.float32)
        return Beam(np.arange(num_rows + 1), np.zeros(num_rows, np.int32), zeros)
    begin, end = start.indptr[low], start.indptr[high]
    indptr = start.indptr[low : high + 1].astype(np.int64) - int(begin)
    return Beam(
        indptr, start.indices[begin:end].astype(np.int32), start.data[begin:end].astype(np.float32)
    )


def check_columns(weights: LevelWeights, X: HybridMatrix) -> None:
    """Raise DataError when rows have other columns than those the weights were trained on.

    Args:
        weights: of the level.
        X: feature rows.

    Raises:
        DataError: rows have other columns than those that the weights were trained on.
    """
    if (X.num_features, X.num_dense) != (weights.num_features, weights.num_dense):
        raise DataError(
            f"rows have {X.num_features} sparse and {X.num_dense} dense features, the model was "
            f"trained on {weights.num_features} and {weights.num_dense}; use the model's own "
            "vectoriser and encoder"
        )


def block_bounds(num_rows: int, num_threads: int | None) -> np.ndarray:
    """Where blocks of rows begin, and the end: equal blocks, as many for each thread.

    Large blocks read a chunk of weights for many rows at once. Results do not depend on them.

    Args:
        num_rows: N.
        num_threads: threads; None for the default.

    Returns:
        int64, the first row of each block, and N.
    """
    threads = num_threads or default_num_threads()
    num_blocks = -(-num_rows // ROWS_PER_BLOCK)
    num_blocks = min(-(-num_blocks // threads) * threads, -(-num_rows // MIN_ROWS_PER_BLOCK))
    return np.linspace(0, num_rows, max(num_blocks, 1) + 1).astype(np.int64)


def step_block(
    weights: LevelWeights,
    rows: RowBlock,
    beam: Beam,
    keep: int,
    path_weight: float = 1.0,
    open_bias: np.ndarray | None = None,
    buffers: BeamBuffers = NEW_BUFFERS,
) -> Beam:
    """One step down for a block of rows, on this thread.

    Args:
        weights: of the level.
        rows: feature rows (n, F + H).
        beam: the nodes above, n rows.
        keep: nodes of a row, at most.
        path_weight: factor of the scores above.
        open_bias: the bias of the weights with -inf for closed nodes, of `closed_to`; None where
            all are open.
        buffers: memory that the beam is written to.

    Returns:
        The beam at this level.

    Raises:
        ArtifactError: a chunk is damaged.
    """
    weights.check(beam.nodes)
    *arrays, bias = weights.kernel_arrays
    memory, num_rows = scratch(), len(beam.indptr) - 1
    next_ptr = buffers.indptr.take(num_rows + 1)[: num_rows + 1]
    size, num_ints, num_floats = measure(
        rows.indptr, beam.indptr, beam.nodes, arrays[0], keep, MAX_SCORES_AT_ONCE, next_ptr
    )
    next_beam = Beam(next_ptr, buffers.nodes.take(size)[:size], buffers.scores.take(size)[:size])
    arguments: tuple[Any, ...] = (
        *rows, *beam, *arrays, bias if open_bias is None else open_bias,
        np.float32(path_weight), MAX_SCORES_AT_ONCE, memory.lookup(weights.num_features),
        memory.ints.take(num_ints),
        memory.floats.take(num_floats + 4 * weights.num_dense), *next_beam,
    )  # fmt: skip
    expand(*arguments)
    return next_beam if open_bias is None else _without_closed(next_beam)


def closed_to(weights: LevelWeights, open_K: np.ndarray) -> np.ndarray:
    """The bias of the weights, -inf for nodes that are not open: no margin reopens those.

    Args:
        weights: of the level.
        open_K: bool, the nodes that may be entered, (K,).

    Returns:
        float32 (K,), in chunk order.
    """
    return read_only(np.where(open_K[weights.children], weights.bias, np.float32(-np.inf)))


def _without_closed(beam: Beam) -> Beam:
    """The nodes of each row that are not closed."""
    is_open = beam.scores > -np.inf
    if is_open.all():
        return beam
    before = np.concatenate([[0], np.cumsum(is_open)])
    return Beam(before[beam.indptr], beam.nodes[is_open], beam.scores[is_open])


def step(
    weights: LevelWeights,
    X: HybridMatrix,
    beam: sp.csr_array,
    keep: int,
    num_threads: int | None = None,
    path_weight: float = 1.0,
) -> sp.csr_array:
    """Score the children of every node in the beam and keep the `keep` best of each row: (N, K_t).

    A child's score is log f(margin) + `path_weight` * (the node's score). Entries are log scores,
    at most 0; an entry of 0 is stored, absence means "not in the beam". Among equal scores the
    lower node wins.

    Args:
        weights: of the level.
        X: feature rows (N, F + H).
        beam: log scores of the nodes above, (N, K_{t-1}).
        keep: nodes of a row, at most.
        num_threads: threads; None for the default.
        path_weight: factor of the scores above.

    Returns:
        csr (N, K_t).

    Raises:
        DataError: rows have other columns than the weights.
        ArtifactError: a chunk is damaged.
    """
    check_columns(weights, X)
    bounds = block_bounds(X.num_rows, num_threads)

    def search_rows(block: int) -> Beam:
        low, high = int(bounds[block]), int(bounds[block + 1])
        rows, above = RowBlock.of(X, low, high), block_beam(beam, low, high)
        return step_block(weights, rows, above, keep, path_weight)

    parts = run_blocks(search_rows, len(bounds) - 1, num_threads)
    return joined(parts, weights.num_nodes)


def joined(parts: Sequence[Beam], num_nodes: int) -> sp.csr_array:
    """The beams of consecutive blocks as one matrix (N, K_t).

    Args:
        parts: beams of consecutive blocks.
        num_nodes: K_t.

    Returns:
        csr float32 (N, K_t).
    """
    if len(parts) == 1:
        indptr, nodes, scores = parts[0]
    else:
        starts = np.cumsum([0] + [part.indptr[-1] for part in parts])
        indptr = np.concatenate(
            [[0], *(part.indptr[1:] + start for part, start in zip(parts, starts, strict=False))]
        )
        nodes = np.concatenate([part.nodes for part in parts])
        scores = np.concatenate([part.scores for part in parts])
    dtype = index_type(int(indptr[-1]))
    if len(indptr) == 2:
        beam = copy.copy(_no_scores(num_nodes))  # ten times faster than a new matrix
    else:
        beam = sp.csr_array((len(indptr) - 1, num_nodes), dtype=np.float32)
    beam.indptr = indptr.astype(dtype)
    beam.indices, beam.data = nodes.astype(dtype, copy=False), scores
    return beam


@functools.lru_cache(maxsize=64)
def _no_scores(num_nodes: int) -> sp.csr_array:
    """One row without entries, to be copied."""
    return sp.csr_array((1, num_nodes), dtype=np.float32)


def index_type(num_entries: int) -> type:
    """int32 as long as the entries of a matrix can be counted in it, else int64.

    Args:
        num_entries: entries of the matrix.

    Returns:
        The type.
    """
    return np.int32 if num_entries < 2**31 else np.int64
