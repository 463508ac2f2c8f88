"""What label trees say of a row: the way from the root to a label, where it stood in the beam, and
what its margin is made of.

One row; F TF-IDF columns, K_t nodes at level t. The beams are those of the search itself, found by
the same kernels; margins are summed anew, so that nodes that the search never reached have theirs,
too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from xrt.hybrid import HybridMatrix
from xrt.linear.scoring import root_beam, step
from xrt.linear.weights import NodeWeights, node_weights
from xrt.search.beam import SearchParams
from xrt.sources.evidence import (
    ClusterSummary,
    LabelEvidence,
    MarginParts,
    Naming,
    PathNode,
    SourceEvidence,
    TermPart,
    TermWeight,
    TreePath,
)
from xrt.sources.ranker import TreeRanker
from xrt.sparse import best_places
from xrt.tree.path_scores import log_scores

TERMS_OF_NODE = 3
"""How many terms of the text are named at each node of a path."""
IN_FAVOUR, AGAINST = 6, 3
"""How many terms of a label's margin are named at most."""
NUM_LABELS, NUM_TERMS = 4, 5
"""How many labels and terms describe a cluster."""


@dataclass(frozen=True, eq=False)
class SearchedTree:
    """A tree, the row `X` (1, F + H), and the beam of each level: (1, K_t), log scores."""

    ranker: TreeRanker
    X: HybridMatrix
    params: SearchParams
    beams: tuple[sp.csr_array, ...]


class TreeEvidence(SourceEvidence):
    """The trees of a source, searched for one row when a label is first asked for."""

    def __init__(
        self, source: str, naming: Naming, search: Callable[[], list[SearchedTree]]
    ) -> None:
        """`search` gives each tree of the source, searched for the row."""
        self._source, self._naming, self._search = source, naming, search
        self._summaries: dict[tuple[int, int], ClusterSummary] = {}

    @cached_property
    def trees(self) -> list[SearchedTree]:
        """The trees of the source, searched."""
        return self._search()

    def label(self, column: int, suggested: bool) -> LabelEvidence:
        """See `SourceEvidence.label`; where scores are exact, a label has one by every tree.

        Args:
            column: the label's column.
            suggested: whether its score is that of the search, in which a tree may not name it.

        Returns:
            Paths and scores by each tree, and the parts of the margin.
        """
        paths = tuple(self._path(number, column) for number in range(len(self.trees)))
        scores = tuple(
            path.score if not suggested or names_label(tree, column) else None
            for path, tree in zip(paths, self.trees, strict=True)
        )
        margin = margin_parts(self._source, self.trees, column, self._naming.term)
        return LabelEvidence(paths, scores, margin)

    def _path(self, number: int, column: int) -> TreePath:
        tree = self.trees[number]
        weight = tree.params.path_weight
        assert weight is not None
        evidence = self if number == 0 else None  # only the first tree is shown
        nodes = path_to(tree, column, evidence)
        score = float(np.exp(nodes[-1].log_score))
        return TreePath(self._source, number + 1, len(self.trees), weight, score, nodes)

    def term(self, column: int) -> str:
        """What a TF-IDF column is called.

        Args:
            column: the TF-IDF column.

        Returns:
            The term.
        """
        return self._naming.term(column)

    def summary(self, ranker: TreeRanker, t: int, node: int) -> ClusterSummary:
        """The labels below a level-t node of the first tree, and the terms with the largest weights
        there.

        The labels named are the most frequent ones; the first ones where counts are not known.

        Args:
            ranker: tree and weights.
            t: the level, from 0.
            node: the node.

        Returns:
            The summary; kept for later calls.
        """
        if (t, node) not in self._summaries:
            self._summaries[t, node] = self._summarize(ranker, t, node)
        return self._summaries[t, node]

    def _summarize(self, ranker: TreeRanker, t: int, node: int) -> ClusterSummary:
        columns = np.flatnonzero(ranker.tree.labels_below(t) == node)
        best = columns[:NUM_LABELS]
        counts_L = self._naming.counts_L
        if counts_L is not None:
            best = columns[best_places(counts_L[columns], NUM_LABELS)]
        weights = node_weights(ranker.levels[t], int(ranker.tree.parents[t][node]), node)
        order = best_places(weights.values, NUM_TERMS)
        terms = (
            TermWeight(
                self.term(int(weights.columns[j])),
                int(weights.columns[j]),
                float(weights.values[j]),
            )
            for j in order
            if weights.values[j] > 0
        )
        labels = tuple(self._naming.label(int(column)) for column in best)
        return ClusterSummary(len(columns), labels, tuple(terms))


def search_tree(
    ranker: TreeRanker,
    X: HybridMatrix,
    k: int,
    params: SearchParams,
) -> SearchedTree:
    """Search as `beam_search` does, and keep the beam of every level.

    Args:
        ranker: tree and weights.
        X: one row.
        k: most labels.
        params: beam size and path weight.

    Returns:
        The beams of all levels.
    """
    assert params.path_weight is not None
    beam, beams = root_beam(1), []
    for t in range(ranker.tree.depth):
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
    return SearchedTree(ranker, X, params, tuple(beams))


