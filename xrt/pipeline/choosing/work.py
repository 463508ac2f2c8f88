"""How much work a training is, counted: the same for the same data and settings on every machine.

A unit is about a nonzero that a solver visits. n rows, l labels, K_t nodes at level t.
"""

import numpy as np
import scipy.sparse as sp

from xrt.linear.kernels.simd import WIDTH
from xrt.sources.trees import TreeEnsemble
from xrt.tree.label_tree import LabelTree

VISIT = 30
"""What a visit of a row costs besides its nonzeros."""
JUDGED = 400
"""What scoring a held-out row by a tree costs, and judging it."""
GROWTH = 1.2
"""Work grows with this power of the number of rows, where labels grow in number as well."""


def work_of_tree(
    tree: LabelTree, Y_nl: sp.csr_array, nonzeros_per_row: float, matcher_negatives: int = 0
) -> float:
    """Nonzeros visited in one pass over all problems of a tree; WIDTH nodes are solved together.

    Args:
        tree: the tree.
        Y_nl: labels of the rows that are trained on.
        nonzeros_per_row: mean number of nonzeros.
        matcher_negatives: clusters of a row that join its true ones when labels are trained.

    Returns:
        Units of work.
    """
    targets = tree.level_targets(Y_nl)
    visits = 0.0
    for t in range(tree.depth):
        groups_P = -(-np.bincount(tree.parents[t], minlength=tree.num_nodes(t - 1)) // WIDTH)
        if t == 0:
            visits += float(Y_nl.shape[0] * groups_P[0])
            continue
        rows_P = np.bincount(targets[t - 1].indices, minlength=len(groups_P))
        joined = matcher_negatives * Y_nl.shape[0] * float(groups_P.mean())
        visits += float(rows_P @ groups_P) + (joined if t == tree.depth - 1 else 0.0)
    return visits * (nonzeros_per_row + VISIT)


def work_of_trees(
    ensemble: TreeEnsemble,
    Y_nl: sp.csr_array,
    nonzeros_per_row: float,
    matcher_negatives: int = 0,
) -> float:
    """`work_of_tree` of all trees.

    Args:
        ensemble: the trees.
        Y_nl: labels of the rows that are trained on.
        nonzeros_per_row: mean number of nonzeros.
        matcher_negatives: as in `work_of_tree`.

    Returns:
        Units of work.
    """
    return sum(
        work_of_tree(one.tree, Y_nl, nonzeros_per_row, matcher_negatives) for one in ensemble.trees
    )


def work_at(work: float, num_rows: int, more_rows: int) -> float:
    """The work on more rows of the same kind.

    Args:
        work: what it was.
        num_rows: on so many rows.
        more_rows: on so many it is wanted.

    Returns:
        Units of work.
    """
    return float(work * (more_rows / num_rows) ** GROWTH)


def work_of_judging(num_rows: int, num_trees: int) -> float:
    """The work of scoring held-out rows.

    Args:
        num_rows: how many.
        num_trees: trees that score them.

    Returns:
        Units of work.
    """
    return float(JUDGED * num_rows * num_trees)
