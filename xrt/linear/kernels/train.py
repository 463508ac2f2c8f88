"""Kernels that train rankers: dual coordinate descent for sixteen labels at once.

A cluster's rows are gathered into a space of their own, with only the columns that they use, so
that cost does not depend on the number of columns in all; then its nodes are solved, sixteen at a
time, each node by a lane. n rows of the cluster, f columns they use, H dense columns and one bias
column. For each label, with y_i = +1 or -1, C_i the cost of row i and w = sum_i alpha_i y_i x_i:

    minimise over alpha >= 0:   |w|^2 / 2 + sum_i alpha_i^2 / (4 C_i) - sum_i alpha_i

(squared hinge; Hsieh et al. 2008, algorithm 1). All lanes visit the rows in the same random order:
a row's features are read once for sixteen labels, whose weights lie side by side. Shrinking, to
leave out rows that look settled, gains nothing here: a row is rarely settled for all sixteen. Nor
do alphas taken over from the sixteen labels before: they cost more sweeps than they save.

Each node gets the sparse weights above the threshold, the dense weights and the bias; a node
without positive rows gets margin -1 everywhere. A row costs `cost_negative`, or `cost_positive`
where it has the label. Where rows differ, that is multiplied by the row's weight and, where it has
the label, by its confidence in it; the compiler makes a function of each kind.
"""

import numpy as np

from xrt.jit import njit
from xrt.linear.kernels.simd import (
    SIMD,
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


@njit(nogil=True, cache=True)
def new_state(seed: np.uint64) -> np.uint64:
    """A generator's state, never 0, from any seed of 64 bits.

    Args:
        seed: the seed.

    Returns:
        The state.
    """
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x632BE59BD9B4E019)
    return state | np.uint64(1)


