"""Several server processes over one socket, and the process that watches them.

Workers are started by spawn: torch and FAISS do not survive a fork. A worker that dies is started
again; the others go on meanwhile. Models are reloaded in two steps, in all workers or in none. If
the supervisor itself is killed, its workers see their pipe close, and end.

Messages through the pipe of a worker, each a tuple whose first word says what it is:

    to the supervisor    ready VERSIONS | failed LINE | reload NAME
                         prepared VERSIONS | unprepared LINE | committed
    to a worker          prepare NAME | commit | abort | reloaded VERSIONS | unreloaded LINE
"""

import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from xrt.errors import XrtError
from xrt.serve.logs import LOGGER
from xrt.serve.options import ServeOptions
from xrt.serve.worker_process import run_worker

LONGEST_PAUSE = 30.0
"""Seconds between two starts of a worker that dies before it is ready, at most."""
MOST_FAILURES = 3
"""Starts in a row of a worker that ends before any is ready, before all is given up."""
SECONDS_TO_END = 5.0
"""What workers have beyond the grace time before they are killed."""


class WorkerError(XrtError):
    """A worker could not open the models."""


@dataclass(eq=False)
class Place:
    """A worker's place: its process, if it has one, and when the next may be started."""

    number: int
    process: BaseProcess | None = None
    pipe: Connection | None = None
    is_ready: bool = False
    failures: int = 0
    start_at: float = 0.0


@dataclass(eq=False)
class Reload:
    """A reload under way: who asked for it (None: the supervisor), and who has still to answer."""

    name: str | None
    asked_by: Place | None
    missing: set[Place] = field(default_factory=set)
    prepared: set[Place] = field(default_factory=set)
    versions: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    is_committed: bool = False


