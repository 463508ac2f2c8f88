"""What runs in a process that the supervisor starts."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from xrt.errors import XrtError
from xrt.serve.options import ServeOptions

if TYPE_CHECKING:
    from xrt.serve.worker import Worker


def run_worker(
    options: ServeOptions, bound: socket.socket, pipe: Connection, is_first: bool
) -> None:
    """Serve until the supervisor says so, or is gone.

    Args:
        options: What the server was told.
        bound: The socket of all workers.
        pipe: The way to the supervisor.
        is_first: Whether no worker is ready yet: then requests are answered with 503 while the
            models load; else they are left to the others.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the supervisor tells us
    from xrt.serve.logs import set_up_logs
    from xrt.serve.worker import Worker

    set_up_logs(options.log_format)
    try:
        worker = Worker(options, bound)
        reloader = SharedReloader(worker, pipe)
        worker.state.reloader = reloader
        worker.state.thread.start()
        if is_first:
            worker.load_beside(lambda versions: reloader.send("ready", versions))
        else:
            reloader.send("ready", worker.load())
        threading.Thread(target=reloader.listen, name="xrt-pipe", daemon=True).start()
        worker.serve_until_told()
    except Exception as error:
        line = error.message if isinstance(error, XrtError) else f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):  # the supervisor is gone
            pipe.send(("failed", line))
        os._exit(2)


class SharedReloader:
    """The worker's end of reloading models in all workers or in none."""

    def __init__(self, worker: "Worker", pipe: Connection) -> None:
        self.worker, self.pipe = worker, pipe
        self._sending = threading.Lock()
        self._prepared: Any = None
        self._asked: asyncio.Future[dict[str, str]] | None = None

    def send(self, *message: Any) -> None:
        """Tell the supervisor something; from any thread.

        Args:
            *message: A word, and what goes with it.
        """
        with self._sending:
            try:
                self.pipe.send(message)
            except OSError:
                self.worker.begin_to_end()

    async def reload(self, name: str | None) -> dict[str, str]:
        """Have models loaded anew in all workers.

        Args:
            name: The model; None: all.

        Returns:
            The version of each model by its name.

        Raises:
            Problem: 409: another reload is under way, or a model cannot be opened.
        """
        from xrt.serve.worker import another_reload

        if self._asked is not None:
            raise another_reload()
        self._asked = asyncio.get_running_loop().create_future()
        try:
            self.send("reload", name)
            return await self._asked
        finally:
            self._asked = None

    def listen(self) -> None:
        """Do what the supervisor says, until it is gone."""
        try:
            while True:
                self._hear(*self.pipe.recv())
        except (EOFError, OSError):
            self.worker.begin_to_end()

    def _hear(self, word: str, content: Any = None) -> None:
        if word == "prepare":
            self._prepare(content)
        elif word == "commit":
            self.worker.state.commit(self._prepared)
            self._prepared = None
            self.send("committed")
        elif word == "abort":
            self._prepared = None
        else:
            self._answer(word, content)

    def _prepare(self, name: str | None) -> None:
        try:
            self._prepared = self.worker.state.prepare(None if name is None else [name])
            versions = {name: model.version for name, model in self._prepared.items()}
            self.send("prepared", versions)
        except Exception as error:
            message = error.message if isinstance(error, XrtError) else type(error).__name__
            self.send("unprepared", message)

    def _answer(self, word: str, content: Any) -> None:
        """Give the outcome to the request that asked for it."""
        from xrt.serve.worker import not_reloaded

        asked = self._asked
        if asked is None:
            return

        def settle() -> None:
            if asked.done():
                return
            if word == "reloaded":
                asked.set_result(content)
            else:
                asked.set_exception(not_reloaded(content))

        asked.get_loop().call_soon_threadsafe(settle)
