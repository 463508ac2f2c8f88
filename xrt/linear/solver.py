"""Trains levels of the tree: a binary problem for each node, on the rows that are its candidates.

N rows, F sparse and H dense columns, K_t nodes at level t, K_{t-1} clusters above. The rows of a
cluster are gathered once into a space with only the columns they use, so cost does not depend on F.
Levels whose candidates are known beforehand are trained together: one queue of blocks, most
expensive first, feeds all threads.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.hybrid import HybridMatrix
from xrt.linear.kernels.simd import WIDTH
from xrt.linear.kernels.train import gather, solve_squared_hinge, squared_norms
from xrt.linear.sink import LevelSink, MemorySink
from xrt.linear.weights import LevelWeights, SolvedBlock
from xrt.progress import Progress
from xrt.ranges import above, at_least, check_ranges
from xrt.threads import run_blocks
from xrt.tree.label_tree import LabelTree


@dataclass(frozen=True, eq=False)
class RankerProblem:
    """What the rankers of level t are trained on.

    `positives` csc (N, K_t): an entry says that the row belongs below the node, and with what
    confidence: it multiplies `cost_positive` there. `candidates` csc (N, K_{t-1}): a nonzero makes
    the row a candidate in the cluster; None where every row is one.
    """

    t: int
    positives: sp.csc_array
    candidates: sp.csc_array | None

    @classmethod
    def of(
        cls, X: HybridMatrix, Y_level: sp.csr_array, M: sp.csr_array | None, tree: LabelTree, t: int
    ) -> "RankerProblem":
        """Make the problem of level t.

        Args:
            X: feature rows (N, F + H).
            Y_level: confidences (N, K_t); an entry of 0 is no target.
            M: candidates (N, K_{t-1}); None where every row is one.
            tree: the label tree.
            t: the level, counted from 0 below the root.

        Returns:
            The problem.

        Raises:
            DataError: the shapes do not fit together, or a target is below 0.
        """
        of_nodes, of_clusters = ((X.num_rows, tree.num_nodes(t - up)) for up in (0, 1))
        if Y_level.shape != of_nodes:
            raise DataError(
                f"targets of level {t} have shape {Y_level.shape}, rows and nodes are {of_nodes}"
            )
        if M is not None and M.shape != of_clusters:
            raise DataError(
                f"candidates of level {t} have shape {M.shape}, rows and clusters are {of_clusters}"
            )
        positives = sp.csc_array(Y_level)
        lowest = positives.data.min(initial=1)
        if lowest < 0:
            raise DataError(f"targets of level {t}: {lowest}; confidences of labels are above 0")
        if lowest == 0:
            positives.eliminate_zeros()
        return cls(t, positives, None if M is None else sp.csc_array(M))

    @property
    def is_certain(self) -> bool:
        """Whether every confidence is 1."""
        return bool((self.positives.data == 1).all())

    def rows_of(self, cluster: int, siblings: np.ndarray) -> np.ndarray:
        """Rows that the nodes of a cluster are trained on: candidates and positives, ascending.

        Args:
            cluster: its number.
            siblings: the nodes of the cluster, int32.

        Returns:
            Row numbers, int32 (n,).
        """
        candidates, positives = self.candidates, self.positives
        assert candidates is not None
        rows = [candidates.indices[candidates.indptr[cluster] : candidates.indptr[cluster + 1]]]
        rows += [
            positives.indices[positives.indptr[node] : positives.indptr[node + 1]]
            for node in siblings
        ]
        return np.unique(np.concatenate(rows)).astype(np.int32)

    def costs(self, X: HybridMatrix, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Factors of the costs: the confidence of each positive entry, and the weights of `rows`
        (n,); float32.

        Args:
            X: feature rows with their weights.
            rows: row numbers (n,).

        Returns:
            Confidences of all positive entries, and weights (n,).
        """
        weights_n = np.ones(len(rows), np.float32) if X.weights_N is None else X.weights_N[rows]
        return self.positives.data.astype(np.float32, copy=False), weights_n


EPSILON = 0.1
"""A problem is solved once the projected gradients of a sweep differ by less than this."""
MAX_SWEEPS = 100
"""Sweeps over the rows of a problem, at most."""
BIAS = 1.0
"""Value of the constant feature of each row."""
SHORT_ROW, SHORT_ROW_THRESHOLD = 128, 0.1
"""Weights of up to SHORT_ROW_THRESHOLD are dropped for rows of up to SHORT_ROW nonzeros."""
FEW_ROWS = 1000
"""Below it no weight is dropped: with 200 labels a row P@5 rises from 94.8 to 95.6."""


