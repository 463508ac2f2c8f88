"""A step down the tree for a row that comes alone: the same beam as `step_block`, sooner.

What it reads is laid out anew, in memory, when the first such row comes, unless a level is too
large for that. What it needs for a moment lies in memory that its thread keeps.
"""

from typing import Any, NamedTuple

import numpy as np

from xrt.linear.buffers import LoneRoom, scratch
from xrt.linear.kernels.column_major import expand_all
from xrt.linear.kernels.row_keys import expand_row
from xrt.linear.scoring import Beam, RowBlock, step_block
from xrt.linear.weights import LevelWeights


class LoneBeam(NamedTuple):
    """The nodes of one row, ascending, and their log scores: int32, float32."""

    nodes: np.ndarray
    scores: np.ndarray

    @property
    def of_block(self) -> Beam:
        """The same as the beam of a block of one row."""
        return Beam(np.array([0, len(self.nodes)]), self.nodes, self.scores)


def rooms_for(row: RowBlock, num_pairs: int, widest: int, keep: int) -> tuple[LoneRoom, LoneRoom]:
    """This thread's memory for a row's way down, to be written by turns: for at most `num_pairs`
    clusters in a beam, `widest` children of one, `keep` nodes of a beam that is written.
    """
    found = num_pairs * len(row.columns)
    floats = num_pairs * widest + found + 4 * row.dense.shape[1]
    return scratch().lone_rooms(2 * (num_pairs + found) + 3, floats, keep)


def step_row(
    weights: LevelWeights,
    row: RowBlock,
    beam: LoneBeam,
    keep: int,
    path_weight: float = 1.0,
    open_bias: np.ndarray | None = None,
    room: LoneRoom | None = None,
) -> LoneBeam:
    """One step down for a block of one row: the `keep` best children of the nodes in its beam.

    room: of `rooms_for`, with other arrays than those of the beam; None writes to new ones.
    """
    if room is None:
        num_pairs = len(beam.nodes)
        room, _ = rooms_for(row, num_pairs, weights.widest, 0)
        room = room.for_result(min(keep, num_pairs * weights.widest))
    found = _step(weights, row, beam, keep, path_weight, open_bias, room)
    if open_bias is None:
        return found
    entered = found.scores > -np.inf
    return LoneBeam(found.nodes[entered], found.scores[entered])


def _step(
    weights: LevelWeights,
    row: RowBlock,
    beam: LoneBeam,
    keep: int,
    path_weight: float,
    open_bias: np.ndarray | None,
    room: LoneRoom,
) -> LoneBeam:
    """The same, nodes that are closed among them, with -inf."""
    child_ptr, children, chunk_ptr, _, _, entry_children, entry_values, dense, bias = (
        weights.kernel_arrays
    )
    bias = bias if open_bias is None else open_bias
    own = (row.columns, row.values, row.dense, beam.nodes, beam.scores, child_ptr, children)
    how = (np.float32(path_weight), keep, *room)
    arguments: tuple[Any, ...]
    if len(beam.nodes) == len(child_ptr) - 1 and weights.column_major is not None:
        arguments = (*own, *weights.column_major.arrays, dense, bias, *how)
        return LoneBeam(*expand_all(*arguments))
    if weights.row_keys is not None:
        entries = (entry_children, entry_values)
        arguments = (*own, chunk_ptr, *weights.row_keys.arrays, *entries, dense, bias, *how)
        return LoneBeam(*expand_row(*arguments))
    between = scratch().beams[0]
    _, nodes, scores = step_block(
        weights, row, beam.of_block, keep, path_weight, open_bias, between
    )
    size = len(nodes)
    room.nodes[:size], room.scores[:size] = nodes, scores
    return LoneBeam(room.nodes[:size], room.scores[:size])
