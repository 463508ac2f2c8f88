"""How a node's margin becomes a score, and how that joins the score of its parent.

All scores live in the log domain, where joining is addition: score(child) = score(parent) + log
f(margin).
"""

from enum import Enum
from typing import Any

import numpy as np

from xrt.jit import njit


class PathTransform(str, Enum):
    """f(margin): the chance-like score of a node, given that its parent is right."""

    l3_hinge = (
        "l3_hinge"  # exp(-max(0, 1 - margin)^3), the habit of PECOS for squared-hinge rankers
    )
    l2_hinge = "l2_hinge"  # exp(-max(0, 1 - margin)^2)
    sigmoid = "sigmoid"  # 1 / (1 + exp(-margin)), for logistic rankers and matcher heads


TRANSFORM_CODES = {PathTransform.l3_hinge: 3, PathTransform.l2_hinge: 2, PathTransform.sigmoid: 0}


@njit(nogil=True, cache=True, inline="always")
def log_score(margin: np.float32, code: int) -> Any:
    """Log f(margin) for a transform given by its code (see TRANSFORM_CODES)."""
    if code == 0:
        if margin > 0:
            return -np.log1p(np.exp(-margin))
        return margin - np.log1p(np.exp(margin))
    slack = 1.0 - margin
    if slack <= 0.0:
        return 0.0 * margin
    if code == 2:
        return -slack * slack
    return -slack * slack * slack


@njit(nogil=True, cache=True)
def _log_scores(margins: np.ndarray, code: int) -> np.ndarray:
    scores = np.empty(len(margins), np.float32)
    for i in range(len(margins)):
        scores[i] = log_score(margins[i], code)
    return scores


def log_scores(margins: np.ndarray, transform: PathTransform) -> np.ndarray:
    """Log f(margin) elementwise; float32 of the same shape, never above 0."""
    flat = np.ascontiguousarray(margins, np.float32).ravel()
    logs: np.ndarray = _log_scores(flat, TRANSFORM_CODES[transform]).reshape(np.shape(margins))
    return logs
