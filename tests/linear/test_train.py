"""Sixteen labels side by side against one label after the other, and the lanes' operations."""

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from tests.reference.slow_dual import squared_hinge
from xrt.linear.kernels.simd import (
    WIDTH,
    add_scaled,
    any_less,
    load,
    splat,
    store,
    where_bit,
    where_less,
)
from xrt.linear.kernels.train import new_state, shuffle, solve_lanes

BIAS, POSITIVE, NEGATIVE, SEED = 0.7, 2.0, 0.5, 11


def problem(n=40, f=9, H=5):
    rng = np.random.default_rng(4)
    sparse = rng.normal(size=(n, f)).astype(np.float32) * (rng.random((n, f)) < 0.5)
    dense = rng.normal(size=(n, H)).astype(np.float32)
    members = rng.integers(0, 2**WIDTH, n).astype(np.uint16)
    return sparse, dense, members


def solve(sparse, dense, members, num_lanes=WIDTH, epsilon=0.05, sweeps=50, stop=0, diagonal=None):
    n, f = sparse.shape
    indptr = np.concatenate([[0], np.cumsum((sparse != 0).sum(1))])
    columns = np.nonzero(sparse)[1].astype(np.int32)
    norms = ((sparse**2).sum(1) + (dense**2).sum(1) + BIAS**2).astype(np.float32)
    w, w_dense = np.zeros((f, WIDTH), np.float32), np.zeros((dense.shape[1], WIDTH), np.float32)
    b, alpha = np.zeros((1, WIDTH), np.float32), np.zeros((n, WIDTH), np.float32)
    done = solve_lanes(
        indptr, columns, sparse[sparse != 0], dense, norms, np.float32(BIAS), members, num_lanes,
        np.float32(POSITIVE), np.float32(NEGATIVE), np.float32(epsilon), sweeps, np.uint64(SEED),
        np.full(1, stop, np.uint8), w, w_dense, b, alpha, diagonal,
    )  # fmt: skip
    return np.vstack([w, w_dense, b]), done


def orders(n, sweeps):
    order, result = np.arange(n, dtype=np.int32), []
    state = np.uint64(new_state(np.uint64(SEED)))
    for _ in range(sweeps):
        state = np.uint64(shuffle(order, state))
        result.append(order.copy())
    return result


def test_each_lane_takes_the_steps_of_its_label_alone():
    sparse, dense, members = problem()
    weights, sweeps = solve(sparse, dense, members, epsilon=0.2, sweeps=300)
    rows = np.hstack([sparse, dense, np.full((len(sparse), 1), BIAS)]).astype(np.float64)
    alone = []
    for lane in range(WIDTH):
        y = np.where(members >> lane & 1, 1.0, -1.0)
        cost = np.where(y > 0, POSITIVE, NEGATIVE)
        w, num = squared_hinge(rows, y, cost, 0.2, orders(len(rows), 300))
        np.testing.assert_allclose(weights[:, lane], w, rtol=1e-3, atol=1e-4)
        alone.append(num)
    assert sweeps == max(alone)
    assert 2 < min(alone) < max(alone) < 300


def test_lanes_without_a_label_stay_zero_and_others_are_as_before():
    sparse, dense, members = problem()
    whole, _ = solve(sparse, dense, members)
    some, _ = solve(sparse, dense, members, num_lanes=5)
    np.testing.assert_array_equal(some[:, :5], whole[:, :5])
    assert not some[:, 5:].any()


def test_the_number_of_sweeps_is_bounded_and_another_thread_can_stop_it():
    sparse, dense, members = problem()
    assert solve(sparse, dense, members, epsilon=1e-4, sweeps=3)[1] == 3
    assert solve(sparse, dense, members, epsilon=1e-4, stop=1)[1] == 1


def test_shuffles_are_permutations_and_differ():
    first, second = orders(1000, 2)
    np.testing.assert_array_equal(np.sort(second), np.arange(1000))
    assert (first != second).mean() > 0.9
    assert abs(np.corrcoef(first, np.arange(1000))[0, 1]) < 0.15


@njit
def _apply(a, bits, out):
    x, y = load(a, 0), load(a, 1)
    store(out, 0, x + y)
    store(out, 1, x - y)
    store(out, 2, x * y)
    store(out, 3, add_scaled(x, 0.5, y))
    store(out, 4, where_less(x, y, x, splat(9.0)))
    store(out, 5, where_bit(bits, x, y))
    return any_less(x, y), any_less(x, x)


def test_operations_work_lane_by_lane():
    a = np.random.default_rng(0).normal(size=(2, WIDTH)).astype(np.float32)
    bits = np.uint16(0b1010_0000_0000_0011)
    out = np.zeros((6, WIDTH), np.float32)
    assert _apply(a, bits, out) == (True, False)
    x, y = a
    chosen = np.array([x[lane] if bits >> lane & 1 else y[lane] for lane in range(WIDTH)])
    expected = [x + y, x - y, x * y, x + np.float32(0.5) * y, np.where(x < y, x, 9), chosen]
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_arrays_that_are_no_rows_of_lanes_are_refused_when_compiling():
    @njit
    def read(a):
        return any_less(load(a, 0), load(a, 0))

    with pytest.raises(TypingError, match="float32 arrays of shape"):
        read(np.zeros((2, WIDTH)))
    with pytest.raises(TypingError, match="float32 arrays of shape"):
        read(np.zeros((2, 2 * WIDTH), np.float32)[:, ::2])
