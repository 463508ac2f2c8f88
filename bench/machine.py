"""What figures depend on besides the systems: machine, commit, command."""

import argparse
import os
import platform
import shlex
import subprocess
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Processor, memory and Python."""
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "python": platform.python_version(),
    }


def processor() -> str:
    """The processor's name as Linux tells it, or else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def commit() -> str:
    """The commit these scripts are at, with a plus where files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    head = run([*git, "rev-parse", "--short", "HEAD"])
    changed = run([*git, "status", "--porcelain", "--untracked-files=no"])
    return (head or "unknown") + ("+" if changed else "")


def run(command: list[str]) -> str:
    """What a command prints, nothing where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def shown_command(args: argparse.Namespace) -> str:
    """The command line that does it again, with names in the place of this machine's paths."""
    words = ["python", "-m", "bench", "linear"]
    if args.peer_python:
        words += ["--peer-python", "PEERS/bin/python"]
    if args.napkinxc_python:
        words += ["--napkinxc-python", "NAPKIN/bin/python"]
    words += ["--data", "DATA"] if needs_data(args.rows) else []
    words += ["--embeddings", args.embeddings.name] if args.embeddings else []
    words += ["--rows", *args.rows, "--systems", *args.systems]
    for name in ("repeats", "threads", "seed", "max_train_rows", "max_test_rows"):
        value = getattr(args, name)
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def needs_data(rows: list[str]) -> bool:
    """Whether any row set is made of files."""
    return any(not name.startswith("synthetic-") for name in rows)
