"""What the terms of a text add to a label's margin.

F sparse columns. A margin is a sum, so it falls into parts: one for each term of the text, one for
the embedding, and the bias. Over several trees all of them are means.
"""

from collections.abc import Callable, Sequence

import numpy as np

from xrt.explain.explanation import MarginParts
from xrt.explain.tree_path import SearchedTree, term_parts, weights_at

IN_FAVOUR, AGAINST = 6, 3
"""How many terms are named at most."""


def margin_parts(
    source: str, searched: Sequence[SearchedTree], label: int, term_of: Callable[[int], str]
) -> MarginParts:
    """The parts of the label's margin, from trees that were searched for the same row."""
    X = searched[0].X
    columns, values = X.sparse.indices, X.sparse.data.astype(np.float64)
    found = [weights_at(tree, tree.ranker.tree.depth - 1, label) for tree in searched]
    weights = np.mean([each.at(columns) for each in found], axis=0)
    bias = float(np.mean([each.bias for each in found]))
    dense_H = np.mean([each.dense_H for each in found], axis=0)
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
