"""What of a budget is spent, on what; kept in the run folder, so that a run that was stopped goes
on with what it had left.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xrt.errors import ArtifactError
from xrt.pipeline.budget.duration import seconds_of
from xrt.pipeline.params import PipelineParams
from xrt.storage.atomic import write_json
from xrt.storage.hashing import content_hash, plain
from xrt.storage.reading import read_json_bounded

RECORD = "budget.json"
Clock = Callable[[], float]


class Spending:
    """The time of a run, in parts that follow one another."""

    def __init__(
        self, params: PipelineParams, record: Path | None = None, now: Clock = time.monotonic
    ) -> None:
        """The clock runs from here; what a run of the same settings that was stopped has spent
        counts.

        Args:
            params: the settings, with a budget.
            record: the file that remembers; None: nothing is kept.
            now: the clock, seconds.
        """
        assert params.budget is not None
        self.budget = params.budget
        self.seconds = seconds_of(params.budget)
        self.now = now
        self.facts: dict[str, Any] = {}
        self._record = record
        self._key = content_hash(plain(params))
        self._part, self._mark = "reading", now()
        self._parts: dict[str, float] = _parts_of(record, self._key)

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by part, in the order in which they were begun."""
        running = self.now() - self._mark
        return {**self._parts, self._part: self._parts.get(self._part, 0.0) + running}

    @property
    def spent(self) -> float:
        """Seconds so far, those before a stop included."""
        return sum(self.parts.values())

    @property
    def remaining(self) -> float:
        """Seconds left; below 0 where more was spent than there was."""
        return self.seconds - self.spent

    def begin(self, part: str) -> None:
        """Another part begins, the one before ends.

        Args:
            part: what time is spent on now.
        """
        self._parts = self.parts
        self._part, self._mark = part, self.now()
        self.keep()

    def keep(self, finished: bool = False) -> None:
        """Write the record.

        Args:
            finished: the run is over: the next one of the same settings begins at 0.
        """
        if self._record is None:
            return
        parts = {part: round(seconds, 3) for part, seconds in self.parts.items()}
        write_json(self._record, {
            "budget": self.budget, "key": self._key, "finished": finished,
            "seconds": round(sum(parts.values()), 3), "spent": parts, **self.facts,
        })  # fmt: skip


def _parts_of(record: Path | None, key: str) -> dict[str, float]:
    """What an unfinished run of the same settings has spent; nothing without a whole record."""
    if record is None or not record.is_file():
        return {}
    try:
        content = read_json_bounded(record)
        if content["key"] != key or content["finished"]:
            return {}
        return {str(part): float(seconds) for part, seconds in content["spent"].items()}
    except (ArtifactError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return {}
