"""How much each kind of evidence counts in the joint decoding: the parameters of its model.

D levels of the hierarchy, B attributes outside of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

LOWEST = 1e-4
"""Scores are held this far from 0 and 1."""


def compute_evidence(scores_E: np.ndarray) -> np.ndarray:
    """Log p and -log(1 - p) of scores: float32 (E, 2).

    Args:
        scores_E: Scores in [0, 1], (E,); they are held LOWEST away from 0 and 1.

    Returns:
        Both logarithms of each score.
    """
    p_E = np.clip(scores_E.astype(np.float64), LOWEST, 1 - LOWEST)
    return np.column_stack([np.log(p_E), -np.log1p(-p_E)]).astype(np.float32)


LEAST_2 = np.array([compute_evidence(np.array([LOWEST]))[0, 0], 0.0], np.float64)
"""The least that can speak for a label with a score: log p and -log(1 - p)."""
OTHER = -5.0
"""What a value that is none of the candidates is worth before the fit."""
NEVER = -40.0
"""Worth of a path that is no candidate where there is no hierarchy."""


@dataclass(frozen=True, eq=False)
class JointWeights:
    """Weights of a log-linear model over the values of a row.

    `levels_D3`: of log p, of -log(1 - p), and what a label without a score is worth, which is never
    more than the lowest score (a higher number is lowered, in saved weights too). `share`: of the
    path's log share of all rows. `other_path`: worth of a path that is no candidate. `free_B4`, for
    each attribute outside of the hierarchy: of log p, of -log(1 - p), of the log lift under the
    path, and the worth of a value that is no candidate.
    """

    levels_D3: np.ndarray
    share: float
    other_path: float
    free_B4: np.ndarray

    def __post_init__(self) -> None:
        """Lower what labels without a score are worth to the lowest score."""
        levels_D3 = np.array(self.levels_D3, np.float64)
        levels_D3[:, 2] = np.minimum(levels_D3[:, 2], levels_D3[:, :2] @ LEAST_2)
        object.__setattr__(self, "levels_D3", levels_D3)

    @classmethod
    def initial(cls, depth: int, num_free: int) -> Self:
        """The product of the scores, nothing else.

        Args:
            depth: Levels of the hierarchy; 0 for none.
            num_free: Attributes outside of the hierarchy.

        Returns:
            The weights before the fit.
        """
        return cls(
            np.tile([1.0, 0.0, LEAST_2[0]], (depth, 1)),
            0.0,
            OTHER * depth if depth else NEVER,
            np.tile([1.0, 0.0, 0.0, OTHER], (num_free, 1)),
        )

    def to_vector(self) -> np.ndarray:
        """All weights in a row, float64; for a label without a score, what it is worth above the
        lowest score, which is at most 0.

        Returns:
            float64 (3 D + 2 + 4 B,): levels, share, worth of another path, attributes outside of
            the hierarchy.
        """
        levels_D3 = self.levels_D3.copy()
        levels_D3[:, 2] -= levels_D3[:, :2] @ LEAST_2
        ends = [self.share, self.other_path]
        return np.concatenate([levels_D3.ravel(), ends, self.free_B4.ravel()])

    @classmethod
    def from_vector(cls, vector: np.ndarray, depth: int, num_free: int) -> Self:
        """The reverse of `to_vector`.

        Args:
            vector: All weights in a row, (3 D + 2 + 4 B,).
            depth: D.
            num_free: B.

        Returns:
            The weights.
        """
        split = 3 * depth
        levels_D3 = np.array(vector[:split], np.float64).reshape(depth, 3)
        levels_D3[:, 2] += levels_D3[:, :2] @ LEAST_2
        return cls(
            levels_D3,
            float(vector[split]),
            float(vector[split + 1]),
            vector[split + 2 :].reshape(num_free, 4),
        )

    @staticmethod
    def bounds(depth: int, num_free: int) -> list[tuple[float | None, float | None]]:
        """What each number of a vector may be: scores, shares and lifts never speak against a
        value, and a label without a score is never worth more than the lowest score.

        Args:
            depth: D.
            num_free: B.

        Returns:
            The lowest and the highest value of each number, in the order of `to_vector`; None for
            no bound.
        """
        level = [(0.0, None), (0.0, None), (None, 0.0)]
        free = [(0.0, None), (0.0, None), (0.0, None), (None, None)]
        return [*(level * depth), (0.0, None), (None, None), *(free * num_free)]

    def to_dict(self) -> dict[str, Any]:
        """As plain values.

        Returns:
            Lists and numbers under `levels`, `share`, `other_path` and `free`, for JSON.
        """
        return {
            "levels": self.levels_D3.tolist(),
            "share": self.share,
            "other_path": self.other_path,
            "free": self.free_B4.tolist(),
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], depth: int, num_free: int) -> Self:
        """The reverse of `to_dict`.

        Args:
            saved: What `to_dict` returned.
            depth: Levels of the hierarchy.
            num_free: Attributes outside of the hierarchy.

        Returns:
            The weights.

        Raises:
            ValueError: The numbers do not fit the shapes, are not finite, or a weight of scores,
                shares or lifts is below 0.
        """
        levels_D3 = np.array(saved["levels"], np.float64).reshape(depth, 3)
        free_B4 = np.array(saved["free"], np.float64).reshape(num_free, 4)
        share, other_path = float(saved["share"]), float(saved["other_path"])
        speak = np.concatenate([levels_D3[:, :2].ravel(), free_B4[:, :3].ravel(), [share]])
        if not np.isfinite([*levels_D3.ravel(), *free_B4.ravel(), share, other_path]).all():
            raise ValueError("weights are not finite")
        if (speak < 0).any():
            raise ValueError("weights of scores, shares and lifts must not be below 0")
        return cls(levels_D3, share, other_path, free_B4)
