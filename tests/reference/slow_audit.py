"""The kernels of an audit once more, to read: dense loops, one pair at a time."""

import numpy as np

from xrt.linear.weights import node_weights
from xrt.search.beam import SearchParams
from xrt.sources.ranker import TreeRanker
from xrt.tree.path_scores import log_scores


def path_score(ranker: TreeRanker, x_F: np.ndarray, label: int, params: SearchParams) -> float:
    """The score of one label of one row: f(margin) of each node on its way, joined in logs."""
    node, way = label, []
    for t in reversed(range(ranker.tree.depth)):
        way.append((t, node))
        node = int(ranker.tree.parents[t][node])
    total = 0.0
    for t, node in reversed(way):
        cluster = int(ranker.tree.parents[t][node])
        weights = node_weights(ranker.levels[t], cluster, node)
        margin = float(weights.at(np.arange(len(x_F))) @ x_F) + weights.bias
        above = params.path_weight if t == ranker.tree.depth - 1 else 1.0
        total = above * total + float(log_scores(np.array([margin]))[0])
    return float(np.exp(total))


def nearest(X: np.ndarray, query: np.ndarray, width: int, left_out: int) -> list[tuple[int, float]]:
    """Rows by cosine, the most similar first, lower rows first among equals; only above 0."""
    found = [(row, float(X[row] @ query)) for row in range(len(X)) if row != left_out]
    return sorted(((r, s) for r, s in found if s > 0), key=lambda pair: (-pair[1], pair[0]))[:width]


def agreement(
    neighbours: list[tuple[int, float]], Y: np.ndarray, label: int, temperature: float
) -> float:
    """The label's share of a vote weighted by softmax(similarity / temperature)."""
    weights = [np.exp(similarity / temperature) for _, similarity in neighbours]
    own = [w for (row, _), w in zip(neighbours, weights, strict=True) if Y[row, label]]
    return float(sum(own) / sum(weights)) if weights else 0.0


def name_match(x_F: np.ndarray, name_F: np.ndarray) -> float:
    """The share of a name's squared weights on columns that the row has."""
    return float((name_F[x_F != 0] ** 2).sum())


def thresholds(labels: list[int], probabilities: list[float], num_labels: int) -> list[float]:
    """Means of labels, shrunk towards the mean of all labels; for labels of one frequency range."""
    means = [
        float(np.mean([p for j, p in zip(labels, probabilities, strict=True) if j == label]))
        for label in range(num_labels)
    ]
    sizes = [labels.count(label) for label in range(num_labels)]
    of_all = float(np.mean(probabilities))
    within = sum((p - means[j]) ** 2 for j, p in zip(labels, probabilities, strict=True))
    within /= len(labels) - num_labels
    spread = float(np.mean([(mean - of_all) ** 2 for mean in means]))
    between = max(0.0, spread - float(np.mean([within / size for size in sizes])))
    trust = [between / (between + within / size) if between else 0.0 for size in sizes]
    return [w * mean + (1 - w) * of_all for w, mean in zip(trust, means, strict=True)]
