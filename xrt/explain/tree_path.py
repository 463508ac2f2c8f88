"""The way from the root of a label tree to a label, and where it stood in the beam.

One row; K_t nodes at level t. The beams are those of the search itself, found by the same kernels;
margins are summed anew, so that nodes that the search never reached have theirs, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse as sp

from xrt.explain.explanation import ClusterSummary, PathNode, TermPart
from xrt.hybrid import HybridMatrix
from xrt.linear.scoring import root_beam, step
from xrt.linear.weights import NodeWeights, node_weights
from xrt.search.beam import SearchParams
from xrt.sources.ranker import TreeRanker
from xrt.tree.path_scores import log_scores

TERMS_OF_NODE = 3
"""How many terms of the text are named at each node of a path."""


class Describe(Protocol):
    """Puts trees into words."""

    def summary(self, ranker: TreeRanker, t: int, node: int) -> ClusterSummary:
        """What lies below a level-t node."""

    def term_of(self, column: int) -> str:
        """What a sparse column is called."""


@dataclass(frozen=True, eq=False)
class SearchedTree:
    """A tree, the row `X` (1, F + H), and the beam of each level: (1, K_t), log scores.

    `entry` is the first level that was searched; above it there is no beam (None), and nodes of the
    entry level are scored along their whole path.
    """

    ranker: TreeRanker
    X: HybridMatrix
    params: SearchParams
    entry: int
    beams: tuple[sp.csr_array | None, ...]


def search_tree(
    ranker: TreeRanker,
    X: HybridMatrix,
    k: int,
    params: SearchParams,
    start: sp.csr_array | None = None,
    entry: int = 0,
) -> SearchedTree:
    """Search as `beam_search` does, and keep the beam of every level.

    `start` are the log scores of the nodes of level `entry` where a shortlist opens the search.
    """
    assert params.path_weight is not None
    beam = root_beam(1) if start is None else start
    beams: list[sp.csr_array | None] = [None] * entry + ([] if start is None else [start])
    for t in range(len(beams), ranker.tree.depth):
        last = t == ranker.tree.depth - 1
        beam = step(
            ranker.levels[t],
            X,
            beam,
            k if last else params.beam_size,
            1,
            params.path_weight if last else 1.0,
        )
        beams.append(beam)
    return SearchedTree(ranker, X, params, entry, tuple(beams))


def names_label(searched: SearchedTree, label: int) -> bool:
    """Whether the search found the label in this tree."""
    return _place(searched.beams[-1], label)[0] is not None


def path_to(
    searched: SearchedTree, label: int, from_root: bool = False, describe: Describe | None = None
) -> tuple[PathNode, ...]:
    """The nodes from the root to the label, coarse to fine.

    Levels above `entry` have no beam, unless `from_root`. Without `describe` there are no words,
    only numbers.
    """
    tree, params = searched.ranker.tree, searched.params
    assert params.path_weight is not None
    path, log_score = [], 0.0
    for t, node in enumerate(nodes_above(searched, label)):
        weights = weights_at(searched, t, node)
        margin = margin_of(weights, searched.X)
        log_fit = float(log_scores(np.array([margin]))[0])
        searched_here, last = from_root or t >= searched.entry, t == tree.depth - 1
        log_score = log_fit + log_score * (params.path_weight if last else 1.0)
        place, beam_size = _place(searched.beams[t], node)
        cluster: ClusterSummary | None = None
        terms: tuple[TermPart, ...] = ()
        if describe is not None and not last:
            cluster = describe.summary(searched.ranker, t, node)
            values = searched.X.sparse
            terms = term_parts(
                values, weights.at(values.indices), TERMS_OF_NODE, 0, describe.term_of
            )
        path.append(
            PathNode(
                t + 1,
                node,
                margin,
                float(np.exp(log_fit)),
                log_score,
                place,
                beam_size,
                searched_here,
                terms,
                cluster,
            )
        )
    return tuple(path)


def nodes_above(searched: SearchedTree, label: int) -> list[int]:
    """The label's node at each level, coarse to fine; the last is the label."""
    tree, nodes = searched.ranker.tree, [label]
    for t in range(tree.depth - 1, 0, -1):
        nodes.append(int(tree.parents[t][nodes[-1]]))
    return nodes[::-1]


def weights_at(searched: SearchedTree, t: int, node: int) -> NodeWeights:
    """The weights of a level-t node."""
    ranker = searched.ranker
    return node_weights(ranker.levels[t], int(ranker.tree.parents[t][node]), node)


def margin_of(weights: NodeWeights, X: HybridMatrix) -> float:
    """The margin of one row: its weights times its features, and the bias."""
    sparse = float(X.sparse.data.astype(np.float64) @ weights.at(X.sparse.indices))
    return sparse + float(X.dense[0].astype(np.float64) @ weights.dense_H) + weights.bias


def term_parts(
    row: sp.csr_array,
    weights: np.ndarray,
    in_favour: int,
    against: int,
    term_of: Callable[[int], str],
) -> tuple[TermPart, ...]:
    """The terms of a row (1, F) with the largest parts of a margin: so many at most in favour, then
    so many against it. `weights` are those of the row's stored columns.
    """
    parts = row.data.astype(np.float64) * weights
    order = np.argsort(-parts, kind="stable")
    strongest: Sequence[int] = [
        *[int(j) for j in order if parts[j] > 0][:in_favour],
        *[int(j) for j in order[::-1] if parts[j] < 0][:against],
    ]
    return tuple(
        TermPart(
            term_of(int(row.indices[j])),
            int(row.indices[j]),
            float(row.data[j]),
            float(weights[j]),
            float(parts[j]),
        )
        for j in strongest
    )


def _place(beam: sp.csr_array | None, node: int) -> tuple[int | None, int]:
    """A node's place in a beam, from 1, None where it is not in it; and the size of the beam."""
    if beam is None:
        return None, 0
    here = np.flatnonzero(beam.indices == node)
    if not len(here):
        return None, int(beam.nnz)
    score = beam.data[here[0]]
    before = (beam.data > score) | ((beam.data == score) & (beam.indices < node))
    return int(before.sum()) + 1, int(beam.nnz)
