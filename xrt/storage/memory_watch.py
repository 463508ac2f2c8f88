"""The highest memory of this process over a span of time.

The system keeps one highest value for the whole life of a process. Here a thread looks at the
resident memory now and then; where the system's own highest value rose meanwhile, that one counts.
Processes that this one starts are not seen.
"""

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.2
"""Seconds between two looks."""
_STATUS = Path("/proc/self/status")


@dataclass
class MemoryPeak:
    """Highest resident memory of a span.

    Attributes:
        num_bytes: the memory; None where the system does not tell it.
    """

    num_bytes: int | None = None


def resident_bytes() -> tuple[int, int] | None:
    """Resident memory of this process.

    Returns:
        Bytes now, and at most so far; None where there is no /proc.
    """
    try:
        status = _STATUS.read_text()
    except OSError:
        return None
    sizes = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.MULTILINE))
    if len(sizes) < 2:
        return None
    return 1024 * int(sizes["VmRSS"]), 1024 * int(sizes["VmHWM"])


@contextlib.contextmanager
def watch_memory() -> Iterator[MemoryPeak]:
    """Watch the resident memory while the context is open.

    Yields:
        Holds the highest memory once the context is closed.
    """
    peak = MemoryPeak()
    before = resident_bytes()
    if before is None:
        yield peak
        return
    highest = before[0]
    ended = threading.Event()

    def look() -> None:
        nonlocal highest
        while not ended.wait(INTERVAL):
            now = resident_bytes()
            highest = max(highest, 0 if now is None else now[0])

    watcher = threading.Thread(target=look, name="xrt-memory", daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
        now, ever = resident_bytes() or before
        peak.num_bytes = ever if ever > before[1] else max(highest, now)
