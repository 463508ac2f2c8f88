"""Dual coordinate descent for one binary problem on the rows of a cluster.

n rows with f cluster-local sparse columns, H dense columns and one bias column; y is +1 or -1, C_i
the cost of row i. With w = sum_i alpha_i y_i x_i the solvers minimise over alpha

    squared hinge:  |w|^2 / 2 + sum_i alpha_i^2 / (4 C_i) - sum_i alpha_i,       alpha_i >= 0
    logistic:       |w|^2 / 2 + sum_i alpha_i log alpha_i + (C_i - alpha_i) log(C_i - alpha_i)

(Hsieh et al. 2008, algorithm 3, with shrinking; Yu, Huang and Lin 2011, algorithm 5).
"""

import numpy as np
from numba import njit

# What lets the compiler turn a dot product into SIMD; NaN and infinities keep their meaning.
SIMD = {"reassoc", "contract", "arcp", "nsz"}


@njit(nogil=True, cache=True, fastmath=SIMD, inline="always")
def _dense_dot(x_H, w_H):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for h in range(len(x_H)):
        total += x_H[h] * w_H[h]
    return total


@njit(nogil=True, cache=True, fastmath=SIMD, inline="always")
def _add_scaled(scale, x_H, w_H):  # type: ignore[no-untyped-def]
    for h in range(len(x_H)):
        w_H[h] += scale * x_H[h]


@njit(nogil=True, cache=True, inline="always")
def _margin(indptr, columns, values, dense_nH, i, bias, w_f, w_H, b):  # type: ignore[no-untyped-def]
    """<w, x_i>, the bias column included."""
    total = b[0] * bias + _dense_dot(dense_nH[i], w_H)
    for j in range(indptr[i], indptr[i + 1]):
        total += values[j] * w_f[columns[j]]
    return total


@njit(nogil=True, cache=True, inline="always")
def _step(indptr, columns, values, dense_nH, i, bias, scale, w_f, w_H, b):  # type: ignore[no-untyped-def]
    """Add to the weights: w += scale * x_i."""
    b[0] += scale * bias
    _add_scaled(scale, dense_nH[i], w_H)
    for j in range(indptr[i], indptr[i + 1]):
        w_f[columns[j]] += scale * values[j]


@njit(nogil=True, cache=True)
def squared_norms(indptr, values, dense_nH, bias):  # type: ignore[no-untyped-def]
    """|x_i|^2 of each row, the bias column included: float32 (n,)."""
    norms = np.empty(len(indptr) - 1, np.float32)
    for i in range(len(norms)):
        norms[i] = bias * bias + _dense_dot(dense_nH[i], dense_nH[i])
        for j in range(indptr[i], indptr[i + 1]):
            norms[i] += values[j] * values[j]
    return norms


@njit(nogil=True, cache=True, inline="always")
def _next_random(state):  # type: ignore[no-untyped-def]
    """xorshift64*: the next state; its upper bits are the draw."""
    state ^= state >> np.uint64(12)
    state ^= state << np.uint64(25)
    state ^= state >> np.uint64(27)
    return state


