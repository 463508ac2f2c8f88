"""A search down all levels: rows go in blocks, and a block goes down the whole tree on one thread.

N rows, L nodes of the last level. A single row meets no thread pool and no matrix on its way: one
compiled call for each level, with weights laid out for it.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from xrt.hybrid import HybridMatrix
from xrt.linear.buffers import scratch
from xrt.linear.scoring import (
    Beam,
    RowBlock,
    block_beam,
    block_bounds,
    check_columns,
    closed_to,
    joined,
    step_block,
)
from xrt.linear.single_query import QueryBeam, query_buffers_for, step_row
from xrt.linear.weights import LevelWeights
from xrt.threads import run_blocks


class SearchSession:
    """Levels of weights, coarse to fine, and how they are searched. Cheap to make."""

    def __init__(
        self,
        levels: Sequence[LevelWeights],
        beam_size: int,
        path_weight: float = 1.0,
        open_nodes: Sequence[np.ndarray] | None = None,
    ) -> None:
        """See SearchParams. open_nodes: for each level the nodes that may be entered, bool (K_t,);
        None: all.
        """
        self._beam_size = beam_size
        self._levels = levels
        self._widest = max(weights.widest for weights in levels)
        inner_nodes = max((weights.num_nodes for weights in levels[:-1]), default=0)
        self._most_kept = min(beam_size, inner_nodes)
        biases: list[np.ndarray | None] = [None] * len(levels)
        if open_nodes is not None:
            biases = [closed_to(*each) for each in zip(levels, open_nodes, strict=True)]
        self._inner = list(zip(levels[:-1], biases[:-1], strict=True))
        self._last = (levels[-1], path_weight, biases[-1])

    def search(
        self,
        X: HybridMatrix,
        k: int,
        start: sp.csr_array | None = None,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        """The `k` best nodes of the last level for each row, with log scores: (N, L).

        Args:
            X: N rows.
            k: most nodes of a row.
            start: log scores of the nodes above the first level, csr_array; None: the root.
            num_threads: threads; None for the default.

        Returns:
            The log scores, csr_array.
        """
        for weights in self._levels:
            check_columns(weights, X)
        if X.num_rows == 1:
            return joined([self._descend_alone(X, k, start)], self._levels[-1].num_nodes)
        bounds = block_bounds(X.num_rows, num_threads)
        parts = run_blocks(
            lambda block: self._descend(X, int(bounds[block]), int(bounds[block + 1]), k, start),
            len(bounds) - 1,
            num_threads,
        )
        return joined(parts, self._levels[-1].num_nodes)

    def _descend_alone(self, X: HybridMatrix, k: int, start: sp.csr_array | None) -> Beam:
        row, (_, nodes, scores) = RowBlock.of(X, 0, 1), block_beam(start, 0, 1)
        beam, num_pairs = QueryBeam(nodes, scores), max(self._most_kept, len(nodes))
        buffers = query_buffers_for(row, num_pairs, self._widest, self._most_kept)
        how = self._beam_size, 1.0
        for depth, (weights, bias) in enumerate(self._inner):
            beam = step_row(weights, row, beam, *how, bias, buffers[depth % 2])
        weights, path_weight, bias = self._last
        last_buffers = buffers[0].with_new_beam(min(k, len(beam.nodes) * self._widest))
        return step_row(weights, row, beam, k, path_weight, bias, last_buffers).as_beam

    def _descend(
        self, X: HybridMatrix, low: int, high: int, k: int, start: sp.csr_array | None
    ) -> Beam:
        rows, beam, buffers = (
            RowBlock.of(X, low, high),
            block_beam(start, low, high),
            scratch().beams,
        )
        for depth, (weights, bias) in enumerate(self._inner):
            how = (self._beam_size, 1.0, bias, buffers[depth % 2])
            beam = step_block(weights, rows, beam, *how)
        weights, path_weight, bias = self._last
        return step_block(weights, rows, beam, k, path_weight, bias)
