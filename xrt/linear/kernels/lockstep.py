"""Dual coordinate descent for sixteen labels at once, on the rows of a cluster.

n rows with f cluster-local sparse columns, H dense columns and one bias column; 16 lanes, one a
label. For each label, with y_i = +1 or -1, C_i the cost of row i and w = sum_i alpha_i y_i x_i:

    minimise over alpha >= 0:   |w|^2 / 2 + sum_i alpha_i^2 / (4 C_i) - sum_i alpha_i

(squared hinge; Hsieh et al. 2008, algorithm 1). All lanes visit the rows in the same random order:
a row's features are read once for sixteen labels, whose weights lie side by side. Shrinking, to
leave out rows that look settled, gains nothing here: a row is rarely settled for all sixteen. Nor
do alphas taken over from the sixteen labels before: they cost more sweeps than they save.

C_i is one of two costs, or each row's own in each lane; the compiler makes a function of each kind.
"""

import numpy as np

from xrt.jit import njit
from xrt.linear.kernels.lanes import (
    WIDTH,
    Lanes,
    add_scaled,
    any_less,
    load,
    prefetch,
    splat,
    store,
    where_bit,
    where_less,
)
from xrt.linear.kernels.shuffle import new_state, shuffle

AHEAD = 8
"""Visits between asking for a row's memory and using it: rows come in random order."""


@njit(nogil=True, cache=True, inline="always")
def _add_products(
    total: Lanes,
    values: np.ndarray,
    columns: np.ndarray,
    first: int,
    last: int,
    weights: np.ndarray,
) -> Lanes:
    """Total + sum of values[j] * weights[columns[j]], in four chains that do not wait for each
    other.
    """
    one, two, three = splat(0.0), splat(0.0), splat(0.0)
    j = first
    while j + 4 <= last:
        total = add_scaled(total, values[j], load(weights, columns[j]))
        one = add_scaled(one, values[j + 1], load(weights, columns[j + 1]))
        two = add_scaled(two, values[j + 2], load(weights, columns[j + 2]))
        three = add_scaled(three, values[j + 3], load(weights, columns[j + 3]))
        j += 4
    while j < last:
        total = add_scaled(total, values[j], load(weights, columns[j]))
        j += 1
    products: Lanes = (total + one) + (two + three)
    return products


@njit(nogil=True, cache=True, inline="always")
def _add_dense_products(total: Lanes, x_H: np.ndarray, weights: np.ndarray) -> Lanes:
    """Total + sum of x_H[h] * weights[h]."""
    one, two, three = splat(0.0), splat(0.0), splat(0.0)
    h = 0
    while h + 4 <= len(x_H):
        total = add_scaled(total, x_H[h], load(weights, h))
        one = add_scaled(one, x_H[h + 1], load(weights, h + 1))
        two = add_scaled(two, x_H[h + 2], load(weights, h + 2))
        three = add_scaled(three, x_H[h + 3], load(weights, h + 3))
        h += 4
    while h < len(x_H):
        total = add_scaled(total, x_H[h], load(weights, h))
        h += 1
    products: Lanes = (total + one) + (two + three)
    return products


@njit(nogil=True, cache=True)
def solve_lanes(
    indptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    dense_nH: np.ndarray,
    norms: np.ndarray,
    bias: np.float32,
    members: np.ndarray,
    num_lanes: int,
    cost_positive: np.float32,
    cost_negative: np.float32,
    epsilon: np.float32,
    max_iterations: int,
    seed: np.uint64,
    stop: np.ndarray,
    w_fl: np.ndarray,
    w_Hl: np.ndarray,
    b_1l: np.ndarray,
    alpha_nl: np.ndarray,
    diagonal_nl: np.ndarray | None = None,
) -> int:
    """Fill w_fl (f, 16), w_Hl (H, 16) and b_1l (1, 16), zeros when called, with the solutions.

    `members` uint16 (n,): bit l of entry i says that row i has the label of lane l; lanes from
    `num_lanes` on stay zero. `alpha_nl` (n, 16): zeros when called. A lane is done when the
    projected gradients of a sweep lie within `epsilon` of each other; all stop when `stop[0]` is
    set by another thread. `diagonal_nl` (n, 16) are 1 / (2 C_i) of each lane where rows differ in
    cost; None where the two costs hold. Returns the number of sweeps.
    """
    zero, one = splat(0.0), splat(1.0)
    diagonal_positive, diagonal_negative = splat(0.5 / cost_positive), splat(0.5 / cost_negative)
    tolerance = splat(epsilon)
    open_lanes = where_bit(np.uint16((1 << num_lanes) - 1), one, zero)
    n = len(norms)
    order = np.arange(n).astype(np.int32)
    state = new_state(seed)
    for sweep in range(max_iterations):
        state = shuffle(order, state)
        largest, smallest = splat(-np.inf), splat(np.inf)
        for visit in range(n):
            ahead = order[min(visit + AHEAD, n - 1)]
            prefetch(alpha_nl, ahead * WIDTH)
            prefetch(columns, indptr[ahead])
            prefetch(values, indptr[ahead])
            if diagonal_nl is not None:
                prefetch(diagonal_nl, ahead * WIDTH)
            i = order[visit]
            margin = add_scaled(zero, bias, load(b_1l, 0))
            margin = _add_products(margin, values, columns, indptr[i], indptr[i + 1], w_fl)
            margin = _add_dense_products(margin, dense_nH[i], w_Hl)
            y = where_bit(members[i], one, zero - one)
            if diagonal_nl is None:
                diagonal = where_bit(members[i], diagonal_positive, diagonal_negative)
                step_length = where_bit(
                    members[i],
                    splat(1.0 / (norms[i] + 0.5 / cost_positive)),
                    splat(1.0 / (norms[i] + 0.5 / cost_negative)),
                )
            else:
                diagonal = load(diagonal_nl, i)
                step_length = one / (splat(norms[i]) + diagonal)
            alpha = load(alpha_nl, i)
            gradient = y * margin - one + alpha * diagonal
            falling = where_less(gradient, zero, gradient, zero)
            projected = where_less(zero, alpha, gradient, falling)
            largest = where_less(largest, projected, projected, largest)
            smallest = where_less(projected, smallest, projected, smallest)
            moved = alpha - gradient * step_length
            change = (where_less(zero, moved, moved, zero) - alpha) * open_lanes
            if any_less(zero, change * change):
                store(alpha_nl, i, alpha + change)
                change = change * y
                store(b_1l, 0, add_scaled(load(b_1l, 0), bias, change))
                for j in range(indptr[i], indptr[i + 1]):
                    column = columns[j]
                    store(w_fl, column, add_scaled(load(w_fl, column), values[j], change))
                for h in range(dense_nH.shape[1]):
                    store(w_Hl, h, add_scaled(load(w_Hl, h), dense_nH[i, h], change))
        open_lanes = where_less(tolerance, largest - smallest, open_lanes, zero)
        if stop[0] or not any_less(zero, open_lanes):
            return sweep + 1
    return max_iterations
