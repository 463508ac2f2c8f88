"""One server process: an event loop, the model thread, and an orderly end.

On SIGTERM `/health/ready` turns 503 at once; for a second requests are still taken, so that nobody
is refused who has not heard of it yet; then the socket is closed, and what is in flight is answered
within the grace time.
"""

import asyncio
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from fastapi import APIRouter
from uvicorn import Config, Server

from xrt.errors import XrtError
from xrt.serve.app import make_app
from xrt.serve.connections import PatientProtocol
from xrt.serve.decisions import DecisionFile
from xrt.serve.logs import LOGGER
from xrt.serve.metrics import Metrics
from xrt.serve.options import BACKLOG, ServeOptions
from xrt.serve.problems import Problem
from xrt.serve.review_queue import ReviewQueue
from xrt.serve.routes.page import make_page_router
from xrt.serve.routes.review import make_review_router
from xrt.serve.state import Phase, ServerState

SECONDS_OF_NOTICE = 1.0
"""How long requests are still taken after `/health/ready` has turned 503."""
KEEP_ALIVE_SECONDS = 65
"""How long an idle connection stays open: longer than those of usual proxies (60 s)."""


class Worker(Server):
    """The server of one process."""

    def __init__(self, options: ServeOptions, bound: socket.socket) -> None:
        """Make a server; nothing is loaded.

        Args:
            options: What the server was told.
            bound: The socket that it accepts from; it listens.
        """
        self.state = ServerState(options, Metrics())
        self.bound = bound
        self.load_error: Exception | None = None
        self._closing_at: float | None = None
        self._quiet_ticks = 0
        routers = make_routers(self.state)
        super().__init__(
            Config(
                make_app(self.state, routers),
                http=PatientProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=1,  # one connection at a time, so that idle workers get theirs
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=round(options.grace) + 1,
            )
        )

    def load(self) -> dict[str, str]:
        """Load and try all models, and be ready.

        Returns:
            The version of each model by name.

        Raises:
            XrtError: One cannot be opened.
        """
        versions = self.state.commit(self.state.prepare())
        if self.state.phase is Phase.loading:
            self.state.phase = Phase.ready
        return versions

    def load_beside(self, on_ready: Callable[[dict[str, str]], None]) -> None:
        """Load the models while the server answers that it does; a failure ends the server.

        Args:
            on_ready: Is called with the versions, from another thread.
        """

        def run() -> None:
            try:
                on_ready(self.load())
            except Exception as error:
                self.load_error = error
                self.should_exit = True

        threading.Thread(target=run, name="xrt-loader", daemon=True).start()

    def serve_until_told(self) -> None:
        """Answer requests until `begin_to_end` or a signal.

        Raises:
            Exception: What `load_beside` failed with.
        """
        try:
            self.run(sockets=[self.bound])
        finally:
            self.state.thread.stop()
            has_ended = self.state.thread.join(2)
        if self.load_error is not None:
            raise self.load_error
        if not has_ended:  # in compiled code, which cannot be stopped
            LOGGER.error("the model thread did not end within the grace time")
            sys.stderr.flush()
            os._exit(1)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, and let the system keep connections that wait."""
        await super().startup(sockets)
        self.bound.listen(BACKLOG)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end at the first signal; end at once at the second.

        Args:
            sig: The number of the signal.
            frame: What was interrupted.
        """
        if self._closing_at is None:
            self.begin_to_end()
        else:
            self.should_exit = self.force_exit = True

    def begin_to_end(self) -> None:
        """Turn `/health/ready` to 503, and close the socket a second later; from any thread."""
        self.state.phase = Phase.draining
        self._closing_at = time.monotonic() + SECONDS_OF_NOTICE

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop accepting, ten times a second."""
        if self._closing_at is not None:
            self._quiet_ticks = 0 if self._somebody_comes() else self._quiet_ticks + 1
            late = time.monotonic() - self._closing_at
            # connections that the system took already have half of the grace time to be heard
            if late >= (0 if self._quiet_ticks > 1 else self.state.options.grace / 2):
                self.should_exit = True
        return await super().on_tick(counter)

    def _somebody_comes(self) -> bool:
        """Whether a connection waits to be accepted, or has not sent its first request yet."""
        if select.select([self.bound], [], [], 0)[0]:
            return True
        connections = self.server_state.connections
        return any(isinstance(each, PatientProtocol) and each.cycle is None for each in connections)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is in flight; what is still in the queue at the end of the grace time gets
        503.
        """
        begun = time.monotonic() if self._closing_at is None else self._closing_at
        left = max(begun + self.state.options.grace - time.monotonic(), 0.0)
        stopper = asyncio.get_running_loop().call_later(left, self.state.thread.stop)
        try:
            await super().shutdown(sockets)
        finally:
            stopper.cancel()


class LocalReloader:
    """Reloads the models of a server that has no other workers."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self._under_way = threading.Lock()

    async def reload(self, name: str | None) -> dict[str, str]:
        """Load models anew.

        Args:
            name: The model; None: all.

        Returns:
            The version of each model by its name.

        Raises:
            Problem: 409: another reload is under way, or a model cannot be opened.
        """
        if not self._under_way.acquire(blocking=False):
            raise another_reload()
        try:
            names = None if name is None else [name]
            return self.state.commit(await asyncio.to_thread(self.state.prepare, names))
        except XrtError as error:
            raise not_reloaded(error.message) from error
        finally:
            self._under_way.release()


def another_reload() -> Problem:
    """The answer to a second reload at a time.

    Returns:
        409.
    """
    return Problem(409, "another reload is under way; wait for its end")


def not_reloaded(cause: str) -> Problem:
    """The answer to a reload that failed.

    Args:
        cause: Why, in one line.

    Returns:
        409.
    """
    return Problem(409, f"the models are those of before: {cause}")


def make_routers(state: ServerState) -> list[APIRouter]:
    """Routes of the page and of reviewing.

    Args:
        state: The state of the server.

    Returns:
        The routers.

    Raises:
        DataError: The file of decisions or of the queue cannot be used.
    """
    options = state.options
    decisions = None if options.decisions is None else DecisionFile(options.decisions)
    queue = None if options.queue is None else ReviewQueue(options.queue, decisions)
    return [make_page_router(), make_review_router(state.labels_of, decisions, queue)]


def run_alone(options: ServeOptions, bound: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve from this process, until a signal ends it.

    Args:
        options: What the server was told.
        bound: The socket that it accepts from.
        on_ready: Is called once the models are loaded, from another thread.

    Raises:
        XrtError: A model cannot be opened.
    """
    worker = Worker(options, bound)
    worker.state.reloader = LocalReloader(worker.state)
    worker.state.thread.start()
    worker.load_beside(lambda _: on_ready())
    worker.serve_until_told()
