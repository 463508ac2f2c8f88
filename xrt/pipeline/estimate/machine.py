"""What this machine has left: memory and disk."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Files of a container's memory limit and use: cgroup 2, cgroup 1."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Bytes that a run may use."""

    memory: int | None
    """None where the system does not tell."""
    disk: int

    @classmethod
    def here(cls, folder: Path) -> "Machine":
        """Of this process, and of the disk that holds the folder or will.

        Args:
            folder: the folder; it need not be there yet.

        Returns:
            Bytes of memory and disk that are free.
        """
        home = folder.absolute()
        while not home.exists():
            home = home.parent
        return cls(memory=available_memory(), disk=shutil.disk_usage(home).free)


def available_memory(root: Path = Path("/")) -> int | None:
    """Memory that can be had without swapping, a container's limit respected.

    Args:
        root: where the system's files lie; another folder in tests.

    Returns:
        Bytes; None where the system is not Linux or does not tell.
    """
    if sys.platform != "linux":
        return None
    found = []
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    for limit_name, use_name in _LIMITS:
        limit = _lines(root / limit_name.lstrip("/"))
        use = _lines(root / use_name.lstrip("/"))
        if limit and use and limit[0].isdigit() and use[0].isdigit():
            found.append(max(0, int(limit[0]) - int(use[0])))
    return min(found, default=None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split("\n")
    except OSError:
        return []
