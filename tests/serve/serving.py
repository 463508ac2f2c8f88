"""A server in this process, and one in processes of its own, over a tiny linear model."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from tests import ROOT
from tests.small_corpora import make_rows, write_rows
from xrt import XRLinear
from xrt.data.formats import read_corpus
from xrt.serve.app import make_app
from xrt.serve.metrics import Metrics
from xrt.serve.options import ServeOptions
from xrt.serve.state import Phase, ServerState
from xrt.serve.worker import LocalReloader, make_routers

PREDICT = "/v1/models/small/predict"
LONG_WAIT = 120.0
"""Seconds for what takes one or two on an idle machine."""


def save_model(folder: Path, seed: int = 0) -> Path:
    """A linear model of 24 labels."""
    rows = write_rows(folder.parent / f"{folder.name}.jsonl", make_rows(500, seed))
    return XRLinear(num_threads=1, seed=seed).fit(read_corpus(rows)).save(folder)


def state_of(folder: Path, name: str = "small", **options: Any) -> ServerState:
    """The state of a server whose model is loaded and whose thread runs."""
    state = ServerState(ServeOptions({name: folder}, threads=1, **options), Metrics())
    state.reloader = LocalReloader(state)
    state.thread.start()
    state.commit(state.prepare())
    state.phase = Phase.ready
    return state


@contextlib.contextmanager
def client_of(folder: Path, name: str = "small", **options: Any) -> Iterator[TestClient]:
    """A client of an application that serves the model of a folder."""
    state = state_of(folder, name, **options)
    try:
        app = make_app(state, make_routers(state))
        with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
            yield client
    finally:
        state.thread.stop()
        state.thread.join(5)


class Served:
    """`xrt serve` in processes of its own."""

    def __init__(self, words: Sequence[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.log = log
        self._file = open(log, "wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "xrt", "serve", *words, "--port", "0"],
            cwd=ROOT, stdout=self._file, stderr=self._file,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **(env or {})},
        )  # fmt: skip
        self.address = ""

    def wait_until_ready(self) -> str:
        """The address, once the models are loaded."""
        until = time.monotonic() + LONG_WAIT
        while time.monotonic() < until and self.process.poll() is None:
            for line in self.log.read_text().splitlines():
                if line.startswith("xrt: serving "):
                    self.address = line.rpartition(" at ")[2]
                    return self.address
            time.sleep(0.05)
        raise AssertionError(f"not ready:\n{self.log.read_text()}")

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, JSON and headers of one request, on a connection of its own."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data)
        request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=LONG_WAIT) as response:
                return response.status, json.load(response), response.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error), error.headers

    def predict(self, text: str = "kati lore") -> tuple[int, Any, Any]:
        """Predict one text."""
        return self.ask(PREDICT, {"texts": [text], "k": 2})

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [
            int(pid)
            for pid in children.split()
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(LONG_WAIT)


@contextlib.contextmanager
def serving(
    words: Sequence[str], folder: Path, env: dict[str, str] | None = None
) -> Iterator[Served]:
    """A server that is ready; it is killed at the end where it has not ended."""
    server = Served(words, folder / "serve.log", env)
    try:
        server.wait_until_ready()
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()
        server._file.close()


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
