"""Fuses the scores of several models of the same labels into one.

N rows, L labels, S sources. Each source gives a sparse matrix of scores in [0, 1] for the labels it
found; what it did not find counts 0 there. The fused score is the weighted mean, again in [0, 1].
The weights are chosen on validation rows that no source was trained on, and a single source wins
where no fusion is better.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.metrics.ranking import judge, ndcg_at, precision_at
from xrt.sparse import as_csr, top_k_rows

GRID_STEPS = 10


def fuse(sources: Mapping[str, sp.csr_array], weights: Mapping[str, float], k: int) -> sp.csr_array:
    """The `k` best labels of each row by weighted mean of the sources' scores: (N, L), in [0, 1].

    Args:
        sources: scores of each source by its name, csr_array (N, L).
        weights: weight of each source; those of 0 are not needed among the sources.
        k: most labels of a row.

    Returns:
        The fused scores, csr_array.

    Raises:
        DataError: a weighted source is missing, or no weight is above 0.
    """
    missing = [name for name, weight in weights.items() if weight and name not in sources]
    if missing:
        raise DataError(f"fusion needs the scores of {', '.join(missing)}, which are not there")
    used = [(name, weight) for name, weight in weights.items() if weight > 0]
    total = sum(weight for _, weight in used)
    fused = None
    for name, weight in used:
        part = sources[name] * np.float32(weight / total)
        fused = part if fused is None else fused + part
    if fused is None:
        raise DataError("fusion has no source with a weight above 0")
    fused.data = np.minimum(fused.data, 1)  # rounded weights may sum to a little more
    return top_k_rows(as_csr(fused, "fused scores"), k)


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
