"""Dual coordinate descent for logistic regression of one label on the rows of a cluster.

n rows with f cluster-local sparse columns, H dense columns and one bias column; y is +1 or -1, C_i
the cost of row i. With w = sum_i alpha_i y_i x_i the solver minimises over 0 < alpha_i < C_i

    |w|^2 / 2 + sum_i alpha_i log alpha_i + (C_i - alpha_i) log(C_i - alpha_i)

(Yu, Huang and Lin 2011, algorithm 5).
"""

import numpy as np

from xrt.jit import njit
from xrt.linear.kernels.shuffle import new_state, shuffle

# What lets the compiler turn a dot product into SIMD; NaN and infinities keep their meaning.
SIMD = {"reassoc", "contract", "arcp", "nsz"}


@njit(nogil=True, cache=True, fastmath=SIMD, inline="always")
def _dense_dot(x_H: np.ndarray, w_H: np.ndarray) -> np.float32:
    total = np.float32(0)
    for h in range(len(x_H)):
        total += x_H[h] * w_H[h]
    return total


@njit(nogil=True, cache=True, fastmath=SIMD, inline="always")
def _add_scaled(scale: np.float32, x_H: np.ndarray, w_H: np.ndarray) -> None:
    for h in range(len(x_H)):
        w_H[h] += scale * x_H[h]


@njit(nogil=True, cache=True, inline="always")
def _margin(
    indptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    dense_nH: np.ndarray,
    i: int,
    bias: float,
    w_f: np.ndarray,
    w_H: np.ndarray,
    b: np.ndarray,
) -> float:
    """<w, x_i>, the bias column included."""
    total: float = b[0] * bias + _dense_dot(dense_nH[i], w_H)
    for j in range(indptr[i], indptr[i + 1]):
        total += values[j] * w_f[columns[j]]
    return total


@njit(nogil=True, cache=True, inline="always")
def _step(
    indptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    dense_nH: np.ndarray,
    i: int,
    bias: float,
    scale: np.float32,
    w_f: np.ndarray,
    w_H: np.ndarray,
    b: np.ndarray,
) -> None:
    """Add to the weights: w += scale * x_i."""
    b[0] += scale * bias
    _add_scaled(scale, dense_nH[i], w_H)
    for j in range(indptr[i], indptr[i + 1]):
        w_f[columns[j]] += scale * values[j]


@njit(nogil=True, cache=True)
def solve_logistic(
    indptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    dense_nH: np.ndarray,
    norms: np.ndarray,
    bias: np.float32,
    y: np.ndarray,
    cost: np.ndarray,
    epsilon: np.float32,
    max_iterations: int,
    seed: np.uint64,
    w_f: np.ndarray,
    w_H: np.ndarray,
    b: np.ndarray,
) -> int:
    """Fill w_f, w_H and b (zeros when called) with the solution; returns the number of sweeps.

    Stops when the largest gradient met in a sweep is below `epsilon`.
    """
    n = len(norms)
    alpha = np.empty(n, np.float64)
    for i in range(n):
        alpha[i] = min(0.001 * cost[i], 1e-8)
        _step(indptr, columns, values, dense_nH, i, bias, np.float32(alpha[i] * y[i]), w_f, w_H, b)
    order = np.arange(n).astype(np.int32)
    state = new_state(seed)
    for sweep in range(max_iterations):
        state = shuffle(order, state)
        largest = 0.0
        for i in order:  # type: ignore[assignment]
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
def _best_logistic_alpha(
    alpha: float, slope: np.float32, norm: np.float32, cost: np.float32
) -> tuple[float | np.float32, float]:
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
