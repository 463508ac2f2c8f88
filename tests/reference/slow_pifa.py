"""PIFA label by label, instance by instance, in double precision."""

import numpy as np


def pifa(X, Y, max_features_per_label=None):
    Z = np.zeros((Y.shape[1], X.shape[1]))
    for label in range(Y.shape[1]):
        for row in np.flatnonzero(Y[:, label]):
            Z[label] += X[row] / np.sqrt((Y[row] != 0).sum())
        if max_features_per_label is not None:
            order = sorted(range(X.shape[1]), key=lambda f, z=Z[label]: (-abs(z[f]), f))
            Z[label, order[max_features_per_label:]] = 0
        if Z[label].any():
            Z[label] /= np.linalg.norm(Z[label])
    return Z
