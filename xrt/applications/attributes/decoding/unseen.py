"""Room for values that training has not seen.

A row may only be held out of training if all its labels have another row, so held-out rows never
show a value that is new (a path they may). How many rows of a new file will: as large a share as
values seen once have of the training rows (Good and Turing's estimate). The joint model's choice
"none of the candidates" is raised until its mean probability over the held-out rows grows by that
share.
"""

from dataclasses import replace

import numpy as np

from xrt.applications.attributes.decoding.candidates import CandidateFinder, RowCandidates
from xrt.applications.attributes.decoding.joint import AllowedChoices, compute_posterior
from xrt.applications.attributes.decoding.weights import JointWeights

ROUNDS = 20
REACH = 12.0
"""The highest worth that is added."""


def estimate_unseen_shares(finder: CandidateFinder, cells_NA: np.ndarray) -> np.ndarray:
    """The share of rows whose value of each attribute outside of the hierarchy is expected to be
    new: float64 (B,).
    """
    shares = []
    for attribute in finder.free:
        columns = cells_NA[cells_NA[:, attribute] >= 0, attribute]
        once = int((np.bincount(columns) == 1).sum()) if len(columns) else 0
        shares.append(once / max(1, len(columns)))
    return np.array(shares, np.float64)


def add_room(
    weights: JointWeights, candidates: RowCandidates, shares_B: np.ndarray
) -> JointWeights:
    """The weights with the choice "none of the candidates" of each attribute raised by its
    share.
    """
    every = AllowedChoices.every(candidates)

    def means(raised: JointWeights) -> np.ndarray:
        posterior = compute_posterior(candidates, raised, every)
        others = (posterior.pair_probabilities(b)[:, :, -1] for b in range(len(shares_B)))
        return np.array([other_NM.sum(axis=1).mean() for other_NM in others])

    if not (shares_B > 0).any():
        return weights
    before = means(weights)
    target = before + (1 - before) * shares_B
    low, high = np.zeros(len(shares_B)), np.full(len(shares_B), REACH)
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        short = means(_raise_other(weights, middle)) < target
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return _raise_other(weights, np.where(shares_B > 0, (low + high) / 2, 0.0))


def _raise_other(weights: JointWeights, more_B: np.ndarray) -> JointWeights:
    free_B4 = weights.free_B4.copy()
    free_B4[:, 3] += more_B
    return replace(weights, free_B4=free_B4)
