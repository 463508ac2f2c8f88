"""Room for values that training has not seen.

A row may only be held out of training if all its labels have another row, so held-out rows never
show a value that is new. How many rows of a new file will: as large a share as values seen once
have of the training rows (Good and Turing's estimate). The joint model's choice "none of the
candidates" is raised until its mean probability over the held-out rows grows by that share.
"""

from dataclasses import replace

import numpy as np

from xrt.applications.attributes.candidates import CandidateFinder, Candidates
from xrt.applications.attributes.joint import Allowed, posterior
from xrt.applications.attributes.weights import JointWeights

ROUNDS = 20
REACH = 12.0
"""The highest worth that is added."""


def unseen_shares(finder: CandidateFinder, given_NA: np.ndarray) -> tuple[float, np.ndarray]:
    """The share of rows whose path, and whose value of each attribute outside of the hierarchy, is
    expected to be new: a float, and float64 (B,).
    """
    taxonomy = finder.taxonomy
    told = max(1, int(taxonomy.counts_P.sum()))
    path = float((taxonomy.counts_P == 1).sum() / told) if taxonomy.depth else 0.0
    values = []
    for attribute in finder.free:
        columns = given_NA[given_NA[:, attribute] >= 0, attribute]
        once = int((np.bincount(columns) == 1).sum()) if len(columns) else 0
        values.append(once / max(1, len(columns)))
    return path, np.array(values, np.float64)


def with_room(
    weights: JointWeights, candidates: Candidates, path_share: float, shares_B: np.ndarray
) -> JointWeights:
    """The weights with the choices "none of the candidates" raised by these shares."""
    every = Allowed.every(candidates)

    def means(tried: JointWeights) -> np.ndarray:
        found = posterior(candidates, tried, every)
        values = [
            found.pair_probabilities(b)[:, :, -1].sum(axis=1).mean() for b in range(len(shares_B))
        ]
        return np.array([found.path_probabilities[:, -1].mean(), *values])

    shares = np.array([path_share, *shares_B])
    before = means(weights)
    target = before + (1 - before) * shares
    low, high = np.zeros(len(shares)), np.full(len(shares), REACH)
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        short = means(_raised(weights, middle)) < target
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    added = np.where(shares > 0, (low + high) / 2, 0.0)
    return _raised(weights, added)


def _raised(weights: JointWeights, added: np.ndarray) -> JointWeights:
    free_B4 = weights.free_B4.copy()
    free_B4[:, 3] += added[1:]
    return replace(weights, other_path=weights.other_path + float(added[0]), free_B4=free_B4)
