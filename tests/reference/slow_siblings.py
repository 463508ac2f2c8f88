"""Readable twin of the search for siblings; loops allowed."""


def siblings(leaf_of, scores, most):
    """Siblings of one row. `leaf_of`: the leaf of each label; `scores`: by label."""
    clusters = {}
    for label in sorted(scores):
        clusters.setdefault(leaf_of[label], []).append(label)
    sums = {leaf: sum(float(scores[label]) for label in named) for leaf, named in clusters.items()}
    found = []
    for leaf in sorted(clusters, key=lambda leaf: (-sums[leaf], leaf)):
        others = [x for x in range(len(leaf_of)) if leaf_of[x] == leaf and x not in scores]
        if len(found) + len(others) <= most:
            found += others
    return sorted(found)
