"""What a score says of a value, in two numbers."""

import numpy as np

LOWEST = 1e-4
"""Scores are held this far from 0 and 1."""


def compute_evidence(scores_E: np.ndarray) -> np.ndarray:
    """Log p and -log(1 - p) of scores: float32 (E, 2)."""
    p_E = np.clip(scores_E.astype(np.float64), LOWEST, 1 - LOWEST)
    return np.column_stack([np.log(p_E), -np.log1p(-p_E)]).astype(np.float32)
