"""The model thread: what waits shares a batch, and nothing is computed for nobody."""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from xrt.errors import DataError
from xrt.serve.metrics import Metrics
from xrt.serve.model_thread import BATCH_TEXTS, ModelThread
from xrt.serve.problems import Problem


@dataclass(eq=False)
class Fake:
    """A task that notes with whom it was done; the first holds the thread until `gate` opens."""

    group: Any = "a"
    size: int = 1
    gate: threading.Event | None = None
    fault: Exception | None = None
    batches: list[list["Fake"]] = field(default_factory=list)

    @classmethod
    def run(cls, tasks: Sequence["Fake"]) -> list[int]:
        tasks[0].batches.append(list(tasks))
        for task in tasks:
            if task.gate is not None:
                task.gate.wait(30)
            if task.fault is not None:
                raise task.fault
        return [len(tasks)] * len(tasks)


def soon() -> float:
    return time.monotonic() + 60


@pytest.fixture
def thread():
    thread = ModelThread(8, Metrics())
    thread.start()
    yield thread
    thread.stop()
    assert thread.join(10)


async def hold(thread: ModelThread) -> threading.Event:
    """Have the thread busy until the event is set."""
    gate = threading.Event()
    thread.submit(Fake(gate=gate), soon())
    while thread.depth:
        await asyncio.sleep(0.001)
    return gate


def test_what_waits_is_done_together(thread: ModelThread):
    async def run() -> None:
        gate = await hold(thread)
        batches: list[list[Fake]] = []
        groups = ["a", "b", "a", "b", "a"]
        jobs = [thread.submit(Fake(group, batches=batches), soon()) for group in groups]
        gate.set()
        assert await asyncio.gather(*(job.future for job in jobs)) == [3, 2, 3, 2, 3]
        assert [[task.group for task in batch] for batch in batches] == [["a"] * 3, ["b"] * 2]

    asyncio.run(run())


def test_a_batch_has_a_limit_of_texts(thread: ModelThread):
    async def run() -> None:
        gate = await hold(thread)
        sizes = [BATCH_TEXTS - 1, 1, 1, 2 * BATCH_TEXTS, 1]
        jobs = [thread.submit(Fake(size=size), soon()) for size in sizes]
        gate.set()
        assert await asyncio.gather(*(job.future for job in jobs)) == [2, 2, 1, 1, 1]

    asyncio.run(run())


def test_a_fault_is_that_of_its_request_alone(thread: ModelThread):
    async def run() -> None:
        gate = await hold(thread)
        bad = Fake(fault=DataError("bad"))
        jobs = [thread.submit(task, soon()) for task in (Fake(), bad, Fake())]
        gate.set()
        outcomes = await asyncio.gather(*(job.future for job in jobs), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [int, DataError, int]

    asyncio.run(run())


def test_the_next_request_of_a_full_queue_is_refused(thread: ModelThread):
    async def run() -> None:
        gate = await hold(thread)
        jobs = [thread.submit(Fake(), soon()) for _ in range(8)]
        assert thread.is_full
        with pytest.raises(Problem) as refusal:
            thread.submit(Fake(), soon())
        assert refusal.value.status_code == 429
        assert refusal.value.headers is not None
        assert int(refusal.value.headers["Retry-After"]) >= 1
        gate.set()
        await asyncio.gather(*(job.future for job in jobs))

    asyncio.run(run())


def test_nothing_is_computed_for_nobody(thread: ModelThread):
    async def run() -> None:
        gate = await hold(thread)
        late = thread.submit(Fake("late"), time.monotonic() + 0.01)
        gone = thread.submit(Fake("gone"), soon())
        gone.abandoned = True
        last = thread.submit(Fake("last"), soon())
        await asyncio.sleep(0.05)
        gate.set()
        assert await last.future == 1
        with pytest.raises(Problem) as refusal:
            await late.future
        assert refusal.value.status_code == 504
        for job in (late, gone):
            assert isinstance(job.task, Fake)
            assert not job.task.batches

    asyncio.run(run())


def test_what_waits_when_the_server_ends_is_refused(thread: ModelThread):
    async def run() -> None:
        gate = await hold(thread)
        job = thread.submit(Fake(), soon())
        thread.stop()
        with pytest.raises(Problem) as refusal:
            await job.future
        assert refusal.value.status_code == 503
        with pytest.raises(Problem):
            thread.submit(Fake(), soon())
        gate.set()

    asyncio.run(run())


def test_a_call_comes_before_what_waits_and_may_fail(thread: ModelThread):
    async def run() -> None:
        gate = await hold(thread)
        batches: list[list[Fake]] = []
        job = thread.submit(Fake(batches=batches), soon())
        seen: list[int] = []
        call = asyncio.to_thread(thread.call, lambda: seen.append(len(batches)))
        waiting = asyncio.create_task(call)
        await asyncio.sleep(0.05)
        gate.set()
        await waiting
        await job.future
        assert seen == [0]
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(thread.call, lambda: 1 / 0)

    asyncio.run(run())


def test_a_thread_that_is_stuck_is_noticed(thread: ModelThread):
    async def run() -> None:
        assert thread.busy_seconds == 0
        gate = await hold(thread)
        await asyncio.sleep(0.05)
        assert thread.busy_seconds >= 0.04
        gate.set()

    asyncio.run(run())
