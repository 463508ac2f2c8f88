"""What a run and each of its stages take: seconds, memory, disk."""

from dataclasses import asdict, dataclass, replace
from typing import Any

UNCERTAINTY = 2.0
"""Estimates are right within about this factor."""


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """One stage; seconds are None where nothing was measured."""

    name: str
    seconds: float | None = None
    memory: int
    """Bytes at its height, the corpus and libraries not counted."""
    disk: int
    """Bytes it leaves in the run folder."""

    def taking(self, seconds: float) -> "StageCost":
        """The stage with a measured time.

        Args:
            seconds: the time.

        Returns:
            A new cost.
        """
        return replace(self, seconds=seconds)


@dataclass(frozen=True)
class Estimate:
    """The stages of a run, and what all of them need."""

    stages: tuple[StageCost, ...]
    held: int
    """Bytes held all the time: libraries, texts, rows, labels."""

    @property
    def seconds(self) -> float | None:
        """All stages together; None where one was not measured."""
        times = [stage.seconds for stage in self.stages]
        return None if None in times else float(sum(t for t in times if t is not None))

    @property
    def memory(self) -> int:
        """Bytes at the height of the run: stages come one after the other."""
        return self.held + max(stage.memory for stage in self.stages)

    @property
    def disk(self) -> int:
        """Bytes of the run folder, with a copy of the model where disks cannot link files."""
        return sum(stage.disk for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        Returns:
            The stages and the totals: seconds (None where not measured), bytes of memory and disk.
        """
        totals = {"seconds": self.seconds, "memory": self.memory, "disk": self.disk}
        return {"stages": [asdict(stage) for stage in self.stages], **totals}

    def to_text(self) -> str:
        """A table, and how far to trust it.

        Returns:
            Several lines, without a line end behind the last.
        """
        lines = [f"{'stage':<28}{'time':>10}{'memory':>10}{'disk':>10}"]
        for stage in self.stages:
            row = (show_seconds(stage.seconds), show_bytes(stage.memory), show_bytes(stage.disk))
            lines.append(f"{stage.name:<28}{row[0]:>10}{row[1]:>10}{row[2]:>10}")
        row = (show_seconds(self.seconds), show_bytes(self.memory), show_bytes(self.disk))
        lines.append(f"{'all':<28}{row[0]:>10}{row[1]:>10}{row[2]:>10}")
        lines.append(
            f"Right within a factor of about {UNCERTAINTY:g}. Memory of all counts texts, rows and "
            "libraries too."
        )
        return "\n".join(lines)


def show_bytes(count: int) -> str:
    """A size for people: 1.5 GB, 20 MB.

    Args:
        count: bytes.

    Returns:
        MB or GB of powers of ten; at least 1 MB.
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def show_seconds(seconds: float | None) -> str:
    """A duration for people: 8 s, 12 min, 1.5 h.

    Args:
        seconds: the duration; None where it is not known.

    Returns:
        The duration with its unit; "?" where it is not known.
    """
    if seconds is None:
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "<1 s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
