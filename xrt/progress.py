"""Progress of long steps, reported through one small interface.

Library functions take `progress: Progress | None = None` and never print. A step calls `start`
once, `advance` as work gets done, `finish` at the end; steps may follow each other on one object.
"""

import os
import sys
import time
from typing import Any, Protocol, TextIO, runtime_checkable

PLAIN_INTERVAL_SECONDS = 10.0


@runtime_checkable
class Progress(Protocol):
    """What a long step reports to; safe to call from the thread that waits for the workers."""

    def start(self, description: str, total: int | None) -> None:
        """Begin a step.

        Args:
            description: what is done, in a few words.
            total: units of the step; None where it is unknown.
        """

    def advance(self, n: int = 1, **figures: float) -> None:
        """Count finished units.

        Args:
            n: how many more.
            **figures: numbers (loss, rate, ...) that are shown beside the bar.
        """

    def finish(self) -> None:
        """End the step; harmless when none is running."""


class SilentProgress:
    """Reports nothing; counts what was done, which tests and callers may read in `completed`."""

    def __init__(self) -> None:
        self.completed = 0

    def start(self, description: str, total: int | None) -> None:
        """Begin a step: the count goes back to 0.

        Args:
            description: not used.
            total: not used.
        """
        self.completed = 0

    def advance(self, n: int = 1, **figures: float) -> None:
        """Count finished units.

        Args:
            n: how many more.
            **figures: not used.
        """
        self.completed += n

    def finish(self) -> None:
        """End the step."""


class RichProgress:
    """A bar with ETA on a terminal, plain lines about every 10 seconds elsewhere.

    With NO_COLOR set (not to the empty string) nothing is coloured.

    Args:
        stream: where it is written; None for stderr, so that results on stdout stay clean.
        interval_seconds: pause between plain lines, in seconds.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        interval_seconds: float = PLAIN_INTERVAL_SECONDS,
    ) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.interval_seconds = interval_seconds
        self._bar: _Bar | _PlainLines | None = None

    def start(self, description: str, total: int | None) -> None:
        """Begin a step; one that is still running ends first.

        Args:
            description: what is done, in a few words.
            total: units of the step; None where it is unknown.
        """
        self.finish()
        if is_terminal(self.stream):
            self._bar = _Bar(self.stream, description, total)
        else:
            self._bar = _PlainLines(self.stream, description, total, self.interval_seconds)

    def advance(self, n: int = 1, **figures: float) -> None:
        """Count finished units; ignored when no step is running.

        Args:
            n: how many more.
            **figures: numbers (loss, rate, ...) that are shown beside the bar.
        """
        if self._bar is not None:
            self._bar.advance(n, figures)

    def finish(self) -> None:
        """End the step and leave its last state on the screen."""
        if self._bar is not None:
            bar, self._bar = self._bar, None
            bar.finish()


def is_terminal(stream: TextIO) -> bool:
    """True where a moving bar makes sense: a real terminal that is not a dumb one.

    Args:
        stream: an output stream.

    Returns:
        False for files and pipes, and with TERM=dumb.
    """
    return bool(getattr(stream, "isatty", lambda: False)()) and os.environ.get("TERM") != "dumb"


def format_seconds(seconds: float) -> str:
    """Seconds as `0:20`, `12:05` or `3:07:09`.

    Args:
        seconds: a duration.

    Returns:
        Text.
    """
    total = max(0, round(seconds))
    hours, minutes = total // 3600, total // 60 % 60
    return f"{hours}:{minutes:02d}:{total % 60:02d}" if hours else f"{minutes}:{total % 60:02d}"


def format_figures(figures: dict[str, float]) -> str:
    """Figures as `loss 0.123 rate 41.5`, four significant digits each.

    Args:
        figures: a number for each name.

    Returns:
        Text.
    """
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


class _Bar:
    """A rich progress bar; rich is imported when the first bar appears."""

    def __init__(self, stream: TextIO, description: str, total: int | None) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichBar

        columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
        columns += [TimeRemainingColumn(), TextColumn("{task.fields[figures]}", markup=False)]
        console = Console(file=stream, no_color=True if os.environ.get("NO_COLOR") else None)
        self._bar = RichBar(*columns, console=console, refresh_per_second=4)
        self._task = self._bar.add_task(escape(description), total=total, figures="")
        self._bar.start()

    def advance(self, n: int, figures: dict[str, float]) -> None:
        fields: dict[str, Any] = {"figures": format_figures(figures)} if figures else {}
        self._bar.update(self._task, advance=n, **fields)

    def finish(self) -> None:
        self._bar.stop()


class _PlainLines:
    """Lines such as `encode  1200/4000  30 %  ETA 0:20`, for log files and pipes."""

    def __init__(
        self, stream: TextIO, description: str, total: int | None, interval: float
    ) -> None:
        self.stream, self.description, self.total, self.interval = (
            stream,
            description,
            total,
            interval,
        )
        self.completed, self.figures = 0, dict[str, float]()
        self.started = self.last_line = time.monotonic()

    def advance(self, n: int, figures: dict[str, float]) -> None:
        self.completed += n
        self.figures.update(figures)
        now = time.monotonic()
        if now - self.last_line >= self.interval:
            self.last_line = now
            self._write(self._line(now - self.started))

    def finish(self) -> None:
        took = format_seconds(time.monotonic() - self.started)
        parts = [self.description, self._count(), f"done in {took}", format_figures(self.figures)]
        self._write("  ".join(part for part in parts if part))

    def _count(self) -> str:
        return f"{self.completed}/{self.total}" if self.total is not None else f"{self.completed}"

    def _line(self, elapsed: float) -> str:
        parts = [self.description, self._count()]
        if self.total and self.completed:
            remaining = elapsed * max(0, self.total - self.completed) / self.completed
            parts += [f"{100 * self.completed // self.total} %", f"ETA {format_seconds(remaining)}"]
        parts.append(format_figures(self.figures))
        return "  ".join(part for part in parts if part)

    def _write(self, line: str) -> None:
        self.stream.write(line + "\n")
        self.stream.flush()
