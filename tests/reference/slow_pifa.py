"""PIFA label by label, instance by instance, in double precision."""

import numpy as np


def weigh_columns(X, rarity):
    """Rows of X with rare columns made heavier, each as long as before."""
    rows = np.zeros(X.shape)
    for n, x in enumerate(X):
        weighted = x * (1 + np.log(len(X) / np.maximum(1, (X != 0).sum(axis=0)))) ** rarity
        if x.any():
            rows[n] = weighted * np.linalg.norm(x) / np.linalg.norm(weighted)
    return rows


def pifa(X, Y, max_features_per_label=None, rarity=0, weights=None):
    X, Z = weigh_columns(X, rarity), np.zeros((Y.shape[1], X.shape[1]))
    for label in range(Y.shape[1]):
        for row in np.flatnonzero(Y[:, label]):
            weight = 1 if weights is None else weights[row]
            Z[label] += X[row] * weight * Y[row, label] / np.linalg.norm(Y[row])
        if max_features_per_label is not None:
            order = sorted(range(X.shape[1]), key=lambda f, z=Z[label]: (-abs(z[f]), f))
            Z[label, order[max_features_per_label:]] = 0
        if Z[label].any():
            Z[label] /= np.linalg.norm(Z[label])
    return Z