def names_label(searched: SearchedTree, label: int) -> bool:
    """Whether the search found the label in this tree.

    Args:
        searched: a tree that was searched.
        label: the label's column.

    Returns:
        True where it stands in the last beam.
    """
    return _place(searched.beams[-1], label)[0] is not None


def path_to(
    searched: SearchedTree,
    label: int,
    describe: TreeEvidence | None = None,
) -> tuple[PathNode, ...]:
    """The nodes from the root to the label, coarse to fine. Without `describe` there are no words,
    only numbers.

    Args:
        searched: a tree that was searched.
        label: the label's column.
        describe: tells clusters and terms in words; None: nothing does.

    Returns:
        A node for each level.
    """
    tree, params = searched.ranker.tree, searched.params
    assert params.path_weight is not None
    path, log_score = [], 0.0
    for t, node in enumerate(nodes_above(searched, label)):
        weights = weights_at(searched, t, node)
        margin = margin_of(weights, searched.X)
        log_fit = float(log_scores(np.array([margin]))[0])
        last = t == tree.depth - 1
        log_score = log_fit + log_score * (params.path_weight if last else 1.0)
        place, beam_size = _place(searched.beams[t], node)
        cluster: ClusterSummary | None = None
        terms: tuple[TermPart, ...] = ()
        if describe is not None and not last:
            cluster = describe.summary(searched.ranker, t, node)
            values = searched.X.sparse
            terms = term_parts(values, weights.at(values.indices), TERMS_OF_NODE, 0, describe.term)
        path.append(
            PathNode(
                t + 1,
                node,
                margin,
                float(np.exp(log_fit)),
                log_score,
                place,
                beam_size,
                terms,
                cluster,
            )
        )
    return tuple(path)


def nodes_above(searched: SearchedTree, label: int) -> list[int]:
    """The label's node at each level, coarse to fine; the last is the label.

    Args:
        searched: a tree that was searched.
        label: the label's column.

    Returns:
        A node number for each level.
    """
    tree, nodes = searched.ranker.tree, [label]
    for t in range(tree.depth - 1, 0, -1):
        nodes.append(int(tree.parents[t][nodes[-1]]))
    return nodes[::-1]


def weights_at(searched: SearchedTree, t: int, node: int) -> NodeWeights:
    """The weights of a level-t node.

    Args:
        searched: a tree that was searched.
        t: the level, from 0.
        node: the node.

    Returns:
        The node's weights and bias.
    """
    ranker = searched.ranker
    return node_weights(ranker.levels[t], int(ranker.tree.parents[t][node]), node)


def margin_of(weights: NodeWeights, X: HybridMatrix) -> float:
    """The margin of one row: its weights times its features, and the bias.

    Args:
        weights: weights of a node.
        X: one row.

    Returns:
        The margin, summed in float64.
    """
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

    Args:
        row: TF-IDF row, csr_array (1, F).
        weights: weights of the stored columns, in their order.
        in_favour: most terms with a part above 0.
        against: most terms with a part below 0.
        term_of: names a column.

    Returns:
        The terms, the strongest first in each group.
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


def _place(beam: sp.csr_array, node: int) -> tuple[int | None, int]:
    """A node's place in a beam, from 1, None where it is not in it; and the size of the beam."""
    here = np.flatnonzero(beam.indices == node)
    if not len(here):
        return None, int(beam.nnz)
    score = beam.data[here[0]]
    before = (beam.data > score) | ((beam.data == score) & (beam.indices < node))
    return int(before.sum()) + 1, int(beam.nnz)


def margin_parts(
    source: str, searched: Sequence[SearchedTree], label: int, term_of: Callable[[int], str]
) -> MarginParts:
    """The parts of a label's margin, from trees that were searched for the same row.

    Args:
        source: name of the source.
        searched: trees that were searched for the same row, at least one.
        label: the label's column.
        term_of: names a column.

    Returns:
        The margin, its mean over the trees, and its parts.
    """
    X = searched[0].X
    columns, values = X.sparse.indices, X.sparse.data.astype(np.float64)
    of_trees = [weights_at(tree, tree.ranker.tree.depth - 1, label) for tree in searched]
    weights = np.mean([each.at(columns) for each in of_trees], axis=0)
    bias = float(np.mean([each.bias for each in of_trees]))
    dense_H = np.mean([each.dense_H for each in of_trees], axis=0)
    dense = float(X.dense[0].astype(np.float64) @ dense_H) if X.num_dense else None
    parts = values * weights
    terms = term_parts(X.sparse, weights, IN_FAVOUR, AGAINST, term_of)
    others = parts[~np.isin(columns, [term.column for term in terms])]
    return MarginParts(
        source=source,
        num_trees=len(searched),
        margin=float(parts.sum()) + bias + (dense or 0.0),
        bias=bias,
        terms=terms,
        rest=float(others.sum()),
        num_rest=int(np.count_nonzero(others)),
        dense=dense,
    )
