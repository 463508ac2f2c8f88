"""How often each label was seen in training: what calibration, and the choice between head and
tail, need to know of it.

L labels.
"""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from xrt.errors import ArtifactError, DataError
from xrt.inputs import check_number
from xrt.metrics.propensity import PropensityParams, inverse_propensities
from xrt.storage.atomic import save_array
from xrt.storage.reading import load_array
from xrt.storage.saved_values import SavedValues

MAX_ROWS = 2**53
LEAST_PROPENSITY, MAX_PROPENSITY = 1e-6, 100.0
"""Of a and b in a saved model: far from those in use, and from what overflows."""


@dataclass(frozen=True, eq=False)
class LabelFrequencies:
    """Training rows of each label, int64 (L,), of `num_rows` in all; and the propensity model."""

    counts_L: np.ndarray
    num_rows: int
    propensity: PropensityParams = field(default_factory=PropensityParams)

    @cached_property
    def inverse_propensities_L(self) -> np.ndarray:
        """How much rarer labels count in PSP@k: float64 (L,), at least 1."""
        return inverse_propensities(self.counts_L, self.num_rows, self.propensity)

    def tail_weights(self, tail: float) -> np.ndarray:
        """What scores are multiplied by to favour rare labels: float32 (L,) in (0, 1].

        `tail` = 0 leaves the ranking as it is, 1 ranks by the expected share in PSP@k (score times
        inverse propensity), values between go gradually.

        Args:
            tail: 0 to 1.

        Returns:
            The weights; the largest is 1.

        Raises:
            DataError: `tail` is outside of [0, 1].
        """
        if not 0 <= check_number(tail, "tail") <= 1:
            raise DataError(f"tail = {tail}: 0 (as trained) to 1 (rare labels first) is needed")
        weights_L = self.inverse_propensities_L**tail
        scaled_L: np.ndarray = (weights_L / weights_L.max()).astype(np.float32)
        return scaled_L

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the counts into the folder; gives the settings that `load` asks for.

        Args:
            folder: a folder that exists.

        Returns:
            Plain values for JSON.
        """
        save_array(folder / "label_counts.npy", self.counts_L)
        return {"num_rows": self.num_rows, "propensity": asdict(self.propensity)}

    @classmethod
    def load(cls, settings: Any, folder: Path, num_labels: int) -> Self:
        """Read what `save` wrote.

        Args:
            settings: what `save` gave.
            folder: the folder that `save` wrote to.
            num_labels: L, the labels that counts are needed for.

        Returns:
            The frequencies.

        Raises:
            ArtifactError: it is damaged.
        """
        settings = SavedValues.of(settings, f"{folder}: frequencies")
        counts_L = load_array(folder / "label_counts.npy", np.int64, 1, length=num_labels)
        num_rows, known = settings.whole("num_rows", 1, MAX_ROWS), settings.part("propensity")
        propensity = PropensityParams(
            a=known.number("a", LEAST_PROPENSITY, MAX_PROPENSITY),
            b=known.number("b", LEAST_PROPENSITY, MAX_PROPENSITY),
        )
        low, high = int(counts_L.min(initial=0)), int(counts_L.max(initial=0))
        if low < 0 or high > num_rows:
            raise ArtifactError(
                f"{folder}: label counts {low} to {high} of {num_rows} training rows; train it anew"
            )
        return cls(counts_L, num_rows, propensity)