@dataclass(frozen=True, kw_only=True)
class SolverParams:
    """How each binary problem, of squared hinge loss, is solved."""

    cost_positive: Annotated[float, above(0)] = 1.0
    """Cost C of a row that has the label."""
    cost_negative: Annotated[float, above(0)] = 1.0
    """Cost C of a row that does not have the label."""
    threshold: Annotated[float, at_least(0)] | None = None
    """Sparse weights of at most this size are dropped. None: 0.1, less for long rows, and 0 for
    fewer than 1,000 rows, see `threshold_for`."""

    def __post_init__(self) -> None:
        check_ranges(self, "ranker")

    def threshold_for(self, nonzeros_per_row: float, num_rows: int = FEW_ROWS) -> float:
        """The threshold for so many rows, with so many nonzeros on average.

        A value of a row of length 1 is about 1 / sqrt(nonzeros), and so weights share what they say
        among more and smaller ones where rows are long, as those of character n-grams are.

        Args:
            nonzeros_per_row: mean number of nonzeros.
            num_rows: rows to train on; a model of few is small, whatever it keeps.

        Returns:
            The threshold.
        """
        if self.threshold is not None:
            return self.threshold
        if num_rows < FEW_ROWS:
            return 0.0
        return SHORT_ROW_THRESHOLD * math.sqrt(SHORT_ROW / max(nonzeros_per_row, SHORT_ROW))


@dataclass(frozen=True)
class _Block:
    """Children first .. last - 1, in chunk order, of a cluster; solved together."""

    problem: RankerProblem
    cluster: int
    first: int
    last: int


def train_levels(
    X: HybridMatrix,
    problems: Sequence[RankerProblem],
    tree: LabelTree,
    params: SolverParams,
    seed: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
    sinks: Sequence[LevelSink] | None = None,
) -> list[LevelWeights]:
    """Weights of all nodes of the problems' levels.

    A row with a true node in a cluster is a candidate there whether its candidates say so or not.
    The weights of the rows of X multiply their costs in every problem. Sinks are
    discarded on any error, and on Ctrl-C.

    Args:
        X: feature rows (N, F + H), with weights.
        problems: of different levels.
        tree: the label tree.
        params: the settings.
        seed: of all random choices.
        num_threads: threads; None for the default.
        progress: receives the progress; None for none.
        sinks: take the weights of each problem as they are solved; None keeps them in memory.

    Returns:
        Weights of each problem's level.

    Raises:
        CapacityError: the disk of a sink is full.
    """
    if sinks is None:
        sinks = [MemorySink(tree, problem.t, X.num_features) for problem in problems]
    tables = {problem.t: tree.children(problem.t) for problem in problems}
    blocks = _plan_blocks(problems, tables, X.num_rows)
    rows_of_X = _Rows(X)
    threshold = np.float32(params.threshold_for(X.sparse.nnz / max(X.num_rows, 1), X.num_rows))
    scratch = threading.local()
    costs_differ = {
        problem.t: X.weights_N is not None or not problem.is_certain for problem in problems
    }
    sink_of = {problem.t: sink for problem, sink in zip(problems, sinks, strict=True)}

    def solve(index: int) -> None:
        block = blocks[index]
        t = block.problem.t
        child_ptr, children = tables[t]
        siblings = children[child_ptr[block.cluster] : child_ptr[block.cluster + 1]]
        nodes, positives = children[block.first : block.last], block.problem.positives
        local = rows_of_X.local(block.problem, block.cluster, siblings, scratch)
        solution = solve_squared_hinge(
            *local, nodes, positives.indptr, positives.indices,
            np.float32(params.cost_positive), np.float32(params.cost_negative),
            np.float32(EPSILON), MAX_SWEEPS, threshold,
            np.uint64(seed * 31 + t + 1), rows_of_X.stop,
            *block.problem.costs(X, local[6]) if costs_differ[t] else (None, None),
        )  # fmt: skip
        sink_of[t].add(SolvedBlock(block.cluster, block.first, *solution))

    if progress is not None:
        names = ", ".join(str(problem.t + 1) for problem in problems)
        progress.start(
            f"rankers, level {names} of {tree.depth}", sum(len(b[1]) for b in tables.values())
        )
    try:
        run_blocks(
            solve,
            len(blocks),
            num_threads,
            progress,
            lambda index: blocks[index].last - blocks[index].first,
            rows_of_X.stop_all,
        )
        if progress is not None:
            progress.finish()
        return [sink.finish() for sink in sinks]
    except BaseException:
        for sink in sinks:
            sink.discard()
        raise


