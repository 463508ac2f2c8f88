"""How many processors this process may use, and how libraries are kept to that number.

Three things limit it: the processors that the machine has, those that the process may run on
(affinity), and the CPU quota of its control groups: a container with `--cpus 1.5` sees all
processors of the machine and gets the time of one and a half. Libraries know the first two.

A quota stands in `cpu.max` (version 2 of control groups) or in `cpu.cfs_quota_us` and
`cpu.cfs_period_us` (version 1). Groups lie in one another, and the smallest quota from the group of
the process up to the root counts.
"""

import os
import re
from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath
from typing import NamedTuple

SPIN_COUNT = 3000
"""Rounds in which an OpenMP thread waits for its next piece of work before it sleeps: about 0.1 ms.
The library's own number, a hundred times as much, makes two processes on the same processors
take each other's time; with none at all, each piece of work of a lone process waits for a thread to
wake up (bench/records/2026-12-01-serving.md)."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


def num_processors() -> int:
    """Processors that this process may use: affinity and quota respected.

    Returns:
        At least 1; part of a processor counts as one.
    """
    quota = cpu_quota()
    return _num_reachable() if quota is None else max(1, min(_num_reachable(), ceil(quota)))


def _num_reachable() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The CPU time that the control groups of this process leave it.

    Args:
        root: the folder under which `proc` and the mounted groups are read.

    Returns:
        Seconds of CPU time a second; None where there is no limit.
    """
    quotas = [
        quota
        for folder, top in _group_folders(root)
        for group in (folder, *folder.parents)
        if group.is_relative_to(top) and (quota := _quota_of(group)) is not None
    ]
    return min(quotas, default=None)


class _Mount(NamedTuple):
    """A mounted hierarchy of groups: the group that it shows as its root, and where."""

    version: int
    root: PurePosixPath
    place: Path


def _group_folders(root: Path) -> Iterator[tuple[Path, Path]]:
    """The folder of this process's group and the folder where its hierarchy is mounted, for each
    hierarchy that can hold a quota.
    """
    mounts = list(_mounts(root))
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "cpu" in controllers.split(","):
            version = 1
        elif number == "0" and not controllers:
            version = 2
        else:
            continue
        group = PurePosixPath(path.removesuffix(" (deleted)"))
        for mount in mounts:
            if mount.version == version:
                inside = group.is_relative_to(mount.root) and ".." not in group.parts
                # a group outside of what is mounted: the mounted root is the process's container
                way = group.relative_to(mount.root) if inside else PurePosixPath()
                yield mount.place / way, mount.place


def _mounts(root: Path) -> Iterator[_Mount]:
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, kind = line.partition(" - ")
        fields, described = mount.split(" "), kind.split(" ")
        version = {"cgroup": 1, "cgroup2": 2}.get(described[0])
        if version is None or (version == 1 and "cpu" not in described[-1].split(",")):
            continue
        place = root / _unescaped(fields[4]).lstrip("/")
        yield _Mount(version, PurePosixPath(_unescaped(fields[3])), place)


def _unescaped(path: str) -> str:
    """A path of mountinfo, in which spaces and the like are octal numbers."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), path)


def _quota_of(group: Path) -> float | None:
    """The quota that a group sets itself, of either version."""
    limits = " ".join(_lines(group / "cpu.max")).split() or [
        *_lines(group / "cpu.cfs_quota_us"),
        *_lines(group / "cpu.cfs_period_us"),
    ]
    try:
        quota, period = (int(limit) for limit in limits)
    except ValueError:  # none, "max", or not both
        return None
    return quota / period if quota > 0 and period > 0 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1]
    except OSError:
        return []


def share_processors(num_threads: int) -> None:
    """Keep the libraries of this process, and of those it starts, from taking more processors than
    they may, and from spinning on those that others need. What the user has set stays.

    Reads and writes environment variables, which libraries look at when they are loaded: to be
    called before.

    Args:
        num_threads: threads of this process, as `xrt.threads.default_num_threads` gives them.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
    if num_threads < _num_reachable():  # torch, FAISS, BLAS; the tables of polars
        os.environ.setdefault("OMP_NUM_THREADS", str(num_threads))
        os.environ.setdefault("POLARS_MAX_THREADS", str(num_threads))
