"""The number of threads, and blocks of work on them.

The kernels of xrt release the GIL, so a plain thread pool gives the speed of OpenMP with none of
its traps: no thread is started at import, a fork stays safe, Ctrl-C is handled between blocks, and
results do not depend on the number of threads because every block writes only what is its own.
Threads are started when first needed and then reused, with their scratch memory.

One rule sets the number of threads, here and in the libraries that have their own (torch,
FAISS, scikit-learn, tokenizers). Those of OpenMP do not survive a fork: in a child their first
parallel loop would wait for ever for threads of the parent. A forked child uses one thread there.
"""

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from typing import TypeVar

from xrt.processors import num_processors
from xrt.progress import Progress

T = TypeVar("T")
MAX_THREADS = 1024
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_here = threading.local()
_is_forked = False


def default_num_threads() -> int:
    """Threads of this process without an explicit number.

    Returns:
        `XRT_NUM_THREADS`, else `OMP_NUM_THREADS`, else the processors that this process may use
        (affinity and the quota of a container respected).
    """
    for name in ("XRT_NUM_THREADS", "OMP_NUM_THREADS"):
        first = os.environ.get(name, "").split(",")[0].strip()  # OpenMP takes a list, too
        if first.isascii() and first.isdigit() and int(first) > 0:
            return min(int(first), MAX_THREADS)
    return num_processors()


def openmp_threads(num_threads: int | None = None) -> int:
    """Threads for a library of OpenMP: `num_threads`, or the default; 1 in a forked child.

    Args:
        num_threads: threads; None for the default.

    Returns:
        At least 1.
    """
    return 1 if _is_forked else min(num_threads or default_num_threads(), MAX_THREADS)


@contextlib.contextmanager
def torch_threads(num_threads: int | None = None) -> Iterator[None]:
    """Torch computes on so many threads within; without a number on its own, but not on more than
    `default_num_threads`.

    Args:
        num_threads: threads; None for the default.

    Yields:
        None, once; the work is done within.
    """
    import torch

    before = torch.get_num_threads()
    after = openmp_threads(num_threads)
    if num_threads is None:
        after = min(after, before)
    if after == before:
        yield
        return
    torch.set_num_threads(after)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _after_fork() -> None:
    """Limit libraries to one thread in a forked child, which has none of its parent's threads."""
    global _is_forked
    _is_forked = True
    if "tokenizers" in sys.modules:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch, faiss = sys.modules.get("torch"), sys.modules.get("faiss")
    with contextlib.suppress(Exception), warnings.catch_warnings():  # half imported, or another one
        warnings.simplefilter("ignore")
        if torch is not None:
            torch.set_num_threads(1)
        if faiss is not None:
            faiss.omp_set_num_threads(1)
        if "sklearn.utils._openmp_helpers" in sys.modules:
            import threadpoolctl

            threadpoolctl.threadpool_limits(1, user_api="openmp")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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
    over; `on_stop()` is called before that wait, to end long ones early.

    Args:
        task: does the work of a block.
        num_blocks: number of blocks.
        num_threads: threads; None for the default.
        progress: receives the progress; None for none.
        advance: units of `progress` that a finished block is worth.
        on_stop: called before the wait after an exception, to end long blocks early.

    Returns:
        What `task` returned for each block.
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
