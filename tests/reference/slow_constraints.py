"""Readable twins of what a constraint lets through; loops allowed."""


def permitted(label, allowed, forbidden):
    """Whether a label may be given, by sets of labels; None where there is no such set."""
    return (allowed is None or label in allowed) and (forbidden is None or label not in forbidden)


def enterable(tree, t, allowed, forbidden):
    """The nodes of level t that have a label below them that may be given."""
    nodes = set()
    for label in range(tree.num_labels):
        node = label
        for level in range(tree.depth - 1, t, -1):
            node = int(tree.parents[level][node])
        if permitted(label, allowed, forbidden):
            nodes.add(node)
    return nodes
