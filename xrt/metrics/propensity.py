"""Propensity-scored metrics: a rare label counts more than a common one.

The propensity model of Jain et al. (KDD 2016, https://doi.org/10.1145/2939672.2939756) gives the
chance that a true label was observed at all, from its frequency N_l among the N TRAINING instances:

    C = (ln N - 1) (B + 1)^A        q_l = 1 / p_l = 1 + C (N_l + B)^-A

A and B depend on the data set and change PSP by points, so reports print them beside PSP.

Shapes: N instances, L labels, K the deepest rank. Metrics return float64 (K,).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import ConfigError, DataError
from xrt.jit import njit
from xrt.metrics.ranking import JudgedRanking, discounts, ideal_dcg


@dataclass(frozen=True, kw_only=True)
class PropensityParams:
    """A and B of the propensity model; Wikipedia sets use 0.5 and 0.4, Amazon sets 0.6 and 2.6."""

    a: float = 0.55
    """The exponent A, above 0."""
    b: float = 1.5
    """The offset B, in training rows, above 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.a < float("inf"):
            raise ConfigError(
                f"propensity.a = {self.a}: a finite number above 0 is needed (usual: 0.55)"
            )
        if not 0 < self.b < float("inf"):
            raise ConfigError(
                f"propensity.b = {self.b}: a finite number above 0 is needed (usual: 1.5)"
            )


class PropensityModel(str, Enum):
    """For which data the constants of the propensity model were measured."""

    default = "default"
    """A = 0.55, B = 1.5: what is used where nobody has measured."""
    wikipedia = "wikipedia"
    """A = 0.5, B = 0.4: Wikipedia sets."""
    amazon = "amazon"
    """A = 0.6, B = 2.6: Amazon sets."""

    @property
    def constants(self) -> PropensityParams:
        """A and B."""
        return _CONSTANTS[self]


_CONSTANTS = {
    PropensityModel.default: PropensityParams(a=0.55, b=1.5),
    PropensityModel.wikipedia: PropensityParams(a=0.5, b=0.4),
    PropensityModel.amazon: PropensityParams(a=0.6, b=2.6),
}


def inverse_propensities(
    train_label_counts: Any, num_train: int, params: PropensityParams | None = None
) -> np.ndarray:
    """q_l of every label, float64 (L,): at least 1, larger for rarer labels.

    `train_label_counts` (L,) is the number of training instances of each label, 0 for a label that
    training never saw; `num_train` is the number of training instances. Below 3 instances the
    model's constant would be negative; all weights are then 1.

    Args:
        train_label_counts: training rows of each label, (L,); 0 for a label that training never
            saw.
        num_train: number of training rows.
        params: A and B; None for the defaults.

    Returns:
        Weights, float64 (L,).

    Raises:
        DataError: a count is negative or exceeds `num_train`.
    """
    params = params or PropensityParams()
    counts_L = np.asarray(train_label_counts, np.float64).ravel()
    if num_train < 1:
        raise DataError(f"num_train = {num_train}: propensities need at least 1 training instance")
    if len(counts_L) and not (counts_L.min() >= 0 and counts_L.max() <= num_train):
        raise DataError(
            f"training counts of labels run from {counts_L.min():g} to {counts_L.max():g}, "
            f"but there are {num_train} training instances; count each instance once"
        )
    constant = max(np.log(num_train) - 1.0, 0.0) * (params.b + 1.0) ** params.a
    weights_L: np.ndarray = 1.0 + constant * (counts_L + params.b) ** -params.a
    return weights_L


def train_counts(Y_train: sp.csr_array) -> np.ndarray:
    """Number of training instances of each label, int64 (L,).

    Args:
        Y_train: labels of the training rows, (N, L).

    Returns:
        Counts, int64 (L,).
    """
    return np.bincount(Y_train.indices[Y_train.data != 0], minlength=Y_train.shape[1])


