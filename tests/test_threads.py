"""Blocks on threads: order, failures, Ctrl-C, nesting and forks."""

import multiprocessing
import os
import threading
import time

import pytest

from xrt.progress import SilentProgress
from xrt.threads import run_blocks


class CountingProgress(SilentProgress):
    def __init__(self):
        self.done = 0

    def advance(self, n=1, **figures):
        self.done += n


@pytest.mark.parametrize("num_threads", [1, 3])
def test_results_come_in_order_and_are_counted(num_threads):
    progress = CountingProgress()

    def task(block):
        time.sleep(0.002 * (block % 3))
        return block * block

    results = run_blocks(task, 20, num_threads, progress, lambda block: block)
    assert results == [block * block for block in range(20)]
    assert progress.done == sum(range(20))
    assert run_blocks(task, 0, num_threads) == []


def test_threads_are_kept_for_the_next_call():
    local = threading.local()

    def fresh(block):
        time.sleep(0.01)
        was_known, local.known = hasattr(local, "known"), True
        return not was_known

    assert sum(run_blocks(fresh, 8, 2)) <= 2
    assert sum(run_blocks(fresh, 8, 2)) == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_cancels_what_has_not_begun_and_waits_for_the_rest(error):
    begun, ended = [], []

    def task(block):
        begun.append(block)
        if block == 1:
            raise error("block 1")
        time.sleep(0.05)
        ended.append(block)

    with pytest.raises(error):
        run_blocks(task, 200, 2)
    assert len(begun) < 20
    assert set(begun) - set(ended) == {1}
    assert run_blocks(lambda block: block, 5, 2) == list(range(5))


def test_ctrl_c_while_waiting_leaves_a_pool_that_works():
    class Interrupting(SilentProgress):
        def advance(self, n=1, **figures):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_blocks(lambda block: time.sleep(0.01), 50, 2, Interrupting())
    assert run_blocks(lambda block: block, 5, 2) == list(range(5))


def test_blocks_may_run_blocks():
    nested = run_blocks(lambda i: sum(run_blocks(lambda j: i * j, 4, 2)), 6, 2)
    assert nested == [6 * i for i in range(6)]


def test_several_callers_share_the_threads():
    results = {}

    def call(name):
        results[name] = run_blocks(lambda block: (name, block), 30, 2)

    callers = [threading.Thread(target=call, args=(name,)) for name in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(20)
    assert results == {name: [(name, block) for block in range(30)] for name in range(4)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork among threads is the point
def test_a_fork_has_threads_of_its_own():
    assert run_blocks(lambda block: block, 4, 2) == list(range(4))
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(
        target=lambda: answers.put(run_blocks(lambda block: block + 1, 4, 2)), daemon=True
    )
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert answers.get() == [1, 2, 3, 4]
