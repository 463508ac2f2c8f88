"""The one thread that computes, and the bounded queue before it.

Models are called from this thread only: torch keeps a team of threads for each thread that calls
it. Whatever waits is taken at once and done in as few calls as its options allow, without a timer:
a request that comes alone is never held back. What nobody waits for any more is not computed.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xrt.errors import XrtError
from xrt.serve.metrics import Metrics
from xrt.serve.problems import Problem
from xrt.serve.tasks import Task

BATCH_TEXTS = 64
"""Texts after which no further request is taken into a batch."""


@dataclass(eq=False)
class Job:
    """A task in the queue. Times are those of `time.monotonic`, in seconds; `future` belongs to
    the event loop.
    """

    task: Task
    deadline: float
    future: "asyncio.Future[Any]"
    entered: float = field(default_factory=time.monotonic)
    seconds_in_queue: float = 0.0
    seconds_in_model: float = 0.0
    abandoned: bool = False
    """Nobody waits for it any more."""


@dataclass(eq=False)
class Call:
    """A function that the model thread is to call between two batches."""

    function: Callable[[], Any]
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class ModelThread:
    """The thread and its queue. `submit` is for the event loop, `call` for any other thread."""

    def __init__(self, queue_length: int, metrics: Metrics) -> None:
        """Make a thread; `start` starts it.

        Args:
            queue_length: Requests that may wait; the next is refused.
            metrics: Are told of batches and times.
        """
        self.queue_length, self.metrics = queue_length, metrics
        self._waiting: deque[Job] = deque()
        self._calls: deque[Call] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="xrt-model", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether the next request would be refused."""
        return len(self._waiting) >= self.queue_length

    @property
    def busy_seconds(self) -> float:
        """How long the batch at hand takes already; 0 where there is none."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def submit(self, task: Task, deadline: float) -> Job:
        """Put a task into the queue; from the event loop only.

        Args:
            task: The task.
            deadline: When nobody waits for it any more (`time.monotonic`).

        Returns:
            The job; its future has the result, or raises what the task raised.

        Raises:
            Problem: 429, the queue is full; 503, the server ends.
        """
        if self.is_full:
            raise queue_is_full(self.queue_length)
        job = Job(task, deadline, asyncio.get_running_loop().create_future())
        with self._changed:
            if self._stopping:
                raise server_ends()
            self._waiting.append(job)
            self._changed.notify()
        self.metrics.queue_depth.inc()
        return job

    def call(self, function: Callable[[], Any]) -> None:
        """Have the thread call a function before the next batch, and wait for its end.

        Args:
            function: What is called.

        Raises:
            BaseException: What the function raised.
        """
        call = Call(function)
        with self._changed:
            if self._stopping:
                raise server_ends()
            self._calls.append(call)
            self._changed.notify()
        call.done.wait()
        if call.error is not None:
            raise call.error

    def stop(self) -> None:
        """Refuse what waits, and end the thread when the batch at hand is done."""
        with self._changed:
            self._stopping = True
            jobs, calls = list(self._waiting), list(self._calls)
            self._waiting.clear()
            self._calls.clear()
            self._changed.notify()
        self.metrics.queue_depth.dec(len(jobs))
        for call in calls:
            call.error = server_ends()
            call.done.set()
        _resolve([(job, server_ends()) for job in jobs])

    def join(self, seconds: float) -> bool:
        """Wait for the end of the thread.

        Args:
            seconds: How long, at most.

        Returns:
            Whether it has ended.
        """
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (work := self._take()) is not None:
            self._busy_since = time.monotonic()
            if isinstance(work, Call):
                _do(work)
            else:
                self._compute(work)
            self._busy_since = None

    def _take(self) -> Call | list[Job] | None:
        """A call, or what waits, up to the limit of a batch; None at the end."""
        with self._changed:
            while not (self._waiting or self._calls or self._stopping):
                self._changed.wait()
            if self._stopping:
                return None
            if self._calls:
                return self._calls.popleft()
            jobs: list[Job] = []
            num_texts = 0
            while self._waiting and num_texts < BATCH_TEXTS:
                if jobs and num_texts + self._waiting[0].task.size > BATCH_TEXTS:
                    break
                jobs.append(self._waiting.popleft())
                num_texts += jobs[-1].task.size
        self.metrics.queue_depth.dec(len(jobs))
        return jobs

    def _compute(self, jobs: Sequence[Job]) -> None:
        groups: dict[Hashable, list[Job]] = {}
        for job in jobs:
            groups.setdefault(job.task.group, []).append(job)
        for group in groups.values():
            started = time.monotonic()
            wanted = [job for job in group if not job.abandoned and job.deadline > started]
            _resolve([(job, deadline_passed()) for job in group if job not in wanted])
            if not wanted:
                continue
            self.metrics.batch_texts.observe(sum(job.task.size for job in wanted))
            outcomes = _outcomes(wanted)
            seconds = time.monotonic() - started
            for job in wanted:
                job.seconds_in_queue, job.seconds_in_model = started - job.entered, seconds
                self.metrics.queue_seconds.observe(job.seconds_in_queue)
            self.metrics.model_seconds.observe(seconds)
            _resolve(list(zip(wanted, outcomes, strict=True)))


def _do(call: Call) -> None:
    try:
        call.function()
    except BaseException as error:
        call.error = error
    call.done.set()


def _outcomes(jobs: Sequence[Job]) -> list[Any]:
    """The result of each job, or the error; where one cannot be done, the others are."""
    try:
        return type(jobs[0].task).run([job.task for job in jobs])
    except BaseException as error:
        if len(jobs) == 1 or not isinstance(error, XrtError):
            return [error] * len(jobs)
    return [outcome for job in jobs for outcome in _outcomes([job])]


def _resolve(outcomes: Sequence[tuple[Job, Any]]) -> None:
    """Give the results to those who wait, in one go for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Any]]] = {}
    for job, outcome in outcomes:
        by_loop.setdefault(job.future.get_loop(), []).append((job, outcome))
    for loop, of_loop in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_set_results, of_loop)


def _set_results(outcomes: Sequence[tuple[Job, Any]]) -> None:
    for job, outcome in outcomes:
        if job.future.done():
            continue
        if isinstance(outcome, BaseException):
            job.future.set_exception(outcome)
            job.future.exception()  # not told of as an error that nobody looked at
        else:
            job.future.set_result(outcome)


def queue_is_full(length: int) -> Problem:
    """The answer to a request that finds the queue full.

    Args:
        length: Requests that wait.

    Returns:
        429 with `Retry-After`.
    """
    return Problem.busy(429, f"{length} requests wait already; try again later")


def server_ends() -> Problem:
    """The answer to a request while the server ends.

    Returns:
        503 with `Retry-After`.
    """
    return Problem.busy(503, "the server is being stopped; try again")


def deadline_passed() -> Problem:
    """The answer to a request that waited too long.

    Returns:
        504.
    """
    return Problem(504, "no answer within the deadline; send fewer texts, or try again later")
