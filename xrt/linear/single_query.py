"""Low-latency beam step for one query, bit-identical to `step_block`.

The weights are laid out in memory for it at the first single query, unless a level is too large for
that. Scratch memory is the thread's own and reused.
"""

from typing import Any, NamedTuple

import numpy as np

from xrt.linear.buffers import QueryBuffers, scratch
from xrt.linear.kernels.single_query import expand_all, expand_row, score_row
from xrt.linear.scoring import Beam, RowBlock, step_block
from xrt.linear.weights import LevelWeights


class QueryBeam(NamedTuple):
    """The nodes of one row, ascending, and their log scores: int32, float32."""

    nodes: np.ndarray
    scores: np.ndarray

    @property
    def as_beam(self) -> Beam:
        """The beam as that of a block of one row."""
        return Beam(np.array([0, len(self.nodes)]), self.nodes, self.scores)


def query_buffers_for(
    row: RowBlock, num_pairs: int, widest: int, keep: int
) -> tuple[QueryBuffers, QueryBuffers]:
    """This thread's buffers for a search with one query; levels write them by turns.

    Args:
        row: the query.
        num_pairs: clusters in a beam, at most.
        widest: children of a cluster, at most.
        keep: nodes of a beam that is written, at most.

    Returns:
        Two buffers with the same scratch and different beams.
    """
    num_lookups = num_pairs * len(row.columns)
    num_floats = num_pairs * widest + num_lookups + 4 * row.dense.shape[1]
    return scratch().query_buffers(2 * (num_pairs + num_lookups) + 3, num_floats, keep)


def step_row(
    weights: LevelWeights,
    row: RowBlock,
    beam: QueryBeam,
    keep: int,
    path_weight: float = 1.0,
    open_bias: np.ndarray | None = None,
    buffers: QueryBuffers | None = None,
) -> QueryBeam:
    """One step down for a block of one row: the `keep` best children of the nodes in its beam.

    Args:
        weights: of the level.
        row: a block of one row.
        beam: the nodes above.
        keep: nodes, at most.
        path_weight: factor of the scores above.
        open_bias: as in `step_block`.
        buffers: of `query_buffers_for`, with another beam than `beam`; None makes new ones.

    Returns:
        The beam at this level.

    Raises:
        ArtifactError: a chunk is damaged.
    """
    if buffers is None:
        num_pairs = len(beam.nodes)
        buffers, _ = query_buffers_for(row, num_pairs, weights.widest, 0)
        buffers = buffers.with_new_beam(min(keep, num_pairs * weights.widest))
    next_beam = _step(weights, row, beam, keep, path_weight, open_bias, buffers)
    if open_bias is None:
        return next_beam
    is_open = next_beam.scores > -np.inf
    return QueryBeam(next_beam.nodes[is_open], next_beam.scores[is_open])


def score_nodes(
    weights: LevelWeights,
    row: RowBlock,
    above: QueryBeam,
    nodes: np.ndarray,
    parents: np.ndarray,
    path_weight: float = 1.0,
) -> np.ndarray:
    """Log scores of given nodes of a level for one row, whatever their rank.

    Args:
        weights: of the level; its `row_keys` are there.
        row: a block of one row.
        above: the clusters of the nodes, each once, with their log scores.
        nodes: the nodes, int32.
        parents: for each the place of its cluster in `above`, int64.
        path_weight: factor of the scores above.

    Returns:
        float32, one for each node: to the bit what `step_row` gives them.
    """
    child_ptr, children, chunk_ptr, _, _, entry_children, entry_values, dense, bias = (
        weights.kernel_arrays
    )
    assert weights.row_keys is not None
    buffers, _ = query_buffers_for(row, len(above.nodes), weights.widest, 0)
    scores = np.empty(len(nodes), np.float32)
    arguments: tuple[Any, ...] = (
        row.columns, row.values, row.dense, above.nodes, above.scores, child_ptr, children,
        chunk_ptr, *weights.row_keys.arrays, entry_children, entry_values, dense, bias,
        np.float32(path_weight), buffers.ints, buffers.floats, nodes, parents, scores,
    )  # fmt: skip
    score_row(*arguments)
    return scores


def _step(
    weights: LevelWeights,
    row: RowBlock,
    beam: QueryBeam,
    keep: int,
    path_weight: float,
    open_bias: np.ndarray | None,
    buffers: QueryBuffers,
) -> QueryBeam:
    """As `step_row`, with closed nodes of score -inf among the results."""
    child_ptr, children, chunk_ptr, _, _, entry_children, entry_values, dense, bias = (
        weights.kernel_arrays
    )
    bias = bias if open_bias is None else open_bias
    query = (row.columns, row.values, row.dense, beam.nodes, beam.scores, child_ptr, children)
    settings = (np.float32(path_weight), keep, *buffers)
    arguments: tuple[Any, ...]
    if len(beam.nodes) == len(child_ptr) - 1 and weights.column_major is not None:
        arguments = (*query, *weights.column_major.arrays, dense, bias, *settings)
        return QueryBeam(*expand_all(*arguments))
    if weights.row_keys is not None:
        entries = (entry_children, entry_values)
        arguments = (*query, chunk_ptr, *weights.row_keys.arrays, *entries, dense, bias, *settings)
        return QueryBeam(*expand_row(*arguments))
    buffers_between = scratch().beams[0]
    _, nodes, scores = step_block(
        weights, row, beam.as_beam, keep, path_weight, open_bias, buffers_between
    )
    size = len(nodes)
    buffers.nodes[:size], buffers.scores[:size] = nodes, scores
    return QueryBeam(buffers.nodes[:size], buffers.scores[:size])