@njit(nogil=True, cache=True)
def solve_squared_hinge(  # type: ignore[no-untyped-def]
    indptr,
    columns,
    values,
    dense_nH,
    norms,
    bias,
    y,
    cost,
    epsilon,
    max_iterations,
    seed,
    w_f,
    w_H,
    b,
):
    """Fill w_f, w_H and b (zeros when called) with the solution; returns the number of sweeps.

    Stops when the projected gradients of a sweep over all rows lie within `epsilon` of each other.
    """
    n = len(norms)
    alpha = np.zeros(n, np.float32)
    active = np.arange(n)
    num_active = n
    largest_before = np.inf
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x632BE59BD9B4E019)
    for sweep in range(max_iterations):
        largest, smallest = -np.inf, np.inf
        for s in range(num_active):
            state = _next_random(state)
            other = s + np.int64((state >> np.uint64(33)) % np.uint64(num_active - s))
            active[s], active[other] = active[other], active[s]
        s = 0
        while s < num_active:
            i = active[s]
            diagonal = np.float32(0.5) / cost[i]
            gradient = (
                y[i] * _margin(indptr, columns, values, dense_nH, i, bias, w_f, w_H, b)
                - np.float32(1)
                + alpha[i] * diagonal
            )
            projected = gradient
            if alpha[i] == 0:
                if gradient > largest_before:
                    num_active -= 1
                    active[s], active[num_active] = active[num_active], active[s]
                    continue
                projected = min(gradient, np.float32(0))
            largest, smallest = max(largest, projected), min(smallest, projected)
            if abs(projected) > 1e-12:
                before = alpha[i]
                alpha[i] = max(before - gradient / (norms[i] + diagonal), np.float32(0))
                scale = (alpha[i] - before) * y[i]
                _step(indptr, columns, values, dense_nH, i, bias, scale, w_f, w_H, b)
            s += 1
        if largest - smallest <= epsilon:
            if num_active == n:
                return sweep + 1
            num_active = n  # look at the shrunk rows once more
            largest_before = np.inf
            continue
        largest_before = largest if largest > 0 else np.inf
    return max_iterations


@njit(nogil=True, cache=True)
def solve_logistic(  # type: ignore[no-untyped-def]
    indptr,
    columns,
    values,
    dense_nH,
    norms,
    bias,
    y,
    cost,
    epsilon,
    max_iterations,
    seed,
    w_f,
    w_H,
    b,
):
    """Fill w_f, w_H and b (zeros when called) with the solution; returns the number of sweeps.

    Stops when the largest gradient met in a sweep is below `epsilon`.
    """
    n = len(norms)
    alpha = np.empty(n, np.float64)
    for i in range(n):
        alpha[i] = min(0.001 * cost[i], 1e-8)
        _step(indptr, columns, values, dense_nH, i, bias, np.float32(alpha[i] * y[i]), w_f, w_H, b)
    order = np.arange(n)
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x632BE59BD9B4E019)
    for sweep in range(max_iterations):
        for s in range(n):
            state = _next_random(state)
            other = s + np.int64((state >> np.uint64(33)) % np.uint64(n - s))
            order[s], order[other] = order[other], order[s]
        largest = 0.0
        for i in order:
            slope = y[i] * _margin(indptr, columns, values, dense_nH, i, bias, w_f, w_H, b)
            new, gradient = _best_logistic_alpha(alpha[i], slope, norms[i], cost[i])
            largest = max(largest, abs(gradient))
            scale = np.float32((new - alpha[i]) * y[i])
            alpha[i] = new
            _step(indptr, columns, values, dense_nH, i, bias, scale, w_f, w_H, b)
        if largest < epsilon:
            return sweep + 1
    return max_iterations


@njit(nogil=True, cache=True)
def _best_logistic_alpha(alpha, slope, norm, cost):  # type: ignore[no-untyped-def]
    """Minimum over 0 < a < C of a log a + (C - a) log(C - a) + norm/2 (a - alpha)^2 + slope (a -
    alpha).

    Newton's method on the side of C / 2 where the minimum lies, in z = a or z = C - a, so that z
    near 0 keeps its digits. Returns the new alpha and the gradient at the old one.
    """
    sign = 1.0 if slope > 0.5 * norm * (2.0 * alpha - cost) else -1.0
    start = alpha if sign > 0 else cost - alpha
    z = start
    if z > 0.5 * cost:
        z *= 0.1
    first = 0.0
    for iteration in range(100):
        gradient = norm * (z - start) + sign * slope + np.log(z / (cost - z))
        if iteration == 0:
            first = gradient
        if abs(gradient) < 1e-10 * max(1.0, abs(first)):
            break
        moved = z - gradient / (norm + cost / (cost - z) / z)
        z = moved if moved > 0 else z * 0.1
        z = min(z, cost * (1 - 1e-12))
    return (z if sign > 0 else cost - z), first
