"""What lies below a node of a label tree, in words.

L labels.
"""

from collections.abc import Callable

import numpy as np

from xrt.explain.explanation import ClusterSummary, LabelName, TermWeight
from xrt.linear.weights import node_weights
from xrt.model import XrtModel
from xrt.sources.ranker import TreeRanker

NUM_LABELS, NUM_TERMS = 4, 5
"""How many labels and terms describe a cluster."""


def label_name(model: XrtModel, column: int) -> LabelName:
    """A label by its column, with its count where the model knows it."""
    known, labels = model.frequencies, model.labels
    count = None if known is None else int(known.counts_L[column])
    return LabelName(labels.ids[column], labels.names[column], count)


def term_namer(model: XrtModel) -> Callable[[int], str]:
    """What a sparse column is called: its term, or `column N` in a model of rows."""
    if model.features is None:
        return "column {}".format
    return model.features.feature_name


class Clusters:
    """Summaries of nodes, each made once."""

    def __init__(self, model: XrtModel) -> None:
        """Of the trees of this model."""
        self._model, self._namer = model, term_namer(model)
        self._known: dict[tuple[int, int, int], ClusterSummary] = {}

    def term_of(self, column: int) -> str:
        """What a sparse column is called."""
        return self._namer(column)

    def summary(self, ranker: TreeRanker, t: int, node: int) -> ClusterSummary:
        """The labels below a level-t node, and the terms with the largest weights there.

        The labels named are the most frequent ones; the first ones where counts are not known.
        """
        key = (id(ranker), t, node)
        if key not in self._known:
            self._known[key] = self._summarize(ranker, t, node)
        return self._known[key]

    def _summarize(self, ranker: TreeRanker, t: int, node: int) -> ClusterSummary:
        columns = np.flatnonzero(ranker.tree.labels_below(t) == node)
        best = columns[:NUM_LABELS]
        if self._model.frequencies is not None:
            counts = self._model.frequencies.counts_L[columns]
            best = columns[np.argsort(-counts, kind="stable")[:NUM_LABELS]]
        weights = node_weights(ranker.levels[t], int(ranker.tree.parents[t][node]), node)
        order = np.argsort(-weights.values, kind="stable")[:NUM_TERMS]
        terms = (
            TermWeight(
                self.term_of(int(weights.columns[j])),
                int(weights.columns[j]),
                float(weights.values[j]),
            )
            for j in order
            if weights.values[j] > 0
        )
        labels = tuple(label_name(self._model, int(column)) for column in best)
        return ClusterSummary(len(columns), labels, tuple(terms))
