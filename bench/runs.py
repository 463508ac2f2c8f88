"""Rounds of systems, each run in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
THREAD_SETTINGS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS",
    "NUMBA_NUM_THREADS", "XRT_NUM_THREADS",
)  # fmt: skip
LOG_CHARACTERS = 4000
"""What is shown of the end of a failed run's log."""


def rounds(systems: Sequence[str], repeats: int) -> Iterator[tuple[int, str]]:
    """Number of the round, from 1, and system; the order turns round from round to round."""
    for number in range(1, repeats + 1):
        for system in systems if number % 2 else systems[::-1]:
            yield number, system


def run_child(
    python: str, module: str, arguments: Sequence[str], out: Path, threads: int, timeout: float
) -> dict[str, Any]:
    """Run a module of this package in an interpreter.

    Args:
        python: The interpreter.
        module: A module's name, such as `bench.peers.omikuji`.
        arguments: Its arguments.
        out: An existing folder that gets `log`, and `figures.json` from the module.
        threads: How many every library may use.
        timeout: Seconds that the run may take.

    Returns:
        What is in figures.json, or `error` alone: one sentence on what went wrong.
    """
    environment = {**os.environ, **dict.fromkeys(THREAD_SETTINGS, str(threads))}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["PYTHONPATH"] = str(ROOT)
    log = out / "log"
    try:
        with log.open("wb") as file:
            process = subprocess.run(
                [python, "-m", module, *arguments], env=environment, stdout=file, stderr=file,
                timeout=timeout,
            )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {timeout:g} s"}
    except OSError as err:
        return {"error": f"{python}: {err.strerror}"}
    if process.returncode != 0:
        print(log.read_text(errors="replace")[-LOG_CHARACTERS:], file=sys.stderr)
        return {"error": status_message(process.returncode)}
    figures: dict[str, Any] = json.loads((out / "figures.json").read_text())
    return figures


def status_message(returncode: int) -> str:
    """What an exit status other than 0 means."""
    if returncode == -9:
        return "killed (signal 9), most likely for want of memory"
    if returncode < 0:
        return f"ended by signal {-returncode}"
    return f"exit status {returncode}; its last messages went to stderr"
