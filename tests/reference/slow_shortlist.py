"""Readable twins of how a shortlist opens the search; loops allowed."""


def looked_at(parents, names):
    """The named nodes and all that share a parent with one of them."""
    above = {int(parents[node]) for node in names}
    return {node for node in range(len(parents)) if int(parents[node]) in above}


def best_of(scores, nodes, k):
    """The `k` nodes with the highest scores, as a set; the lower node wins ties."""
    return set(sorted(nodes, key=lambda node: (-scores[node], node))[:k])
