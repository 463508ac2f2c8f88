"""Servers as processes, and what these hold."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xrt.processors import SPIN_COUNT

START_SECONDS = 180.0
STEP = 0.02


class Server:
    """A server that runs. `kind` is xrt or plain; `path` is where its model predicts."""

    def __init__(self, kind: str, model: Path, words: Sequence[str] = ()) -> None:
        """Start it and wait until it answers."""
        self.kind, self.name = kind, "plain" if kind == "plain" else "m"
        self.port = free_port()
        self.log = tempfile.TemporaryFile()
        if kind == "plain":
            command = ["-m", "bench.serving.plain", str(model), str(self.port)]
        else:
            command = ["-m", "xrt", "serve", f"m={model}", "--port", str(self.port), *words]
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={"GOMP_SPINCOUNT": str(SPIN_COUNT), **os.environ},  # what xrt sets, for both
        )
        self.path = f"/v1/models/{self.name}/predict"
        until = time.monotonic() + START_SECONDS
        while self.ask(self.path, {"texts": ["warm up"]}) != 200:
            if self.process.poll() is not None or time.monotonic() > until:
                self.log.seek(0)
                raise RuntimeError(f"{kind} did not start: {self.log.read()[-2000:].decode()}")
            time.sleep(STEP)

    def ask(self, path: str, body: Any = None, timeout: float = 60) -> int:
        """The status of one request; 0 without an answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                response.read()
                return int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def workers(self) -> list[int]:
        """Process ids of the workers; of a single process its own."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        workers = [
            int(child)
            for child in children
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
        return workers or [pid]

    def end(self) -> tuple[int, float]:
        """Send SIGTERM; the exit code, and the seconds until the process was gone."""
        begin = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(120)
        return code, time.monotonic() - begin


@contextlib.contextmanager
def serving(kind: str, model: Path, words: Sequence[str] = ()) -> Iterator[Server]:
    """A server, which is gone at the end."""
    server = Server(kind, model, words)
    try:
        yield server
    finally:
        server.end()
        server.log.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start_load(
    server: Server, requests: Sequence[tuple[str, Any]], seconds: float, **how: float
) -> subprocess.Popen[str]:
    """Start the process of `bench.serving.load`."""
    plan = {"host": "127.0.0.1", "port": server.port, "requests": list(requests)}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.serving.load"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps({**plan, "seconds": seconds, **how}))
    process.stdin.close()
    process.stdin = None
    return process


def result_of(load: subprocess.Popen[str]) -> dict[str, Any]:
    """What a load saw."""
    output, _ = load.communicate()
    result: dict[str, Any] = json.loads(output)
    return result


def resident_mb(pids: Sequence[int]) -> float:
    """Memory of processes: resident, without what they share."""
    return sum(rollup(pid, "Private_Dirty") + rollup(pid, "Private_Clean") for pid in pids) / 1024


def private_dirty_mb(pid: int) -> float:
    """Memory that a process alone needs."""
    return rollup(pid, "Private_Dirty") / 1024


def rollup(pid: int, name: str) -> int:
    """A figure of /proc/PID/smaps_rollup in kB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
