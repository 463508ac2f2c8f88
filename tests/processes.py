"""Processes that a test starts and that must not outlive it."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def ends_with_the_test(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    """The process, which leads a group of its own; the whole group is killed at the end."""
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
