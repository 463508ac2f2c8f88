"""Runs blocks of work on threads.

The kernels of xrt release the GIL, so a plain thread pool gives the speed of OpenMP with none of
its traps: no thread is started at import, a fork stays safe, Ctrl-C is heard between blocks, and
results do not depend on the number of threads because every block writes only what is its own.
Threads are started when first needed and then kept, so that what a block keeps for its thread is
there in the next call too.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from typing import TypeVar

from xrt.progress import Progress

T = TypeVar("T")
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_here = threading.local()


def default_num_threads() -> int:
    """Processors this process may use (affinity respected), or `XRT_NUM_THREADS` where that is
    set.
    """
    wanted = os.environ.get("XRT_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_blocks(
    task: Callable[[int], T],
    num_blocks: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
    advance: Callable[[int], int] = lambda block: 1,
    on_stop: Callable[[], None] | None = None,
) -> list[T]:
    """Call `task(block)` for block 0..num_blocks-1, started in that order; results in the same
    order.

    `advance(block)` says how many units of `progress` a finished block is worth. An exception in a
    block, and Ctrl-C, cancel those that have not begun and are raised here once those that have are
    over; `on_stop()` is called before that wait, to tell long ones to give up.
    """
    num_threads = num_threads or default_num_threads()
    in_a_block = getattr(_here, "in_a_block", False)  # waiting for its own pool would never end
    if num_threads == 1 or num_blocks <= 1 or in_a_block:
        results = []
        for block in range(num_blocks):
            results.append(task(block))
            if progress is not None:
                progress.advance(advance(block))
        return results
    pool = _pool(num_threads)
    futures: dict[Future[T], int] = {}
    try:
        for block in range(num_blocks):
            futures[pool.submit(_in_a_block, task, block)] = block
        for future in as_completed(futures):
            future.result()
            if progress is not None:
                progress.advance(advance(futures[future]))
    except BaseException:
        if on_stop is not None:
            on_stop()
        for future in futures:
            future.cancel()
        wait(futures)
        raise
    return [future.result() for future in futures]


def _pool(num_threads: int) -> ThreadPoolExecutor:
    """This process's pool of so many threads; a fork has none of its parent's threads."""
    key = os.getpid(), num_threads
    pool = _pools.get(key)
    if pool is None:  # of two made at once one is kept; the other has started no thread
        pool = _pools.setdefault(key, ThreadPoolExecutor(num_threads, "xrt"))
    return pool


def _in_a_block(task: Callable[[int], T], block: int) -> T:
    _here.in_a_block = True
    try:
        return task(block)
    finally:
        _here.in_a_block = False
