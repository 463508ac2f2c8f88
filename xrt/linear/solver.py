"""Trains levels of the tree: a binary problem for each node, on the rows that are its candidates.

N rows, F sparse and H dense columns, K_t nodes at level t, K_{t-1} clusters above. The rows of a
cluster are gathered once into a space with only the columns they use, so cost does not depend on F.
Levels whose candidates are known beforehand are trained together: one queue of blocks, the dearest
first, feeds all threads.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.linear.cluster import solve_logistic_nodes, solve_squared_hinge
from xrt.linear.gather import gather, squared_norms
from xrt.linear.lanes import WIDTH
from xrt.linear.sink import LevelSink, MemorySink
from xrt.linear.weights import LevelWeights, SolvedBlock
from xrt.progress import Progress
from xrt.threads import run_blocks
from xrt.tree.label_tree import LabelTree


class Loss(str, Enum):
    """The loss of a binary problem."""

    squared_hinge = "squared_hinge"
    logistic = "logistic"


@dataclass(frozen=True, kw_only=True)
class SolverParams:
    """How each binary problem is solved."""

    loss: Loss = Loss.squared_hinge
    cost_positive: float = 1.0
    """Cost C of a row that has the label."""
    cost_negative: float = 1.0
    """Cost C of a row that has not."""
    epsilon: float = 0.1
    """Stop once the gradients of a sweep lie so close together."""
    max_iterations: int = 100
    """Sweeps over the rows at the most."""
    threshold: float = 0.1
    """Sparse weights of at most this size are dropped."""
    bias: float = 1.0
    """Value of the constant feature; 0 for none."""

    def __post_init__(self) -> None:
        for name in ("cost_positive", "cost_negative", "max_iterations"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"ranker.{name} = {getattr(self, name)}: must be above 0")
        for name in ("threshold", "bias"):
            if getattr(self, name) < 0:
                raise ConfigError(f"ranker.{name} = {getattr(self, name)}: must not be below 0")
        if self.epsilon < 1e-4:  # gradients are float32: below this they never agree
            raise ConfigError(f"ranker.epsilon = {self.epsilon}: at least 0.0001 is needed")


@dataclass(frozen=True, eq=False)
class LevelProblem:
    """What level t is trained on.

    `positives` csc (N, K_t): an entry says that the row belongs below the node, and how surely: it
    multiplies `cost_positive` there. `candidates` csc (N, K_{t-1}): a nonzero makes the row a
    candidate in the cluster; None where every row is one.
    """

    t: int
    positives: sp.csc_array
    candidates: sp.csc_array | None

    @classmethod
    def of(
        cls, X: HybridMatrix, Y_level: sp.csr_array, M: sp.csr_array | None, tree: LabelTree, t: int
    ) -> "LevelProblem":
        """Check that targets and candidates fit rows and tree; DataError says what does not.

        Zeros among the targets are no targets; a target below 0 is refused.
        """
        wanted, above = (X.num_rows, tree.num_nodes(t)), (X.num_rows, tree.num_nodes(t - 1))
        if Y_level.shape != wanted:
            raise DataError(
                f"targets of level {t} have shape {Y_level.shape}, rows and nodes are {wanted}"
            )
        if M is not None and M.shape != above:
            raise DataError(
                f"candidates of level {t} have shape {M.shape}, rows and clusters are {above}"
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
        """Rows on which the nodes of a cluster are trained, ascending: candidates and true rows."""
        candidates, positives = self.candidates, self.positives
        assert candidates is not None
        rows = [candidates.indices[candidates.indptr[cluster] : candidates.indptr[cluster + 1]]]
        rows += [
            positives.indices[positives.indptr[node] : positives.indptr[node + 1]]
            for node in siblings
        ]
        return np.unique(np.concatenate(rows)).astype(np.int32)


@dataclass(frozen=True)
class _Block:
    """Children first .. last - 1, in chunk order, of a cluster; solved together."""

    problem: LevelProblem
    cluster: int
    first: int
    last: int


def train_levels(
    X: HybridMatrix,
    problems: Sequence[LevelProblem],
    tree: LabelTree,
    params: SolverParams,
    seed: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
    sinks: Sequence[LevelSink] | None = None,
) -> list[LevelWeights]:
    """Weights of all nodes of the problems' levels.

    A row with a true node in a cluster is a candidate there whether its candidates say so or not.
    The weights of the rows of X multiply their costs in every problem.
    `sinks` take the weights of each problem as they are solved; None keeps them in memory. Raises
    CapacityError when a sink's disk is full; sinks are discarded on any error, and on Ctrl-C.
    """
    if sinks is None:
        sinks = [MemorySink(tree, problem.t, X.num_features) for problem in problems]
    tables = {problem.t: tree.children(problem.t) for problem in problems}
    blocks = _plan_blocks(problems, tables, X.num_rows)
    rows_of_X = _Rows(X, params)
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
        kernel: Any = solve_logistic_nodes if params.loss is Loss.logistic else solve_squared_hinge
        found = kernel(
            *local, nodes, positives.indptr, positives.indices,
            np.float32(params.cost_positive), np.float32(params.cost_negative),
            np.float32(params.epsilon), params.max_iterations, np.float32(params.threshold),
            np.uint64(seed * 31 + t + 1), rows_of_X.stop,
            *_differing_costs(X, positives, local) if costs_differ[t] else (None, None),
        )  # fmt: skip
        sink_of[t].add(SolvedBlock(block.cluster, block.first, *found))

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
    Raises DataError when the shapes do not fit together.
    """
    problem = LevelProblem.of(X, Y_level, M, tree, t)
    return train_levels(X, [problem], tree, params, seed, num_threads, progress)[0]


class _Rows:
    """Feature rows as the kernels want them: all, or those of a cluster."""

    def __init__(self, X: HybridMatrix, params: SolverParams) -> None:
        if not X.sparse.data.all():
            X = replace(X, sparse=X.sparse.copy())
            X.sparse.eliminate_zeros()
        self.X, self.bias, self.stop = X, np.float32(params.bias), np.zeros(1, np.uint8)
        self.indptr = X.sparse.indptr.astype(np.int64)
        self.indices = X.sparse.indices.astype(np.int32, copy=False)  # F is below 2^31
        self._all: tuple[Any, ...] | None = None
        self._lock = threading.Lock()

    def stop_all(self) -> None:
        """Tell kernels at work to return after their sweep; what they return is of no use."""
        self.stop[0] = 1

    def local(
        self,
        problem: LevelProblem,
        cluster: int,
        siblings: np.ndarray,
        scratch: threading.local,
    ) -> tuple[Any, ...]:
        """The first arguments of a kernel, up to and with the numbers of rows and columns."""
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


def _differing_costs(
    X: HybridMatrix, positives: sp.csc_array, local: tuple[Any, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The confidence of every positive and the weights of a cluster's rows, float32."""
    rows = local[6]
    weights_n = np.ones(len(rows), np.float32) if X.weights_N is None else X.weights_N[rows]
    return positives.data.astype(np.float32, copy=False), weights_n


def _plan_blocks(
    problems: Sequence[LevelProblem],
    tables: dict[int, tuple[np.ndarray, np.ndarray]],
    num_rows: int,
) -> list[_Block]:
    """All clusters of all levels, the dearest first.

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
