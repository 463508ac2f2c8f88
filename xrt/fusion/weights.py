"""Fuses the scores of several models of the same labels into one.

N rows, L labels, S sources, P candidates. Each source gives a score in [0, 1] for every candidate;
where scores are not complete, what a source has no entry for counts 0. The fused score is the
weighted mean, again in [0, 1]. The weights are chosen on validation rows that no source was trained
on, and a single source wins where no fusion is better.
"""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.fusion.candidates import Candidates
from xrt.metrics.ranking import judge, ndcg_at, precision_at
from xrt.sparse import top_k_rows

GRID_STEPS = 10


def fuse(sources: Mapping[str, sp.csr_array], weights: Mapping[str, float], k: int) -> sp.csr_array:
    """The `k` best labels of each row by weighted mean of the sources' scores: (N, L), in [0, 1].

    What no weighted source names is no candidate. A source that has all the weight ranks what it
    names by the scores that it gave itself.

    Args:
        sources: scores of each source by its name, csr_array (N, L).
        weights: weight of each source; those of 0 are not needed among the sources.
        k: most labels of a row.

    Returns:
        The fused scores, csr_array.

    Raises:
        DataError: a weighted source is missing, or no weight is above 0.
    """
    used = _shares(sources, weights)
    if len(used) > 1:
        return top_k_rows(weighted_mean(Candidates.of(sources, used), weights), k)
    (name,) = used
    own = sources.own if isinstance(sources, Candidates) else sources
    return top_k_rows(own[name], k)


def weighted_mean(candidates: Candidates, weights: Mapping[str, float]) -> sp.csr_array:
    """The weighted mean of the sources' scores of every candidate: (N, L), in [0, 1].

    Args:
        candidates: scores of the sources.
        weights: weight of each source; those of 0 are not needed among the sources.

    Returns:
        The fused scores, an entry for each candidate.

    Raises:
        DataError: a weighted source is missing, or no weight is above 0.
    """
    mean_P = np.zeros(candidates.scores_SP.shape[1], np.float32)
    for name, share in _shares(candidates, weights).items():
        mean_P += candidates.scores_of(name) * np.float32(share)
    return candidates.with_values(np.minimum(mean_P, 1))  # shares may sum to a little more


def _shares(sources: Collection[str], weights: Mapping[str, float]) -> dict[str, float]:
    """The weights above 0, brought to a sum of 1."""
    missing = [name for name, weight in weights.items() if weight and name not in sources]
    if missing:
        raise DataError(f"fusion needs the scores of {', '.join(missing)}, which are not there")
    total = sum(weight for weight in weights.values() if weight > 0)
    if not total:
        raise DataError("fusion has no source with a weight above 0")
    return {name: weight / total for name, weight in weights.items() if weight > 0}


@dataclass(frozen=True)
class WeightsFit:
    """Chosen weights, and the criterion's figures on the validation rows.

    `figures` holds P@1 and nDCG@10 of the fusion, `alone` those of each source by itself.
    """

    weights: dict[str, float]
    figures: dict[str, float]
    alone: dict[str, dict[str, float]]


def fit_weights(
    sources: Mapping[str, sp.csr_array], Y_true: sp.csr_array, weights_N: np.ndarray | None = None
) -> WeightsFit:
    """Weights, in tenths that sum to 1, of the best fusion on validation rows.

    Best is the mean of P@1 and nDCG@10, so that neither the first place nor the list is given up;
    among equals the fusion with fewer sources wins. The search starts from the best single source
    and moves a tenth or a few from one source to another as long as that helps. Rows may have
    weights.

    Args:
        sources: scores of each source by its name, csr_array (N, L).
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.
        weights_N: how much each row counts, (N,); None counts all alike.

    Returns:
        The weights, their figures, and the figures of each source alone.
    """
    sources = Candidates.of(sources)
    alone = {name: _figures({name: 1.0}, sources, Y_true, weights_N) for name in sources}
    best = max(alone, key=lambda name: _value(alone[name]))
    tenths = {name: GRID_STEPS * (name == best) for name in sources}
    figures = alone[best]
    improved = True
    while improved:
        improved = False
        for giver, taker, share in itertools.product(sources, sources, (1, 2, 3)):
            if giver == taker or tenths[giver] < share:
                continue
            moved = {**tenths, giver: tenths[giver] - share, taker: tenths[taker] + share}
            moved_figures = _figures(moved, sources, Y_true, weights_N)
            if _value(moved_figures) > _value(figures) + 1e-6:
                tenths, figures, improved = moved, moved_figures, True
    weights = {name: part / GRID_STEPS for name, part in tenths.items()}
    return WeightsFit(weights, figures, alone)


def _figures(
    weights: Mapping[str, float],
    sources: Mapping[str, sp.csr_array],
    Y_true: sp.csr_array,
    weights_N: np.ndarray | None,
) -> dict[str, float]:
    return quality(Y_true, fuse(sources, weights, 10), weights_N)


def quality(
    Y_true: sp.csr_array, scores_NL: sp.csr_array, weights_N: np.ndarray | None = None
) -> dict[str, float]:
    """P@1 and nDCG@10 of a ranking: what weights are chosen by.

    Args:
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.
        scores_NL: scores, csr_array (N, L).
        weights_N: how much each row counts, (N,); None counts all alike.

    Returns:
        `{"P@1": ..., "nDCG@10": ...}`, from 0 to 1.
    """
    judged = judge(Y_true, scores_NL, 10, weights_N)
    precision_K, ndcg_K = precision_at(judged), ndcg_at(judged)
    return {"P@1": float(precision_K[0]), "nDCG@10": float(ndcg_K[9])}


def _value(figures: Mapping[str, float]) -> float:
    return (figures["P@1"] + figures["nDCG@10"]) / 2
