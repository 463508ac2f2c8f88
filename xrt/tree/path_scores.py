"""How a node's margin becomes a score, and how that joins the score of its parent.

All scores live in the log domain, where joining is addition: score(child) = score(parent) + log
f(margin), with f(margin) = exp(-max(0, 1 - margin)^3), the habit of PECOS for squared-hinge
rankers. The logits of a matcher's head become probabilities by the sigmoid.
"""

from typing import Any

import numpy as np

from xrt.jit import njit


@njit(nogil=True, cache=True, inline="always")
def log_score(margin: np.float32) -> Any:
    """Log f(margin).

    Args:
        margin: the margin, a number.

    Returns:
        The log score, at most 0, in the type of the margin.
    """
    slack = 1.0 - margin
    if slack <= 0.0:
        return 0.0 * margin
    return -slack * slack * slack


@njit(nogil=True, cache=True)
def _log_scores(margins: np.ndarray) -> np.ndarray:
    scores = np.empty(len(margins), np.float32)
    for i in range(len(margins)):
        scores[i] = log_score(margins[i])
    return scores


@njit(nogil=True, cache=True)
def _log_sigmoids(logits: np.ndarray) -> np.ndarray:
    scores = np.empty(len(logits), np.float32)
    for i in range(len(logits)):
        if logits[i] > 0:
            scores[i] = -np.log1p(np.exp(-logits[i]))
        else:
            scores[i] = logits[i] - np.log1p(np.exp(logits[i]))
    return scores


def log_scores(margins: np.ndarray) -> np.ndarray:
    """Log f(margin) elementwise.

    Args:
        margins: of any shape.

    Returns:
        float32 of the same shape, never above 0.
    """
    flat = np.ascontiguousarray(margins, np.float32).ravel()
    scores: np.ndarray = _log_scores(flat).reshape(np.shape(margins))
    return scores


def log_sigmoids(logits: np.ndarray) -> np.ndarray:
    """Log 1 / (1 + exp(-logit)) elementwise.

    Args:
        logits: of any shape.

    Returns:
        float32 of the same shape, never above 0.
    """
    flat = np.ascontiguousarray(logits, np.float32).ravel()
    scores: np.ndarray = _log_sigmoids(flat).reshape(np.shape(logits))
    return scores
