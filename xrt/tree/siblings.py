"""The other labels of the clusters that labels were found in: what was found opens the tree.

N rows, L labels. A row's clusters are those right above its labels, the leaves of the tree. The
cluster with the highest sum of scores comes first, among equals the lower one; its other labels are
siblings. A cluster with more siblings than the row has room for is passed over as a whole: which
part of it is nearer a tree does not know, and labels of so wide a leaf have little in common.
"""

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.jit import njit
from xrt.tree.label_tree import LabelTree


def siblings_of(tree: LabelTree, scores_NL: sp.csr_array, most: int) -> sp.csr_array:
    """The labels that share a leaf with those of a row and are not among these.

    Args:
        tree: the label tree.
        scores_NL: labels of each row with their scores, at least 0, csr_array (N, L) with ascending
            columns; an entry of 0 is a label, too.
        most: siblings of a row.

    Returns:
        Ones, csr_array (N, L), columns ascending.

    Raises:
        DataError: there are other labels than in the tree, or `most` is below 0.
    """
    if scores_NL.shape[1] != tree.num_labels:
        raise DataError(
            f"scores of {scores_NL.shape[1]} labels, but the tree has {tree.num_labels}"
        )
    if most < 0:
        raise DataError(f"most = {most}: at least 0 siblings of a row")
    child_ptr, children = tree.children(tree.depth - 1)
    counts_N, labels = _siblings(
        scores_NL.indptr, scores_NL.indices, scores_NL.data, tree.parents[-1], child_ptr, children,
        min(most, tree.num_labels),
    )  # fmt: skip
    siblings_NL = sp.csr_array(scores_NL.shape, dtype=np.float32)
    siblings_NL.indptr = np.concatenate([[0], np.cumsum(counts_N)]).astype(scores_NL.indptr.dtype)
    siblings_NL.indices, siblings_NL.data = labels, np.ones(len(labels), np.float32)
    return siblings_NL


@njit(nogil=True, cache=True)
def _siblings(
    indptr: np.ndarray,
    indices: np.ndarray,
    scores: np.ndarray,
    leaf_L: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    most: int,
) -> tuple[np.ndarray, np.ndarray]:
    """How many siblings each row has, and all of them."""
    num_rows = len(indptr) - 1
    counts_N = np.zeros(num_rows, np.int64)
    room = 1024
    labels, used = np.empty(room, np.int32), 0
    for row in range(num_rows):
        low, high = indptr[row], indptr[row + 1]
        leaves, sums, held = _leaves(leaf_L[indices[low:high]], scores[low:high])
        found = np.empty(most, np.int32)
        num_found = 0
        for place in np.argsort(-sums, kind="mergesort"):
            first, last = child_ptr[leaves[place]], child_ptr[leaves[place] + 1]
            if last - first - held[place] > most - num_found:
                continue
            for child in children[first:last]:
                at = low + np.searchsorted(indices[low:high], child)
                if at == high or indices[at] != child:
                    found[num_found] = child
                    num_found += 1
        while used + num_found > room:
            room *= 2
            grown = np.empty(room, np.int32)
            grown[:used] = labels[:used]
            labels = grown
        labels[used : used + num_found] = np.sort(found[:num_found])
        used += num_found
        counts_N[row] = num_found
    return counts_N, labels[:used].copy()


@njit(nogil=True, cache=True)
def _leaves(leaf_E: np.ndarray, scores_E: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The leaves of a row's labels, ascending, each once; the sum of their scores, and how many."""
    order = np.argsort(leaf_E, kind="mergesort")
    leaves = np.empty(len(leaf_E), np.int32)
    sums = np.zeros(len(leaf_E), np.float64)
    held = np.zeros(len(leaf_E), np.int64)
    num_leaves = 0
    for entry in order:
        if num_leaves == 0 or leaves[num_leaves - 1] != leaf_E[entry]:
            leaves[num_leaves] = leaf_E[entry]
            num_leaves += 1
        sums[num_leaves - 1] += scores_E[entry]
        held[num_leaves - 1] += 1
    return leaves[:num_leaves], sums[:num_leaves], held[:num_leaves]
