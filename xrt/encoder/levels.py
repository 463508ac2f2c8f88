"""What a level of the tree is trained on, and where its head starts.

Shapes: N rows, K_t nodes of level t, H hidden width, B rows of a batch, E entries of a batch.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from xrt.encoder.heads import prior_log_odds, random_weights
from xrt.encoder.params import Bootstrap, MatcherLoss, MatcherParams
from xrt.hybrid import HybridMatrix
from xrt.linear.solver import Loss, SolverParams, train_level
from xrt.progress import Progress
from xrt.tree.candidates import teacher_forced, union_candidates
from xrt.tree.label_tree import LabelTree

Head = tuple[np.ndarray, np.ndarray]
"""Weight (K, H) and bias (K,), float32."""


class LevelTargets(NamedTuple):
    """Targets and candidates of some rows, entry by entry: node `nodes_E[e]` for row `rows_E[e]`.

    When `dense`, every node is a candidate and the entries are the positives alone.
    """

    rows_E: Tensor
    nodes_E: Tensor
    values_E: Tensor
    dense: bool


class LevelProblem:
    """Targets Y_t (N, K_t) of a level, and its candidates as nodes above, M (N, K_{t-1})."""

    def __init__(
        self, Y_level: sp.csr_array, M_above: sp.csr_array | None, tree: LabelTree, t: int
    ) -> None:
        self.Y_level = Y_level
        self.M_above = M_above
        children = None if M_above is None else sp.csr_array(tree.cluster_matrix(t).T)
        self._children = children

    @property
    def num_nodes(self) -> int:
        """Nodes of the level, K_t."""
        return int(self.Y_level.shape[1])

    def of_rows(self, rows: np.ndarray) -> LevelTargets:
        """Candidates are expanded to children batch by batch; positives are candidates always."""
        Y_BK = self.Y_level[rows]
        if self.M_above is None:
            return _entries(Y_BK, dense=True)
        pattern_BK = sp.csr_array(self.M_above[rows] @ self._children)
        pattern_BK.data[:] = 0.0
        pattern_BK.sort_indices()
        return _entries(_overlay(pattern_BK, Y_BK), dense=False)


def level_candidates(
    Y_above: sp.csr_array, above: Head, embeddings_NH: np.ndarray, params: MatcherParams
) -> sp.csr_array:
    """TFN and MAN together, as nodes of the level above: pattern (N, K_{t-1})."""
    best_NK = top_nodes(embeddings_NH, above, params.man_top_k)
    matcher_aware = _pattern(best_NK, len(above[1]))
    return union_candidates(teacher_forced(Y_above), matcher_aware)


def top_nodes(embeddings_NH: np.ndarray, head: Head, top_k: int) -> np.ndarray:
    """The `top_k` best-scored nodes of each row under a level's own head, over all its nodes: (N,
    k).
    """
    weight_KH, bias_K = (torch.from_numpy(np.asarray(part)) for part in head)
    top_k = min(top_k, len(bias_K))
    best_NK = np.empty((len(embeddings_NH), top_k), np.int64)
    step = max(1, 2**24 // len(bias_K))  # 64 MiB of logits at a time
    with torch.inference_mode():
        for first in range(0, len(embeddings_NH), step):
            block = slice(first, first + step)
            logits_BK = torch.from_numpy(embeddings_NH[block]) @ weight_KH.T + bias_K
            best_NK[block] = logits_BK.topk(top_k, dim=1).indices.numpy()
    return best_NK


def bootstrap_head(
    embeddings_NH: np.ndarray | None,
    Y_level: sp.csr_array,
    Y_above: sp.csr_array | None,
    above: Head | None,
    tree: LabelTree,
    t: int,
    hidden_size: int,
    params: MatcherParams,
    progress: Progress | None = None,
) -> Head:
    """Weights with which the head of level t begins.

    `linear` solves each node against its siblings on the embeddings; `inherit` copies the parent's
    weights, for BCE with the log-odds of a child given its parent added; `none`, and `inherit` at
    level 0, take small random weights, for BCE with the log-odds of the node as bias.
    """
    logistic = params.loss.kind is MatcherLoss.bce
    if params.bootstrap is Bootstrap.linear and embeddings_NH is not None:
        M = None if Y_above is None else teacher_forced(Y_above)
        solver = SolverParams(loss=Loss.logistic if logistic else Loss.squared_hinge, threshold=0.0)
        X = HybridMatrix.of(dense=embeddings_NH)
        weights = train_level(X, Y_level, M, tree, t, solver, params.seed, progress=progress)
        return weights.dense_weights.astype(np.float32), weights.node_bias.astype(np.float32)
    counts_K = np.bincount(Y_level.indices, minlength=Y_level.shape[1])
    prior_K = prior_log_odds(counts_K, Y_level.shape[0])
    if params.bootstrap is Bootstrap.inherit and above is not None and Y_above is not None:
        parents_K = tree.parents[t]
        counts_above = np.bincount(Y_above.indices, minlength=Y_above.shape[1])
        shift_K = prior_K - prior_log_odds(counts_above, Y_above.shape[0])[parents_K]
        return above[0][parents_K], above[1][parents_K] + (shift_K if logistic else 0.0)
    weight_KH = random_weights(len(counts_K), hidden_size, params.seed * 1000 + t)
    return weight_KH, prior_K if logistic else np.zeros_like(prior_K)


def _pattern(nodes_NK: np.ndarray, num_nodes: int) -> sp.csr_array:
    num_rows, top_k = nodes_NK.shape
    indptr = np.arange(num_rows + 1) * top_k
    ones = np.ones(nodes_NK.size, np.float32)
    pattern = sp.csr_array((ones, nodes_NK.ravel(), indptr), shape=(num_rows, num_nodes))
    pattern.sort_indices()
    return pattern


def _overlay(pattern_BK: sp.csr_array, Y_BK: sp.csr_array) -> sp.csr_array:
    """Targets on every entry of the pattern and on every positive; stored zeros are wrong nodes."""
    num_rows, num_nodes = Y_BK.shape
    keys, values = [], []
    for part in (pattern_BK, Y_BK):
        rows = np.repeat(np.arange(num_rows, dtype=np.int64), np.diff(part.indptr))
        keys.append(rows * num_nodes + part.indices)
        values.append(part.data)
    unique, position = np.unique(np.concatenate(keys), return_inverse=True)
    data = np.zeros(len(unique), np.float32)
    np.add.at(data, position, np.concatenate(values))
    indptr = np.searchsorted(unique, np.arange(num_rows + 1, dtype=np.int64) * num_nodes)
    return sp.csr_array((data, unique % num_nodes, indptr), shape=Y_BK.shape)


def _entries(targets_BK: sp.csr_array, dense: bool) -> LevelTargets:
    rows = np.repeat(np.arange(targets_BK.shape[0], dtype=np.int64), np.diff(targets_BK.indptr))
    nodes = torch.from_numpy(targets_BK.indices.astype(np.int64))
    values = torch.from_numpy(targets_BK.data.astype(np.float32))
    return LevelTargets(torch.from_numpy(rows), nodes, values, dense)
