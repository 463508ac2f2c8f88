"""Readable twin of a margin's parts: whole weight matrices, one column after the other."""

from tests.reference.slow_linear import sparse_weights


def slow_parts(level, sparse_F, dense_H, node):
    """What each sparse column adds to a node's margin, what the dense block adds, and the bias."""
    weights_FK = sparse_weights(level).toarray()
    of_columns = [float(sparse_F[f] * weights_FK[f, node]) for f in range(len(sparse_F))]
    dense = sum(float(dense_H[h] * level.dense_weights[node, h]) for h in range(len(dense_H)))
    return of_columns, dense, float(level.node_bias[node])


def slow_path(levels, tree, sparse_F, dense_H, label, fit, path_weight):
    """The score of a label: fits of all levels multiplied, those of clusters to the path weight."""
    score, node = 1.0, label
    for t in range(tree.depth - 1, -1, -1):
        of_columns, dense, bias = slow_parts(levels[t], sparse_F, dense_H, node)
        at_label = t == tree.depth - 1
        score *= fit(sum(of_columns) + dense + bias) ** (1.0 if at_label else path_weight)
        node = int(tree.parents[t][node])
    return score
