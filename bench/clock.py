"""Clocks for single calls, parts of a call, and steps of training.

Needs numpy alone, so that peers can use it.
"""

import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

PERCENTILES = (50, 90, 99)


def latency_of_each(
    ask: Callable[[str], Any], texts: Sequence[str], warm_up: int
) -> dict[str, float]:
    """p50, p90 and p99 of `ask`, in milliseconds, after `warm_up` texts that do not count."""
    for text in texts[:warm_up]:
        ask(text)
    seconds_of = []
    for text in texts:
        start = time.perf_counter()
        ask(text)
        seconds_of.append(time.perf_counter() - start)
    return percentiles(seconds_of)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p90 and p99 in milliseconds."""
    milliseconds = np.percentile(1e3 * np.asarray(seconds), PERCENTILES)
    return {f"p{p}": round(float(ms), 3) for p, ms in zip(PERCENTILES, milliseconds, strict=True)}


class PartClock:
    """Times methods while a text is answered; what is called within a part belongs to it alone."""

    def __init__(self, parts: Mapping[str, tuple[Any, str]]) -> None:
        """`parts` has the owner (a class or module) and the attribute of each part."""
        self.parts = parts
        self.of_text: dict[str, float] = defaultdict(float)
        self.within = False

    def __enter__(self) -> "PartClock":
        self.before = {name: getattr(owner, at) for name, (owner, at) in self.parts.items()}
        for name, (owner, at) in self.parts.items():
            setattr(owner, at, self._timed(name, self.before[name]))
        return self

    def __exit__(self, *_: Any) -> None:
        for name, (owner, at) in self.parts.items():
            setattr(owner, at, self.before[name])

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **keywords: Any) -> Any:
            if self.within:
                return call(*arguments, **keywords)
            self.within, start = True, time.perf_counter()
            try:
                return call(*arguments, **keywords)
            finally:
                self.of_text[name] += time.perf_counter() - start
                self.within = False

        return timed

    def measure(self, ask: Callable[[str], Any], texts: Sequence[str]) -> dict[str, Any]:
        """p50, p90 and p99 of each part and of what is in none (`rest`), in milliseconds."""
        seconds_of: dict[str, list[float]] = {name: [] for name in (*self.parts, "rest")}
        for text in texts:
            self.of_text.clear()
            start = time.perf_counter()
            ask(text)
            whole = time.perf_counter() - start
            for name in self.parts:
                seconds_of[name].append(self.of_text[name])
            seconds_of["rest"].append(whole - sum(self.of_text.values()))
        return {name: percentiles(seconds) for name, seconds in seconds_of.items()}


class StepClock:
    """A `Progress` that notes when each training step ended, the GPU's work included: its loss was
    read by then.
    """

    def __init__(self) -> None:
        self.times: list[float] = []
        self.recording = False

    def start(self, description: str, total: int | None) -> None:
        """Take note only while the matcher is trained."""
        self.recording = description.startswith("matcher")

    def advance(self, n: int = 1, **figures: float) -> None:
        """A step has ended."""
        if self.recording:
            self.times.append(time.perf_counter())

    def finish(self) -> None:
        """Stop taking note."""
        self.recording = False


class StepTotals:
    """A `Progress` that adds up the seconds of each kind of step."""

    def __init__(self) -> None:
        """No step yet."""
        self.seconds: dict[str, float] = {}
        self.step, self.started = "", 0.0

    def start(self, description: str, total: int | None) -> None:
        """A step begins."""
        self.step, self.started = description, time.perf_counter()

    def advance(self, n: int = 1, **figures: float) -> None:
        """Nothing to note."""

    def finish(self) -> None:
        """The step ends."""
        if self.step:
            seconds = time.perf_counter() - self.started
            self.seconds[self.step] = self.seconds.get(self.step, 0.0) + seconds
        self.step = ""


class Laps:
    """Wall and processor seconds between calls, with the machine's load and the peak memory."""

    def __init__(self) -> None:
        """The clock runs."""
        self.laps: dict[str, dict[str, float]] = {}
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def lap(self, name: str) -> None:
        """End a stage; `laps` gets its seconds, load average and peak memory (GB)."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.laps[name] = {
            "wall_s": round(wall - self.wall, 1), "cpu_s": round(cpu - self.cpu, 1),
            "load": round(os.getloadavg()[0], 1),
            "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        }  # fmt: skip
        self.wall, self.cpu = wall, cpu
