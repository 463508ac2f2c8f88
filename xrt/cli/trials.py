"""A trial of `xrt sweep`: a plain `xrt train` in a process and a folder of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from xrt.errors import XrtError
from xrt.pipeline.outcome import OUTCOME
from xrt.storage.reading import read_json_bounded
from xrt.storage.stages import run_lock

TRAIN = (sys.executable, "-m", "xrt", "train")
"""The command of a trial, in front of its settings."""
VALIDATIONS = "validations.jsonl"


class Trial:
    """A training that runs, or waits for one of a sweep that was killed to leave its folder."""

    def __init__(self, number: int, folder: Path, words: Sequence[str], threads: int) -> None:
        self.number = number
        self.folder = folder
        self.log = folder.with_suffix(".log")
        self.command = [*TRAIN, *words, f"paths.run={folder}"]
        self.threads = threads
        self.pruned = False
        self._process: subprocess.Popen[bytes] | None = None

    def poll(self) -> int | None:
        """Start the training where its folder is free, and see whether it has ended.

        Returns:
            Its exit code; None while it runs.
        """
        if self._process is None and self._is_free():
            self._start()
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """Ask the training to end; what it has done stays."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> None:
        """Wait for the end, and kill what does not end.

        Args:
            seconds: to wait at the most.
        """
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def prune(self) -> None:
        """Stop a training that is not worth its time, and drop what it would go on with."""
        self.pruned = True
        self.stop()

    def drop_scratch(self) -> None:
        """Delete what only a longer training would have needed."""
        shutil.rmtree(self.folder / "scratch", ignore_errors=True)

    def objective(self) -> float | None:
        """The criterion on held-out rows.

        Returns:
            A number from 0 to 1; None where the run has none.
        """
        path = self.folder / OUTCOME
        figure = read_json_bounded(path).get("held_out") if path.is_file() else None
        return None if figure is None else float(figure["value"])

    def validations(self) -> list[float]:
        """Figures of the matcher's validations so far.

        Returns:
            As `validations_of`.
        """
        return validations_of(self.folder)

    def fault(self) -> str:
        """Why it failed.

        Returns:
            The last line that the training has written.
        """
        text = self.log.read_text(errors="replace") if self.log.is_file() else ""
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1].removeprefix("xrt: ") if lines else "it wrote nothing"

    def _is_free(self) -> bool:
        try:
            with run_lock(self.folder):
                return True
        except XrtError:
            return False

    def _start(self) -> None:
        threads = {
            name: os.environ.get(name, str(self.threads))
            for name in ("XRT_NUM_THREADS", "OMP_NUM_THREADS")
        }
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **threads}, start_new_session=True,
            )  # fmt: skip


def validations_of(folder: Path) -> list[float]:
    """nDCG@5 of the finest level of the matcher, of each validation of a trial so far.

    Args:
        folder: folder of the trial.

    Returns:
        In order; a line that is not whole yet is left out.
    """
    path = folder / VALIDATIONS
    figures: dict[int, float] = {}  # a resumed training repeats steps
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        finest = max(name for name in told if name.endswith("/ndcg_at_5"))
        figures[told["step"]] = told[finest]
    return [figures[step] for step in sorted(figures)]


def is_hopeless(own: Sequence[float], others: Sequence[Sequence[float]], least: int = 4) -> bool:
    """Whether the best validation of a trial so far is below the median of other trials' by then.

    Args:
        own: figures of the trial's validations.
        others: those of trials that ran to their end.
        least: trials to compare with, before any is stopped.

    Returns:
        False after the first validation, and where there are too few others.
    """
    count = len(own)
    best = sorted(max(other[:count]) for other in others if len(other) > count)
    if count < 2 or len(best) < least:
        return False
    return max(own) < best[len(best) // 2]
