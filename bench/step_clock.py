"""When each step of a matcher's training ended."""

import time


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