class Supervisor:
    """Starts workers, starts dead ones again, has models reloaded, and ends all in order."""

    def __init__(
        self, options: ServeOptions, bound: socket.socket, on_ready: Callable[[], None]
    ) -> None:
        """Make a supervisor; `run` runs it.

        Args:
            options: What the server was told.
            bound: The socket that the workers accept from; it listens.
            on_ready: Is called once all workers are ready.
        """
        self.options, self.bound, self.on_ready = options, bound, on_ready
        self.places = [Place(number) for number in range(options.workers)]
        self.versions: dict[str, str] | None = None
        self._context = multiprocessing.get_context("spawn")
        self._reload: Reload | None = None
        self._asked: deque[tuple[Place | None, str | None]] = deque()
        self._signals = 0
        self._told_ready = False
        self._waker = os.pipe()

    def run(self) -> None:
        """Serve until a signal ends it.

        Raises:
            WorkerError: No worker can open the models.
        """
        from xrt.serve.metrics_folder import FOLDER_VARIABLE

        folder = tempfile.mkdtemp(prefix="xrt-serve-")
        os.environ[FOLDER_VARIABLE] = folder
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            while not self._signals:
                self._start_workers()
                self._listen(self._pause())
            self._end()
        finally:
            for place in self.places:
                if place.process is not None and place.process.is_alive():
                    place.process.kill()
            shutil.rmtree(folder, ignore_errors=True)

    def _on_signal(self, number: int, frame: Any) -> None:
        self._signals += 1
        os.write(self._waker[1], b"x")

    def _pause(self) -> float | None:
        """Seconds until a worker may be started; None where all run."""
        starts = [place.start_at for place in self.places if place.process is None]
        return max(0.0, min(starts) - time.monotonic()) if starts else None

    def _start_workers(self) -> None:
        for place in self.places:
            if place.process is None and place.start_at <= time.monotonic():
                self._start(place)

    def _start(self, place: Place) -> None:
        ours, theirs = self._context.Pipe()
        is_first = self.versions is None
        process = self._context.Process(
            target=run_worker,
            args=(self.options, self.bound, theirs, is_first),
            name=f"xrt-serve-{place.number}",
        )
        process.start()
        theirs.close()
        place.process, place.pipe, place.is_ready = process, ours, False

    def _listen(self, seconds: float | None) -> None:
        """Wait for messages, deaths and signals, and deal with them."""
        by_handle: dict[Any, Place] = {}
        for place in self.places:
            if place.process is not None:
                by_handle[place.process.sentinel] = place
                if place.pipe is not None:
                    by_handle[place.pipe] = place
        handles = [*by_handle, self._waker[0]]
        ready = wait(handles, seconds)
        for handle in ready:
            if handle == self._waker[0]:
                os.read(self._waker[0], 64)
            elif isinstance(handle, Connection):
                self._read(by_handle[handle])
        for handle in ready:
            if handle in by_handle and not isinstance(handle, Connection):
                self._bury(by_handle[handle])

    def _read(self, place: Place) -> None:
        assert place.pipe is not None
        try:
            while place.pipe.poll():
                self._hear(place, *place.pipe.recv())
        except (EOFError, OSError):
            place.pipe.close()
            place.pipe = None

    def _tell(self, place: Place, *message: Any) -> None:
        if place.pipe is not None:
            try:
                place.pipe.send(message)
            except OSError:
                LOGGER.warning("worker %d does not listen", place.number)

    def _bury(self, place: Place) -> None:
        """Take note of a process that has ended."""
        from prometheus_client.multiprocess import mark_process_dead

        process = place.process
        assert process is not None
        process.join()
        mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
        if place.pipe is not None:
            self._read(place)  # its last words
        was_ready = place.is_ready
        place.failures = 0 if was_ready else place.failures + 1
        pause = 0.0 if was_ready else min(2.0 ** (place.failures - 1), LONGEST_PAUSE)
        place.start_at = time.monotonic() + pause
        place.process, place.pipe, place.is_ready = None, None, False
        if self.versions is None and place.failures >= MOST_FAILURES:
            raise WorkerError(
                f"workers end before they are ready (exit code {process.exitcode}); start one "
                "alone (--workers 1) to see why"
            )
        if not self._signals:
            LOGGER.warning(
                "worker %d has ended (%s); it is started again", place.number, process.exitcode
            )
        self._miss(place)

    def _hear(self, place: Place, word: str, content: Any = None) -> None:
        if word == "ready":
            self._on_ready(place, content)
        elif word == "failed":
            self._on_failed(place, content)
        elif word == "reload":
            self._asked.append((place, content))
            self._begin_reload()
        elif self._reload is not None and place in self._reload.missing:
            self._on_answer(self._reload, place, word, content)

    def _on_ready(self, place: Place, versions: dict[str, str]) -> None:
        place.is_ready, place.failures = True, 0
        if self.versions is None:
            self.versions = versions
        elif versions != self.versions:
            LOGGER.warning("a model's folder has changed; all workers take the new model")
            self._asked.append((None, None))
            self._begin_reload()
        if not self._told_ready and all(each.is_ready for each in self.places):
            self._told_ready = True
            self.on_ready()

    def _on_failed(self, place: Place, fault: str) -> None:
        if not any(each.is_ready for each in self.places):
            raise WorkerError(fault)
        LOGGER.error("worker %d: %s", place.number, fault)

    def _begin_reload(self) -> None:
        """Begin the next reload that was asked for, if none is under way."""
        if self._reload is not None or not self._asked:
            return
        asked_by, name = self._asked.popleft()
        workers = {place for place in self.places if place.is_ready}
        self._reload = Reload(name, asked_by, missing=set(workers))
        for place in workers:
            self._tell(place, "prepare", name)

    def _on_answer(self, reload: Reload, place: Place, word: str, content: Any) -> None:
        reload.missing.discard(place)
        if word == "prepared":
            reload.prepared.add(place)
            if reload.versions and reload.versions != content:
                reload.fault = "the folder of a model changed meanwhile; reload again"
            reload.versions = content
        elif word == "unprepared":
            reload.fault = content
        self._go_on_with(reload)

    def _miss(self, place: Place) -> None:
        """A worker that has ended answers nothing any more."""
        reload = self._reload
        if reload is not None:
            reload.prepared.discard(place)
            if place in reload.missing:
                reload.missing.discard(place)
                self._go_on_with(reload)

    def _go_on_with(self, reload: Reload) -> None:
        """Have the models swapped when all are prepared, and tell who asked when all are."""
        if reload.missing:
            return
        if not reload.is_committed and not reload.fault and reload.prepared:
            reload.is_committed = True
            self.versions = {**(self.versions or {}), **reload.versions}
            reload.missing = set(reload.prepared)
            for place in reload.prepared:
                self._tell(place, "commit")
            return
        if not reload.is_committed:
            for place in reload.prepared:
                self._tell(place, "abort")
        if reload.asked_by is not None:
            answer = ("unreloaded", reload.fault or "no worker is ready")
            if reload.is_committed:
                answer = ("reloaded", reload.versions)  # type: ignore[assignment]
            self._tell(reload.asked_by, *answer)
        elif reload.fault:
            LOGGER.error("not reloaded: %s", reload.fault)
        self._reload = None
        self._begin_reload()

    def _end(self) -> None:
        """Have all workers end; kill those that do not within the grace time."""
        self.bound.close()
        for place in self.places:
            if place.process is not None and place.process.is_alive():
                place.process.terminate()
        until = time.monotonic() + self.options.grace + SECONDS_TO_END
        while self._signals == 1 and time.monotonic() < until:
            running = [p.process for p in self.places if p.process is not None]
            running = [process for process in running if process.is_alive()]
            if not running:
                return
            left = max(0.0, until - time.monotonic())
            wait([*(process.sentinel for process in running), self._waker[0]], min(left, 1.0))
