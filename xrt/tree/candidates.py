"""The nodes that a row is trained or scored on: teacher-forced, matcher-aware, and their union.

Everything here is a pattern: a `csr_array` of ones, rows are instances, columns the nodes of a
level. Teacher-forced negatives (TFN) are the siblings of the true nodes; matcher-aware negatives
(MAN) the children of the best-scored nodes, right or wrong.
"""

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.sparse import binarize, top_k_rows
from xrt.tree.label_tree import LabelTree


def teacher_forced(Y_level: sp.csr_array) -> sp.csr_array:
    """Nodes with a true label below: the pattern of Y_t, (N, K_t).

    Args:
        Y_level: targets (N, K_t).

    Returns:
        Pattern (N, K_t).
    """
    return binarize(Y_level)


def matcher_aware(scores_level: sp.csr_array, top_k: int) -> sp.csr_array:
    """The `top_k` best-scored nodes of each row: pattern (N, K_t).

    Args:
        scores_level: scores of nodes (N, K_t).
        top_k: nodes of a row, at least 1.

    Returns:
        Pattern (N, K_t).
    """
    return binarize(_with_ones(top_k_rows(scores_level, top_k)))


def union_candidates(*patterns: sp.csr_array) -> sp.csr_array:
    """Nodes that stand in any of the patterns.

    Args:
        *patterns: patterns of one shape, at least one.

    Returns:
        A pattern of that shape.

    Raises:
        DataError: the shapes differ.
    """
    if len({pattern.shape for pattern in patterns}) != 1:
        raise DataError(
            f"candidates of different shapes: {[pattern.shape for pattern in patterns]}"
        )
    total = _with_ones(patterns[0])
    for pattern in patterns[1:]:
        total = sp.csr_array(total + _with_ones(pattern))
    return binarize(total)


def expand(
    M_above: sp.csr_array | None, tree: LabelTree, t: int, num_rows: int = 0
) -> sp.csr_array:
    """Children at level t of the candidate nodes above: (N, K_{t-1}) to (N, K_t).

    `None` stands for the root, above level 0: all nodes of the level, for `num_rows` rows.

    Args:
        M_above: candidates at the level above, (N, K_{t-1}); None for the root.
        tree: the label tree.
        t: a level, counted from 0 below the root.
        num_rows: N; needed for the root only.

    Returns:
        Pattern (N, K_t).

    Raises:
        DataError: None, but the level above has several nodes.
    """
    if M_above is None:
        if tree.num_nodes(t - 1) != 1:
            raise DataError(
                f"level {t} has {tree.num_nodes(t - 1)} nodes above; candidates are needed"
            )
        M_above = sp.csr_array(np.ones((num_rows, 1), np.float32))
    return binarize(sp.csr_array(M_above @ tree.cluster_matrix(t).T))


def _with_ones(pattern: sp.csr_array) -> sp.csr_array:
    ones = np.ones(pattern.nnz, np.float32)
    return sp.csr_array((ones, pattern.indices, pattern.indptr), shape=pattern.shape)
