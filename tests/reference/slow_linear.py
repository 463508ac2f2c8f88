"""Readable twins of the linear kernels; loops allowed."""

import numpy as np
import scipy.sparse as sp
from sklearn.svm import LinearSVC


def sparse_weights(level):
    """Sparse weights of a level in node order: csc (F, K)."""
    level.check()
    chunk_of_row = np.repeat(np.arange(len(level.chunk_ptr) - 1), np.diff(level.chunk_ptr))
    per_row = np.diff(level.row_ptr)
    first = np.repeat(level.child_ptr[chunk_of_row], per_row)
    nodes = level.children[first + level.entry_children]
    features = np.repeat(level.row_columns, per_row)
    values = level.entry_values.astype(np.float32, copy=False)
    shape = (level.num_features, level.num_nodes)
    return sp.csc_array(sp.coo_array((values, (features, nodes)), shape=shape))


def exhaustive_scores(levels, tree, x, path_weight=1.0):
    """Log score of every label for one dense row: the sum of log f(margin) along its path, f =
    l3-hinge; what stands above the label counts `path_weight` times."""
    above = np.zeros(1)
    for t, level in enumerate(levels):
        margins = (
            x @ np.vstack([sparse_weights(level).toarray(), level.dense_weights.T])
            + level.node_bias
        )
        beta = path_weight if t == len(levels) - 1 else 1.0
        above = beta * above[tree.parents[t]] - np.maximum(0, 1 - margins) ** 3
    return above


def one_vs_rest(X, y, cost_positive, cost_negative, sample_weight=None):
    """Weights and bias of one binary problem to full convergence, the bias regularised like a
    weight."""
    rows = np.hstack([X, np.ones((len(X), 1))])
    weight = {1: cost_positive, -1: cost_negative}
    model = LinearSVC(C=1, class_weight=weight, fit_intercept=False, tol=1e-8, max_iter=100_000)
    model.fit(rows, y, sample_weight)
    return model.coef_[0, :-1], model.coef_[0, -1]


def split_in_two(points, iterations, first, second):
    """Balanced spherical 2-means from two starting members: True where a point lies in the second
    half."""
    half = (len(points) + 1) // 2
    left, right = [first], [second]
    previous = None
    for _ in range(iterations):
        centres = [points[side].sum(0) for side in (left, right)]
        centres = [c / (np.linalg.norm(c) or 1) for c in centres]
        order = np.argsort(points @ (centres[1] - centres[0]), kind="stable")
        left, right = sorted(order[:half]), sorted(order[half:])
        if left == previous:
            break
        previous = left
    return np.isin(np.arange(len(points)), right)


def expanded(weights, tree, t, X, beam, keep, path_weight):
    """For each row its `keep` best nodes of level t, {node: log score}, f = l3-hinge; the lower
    node wins ties."""
    w_MK = np.vstack([sparse_weights(weights).toarray(), weights.dense_weights.T]).astype(
        np.float64
    )
    x_NM = np.hstack([X.sparse.toarray(), X.dense]).astype(np.float64)
    rows = []
    for row in range(X.num_rows):
        scores = {}
        for at in range(beam.indptr[row], beam.indptr[row + 1]):
            for node in np.flatnonzero(tree.parents[t] == beam.indices[at]):
                margin = x_NM[row] @ w_MK[:, node] + weights.node_bias[node]
                slack = np.float64(max(0.0, 1 - np.float32(margin)))
                scores[int(node)] = np.float32(path_weight * beam.data[at] - slack**3)
        best = sorted(scores, key=lambda node, scores=scores: (-scores[node], node))[:keep]
        rows.append({node: scores[node] for node in best})
    return rows
