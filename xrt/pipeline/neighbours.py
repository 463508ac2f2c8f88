"""The rows that vote: training texts and, where labels have names, the names.

N rows, L labels, R labels that have a name, F TF-IDF columns, H columns of embeddings.
"""

import numpy as np
import scipy.sparse as sp

from xrt.hybrid import HybridMatrix
from xrt.pipeline.label_names import LabelNameRows
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.neighbours import NeighbourParams, SparseNeighbours


def sparse_neighbours(
    X_NF: sp.csr_array,
    Y_NL: sp.csr_array,
    names: LabelNameRows | None,
    params: NeighbourParams,
    weights_N: np.ndarray | None = None,
) -> SparseNeighbours | None:
    """Votes by TF-IDF rows X (N, F) with labels Y (N, L), and of names that have a known word;
    rows may have weights, a name counts 1. None where no row is to vote.
    """
    if not params.num_neighbours:
        return None
    rows, Y_keys = HybridMatrix.of(X_NF).weighted(weights_N), Y_NL
    if names is not None and params.label_names:
        rows, Y_keys = names.join(rows, Y_NL)
    num_texts = X_NF.shape[0]
    return SparseNeighbours(rows.sparse, Y_keys, params, num_texts, rows.weights_N)


def dense_neighbours(
    embeddings_NH: np.ndarray,
    Y_NL: sp.csr_array,
    names: LabelNameRows | None,
    names_RH: np.ndarray | None,
    params: NeighbourParams,
    weights_N: np.ndarray | None = None,
) -> DenseNeighbours | None:
    """Votes by embeddings (N, H) with labels Y (N, L), and of those of the names (R, H); rows may
    have weights, a name counts 1. None where no row is to vote.
    """
    if not params.num_neighbours:
        return None
    num_texts = len(embeddings_NH)
    if names is not None and names_RH is not None and params.label_names:
        embeddings_NH, Y_NL = np.vstack([embeddings_NH, names_RH]), names.below(Y_NL)
        if weights_N is not None:
            weights_N = np.append(weights_N, np.ones(len(names_RH), np.float32))
    return DenseNeighbours(embeddings_NH, Y_NL, params, num_texts, weights_N)
