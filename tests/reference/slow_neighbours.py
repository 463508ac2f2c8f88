"""Readable twin of the neighbours' vote; loops allowed."""

import numpy as np

from xrt.sources.neighbours import TEMPERATURE


def vote(X, Y, query, params, k, left_out=-1, row_weights=None):
    """Scores of all labels for one query, zeros but for the k best; X and query dense, length 1."""
    similarities = [float(np.dot(row.astype(np.float64), query)) for row in X]
    rows = [row for row in range(len(X)) if similarities[row] > 0 and row != left_out]
    nearest = sorted(rows, key=lambda row: (-similarities[row], row))[: params.num_neighbours]
    weights = [np.exp(similarities[row] / TEMPERATURE) for row in nearest]
    if row_weights is not None:
        weights = [weight * row_weights[row] for weight, row in zip(weights, nearest, strict=True)]
    scores = np.zeros(Y.shape[1])
    for row, weight in zip(nearest, weights, strict=True):
        scores += np.minimum(Y[row], 1) * weight / sum(weights)
    scores = scores.astype(np.float32)
    best = sorted(np.flatnonzero(scores), key=lambda label: (-scores[label], label))[:k]
    return np.where(np.isin(np.arange(len(scores)), best), scores, 0)
