"""Chooses how much the path above a label counts beside the label's own margin.

A path weight of 1 multiplies all scores along the path alike; below 1, ranks lean on the label's
own ranker, which was trained on closer rivals than the clusters above were.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import scipy.sparse as sp

from xrt.fusion.weights import quality
from xrt.hybrid import HybridMatrix
from xrt.search.beam import SearchParams
from xrt.sources.trees import TreeEnsemble

PATH_WEIGHTS = (0.5, 0.35, 0.7, 0.25, 1.0, 0.0, 2.0)
"""What is tried, the likeliest first: among equals the earlier one wins."""


@dataclass(frozen=True)
class ChosenPathWeight:
    """The best path weight on held-out rows, and P@1 and nDCG@10 of each that was tried."""

    path_weight: float
    figures: dict[float, dict[str, float]]


def choose_path_weight(
    trial: TreeEnsemble,
    X: HybridMatrix,
    Y_true: sp.csr_array,
    params: SearchParams,
    num_threads: int | None = None,
    weights: Sequence[float] = PATH_WEIGHTS,
) -> ChosenPathWeight:
    """The path weight with the best mean of P@1 and nDCG@10 on rows X (N, F) with labels (N, L);
    the rows' weights count.

    `trial` must not have been trained on these rows.

    Args:
        trial: trees that were not trained on these rows.
        X: held-out rows, N rows of F columns.
        Y_true: the labels of the rows, csr_array (N, L).
        params: how the tree is searched; its path weight is not used.
        num_threads: threads; None for the default.
        weights: the path weights to try; among equals the earlier one wins.

    Returns:
        The best path weight, and figures of each.
    """
    figures = {}
    for weight in weights:
        tried = replace(params, path_weight=weight)
        scores_NL = trial.search(X, 10, tried, num_threads)
        figures[weight] = quality(Y_true, scores_NL, X.weights_N)
    best = max(weights, key=lambda weight: sum(figures[weight].values()))
    return ChosenPathWeight(best, figures)
