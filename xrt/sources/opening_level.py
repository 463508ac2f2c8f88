"""Scores of the nodes of one level, exact along their whole path, without a search from the root.

n rows of a block, K nodes of the opening level, W nodes named for each row. A node's score is the
log score of its path, the same number that a beam from the root would give it: only which nodes are
looked at differs. The rankers of a cluster score all its children together, so the siblings of a
named node are looked at too; they cost nothing more, and some of them are better.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from xrt.jit import njit
from xrt.linear.scoring import Beam, RowBlock, block_beam, step_block
from xrt.linear.slabs import ChunkSlabs, Pattern
from xrt.linear.weights import LevelWeights
from xrt.tree.label_tree import LabelTree


class OpeningLevel:
    """The levels of a tree down to the one that is entered, `level`."""

    def __init__(self, levels: Sequence[LevelWeights], tree: LabelTree, level: int) -> None:
        """Keep the levels; their weights are laid out anew when first used."""
        self.level, self._weights = level, levels[: level + 1]
        self._parents = tree.parents[: level + 1]

    @cached_property
    def _slabs(self) -> list[ChunkSlabs]:
        return [ChunkSlabs.of(weights) for weights in self._weights]

    @property
    def num_nodes(self) -> int:
        """Nodes of the opening level, K."""
        return len(self._parents[-1])

    @property
    def parents_K(self) -> np.ndarray:
        """The node above each node of the opening level: int32 (K,)."""
        return self._parents[-1]

    def enter(self, rows: RowBlock, nodes_nW: np.ndarray, keep: int) -> Beam:
        """The `keep` best of the named nodes and their siblings. A name of -1 is nobody's.

        Args:
            rows: n rows.
            nodes_nW: node numbers of the level that is entered, (n, W).
            keep: most nodes of a row.

        Returns:
            Nodes and log scores; none for a row without any name.
        """
        above = []
        parents = _above(nodes_nW, self.parents_K)
        for parents_K in reversed(self._parents[:-1]):
            above.append(parents)
            parents = Pattern(*_rising(parents.indptr, parents_K[parents.nodes]))
        beam = block_beam(None, 0, len(nodes_nW))
        for slabs, parents_K in zip(self._slabs[:-1], self._parents[:-1], strict=True):
            beam = slabs.chosen(rows, beam, above.pop(), parents_K)
        if self.level == 0:  # all are children of the root; a row without any name has none
            beam = Beam(parents.indptr, parents.nodes, np.zeros(len(parents.nodes), np.float32))
        return self._slabs[-1].best(rows, beam, keep)

    def from_root(self, rows: RowBlock, beam_size: int) -> Beam:
        """The nodes that a beam search from the root keeps.

        Args:
            rows: n rows.
            beam_size: nodes kept at a level.

        Returns:
            Nodes of the level that is entered, with log scores.
        """
        beam = block_beam(None, 0, len(rows.indptr) - 1)
        for weights in self._weights:
            beam = step_block(weights, rows, beam, beam_size)
        return beam

    def all_scores(self, rows: RowBlock) -> np.ndarray:
        """The scores of all nodes: float32 (n, K).

        Args:
            rows: n rows.

        Returns:
            Log scores.
        """
        beam = block_beam(None, 0, len(rows.indptr) - 1)
        for slabs in self._slabs:
            beam = slabs.best(rows, beam, slabs.weights.num_nodes)
        return beam.scores.reshape(-1, self.num_nodes)


def with_nodes(nodes_nW: np.ndarray, beam: Beam) -> np.ndarray:
    """The named nodes joined with those of a beam, padded with -1.

    Args:
        nodes_nW: node numbers, (n, W).
        beam: nodes of n rows.

    Returns:
        Node numbers, (n, W + most nodes of a row in the beam).
    """
    counts = np.diff(beam.indptr)
    joined = np.full((len(nodes_nW), nodes_nW.shape[1] + int(counts.max(initial=0))), -1)
    joined[:, : nodes_nW.shape[1]] = nodes_nW
    rows = np.repeat(np.arange(len(counts)), counts)
    places = np.arange(len(beam.nodes)) - np.repeat(beam.indptr[:-1], counts)
    joined[rows, nodes_nW.shape[1] + places] = beam.nodes
    return joined


def _above(nodes_nW: np.ndarray, parents_K: np.ndarray) -> Pattern:
    """The parents of the named nodes, ascending, each once."""
    named = nodes_nW >= 0
    indptr = np.concatenate([[0], np.cumsum(named.sum(1))]).astype(np.int64)
    return Pattern(*_rising(indptr, parents_K[nodes_nW[named]]))


@njit(nogil=True, cache=True)
def _rising(indptr: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of each row ascending, each once."""
    kept_ptr = np.zeros(len(indptr), np.int64)
    kept = np.empty(len(nodes), np.int32)
    num_kept = 0
    for row in range(len(indptr) - 1):
        last = -1
        for node in np.sort(nodes[indptr[row] : indptr[row + 1]]):
            if node != last:
                kept[num_kept] = last = node
                num_kept += 1
        kept_ptr[row + 1] = num_kept
    return kept_ptr, kept[:num_kept].copy()
