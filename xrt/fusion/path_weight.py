"""Chooses how much the path above a label counts beside the label's own margin.

A path weight of 1 multiplies all scores along the path alike; below 1, ranks lean on the label's
own ranker, which was trained on closer rivals than the clusters above were.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import scipy.sparse as sp

from xrt.fusion.judging import judge_step
from xrt.fusion.weights import quality
from xrt.hybrid import HybridMatrix
from xrt.metrics.judgement import Judgement
from xrt.search.beam import SearchParams
from xrt.sources.trees import TreeEnsemble

PATH_WEIGHTS = (0.5, 0.35, 0.7, 0.25, 1.0, 0.0, 2.0)
"""What is tried, the likeliest first: among equals the earlier one wins."""
PLAIN_PATH_WEIGHT = 1.0
"""The product of all scores along the path, which another weight has to be better than."""


@dataclass(frozen=True)
class ChosenPathWeight:
    """The path weight that ships, P@1 and nDCG@10 of each that was tried on held-out rows, and the
    best of them beside the plain one.
    """

    path_weight: float
    figures: dict[float, dict[str, float]]
    judgement: Judgement | None = None


def choose_path_weight(
    trial: TreeEnsemble,
    X: HybridMatrix,
    Y_true: sp.csr_array,
    params: SearchParams,
    num_threads: int | None = None,
    weights: Sequence[float] = PATH_WEIGHTS,
) -> ChosenPathWeight:
    """The path weight with the best mean of P@1 and nDCG@10 on rows X (N, F) with labels (N, L),
    where it is better than the plain one by a standard error; else the plain one. The rows' weights
    count.

    `trial` must not have been trained on these rows.

    Args:
        trial: trees that were not trained on these rows.
        X: held-out rows, N rows of F columns.
        Y_true: the labels of the rows, csr_array (N, L).
        params: how the tree is searched; its path weight is not used.
        num_threads: threads; None for the default.
        weights: the path weights to try; among equals the earlier one wins.

    Returns:
        The path weight, figures of each, and the judgement; None where the plain one is not tried,
        or the best.
    """
    figures, scores = {}, {}
    for weight in weights:
        tried = replace(params, path_weight=weight)
        scores[weight] = trial.search(X, 10, tried, num_threads)
        figures[weight] = quality(Y_true, scores[weight], X.weights_N)
    best = max(weights, key=lambda weight: sum(figures[weight].values()))
    if best == PLAIN_PATH_WEIGHT or PLAIN_PATH_WEIGHT not in scores:
        return ChosenPathWeight(best, figures)
    judgement = judge_step(
        f"path weight {best:g}", f"path weight {PLAIN_PATH_WEIGHT:g}", Y_true, scores[best],
        scores[PLAIN_PATH_WEIGHT], X.weights_N,
    )  # fmt: skip
    chosen = best if judgement.ships else PLAIN_PATH_WEIGHT
    return ChosenPathWeight(chosen, figures, judgement)
