"""From probabilities of single pairs to one decision for each attribute of a query.

Of an attribute with one value an item, at most one value is meant, or none: with odds o_v of each
value, P(v) = o_v / (1 + sum of o) and P(none) = 1 / (1 + sum of o). Along a path the same holds at
each depth; an ancestor is at least as sure as its descendants, a descendant at most as its parent.
"""

import numpy as np

from xrt.applications.query_intent.catalogue import Catalogue

_CLIP = 1e-4


def decide(
    query_P: np.ndarray, label_P: np.ndarray, probability_P: np.ndarray, catalogue: Catalogue
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(query, label, confidence) of all pairs and of their ancestors, sorted.

    Pairs must be distinct.

    Args:
        query_P: Queries of P distinct pairs, int (P,).
        label_P: Labels of the pairs, int (P,).
        probability_P: Probability that the value is meant, (P,).
        catalogue: The catalogue.

    Returns:
        Queries, labels and confidences in [0, 1], an array each; there are more pairs than P where
        ancestors were added.
    """
    queries, labels, p = _with_ancestors(query_P, label_P, probability_P, catalogue)
    attribute, depth = catalogue.attribute_L[labels], catalogue.depth_L[labels]
    p = np.clip(p, _CLIP, 1 - _CLIP)
    odds = p / (1 - p)
    place = attribute * (int(catalogue.depth_L.max()) + 1) + depth
    _, group = np.unique(queries * (int(place.max(initial=0)) + 1) + place, return_inverse=True)
    total = np.bincount(group, odds)[group] if len(group) else odds
    confidence = np.where(catalogue.exclusive_A[attribute], odds / (1 + total), p)
    return queries, labels, _at_most_parent(queries, labels, confidence, catalogue)


def _with_ancestors(
    query_P: np.ndarray, label_P: np.ndarray, probability_P: np.ndarray, catalogue: Catalogue
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pair and each ancestor, with the highest probability of itself and what is below."""
    parts = [(query_P, label_P, probability_P)]
    query, label, p = parts[0]
    while len(query):
        above = catalogue.parent_L[label]
        query, label, p = query[above >= 0], above[above >= 0], p[above >= 0]
        parts.append((query, label, p))
    query, label, p = (np.concatenate(some) for some in zip(*parts, strict=True))
    order = np.lexsort((-p, label, query))
    query, label, p = query[order], label[order], p[order]
    first = np.r_[True, (query[1:] != query[:-1]) | (label[1:] != label[:-1])] if len(query) else []
    keep = np.flatnonzero(first)
    return query[keep], label[keep], p[keep]


def _at_most_parent(
    queries: np.ndarray, labels: np.ndarray, confidence: np.ndarray, catalogue: Catalogue
) -> np.ndarray:
    num_labels = len(catalogue.labels)
    keys = queries * num_labels + labels
    bounded = confidence.copy()
    for depth in range(1, int(catalogue.depth_L.max()) + 1):
        some = np.flatnonzero(catalogue.depth_L[labels] == depth)
        some = some[catalogue.parent_L[labels[some]] >= 0]
        parent = np.searchsorted(
            keys, queries[some] * num_labels + catalogue.parent_L[labels[some]]
        )
        bounded[some] = np.minimum(bounded[some], bounded[parent])
    return bounded
