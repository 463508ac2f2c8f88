"""Where the head of a level starts.

Shapes: N rows, n rows of a sample, K_t nodes of level t, H hidden width. Heads read pooled vectors
brought to length 1.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.encoder.heads import prior_log_odds, random_weights
from xrt.encoder.levels import Head
from xrt.encoder.loss_params import MatcherLoss
from xrt.encoder.params import Bootstrap, MatcherParams
from xrt.hybrid import HybridMatrix
from xrt.linear.solver import SolverParams, train_level
from xrt.progress import Progress
from xrt.tree.candidates import teacher_forced
from xrt.tree.label_tree import LabelTree

CENTROID_LOGIT = 15.0
"""How much a row's logit rises when it moves from the mean of all rows to a node's centroid, by as
much as rows lie from that mean. Chosen on held-out rows of tibkat."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows whose embeddings are known, of length 1: `unit_nH` of `rows_n`; and how much each row
    counts, None where each counts 1.
    """

    rows_n: np.ndarray
    unit_nH: np.ndarray
    weights_n: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Above:
    """The level above: its targets (N, K_{t-1}) and its head, where they are known."""

    Y: sp.csr_array
    head: Head | None


def start_head(
    Y_level: sp.csr_array,
    above: Above | None,
    sample: Sample | None,
    tree: LabelTree,
    t: int,
    hidden_size: int,
    params: MatcherParams,
    progress: Progress | None = None,
) -> Head:
    """Weights with which the head of level t begins.

    `centroid` points each node to the mean of its rows; `linear` solves each node against its
    siblings; both read a sample of rows, whose weights and targets multiply what they count.
    `inherit` copies the parent's weights, for BCE with the
    log-odds of a child given its parent added. Otherwise, and for `inherit` at level 0, weights are
    small and random, for BCE with the log-odds of the node as bias.
    """
    counts_K = np.bincount(Y_level.indices, minlength=Y_level.shape[1])
    prior_K = prior_log_odds(counts_K, Y_level.shape[0])
    logistic = params.loss.kind is not MatcherLoss.squared_hinge
    if params.bootstrap is Bootstrap.centroid and sample is not None:
        return centroid_head(sample.unit_nH, Y_level[sample.rows_n], prior_K, sample.weights_n)
    if params.bootstrap is Bootstrap.linear and sample is not None:
        return _solved_head(sample, Y_level, above, tree, t, params, progress)
    if params.bootstrap is Bootstrap.inherit and above is not None and above.head is not None:
        return _inherited_head(above.Y, above.head, prior_K if logistic else None, tree, t)
    weight_KH = random_weights(len(counts_K), hidden_size, params.seed * 1000 + t)
    return params.head_scale * weight_KH, prior_K if logistic else np.zeros_like(prior_K)


def centroid_head(
    unit_nH: np.ndarray,
    Y_nK: sp.csr_array,
    prior_K: np.ndarray,
    weights_n: np.ndarray | None = None,
) -> Head:
    """A node's weights point from the mean of all rows to the mean of its own, in which a row
    counts by its weight and its confidence, at most 1.

    The logit at the mean of all rows is the node's log-odds. Nodes without a row in the sample have
    weight 0.
    """
    mean_H = unit_nH.mean(0)
    centred_nH = unit_nH - mean_H
    spread = float(np.linalg.norm(centred_nH, axis=1).mean())
    counted_Kn = sp.csr_array(Y_nK.T)
    counted_Kn.data = np.minimum(counted_Kn.data, np.float32(1))
    if weights_n is not None:
        counted_Kn.data *= weights_n[counted_Kn.indices]
    weight_KH = np.asarray(counted_Kn @ centred_nH, np.float32)
    lengths_K1 = np.linalg.norm(weight_KH, axis=1, keepdims=True)
    weight_KH *= CENTROID_LOGIT / max(spread, 1e-6) / np.maximum(lengths_K1, 1e-12)
    return weight_KH, (prior_K - weight_KH @ mean_H).astype(np.float32)


def sample_rows(Y_NL: sp.csr_array, rows_per_label: int, seed: int) -> np.ndarray:
    """Rows, ascending, among which every label has `rows_per_label` of its rows, or all it has."""
    order_N = np.random.default_rng(seed).permutation(Y_NL.shape[0])
    shuffled_LN = sp.csc_array(Y_NL[order_N])
    shuffled_LN.sort_indices()
    starts, counts = shuffled_LN.indptr[:-1], np.diff(shuffled_LN.indptr)
    taken = [
        shuffled_LN.indices[(starts + i)[counts > i]] for i in range(min(rows_per_label, Y_NL.nnz))
    ]
    return np.unique(order_N[np.concatenate([np.empty(0, np.int64), *taken])])


def _solved_head(
    sample: Sample,
    Y_level: sp.csr_array,
    above: Above | None,
    tree: LabelTree,
    t: int,
    params: MatcherParams,
    progress: Progress | None,
) -> Head:
    solver = SolverParams(threshold=0.0)
    M = None if above is None else teacher_forced(sp.csr_array(above.Y[sample.rows_n]))
    X, Y_nK = HybridMatrix.of(dense=sample.unit_nH), sp.csr_array(Y_level[sample.rows_n])
    Y_nK.data = np.minimum(Y_nK.data, np.float32(1))  # a target may be a number of labels
    weights = train_level(
        X.weighted(sample.weights_n), Y_nK, M, tree, t, solver, params.seed, progress=progress
    )
    return weights.dense_weights.astype(np.float32), weights.node_bias.astype(np.float32)


def _inherited_head(
    Y_above: sp.csr_array, head: Head, prior_K: np.ndarray | None, tree: LabelTree, t: int
) -> Head:
    parents_K = tree.parents[t]
    weight_KH, bias_K = head[0][parents_K], head[1][parents_K]
    if prior_K is None:
        return weight_KH, bias_K
    counts_above = np.bincount(Y_above.indices, minlength=Y_above.shape[1])
    return weight_KH, bias_K + prior_K - prior_log_odds(counts_above, Y_above.shape[0])[parents_K]
