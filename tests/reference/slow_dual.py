"""Dual coordinate descent for one label, row by row, as in Hsieh et al. 2008, algorithm 1."""

import numpy as np


def squared_hinge(rows, y, cost, epsilon, orders):
    """Weights and the number of sweeps; the constant feature is one of the columns of `rows`.

    `orders` gives the order of the rows in each sweep; the last one ends the work.
    """
    w, alpha = np.zeros(rows.shape[1]), np.zeros(len(rows))
    for sweep, order in enumerate(orders):
        projected = []
        for i in order:
            gradient = y[i] * (w @ rows[i]) - 1 + alpha[i] / (2 * cost[i])
            projected.append(gradient if alpha[i] > 0 else min(gradient, 0))
            before = alpha[i]
            alpha[i] = max(before - gradient / (rows[i] @ rows[i] + 1 / (2 * cost[i])), 0)
            w += (alpha[i] - before) * y[i] * rows[i]
        if max(projected) - min(projected) <= epsilon:
            return w, sweep + 1
    return w, len(orders)