@njit(nogil=True, cache=True)
def shuffle(order: np.ndarray, state: np.uint64) -> np.uint64:
    """Bring `order` into a random order (Fisher and Yates; xorshift64*); returns the next state.

    Args:
        order: what is shuffled, in place, (n,).
        state: state of the generator.

    Returns:
        The next state.
    """
    n = len(order)
    for s in range(n - 1):
        state ^= state >> np.uint64(12)
        state ^= state << np.uint64(25)
        state ^= state >> np.uint64(27)
        draw = (state * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(33)
        # a draw below 2^31 scaled to the places left: no division
        other = s + np.int64((draw * np.uint64(n - s)) >> np.uint64(31))
        order[s], order[other] = order[other], order[s]
    return state


@njit(nogil=True, cache=True)
def gather(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    rows: np.ndarray,
    column_map: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row pointers, local columns and values of the given rows, and the columns, ascending.

    `column_map` is int32 scratch, one entry a column of the matrix: all -1 when called and left.

    Args:
        indptr: where each row's entries begin, of a csr matrix.
        indices: columns of the entries.
        data: values of the entries.
        rows: row numbers, (n,).
        column_map: scratch.

    Returns:
        The four arrays: int64 (n + 1,), int32, float32, int32 (f,).
    """
    n = len(rows)
    local_ptr = np.zeros(n + 1, np.int64)
    for r in range(n):
        local_ptr[r + 1] = local_ptr[r] + indptr[rows[r] + 1] - indptr[rows[r]]
    used = np.empty(min(local_ptr[n], len(column_map)), np.int32)
    num_used = 0
    for r in range(n):
        for j in range(indptr[rows[r]], indptr[rows[r] + 1]):
            if column_map[indices[j]] < 0:
                column_map[indices[j]] = 0
                used[num_used] = indices[j]
                num_used += 1
    used = np.sort(used[:num_used])
    for c in range(num_used):
        column_map[used[c]] = c
    columns, values = np.empty(local_ptr[n], np.int32), np.empty(local_ptr[n], np.float32)
    for r in range(n):
        start = indptr[rows[r]]
        for j in range(local_ptr[r + 1] - local_ptr[r]):
            columns[local_ptr[r] + j] = column_map[indices[start + j]]
            values[local_ptr[r] + j] = data[start + j]
    for c in range(num_used):
        column_map[used[c]] = -1
    return local_ptr, columns, values, used


@njit(nogil=True, cache=True, fastmath=SIMD)
def squared_norms(
    indptr: np.ndarray, values: np.ndarray, dense_nH: np.ndarray, bias: np.float32
) -> np.ndarray:
    """|x_i|^2 of each row, the bias column included: float32 (n,).

    Args:
        indptr: where each row's entries begin, (n + 1,).
        values: values of the entries.
        dense_nH: dense part of the rows, float32 (n, H).
        bias: value of the bias column.

    Returns:
        The squares.
    """
    norms = np.empty(len(indptr) - 1, np.float32)
    for i in range(len(norms)):
        total = bias * bias
        for h in range(dense_nH.shape[1]):
            total += dense_nH[i, h] * dense_nH[i, h]
        for j in range(indptr[i], indptr[i + 1]):
            total += values[j] * values[j]
        norms[i] = total
    return norms


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
    max_sweeps: int,
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

    Args:
        indptr: where each row's entries begin, (n + 1,).
        columns: local column of each entry, below f.
        values: values of the entries, float32.
        dense_nH: dense part of the rows, float32 (n, H).
        norms: squared length of each row, (n,).
        bias: value of the bias column.
        members: labels of the rows, a bit for each lane.
        num_lanes: lanes in use, at most 16.
        cost_positive: cost of a row that has the label.
        cost_negative: cost of another row.
        epsilon: spread of the projected gradients at which a lane is done.
        max_sweeps: most sweeps over the rows.
        seed: seed of the order of rows.
        stop: a flag, (1,).
        w_fl: receives the sparse weights.
        w_Hl: receives the dense weights.
        b_1l: receives the weights of the bias column.
        alpha_nl: receives the dual variables.
        diagonal_nl: 1 / (2 C_i) of each row and lane, or None.

    Returns:
        Number of sweeps.
    """
    zero, one = splat(0.0), splat(1.0)
    diagonal_positive, diagonal_negative = splat(0.5 / cost_positive), splat(0.5 / cost_negative)
    tolerance = splat(epsilon)
    open_lanes = where_bit(np.uint16((1 << num_lanes) - 1), one, zero)
    n = len(norms)
    order = np.arange(n).astype(np.int32)
    state = new_state(seed)
    for sweep in range(max_sweeps):
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
    return max_sweeps


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
    max_sweeps: int,
    threshold: np.float32,
    seed: np.uint64,
    stop: np.ndarray,
    confidences: np.ndarray | None,
    weights_n: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Solve sixteen nodes at a time, nodes with similar numbers of positive rows together.

    `rows` int32 (n,) are the rows' numbers, ascending, `used` int32 (f,) the columns' numbers.
    `confidences` float32 has one for each of `positive_rows`, `weights_n` (n,) one for each row;
    both None where all are 1.
    Returns pointers (nodes + 1,) into (columns, values) of the kept sparse weights, then the dense
    weights (nodes, H) and the biases (nodes,).

    Args:
        indptr: where each row's entries begin, (n + 1,).
        columns: local column of each entry, below f.
        values: values of the entries, float32.
        dense_nH: dense part of the rows, float32 (n, H).
        norms: squared length of each row, (n,).
        bias: value of the bias column.
        rows: number of each row.
        used: number of each local column.
        nodes: the nodes to solve.
        positive_ptr: where the positive rows of each node begin.
        positive_rows: numbers of the positive rows, ascending in a node.
        cost_positive: cost of a row that has the label.
        cost_negative: cost of another row.
        epsilon: spread of the projected gradients at which a node is done.
        max_sweeps: most sweeps over the rows.
        threshold: sparse weights that are not above it in size are dropped.
        seed: seed of the order of rows.
        stop: a flag that another thread sets to end early, (1,).
        confidences: confidence of each positive row in its label, or None.
        weights_n: weight of each row, or None.

    Returns:
        Five arrays; a node without positive rows has no weights and the bias -1.
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
                cost_negative, epsilon, max_sweeps, seed + np.uint64(nodes[by_size[first]]),
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
                cost_negative, epsilon, max_sweeps, seed + np.uint64(nodes[by_size[first]]),
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
    """1 / (2 C), finite; a row of negligible cost does not change the solution."""
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
