"""Keeps what was tried while settings are chosen, so that a run that was stopped goes on there."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xrt.errors import ArtifactError
from xrt.pipeline.choosing.trial import FIGURES, Trial
from xrt.storage.atomic import save_array, write_json
from xrt.storage.hashing import content_hash
from xrt.storage.reading import load_array, read_json_bounded


class TrialMemory:
    """Tries by rows and settings, in a folder that survives a kill; without one in nothing."""

    def __init__(self, folder: Path | None) -> None:
        """Nothing is read yet.

        Args:
            folder: where tries are kept; None keeps none.
        """
        self.folder = folder

    def find(self, num_rows: int, values: Mapping[str, Any]) -> Trial | None:
        """A try that was kept.

        Args:
            num_rows: rows that were trained on.
            values: settings by full name.

        Returns:
            The try; None where it was not kept, or only in part.
        """
        place = self._place(num_rows, values)
        if place is None:
            return None
        with contextlib.suppress(ArtifactError, OSError, TypeError):
            numbers = read_json_bounded(place.with_suffix(".json"))
            figures_ME = load_array(place.with_suffix(".npy"), np.float64, 2)
            if figures_ME.shape[1] == len(FIGURES):
                return Trial(
                    np.array(figures_ME), float(numbers["work"]), float(numbers["seconds"])
                )
        return None

    def keep(self, num_rows: int, values: Mapping[str, Any], trial: Trial) -> None:
        """Keep a try.

        Args:
            num_rows: rows that were trained on.
            values: settings by full name.
            trial: what was found.
        """
        place = self._place(num_rows, values)
        if place is not None:
            save_array(place.with_suffix(".npy"), trial.figures_ME)
            write_json(
                place.with_suffix(".json"), {"work": trial.work, "seconds": trial.seconds}
            )  # written last: without it the try is not there

    def _place(self, num_rows: int, values: Mapping[str, Any]) -> Path | None:
        if self.folder is None:
            return None
        name = content_hash([num_rows, dict(sorted(values.items()))])[:16]
        return self.folder / f"tried-{name}"
