"""Beam search down the label tree."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import scipy.sparse as sp

from xrt.errors import ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.linear.scoring import root_beam
from xrt.linear.weights import LevelWeights
from xrt.search.session import SearchSession
from xrt.tree.path_scores import PathTransform


@dataclass(frozen=True, kw_only=True)
class SearchParams:
    """How the tree is searched."""

    beam_size: int = 10
    """Nodes kept at each inner level."""
    transform: PathTransform = PathTransform.l3_hinge
    """f in score = product of f(margin) along the path."""
    path_weight: float | None = 0.5
    """Exponent of the path's score in that of a label; inner nodes are always ranked by the plain
    product. None: to be chosen on held-out rows when the model is trained."""

    def __post_init__(self) -> None:
        if self.beam_size < 1:
            raise ConfigError(f"search.beam_size = {self.beam_size}: at least 1 is needed")
        weight = self.path_weight
        if weight is not None and not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"search.path_weight = {weight}: a finite number, not below 0")


def beam_search(
    levels: Sequence[LevelWeights],
    X: HybridMatrix,
    k: int,
    params: SearchParams,
    start: sp.csr_array | None = None,
    num_threads: int | None = None,
) -> sp.csr_array:
    """The `k` best nodes of the last level for each row, with log scores: (N, K_T), entries at
    most 0.

    `start` holds log scores of the nodes from which `levels[0]` is entered, (N, nodes above that
    level); None is the root. An entry of 0 is stored: absence means "not found". Among equal
    scores the lower node wins. Raises DataError when k is below 1 or the rows have other columns
    than the weights; ConfigError when the path weight is still to be chosen.
    """
    if params.path_weight is None:
        raise ConfigError("search.path_weight is not chosen yet; give a number, such as 1.0")
    if k < 1:
        raise DataError(f"k = {k}: ask for at least 1 label")
    if not levels:
        return root_beam(X.num_rows) if start is None else start
    session = SearchSession(levels, params.beam_size, params.transform, params.path_weight)
    return session.search(X, k, start, num_threads)
