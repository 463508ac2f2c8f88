"""Trains one level of the tree: a binary problem for each node, on the rows that are its
candidates.

N rows, F sparse and H dense columns, K_t nodes at the level, K_{t-1} clusters above. The rows of a
cluster are gathered once into a space with only the columns they use, so cost does not depend on F;
blocks of nodes are solved there, the dearest first.
"""

import threading
from dataclasses import dataclass
from enum import Enum

import numpy as np
import scipy.sparse as sp
from numba import njit

from xrt.errors import ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.linear.dual import solve_logistic, solve_squared_hinge, squared_norms
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

    Y_level (N, K_t): a nonzero says that the row belongs below the node. M (N, K_{t-1}): a nonzero
    makes the row a candidate in the cluster; None at level 0, where every row is a candidate. A
    row with a true node in a cluster is a candidate there whether M says so or not.
    Raises DataError when the shapes do not fit together.
    """
    _check_shapes(X, Y_level, M, tree, t)
    positives = sp.csc_array(Y_level)
    candidates = None if M is None else sp.csc_array(M)
    child_ptr, children = tree.children(t)
    blocks = _plan_blocks(positives, candidates, child_ptr, children, X.num_rows)
    scratch = threading.local()

    def solve(index: int) -> SolvedBlock:
        cluster, first, last = blocks[index]
        if not hasattr(scratch, "column_map"):
            scratch.column_map = np.full(X.num_features, -1, np.int32)
        nodes = children[first:last]
        siblings = children[child_ptr[cluster] : child_ptr[cluster + 1]]
        rows = _cluster_rows(positives, candidates, siblings, cluster, X.num_rows)
        return SolvedBlock(cluster, first, *_solve_block(
            X.sparse.indptr, X.sparse.indices, X.sparse.data, X.dense, rows, nodes,
            positives.indptr, positives.indices, params.loss is Loss.logistic,
            np.float32(params.cost_positive), np.float32(params.cost_negative), params.epsilon,
            params.max_iterations, np.float32(params.threshold), np.float32(params.bias),
            np.uint64(seed * 31 + t + 1), scratch.column_map,
        ))  # fmt: skip

    if progress is not None:
        progress.start(f"rankers, level {t + 1} of {tree.depth}", len(children))
    solved = run_blocks(
        solve, len(blocks), num_threads, progress, lambda i: blocks[i][2] - blocks[i][1]
    )
    if progress is not None:
        progress.finish()
    return LevelWeights.from_blocks(solved, tree, t, X.num_features)


def _check_shapes(
    X: HybridMatrix, Y_level: sp.csr_array, M: sp.csr_array | None, tree: LabelTree, t: int
) -> None:
    wanted = (X.num_rows, tree.num_nodes(t))
    if Y_level.shape != wanted:
        raise DataError(
            f"targets of level {t} have shape {Y_level.shape}, rows and nodes are {wanted}"
        )
    if M is not None and M.shape != (X.num_rows, tree.num_nodes(t - 1)):
        above = (X.num_rows, tree.num_nodes(t - 1))
        raise DataError(
            f"candidates of level {t} have shape {M.shape}, rows and clusters are {above}"
        )


def _plan_blocks(
    positives: sp.csc_array,
    candidates: sp.csc_array | None,
    child_ptr: np.ndarray,
    children: np.ndarray,
    num_rows: int,
) -> list[tuple[int, int, int]]:
    """Blocks (cluster, first, last) of children to solve together, the dearest first.

    A cluster with many rows is cut into several blocks, so that threads finish together; the cut
    depends on the data only, never on the number of threads.
    """
    largest_block = 200_000  # rows x nodes: gathering rows anew is small beside solving these
    costs, blocks = [], []
    for cluster in range(len(child_ptr) - 1):
        first, last = int(child_ptr[cluster]), int(child_ptr[cluster + 1])
        if candidates is None:
            rows = num_rows
        else:
            rows = int(candidates.indptr[cluster + 1] - candidates.indptr[cluster])
        size = max(2, largest_block // max(1, rows))
        for start in range(first, last, size):
            end = min(start + size, last)
            blocks.append((cluster, start, end))
            costs.append((rows + 1) * (end - start))
    return [blocks[i] for i in np.argsort(-np.array(costs), kind="stable")]


def _cluster_rows(
    positives: sp.csc_array,
    candidates: sp.csc_array | None,
    siblings: np.ndarray,
    cluster: int,
    num_rows: int,
) -> np.ndarray:
    """Rows on which the nodes of a cluster are trained, ascending: candidates and all true rows."""
    if candidates is None:
        return np.arange(num_rows, dtype=np.int32)
    rows = [candidates.indices[candidates.indptr[cluster] : candidates.indptr[cluster + 1]]]
    rows += [
        positives.indices[positives.indptr[node] : positives.indptr[node + 1]] for node in siblings
    ]
    return np.unique(np.concatenate(rows)).astype(np.int32)


@njit(nogil=True, cache=True)
def _gather(indptr, indices, data, rows, column_map):  # type: ignore[no-untyped-def]
    """The rows in a space of their own: row pointers, local columns, values, and the columns,
    ascending.

    `column_map` is scratch of size F, all -1 when called and when left.
    """
    n = len(rows)
    local_ptr = np.zeros(n + 1, np.int64)
    for r in range(n):
        local_ptr[r + 1] = local_ptr[r] + indptr[rows[r] + 1] - indptr[rows[r]]
    used = np.empty(min(local_ptr[n], len(column_map)), np.int32)
    num_used = 0
    for r in range(n):
        for j in range(indptr[rows[r]], indptr[rows[r] + 1]):
            if column_map[indices[j]] < 0:
                column_map[indices[j]] = 0
                used[num_used] = indices[j]
                num_used += 1
    used = np.sort(used[:num_used])
    for c in range(num_used):
        column_map[used[c]] = c
    columns, values = np.empty(local_ptr[n], np.int32), np.empty(local_ptr[n], np.float32)
    for r in range(n):
        start = indptr[rows[r]]
        for j in range(local_ptr[r + 1] - local_ptr[r]):
            columns[local_ptr[r] + j] = column_map[indices[start + j]]
            values[local_ptr[r] + j] = data[start + j]
    for c in range(num_used):
        column_map[used[c]] = -1
    return local_ptr, columns, values, used


@njit(nogil=True, cache=True)
def _solve_block(  # type: ignore[no-untyped-def]
    indptr, indices, data, dense_NH, rows, nodes, positive_ptr, positive_rows, logistic,
    cost_positive, cost_negative, epsilon, max_iterations, threshold, bias, seed, column_map,
):  # fmt: skip
    """Solve the nodes one after the other on the gathered rows.

    Returns per-node pointers into (columns, values) of the kept sparse weights, then the dense
    weights (nodes, H) and the biases (nodes,). A node without positive rows gets margin -1
    everywhere.
    """
    local_ptr, columns, values, used = _gather(indptr, indices, data, rows, column_map)
    dense_nH = dense_NH[rows]
    norms = squared_norms(local_ptr, values, dense_nH, bias)
    n, f, H, num_nodes = len(rows), len(used), dense_NH.shape[1], len(nodes)
    kept_ptr = np.zeros(num_nodes + 1, np.int64)
    capacity = 1024
    kept_columns, kept_values = np.empty(capacity, np.int32), np.empty(capacity, np.float32)
    dense_weights, biases = np.zeros((num_nodes, H), np.float32), np.zeros(num_nodes, np.float32)
    y, cost = np.empty(n, np.float32), np.empty(n, np.float32)
    w_f, b = np.empty(f, np.float32), np.zeros(1, np.float32)
    for k in range(num_nodes):
        node = nodes[k]
        kept_ptr[k + 1] = kept_ptr[k]
        true_rows = positive_rows[positive_ptr[node] : positive_ptr[node + 1]]
        if len(true_rows) == 0:
            biases[k] = -1.0
            continue
        y[:], cost[:] = -1.0, cost_negative
        for i in np.searchsorted(rows, true_rows):
            y[i], cost[i] = 1.0, cost_positive
        w_f[:], b[:] = 0.0, 0.0
        node_seed = seed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(node)
        if logistic:
            solve_logistic(local_ptr, columns, values, dense_nH, norms, bias, y, cost, epsilon,
                           max_iterations, node_seed, w_f, dense_weights[k], b)  # fmt: skip
        else:
            solve_squared_hinge(local_ptr, columns, values, dense_nH, norms, bias, y, cost, epsilon,
                                max_iterations, node_seed, w_f, dense_weights[k], b)  # fmt: skip
        biases[k] = b[0] * bias
        for c in range(f):
            if abs(w_f[c]) > threshold:
                if kept_ptr[k + 1] == capacity:
                    capacity *= 2
                    kept_columns = np.concatenate((kept_columns, np.empty_like(kept_columns)))
                    kept_values = np.concatenate((kept_values, np.empty_like(kept_values)))
                kept_columns[kept_ptr[k + 1]], kept_values[kept_ptr[k + 1]] = used[c], w_f[c]
                kept_ptr[k + 1] += 1
    total = kept_ptr[num_nodes]
    return kept_ptr, kept_columns[:total].copy(), kept_values[:total].copy(), dense_weights, biases
