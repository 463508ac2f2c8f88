"""Solves the nodes of a cluster on the rows gathered for it.

n rows, f columns they use, H dense columns. What comes back for each node are the sparse weights
above the threshold, the dense weights and the bias; a node without positive rows gets margin -1
everywhere.

A row costs `cost_negative`, or `cost_positive` where it has the label. Where rows differ, that is
multiplied by the row's weight and, where it has the label, by its confidence in it.
"""

import numpy as np

from xrt.jit import njit
from xrt.linear.kernels.dual import solve_logistic
from xrt.linear.kernels.lanes import WIDTH
from xrt.linear.kernels.lockstep import solve_lanes


@njit(nogil=True, cache=True)
def solve_squared_hinge(
    indptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    dense_nH: np.ndarray,
    norms: np.ndarray,
    bias: np.float32,
    rows: np.ndarray,
    used: np.ndarray,
    nodes: np.ndarray,
    positive_ptr: np.ndarray,
    positive_rows: np.ndarray,
    cost_positive: np.float32,
    cost_negative: np.float32,
    epsilon: np.float32,
    max_iterations: int,
    threshold: np.float32,
    seed: np.uint64,
    stop: np.ndarray,
    confidences: np.ndarray | None,
    weights_n: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sixteen nodes at a time, those with most rows together.

    `rows` int32 (n,) are the rows' numbers, ascending, `used` int32 (f,) the columns' numbers.
    `confidences` float32 has one for each of `positive_rows`, `weights_n` (n,) one for each row;
    both None where all are 1.
    Returns pointers (nodes + 1,) into (columns, values) of the kept sparse weights, then the dense
    weights (nodes, H) and the biases (nodes,).
    """
    n, f, H, num_nodes = len(rows), len(used), dense_nH.shape[1], len(nodes)
    dense_weights, biases = np.zeros((num_nodes, H), np.float32), np.full(num_nodes, np.float32(-1))
    sizes = positive_ptr[nodes + 1] - positive_ptr[nodes]
    by_size = np.argsort(-sizes, kind="mergesort")
    num_solved = np.count_nonzero(sizes)
    num_groups = (num_solved + WIDTH - 1) // WIDTH
    kept_ptr = np.zeros(num_nodes + 1, np.int64)
    group_ptr = np.zeros((num_groups, WIDTH + 1), np.int64)
    capacity = 1024
    kept_columns, kept_values = np.empty(capacity, np.int32), np.empty(capacity, np.float32)
    w_fl, w_Hl, b_1l = (
        np.zeros((f, WIDTH), np.float32),
        np.zeros((H, WIDTH), np.float32),
        np.zeros((1, WIDTH), np.float32),
    )
    alpha_nl, members = np.zeros((n, WIDTH), np.float32), np.zeros(n, np.uint16)
    if weights_n is not None:
        diagonal_nl = np.empty((n, WIDTH), np.float32)
    total = 0
    for group in range(num_groups):
        first = group * WIDTH
        num_lanes = min(WIDTH, int(num_solved - first))
        w_fl[:], w_Hl[:], b_1l[:], alpha_nl[:], members[:] = 0.0, 0.0, 0.0, 0.0, 0
        for lane in range(num_lanes):
            node = nodes[by_size[first + lane]]
            _mark(rows, positive_rows[positive_ptr[node] : positive_ptr[node + 1]], lane, members)
        if weights_n is None:
            solve_lanes(
                indptr, columns, values, dense_nH, norms, bias, members, num_lanes, cost_positive,
                cost_negative, epsilon, max_iterations, seed + np.uint64(nodes[by_size[first]]),
                stop, w_fl, w_Hl, b_1l, alpha_nl,
            )  # fmt: skip
        else:
            for i in range(n):
                diagonal_nl[i] = _diagonal(cost_negative * weights_n[i])
            for lane in range(num_lanes):
                node = nodes[by_size[first + lane]]
                for p in range(positive_ptr[node], positive_ptr[node + 1]):
                    i = np.searchsorted(rows, positive_rows[p])
                    cost = cost_positive * confidences[p] * weights_n[i]  # type: ignore[index]
                    diagonal_nl[i, lane] = _diagonal(cost)
            solve_lanes(
                indptr, columns, values, dense_nH, norms, bias, members, num_lanes, cost_positive,
                cost_negative, epsilon, max_iterations, seed + np.uint64(nodes[by_size[first]]),
                stop, w_fl, w_Hl, b_1l, alpha_nl, diagonal_nl,
            )  # fmt: skip
        for lane in range(num_lanes):
            k = by_size[first + lane]
            biases[k] = b_1l[0, lane] * bias
            dense_weights[k] = w_Hl[:, lane]
        group_ptr[group] = _count_above(w_fl, threshold, total)
        total = group_ptr[group, WIDTH]
        if total > capacity:
            capacity = max(2 * capacity, total)
            kept_columns, kept_values = (
                _enlarged(kept_columns, capacity),
                _enlarged(kept_values, capacity),
            )
        _keep_above(w_fl, threshold, used, group_ptr[group], kept_columns, kept_values)
    for rank in range(num_solved):
        lane_ptr = group_ptr[rank // WIDTH]
        kept_ptr[by_size[rank] + 1] = lane_ptr[rank % WIDTH + 1] - lane_ptr[rank % WIDTH]
    kept_ptr = np.cumsum(kept_ptr)
    columns_out, values_out = np.empty(total, np.int32), np.empty(total, np.float32)
    for rank in range(num_solved):
        low, high = (
            group_ptr[rank // WIDTH, rank % WIDTH],
            group_ptr[rank // WIDTH, rank % WIDTH + 1],
        )
        out = kept_ptr[by_size[rank]]
        columns_out[out : out + high - low] = kept_columns[low:high]
        values_out[out : out + high - low] = kept_values[low:high]
    return kept_ptr, columns_out, values_out, dense_weights, biases


@njit(nogil=True, cache=True, inline="always")
def _diagonal(cost: np.float32) -> np.float32:
    """1 / (2 C), finite: with a cost next to nothing a row has no say either way."""
    return np.float32(min(0.5 / np.float64(cost), 1e30)) if cost > 0 else np.float32(1e30)


@njit(nogil=True, cache=True)
def _mark(rows: np.ndarray, true_rows: np.ndarray, lane: int, members: np.ndarray) -> None:
    """Set the lane's bit of the rows that have the label; both lists ascend."""
    if len(true_rows) * 20 < len(rows):
        for i in np.searchsorted(rows, true_rows):
            members[i] |= np.uint16(1 << lane)
        return
    i = 0
    for row in true_rows:
        while rows[i] < row:
            i += 1
        members[i] |= np.uint16(1 << lane)


@njit(nogil=True, cache=True)
def _count_above(w_fl: np.ndarray, threshold: np.float32, start: int) -> np.ndarray:
    """Where each lane's kept weights begin when they are written one lane after the other."""
    counts = np.zeros(WIDTH, np.int64)
    for c in range(len(w_fl)):
        for lane in range(WIDTH):
            counts[lane] += abs(w_fl[c, lane]) > threshold
    pointers = np.empty(WIDTH + 1, np.int64)
    pointers[0] = start
    for lane in range(WIDTH):
        pointers[lane + 1] = pointers[lane] + counts[lane]
    return pointers


@njit(nogil=True, cache=True)
def _keep_above(
    w_fl: np.ndarray,
    threshold: np.float32,
    used: np.ndarray,
    lane_ptr: np.ndarray,
    kept_columns: np.ndarray,
    kept_values: np.ndarray,
) -> None:
    """Write the weights above the threshold, lane by lane, columns ascending."""
    position = lane_ptr[:WIDTH].copy()
    for c in range(len(w_fl)):
        for lane in range(WIDTH):
            if abs(w_fl[c, lane]) > threshold:
                kept_columns[position[lane]] = used[c]
                kept_values[position[lane]] = w_fl[c, lane]
                position[lane] += 1


@njit(nogil=True, cache=True)
def _enlarged(array: np.ndarray, capacity: int) -> np.ndarray:
    larger = np.empty(capacity, array.dtype)
    larger[: len(array)] = array
    return larger


@njit(nogil=True, cache=True)
def solve_logistic_nodes(
    indptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    dense_nH: np.ndarray,
    norms: np.ndarray,
    bias: np.float32,
    rows: np.ndarray,
    used: np.ndarray,
    nodes: np.ndarray,
    positive_ptr: np.ndarray,
    positive_rows: np.ndarray,
    cost_positive: np.float32,
    cost_negative: np.float32,
    epsilon: np.float32,
    max_iterations: int,
    threshold: np.float32,
    seed: np.uint64,
    stop: np.ndarray,
    confidences: None,
    weights_n: None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One node after the other, arguments and results as in `solve_squared_hinge`."""
    n, f, H, num_nodes = len(rows), len(used), dense_nH.shape[1], len(nodes)
    kept_ptr = np.zeros(num_nodes + 1, np.int64)
    kept_columns, kept_values = np.empty(0, np.int32), np.empty(0, np.float32)
    dense_weights, biases = np.zeros((num_nodes, H), np.float32), np.full(num_nodes, np.float32(-1))
    y, cost = np.empty(n, np.float32), np.empty(n, np.float32)
    w_f, b, members = np.empty(f, np.float32), np.zeros(1, np.float32), np.empty(n, np.uint16)
    for k in range(num_nodes):
        node = nodes[k]
        kept_ptr[k + 1] = kept_ptr[k]
        if positive_ptr[node + 1] == positive_ptr[node] or stop[0]:
            continue
        members[:] = 0
        _mark(rows, positive_rows[positive_ptr[node] : positive_ptr[node + 1]], 0, members)
        for i in range(n):
            y[i] = np.float32(1) if members[i] else np.float32(-1)
            cost[i] = cost_positive if members[i] else cost_negative
        if weights_n is not None:
            for p in range(positive_ptr[node], positive_ptr[node + 1]):
                cost[np.searchsorted(rows, positive_rows[p])] *= confidences[p]
            for i in range(n):
                cost[i] = max(cost[i] * weights_n[i], np.float32(1e-30))
        w_f[:], b[:] = 0.0, 0.0
        solve_logistic(
            indptr, columns, values, dense_nH, norms, bias, y, cost, epsilon, max_iterations,
            seed + np.uint64(node), w_f, dense_weights[k], b,
        )  # fmt: skip
        biases[k] = b[0] * bias
        above = np.flatnonzero(np.abs(w_f) > threshold)
        kept_ptr[k + 1] += len(above)
        if kept_ptr[k + 1] > len(kept_values):
            capacity = 2 * kept_ptr[k + 1]
            kept_columns, kept_values = (
                _enlarged(kept_columns, capacity),
                _enlarged(kept_values, capacity),
            )
        kept_columns[kept_ptr[k] : kept_ptr[k + 1]] = used[above]
        kept_values[kept_ptr[k] : kept_ptr[k + 1]] = w_f[above]
    total = kept_ptr[num_nodes]
    return kept_ptr, kept_columns[:total].copy(), kept_values[:total].copy(), dense_weights, biases