def psp_at(judged: JudgedRanking, weights_L: np.ndarray) -> np.ndarray:
    """PSP@k as everyone reports it: a ratio of sums over all instances.

    Numerator: weights of the true labels among the first k; denominator: the k heaviest true labels
    of each instance. `weights_L` comes from `inverse_propensities`.

    Args:
        judged: of `judge`.
        weights_L: of `inverse_propensities`, (L,).

    Returns:
        float64 (K,), a fraction of 1.

    Raises:
        DataError: another number of weights than labels.
    """
    gained_K = judged.total(_gains(judged, weights_L)).cumsum()
    possible_K = judged.total(_heaviest_true(judged, weights_L)).cumsum()
    shares_K: np.ndarray = np.divide(
        gained_K, possible_K, out=np.zeros(judged.depth), where=possible_K > 0
    )
    return shares_K


def psp_parts(
    judged: JudgedRanking, weights_L: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """What each row adds to the numerator and to the denominator of PSP@k.

    Args:
        judged: of `judge`, K at least k.
        weights_L: of `inverse_propensities`, (L,).
        k: the cut-off.

    Returns:
        Both float64 (N,).

    Raises:
        DataError: another number of weights than labels.
    """
    gained_N = _gains(judged, weights_L)[:, :k].sum(axis=1)
    possible_N = _heaviest_true(judged, weights_L)[:, :k].sum(axis=1)
    return gained_N, possible_N


def psndcg_at(judged: JudgedRanking, weights_L: np.ndarray) -> np.ndarray:
    """PSnDCG@k in pyxclib's convention.

    Each instance's weighted DCG, and that of its best ranking, is divided by the plain ideal DCG of
    the instance; then the ratio of the two sums over instances is taken.

    Args:
        judged: of `judge`.
        weights_L: of `inverse_propensities`, (L,).

    Returns:
        float64 (K,), a fraction of 1.

    Raises:
        DataError: another number of weights than labels.
    """
    ideal_NK = ideal_dcg(judged)
    share_NK = np.divide(1.0, ideal_NK, out=np.zeros_like(ideal_NK), where=ideal_NK > 0)
    discounts_K = discounts(judged.depth)
    gained_K = judged.total((_gains(judged, weights_L) * discounts_K).cumsum(axis=1) * share_NK)
    best_NK = (_heaviest_true(judged, weights_L) * discounts_K).cumsum(axis=1)
    possible_K = judged.total(best_NK * share_NK)
    shares_K: np.ndarray = np.divide(
        gained_K, possible_K, out=np.zeros(judged.depth), where=possible_K > 0
    )
    return shares_K


def _gains(judged: JudgedRanking, weights_L: np.ndarray) -> np.ndarray:
    """Weight of each correct prediction, 0 elsewhere: float64 (N, K)."""
    _check_length(judged, weights_L)
    return np.where(judged.hits_NK, weights_L[judged.labels_NK], 0.0)


def _heaviest_true(judged: JudgedRanking, weights_L: np.ndarray) -> np.ndarray:
    """The K largest weights among each row's true labels, falling, padded with 0: (N, K)."""
    best_NK = np.zeros(judged.hits_NK.shape)
    _fill_heaviest(judged.truth_NL.indptr, judged.truth_NL.indices, weights_L, best_NK)
    return best_NK


def _check_length(judged: JudgedRanking, weights_L: np.ndarray) -> None:
    """One weight for each label of the truth."""
    if len(weights_L) != judged.truth_NL.shape[1]:
        raise DataError(
            f"{len(weights_L)} propensities for {judged.truth_NL.shape[1]} labels of Y_true; "
            "give labels unseen in training a count of 0"
        )


@njit(nogil=True, cache=True)
def _fill_heaviest(
    indptr: np.ndarray, indices: np.ndarray, weights_L: np.ndarray, best_NK: np.ndarray
) -> None:
    for row in range(len(indptr) - 1):
        descending = -np.sort(-weights_L[indices[indptr[row] : indptr[row + 1]]])
        for rank in range(min(len(descending), best_NK.shape[1])):
            best_NK[row, rank] = descending[rank]
