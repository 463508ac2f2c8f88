"""Beam search down the label tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError, ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.linear.scoring import Beam, block_beam, joined, root_beam, step
from xrt.linear.weights import LevelWeights
from xrt.ranges import at_least, check_ranges
from xrt.search.constraints import Constraint
from xrt.search.session import SearchSession
from xrt.sparse import top_k_rows
from xrt.storage.saved_values import SavedValues
from xrt.tree.label_tree import LabelTree

CONSTRAINED_ROWS = 1024
"""Rows searched at once under a constraint of their own: all children of a beam are held until it
has chosen."""


MAX_PATH_WEIGHT = 1e6
"""Of a saved model: far above any that is of use, far below what overflows."""
TRANSFORM = "l3_hinge"
"""What turns margins into scores, see `tree.path_scores`; a saved model may name it."""


@dataclass(frozen=True, kw_only=True)
class SearchParams:
    """How the tree is searched."""

    beam_size: Annotated[int, at_least(1)] = 10
    """Nodes kept at each inner level."""
    path_weight: Annotated[float, at_least(0)] | None = 1.0
    """Exponent of the path's score in that of a label; inner nodes are always ranked by the plain
    product. None: to be chosen on held-out rows when the model is trained."""

    def __post_init__(self) -> None:
        check_ranges(self, "search")

    @classmethod
    def from_saved(cls, values: SavedValues) -> Self:
        """What `asdict` gave and a model kept.

        Args:
            values: the settings.

        Returns:
            The parameters; the path weight is 1 where none is saved.

        Raises:
            ArtifactError: a value is missing, out of range or of another kind.
        """
        transform = values.text("transform") if values.has("transform") else TRANSFORM
        if transform != TRANSFORM:
            raise ArtifactError(
                f"{values.where}: transform = {transform[:20]!r}, this xrt searches with "
                f"{TRANSFORM} only; use the xrt that wrote the model, or train again"
            )
        return cls(
            beam_size=values.whole("beam_size", 1),
            path_weight=values.number("path_weight", 0, MAX_PATH_WEIGHT, default=1.0),
        )


def beam_search(
    levels: Sequence[LevelWeights],
    X: HybridMatrix,
    k: int,
    params: SearchParams,
    start: sp.csr_array | None = None,
    num_threads: int | None = None,
) -> sp.csr_array:
    """The `k` best nodes of the last level for each row, with log scores: (N, K_T), entries at most
    0.

    `start` holds log scores of the nodes from which `levels[0]` is entered, (N, nodes above that
    level); None is the root. An entry of 0 is stored: absence means "not found". Among equal scores
    the lower node wins.

    Args:
        levels: weights of each level, coarse to fine; may be empty.
        X: N rows.
        k: most nodes of a row.
        params: beam size and path weight.
        start: log scores of the nodes above `levels[0]`, csr_array; None: the root.
        num_threads: threads; None for the default.

    Returns:
        The log scores, csr_array; `start` or the root where there are no levels.

    Raises:
        DataError: k is below 1 or the rows have other columns than the weights.
        ConfigError: the path weight is still to be chosen.
    """
    _check(params, k)
    if not levels:
        return root_beam(X.num_rows) if start is None else start
    assert params.path_weight is not None
    session = SearchSession(levels, params.beam_size, params.path_weight)
    return session.search(X, k, start, num_threads)


def constrained_search(
    levels: Sequence[LevelWeights],
    tree: LabelTree,
    X: HybridMatrix,
    k: int,
    params: SearchParams,
    constraint: Constraint,
    num_threads: int | None = None,
) -> sp.csr_array:
    """As `beam_search` from the root, with a beam that enters only nodes with a label below that
    the constraint lets through: log scores (N, L).

    With a beam as wide as the labels that are let through, each of them has its score.

    Args:
        levels: weights of each level, coarse to fine.
        tree: the label tree of the levels.
        X: N rows.
        k: most labels of a row.
        params: beam size and path weight.
        constraint: which labels are let through, for all rows or for each.
        num_threads: threads; None for the default.

    Returns:
        The log scores, csr_array.

    Raises:
        DataError: k is below 1, or the rows have other columns than the weights.
        ConfigError: the path weight is still to be chosen.
    """
    _check(params, k)
    if constraint.marked_NL.shape[0] == 1:
        assert params.path_weight is not None
        entered = constraint.open_nodes(tree)
        session = SearchSession(levels, params.beam_size, params.path_weight, entered)
        return session.search(X, k, num_threads=num_threads)
    parts = []
    for low in range(0, X.num_rows, CONSTRAINED_ROWS):
        high = min(X.num_rows, low + CONSTRAINED_ROWS)
        here = constraint.rows(low, high)
        of_levels = [here.at(tree, t) for t in range(tree.depth)]
        rows = X.take(np.arange(low, high))
        scores = _constrained(levels, rows, k, params, of_levels, num_threads)
        parts.append(Beam(scores.indptr, scores.indices, scores.data))
    return joined(parts or [block_beam(None, 0, 0)], tree.num_labels)


def _constrained(
    levels: Sequence[LevelWeights],
    X: HybridMatrix,
    k: int,
    params: SearchParams,
    of_levels: Sequence[Constraint],
    num_threads: int | None,
) -> sp.csr_array:
    assert params.path_weight is not None
    beam = root_beam(X.num_rows)
    for weights, constraint in zip(levels, of_levels, strict=True):
        last = weights is levels[-1]
        widest = int(np.diff(weights.child_ptr).max()) * int(np.diff(beam.indptr).max(initial=1))
        children = step(
            weights, X, beam, max(1, widest), num_threads,
            params.path_weight if last else 1.0,
        )  # fmt: skip
        beam = top_k_rows(constraint.keep(children), k if last else params.beam_size)
    return beam


def _check(params: SearchParams, k: int) -> None:
    if params.path_weight is None:
        raise ConfigError("search.path_weight is not chosen yet; give a number, such as 1.0")
    if k < 1:
        raise DataError(f"k = {k}: ask for at least 1 label")
