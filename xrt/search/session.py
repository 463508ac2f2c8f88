"""A search down all levels: rows go in blocks, and a block goes down the whole tree on one thread.

N rows, L nodes of the last level. A single row meets no thread pool and no matrix on its way: one
compiled call for each level, with weights laid out for it.
"""

from collections.abc import Sequence

import scipy.sparse as sp

from xrt.hybrid import HybridMatrix
from xrt.linear.lone_row import LoneBeam, step_row
from xrt.linear.scoring import (
    Beam,
    RowBlock,
    block_beam,
    block_bounds,
    check_columns,
    joined,
    step_block,
)
from xrt.linear.weights import LevelWeights
from xrt.threads import run_blocks
from xrt.tree.path_scores import PathTransform


class SearchSession:
    """Levels of weights, coarse to fine, and how they are searched. Cheap to make."""

    def __init__(
        self,
        levels: Sequence[LevelWeights],
        beam_size: int,
        transform: PathTransform,
        path_weight: float = 1.0,
    ) -> None:
        """See SearchParams."""
        self._levels, self._beam_size = levels, beam_size
        self._transform, self._path_weight = transform, path_weight

    def search(
        self,
        X: HybridMatrix,
        k: int,
        start: sp.csr_array | None = None,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        """The `k` best nodes of the last level for each row, with log scores: (N, L)."""
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
        beam = LoneBeam(nodes, scores)
        for weights in self._levels[:-1]:
            beam = step_row(weights, row, beam, self._beam_size, self._transform)
        last = self._levels[-1]
        return step_row(last, row, beam, k, self._transform, self._path_weight).of_block

    def _descend(
        self, X: HybridMatrix, low: int, high: int, k: int, start: sp.csr_array | None
    ) -> Beam:
        rows, beam = RowBlock.of(X, low, high), block_beam(start, low, high)
        for weights in self._levels[:-1]:
            beam = step_block(weights, rows, beam, self._beam_size, self._transform)
        return step_block(self._levels[-1], rows, beam, k, self._transform, self._path_weight)
