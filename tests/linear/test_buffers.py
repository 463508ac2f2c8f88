"""A step down the tree allocates nothing: its thread reuses scratch memory."""

from dataclasses import replace

import numpy as np
import pytest
from numba import njit
from numba.core.runtime import _nrt_python, rtsys

from tests.linear.test_beam_step import random_level, random_rows
from xrt.linear import buffers as scratch_module
from xrt.linear import scoring, single_query
from xrt.linear import weights as weights_module
from xrt.linear.buffers import Buffer, Scratch, scratch
from xrt.search.session import SearchSession
from xrt.threads import run_blocks
from xrt.tree.label_tree import LabelTree

KERNELS = ((single_query, "expand_all"), (single_query, "expand_row"), (scoring, "expand"))


@pytest.fixture(scope="module")
def levels():
    leaf = np.random.default_rng(3).integers(0, 9, 300).astype(np.int32)
    tree = LabelTree.from_clusters(leaf, [np.zeros(3, np.int32), np.arange(9, dtype=np.int32) // 3])
    return [random_level(tree, t, t) for t in range(3)]


def counted(kernel, name, seen):
    """The kernel, which notes its name, arrays that numba made a record of, arrays given."""

    def call(*arguments):
        before = rtsys.get_allocation_stats().mi_alloc
        result = kernel(*arguments)
        made = rtsys.get_allocation_stats().mi_alloc - before
        seen.append((name, made, sum(isinstance(a, np.ndarray) for a in arguments)))
        return result

    return call


@pytest.fixture
def calls(monkeypatch):
    seen = []
    _nrt_python.memsys_enable_stats()
    for module, name in KERNELS:
        monkeypatch.setattr(module, name, counted(getattr(module, name), name, seen))
    yield seen
    _nrt_python.memsys_disable_stats()


@njit(cache=True)
def _makes_an_array(numbers):
    return np.zeros(len(numbers)).sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("beam_size", [2, 9, 200])
@pytest.mark.parametrize(
    ("num_rows", "limits", "name"),
    [
        (1, {}, "expand_all"),
        (1, {"MAX_CLUSTERS": 0}, "expand_row"),
        (1, {"MAX_CLUSTERS": 0, "MAX_KEYS": 0}, "expand"),
        (40, {}, "expand"),
    ],
)
def test_kernels_make_no_arrays(
    levels, calls, monkeypatch, dtype, beam_size, num_rows, limits, name
):
    for limit, value in limits.items():
        monkeypatch.setattr(weights_module, limit, value)
    fresh = [replace(level).astype(dtype) for level in levels]
    session = SearchSession(fresh, beam_size)
    for k in (3, 150, 300):  # by insertion, by a heap, all
        session.search(random_rows(41).take(np.arange(1, num_rows + 1)), k, num_threads=1)
    assert name in {call for call, _, _ in calls}
    assert len(calls) == 9
    for call, made, given in calls:  # numba makes a record of each array that it is given
        assert made == given, call


def test_the_count_sees_an_array_that_is_made(calls, monkeypatch):
    kernel = scoring.expand

    def wasteful(*arguments):
        _makes_an_array(arguments[1])
        return kernel(*arguments)

    monkeypatch.setattr(scoring, "expand", counted(wasteful, "wasteful", calls))
    tree = LabelTree.flat(20)
    SearchSession([random_level(tree, 0)], 3).search(random_rows(4), 2, num_threads=1)
    (_, made_by_expand, given), (name, made, _) = calls
    assert (name, made) == ("wasteful", made_by_expand + 2)
    assert made_by_expand == given


def test_a_thread_asks_for_memory_once(levels):
    session = SearchSession(levels, 4)
    X = random_rows(200)

    def addresses(_):
        memory = scratch()
        arrays = [memory.ints.take(0), memory.floats.take(0), *memory.query_buffers(0, 0, 0)[0]]
        return [array.ctypes.data for array in arrays]

    session.search(X, 5, num_threads=1)
    session.search(X.take(np.array([0])), 5)
    before = run_blocks(addresses, 1, 1)[0]
    session.search(X, 5, num_threads=1)
    for row in range(20):
        session.search(X.take(np.array([row])), 5)
    assert run_blocks(addresses, 1, 1)[0] == before


def test_a_buffer_grows_and_keeps_what_is_not_too_large(monkeypatch):
    monkeypatch.setattr(scratch_module, "MAX_REUSED", 100)
    buffer = Buffer(np.int32)
    small = buffer.take(10)
    assert buffer.take(4) is small
    larger = buffer.take(60)
    assert len(larger) >= 60
    assert buffer.take(60) is larger
    once = buffer.take(1000)
    assert len(once) == 1000
    assert buffer.take(1000) is not once
    assert buffer.take(60) is larger


def test_query_buffers_grow_and_differ_in_the_beam(monkeypatch):
    monkeypatch.setattr(scratch_module, "MAX_REUSED", 100)
    memory = Scratch()
    first, second = memory.query_buffers(10, 5, 3)
    assert first.ints is second.ints
    assert first.floats is second.floats
    assert first.nodes is not second.nodes
    assert memory.query_buffers(4, 5, 2)[0] is first
    assert memory.query_buffers(4, 5, 4)[0].sizes == (10, 5, 4)
    assert memory.query_buffers(400, 5, 4)[0].sizes == (400, 5, 4)  # for once
    assert memory.query_buffers(4, 5, 4)[0].sizes == (10, 5, 4)


def test_each_thread_has_its_own():
    theirs = run_blocks(lambda _: id(scratch()), 8, 4)
    assert id(scratch()) not in theirs
