"""Milliseconds of single calls, whole and by part; needs numpy alone, so that peers can use it."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

PERCENTILES = (50, 90, 99)


def asked_one_by_one(
    ask: Callable[[str], Any], texts: Sequence[str], warm_up: int
) -> dict[str, float]:
    """p50, p90 and p99 of `ask`, in milliseconds, after `warm_up` texts that do not count."""
    for text in texts[:warm_up]:
        ask(text)
    taken = []
    for text in texts:
        start = time.perf_counter()
        ask(text)
        taken.append(time.perf_counter() - start)
    return percentiles(taken)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p90 and p99 in milliseconds."""
    found = np.percentile(1e3 * np.asarray(seconds), PERCENTILES)
    return {f"p{p}": round(float(ms), 3) for p, ms in zip(PERCENTILES, found, strict=True)}


class PartClock:
    """Times methods while a text is answered; what is called within a part belongs to it alone."""

    def __init__(self, parts: Mapping[str, tuple[Any, str]]) -> None:
        """`parts` names the owner (a class or module) and the attribute of each part."""
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
        def timed(*arguments: Any, **named: Any) -> Any:
            if self.within:
                return call(*arguments, **named)
            self.within, start = True, time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self.of_text[name] += time.perf_counter() - start
                self.within = False

        return timed

    def measure(self, ask: Callable[[str], Any], texts: Sequence[str]) -> dict[str, Any]:
        """p50, p90 and p99 of each part and of what is in none (`rest`), in milliseconds."""
        taken: dict[str, list[float]] = {name: [] for name in (*self.parts, "rest")}
        for text in texts:
            self.of_text.clear()
            start = time.perf_counter()
            ask(text)
            whole = time.perf_counter() - start
            for name in self.parts:
                taken[name].append(self.of_text[name])
            taken["rest"].append(whole - sum(self.of_text.values()))
        return {name: percentiles(seconds) for name, seconds in taken.items()}