def train_level(
    X: HybridMatrix,
    Y_level: sp.csr_array,
    M: sp.csr_array | None,
    tree: LabelTree,
    t: int,
    params: SolverParams,
    seed: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> LevelWeights:
    """Weights of all nodes of level t.

    Y_level (N, K_t): a nonzero says that the row belongs below the node, and how surely. M (N,
    K_{t-1}): a nonzero makes the row a candidate in the cluster; None at level 0, where every row
    is a candidate.

    Args:
        X: feature rows (N, F + H), with weights.
        Y_level: confidences (N, K_t); a nonzero makes the row a positive of the node.
        M: candidates (N, K_{t-1}); None where every row is one.
        tree: the label tree.
        t: a level, counted from 0 below the root.
        params: the settings.
        seed: of all random choices.
        num_threads: threads; None for the default.
        progress: receives the progress; None for none.

    Returns:
        Weights of the level.

    Raises:
        DataError: the shapes do not fit together.
    """
    problem = RankerProblem.of(X, Y_level, M, tree, t)
    return train_levels(X, [problem], tree, params, seed, num_threads, progress)[0]


class _Rows:
    """Feature rows as arguments of the kernels: all, or those of a cluster."""

    def __init__(self, X: HybridMatrix) -> None:
        if not X.sparse.data.all():
            X = replace(X, sparse=X.sparse.copy())
            X.sparse.eliminate_zeros()
        self.X, self.bias, self.stop = X, np.float32(BIAS), np.zeros(1, np.uint8)
        self.indptr = X.sparse.indptr.astype(np.int64)
        self.indices = X.sparse.indices.astype(np.int32, copy=False)  # F is below 2^31
        self._all: tuple[Any, ...] | None = None
        self._lock = threading.Lock()

    def stop_all(self) -> None:
        """Make running kernels return after their sweep; their results are void."""
        self.stop[0] = 1

    def local(
        self,
        problem: RankerProblem,
        cluster: int,
        siblings: np.ndarray,
        scratch: threading.local,
    ) -> tuple[Any, ...]:
        """The first arguments of a kernel, up to the numbers of rows and columns, included."""
        if problem.candidates is None:
            return self._every_row()
        if not hasattr(scratch, "column_map"):
            scratch.column_map = np.full(self.X.num_features, -1, np.int32)
        rows = problem.rows_of(cluster, siblings)
        indptr, columns, values, used = gather(
            self.indptr, self.indices, self.X.sparse.data, rows, scratch.column_map
        )
        dense_nH = self.X.dense[rows]
        norms = squared_norms(indptr, values, dense_nH, self.bias)
        return indptr, columns, values, dense_nH, norms, self.bias, rows, used

    def _every_row(self) -> tuple[Any, ...]:
        with self._lock:
            if self._all is None:
                values, dense_NH = self.X.sparse.data, self.X.dense
                norms = squared_norms(self.indptr, values, dense_NH, self.bias)
                rows = np.arange(self.X.num_rows, dtype=np.int32)
                columns = np.arange(self.X.num_features, dtype=np.int32)
                self._all = (
                    self.indptr, self.indices, values, dense_NH, norms, self.bias, rows, columns,
                )  # fmt: skip
            return self._all


def _plan_blocks(
    problems: Sequence[RankerProblem],
    tables: dict[int, tuple[np.ndarray, np.ndarray]],
    num_rows: int,
) -> list[_Block]:
    """All clusters of all levels, most expensive first.

    A cluster that is more than a small part of the whole is cut, between groups of nodes solved
    together, so that threads finish together; cuts depend on the data, not on how many threads
    there are.
    """
    sizes = [
        np.full(1, num_rows) if problem.candidates is None else np.diff(problem.candidates.indptr)
        for problem in problems
    ]
    groups = [-(-np.diff(tables[problem.t][0]) // WIDTH) for problem in problems]
    total = sum(int(((rows + 1) * count).sum()) for rows, count in zip(sizes, groups, strict=True))
    largest = total / 200
    costs, blocks = [], []
    for problem, rows_K in zip(problems, sizes, strict=True):
        child_ptr = tables[problem.t][0]
        for cluster, rows in enumerate(rows_K):
            size = WIDTH * max(1, int(largest / (rows + 1)))
            for first in range(int(child_ptr[cluster]), int(child_ptr[cluster + 1]), size):
                last = min(first + size, int(child_ptr[cluster + 1]))
                blocks.append(_Block(problem, cluster, first, last))
                costs.append((rows + 1) * -(-(last - first) // WIDTH))
    return [blocks[i] for i in np.argsort(-np.array(costs), kind="stable")]
