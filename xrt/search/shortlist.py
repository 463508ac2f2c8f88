"""The FAISS shortlist: finds nodes of an entry level from the embedding alone.

N rows, K nodes of the entry level, H dense columns. The vectors of the index are the nodes'
centroids: the unit-length mean of the embeddings of the training rows that belong below. What the
index finds is scored again, exactly, by the rankers before the beam goes on.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.linear.scoring import step
from xrt.linear.weights import LevelWeights
from xrt.search.constraints import Constraint
from xrt.sparse import binarize
from xrt.tree.label_tree import LabelTree
from xrt.tree.path_scores import PathTransform


class IndexKind(str, Enum):
    """How the entry level is searched."""

    none = "none"  # no shortlist: the beam starts at the root
    flat = "flat"  # exact
    hnsw = "hnsw"  # approximate, for large K


@dataclass(frozen=True, kw_only=True)
class ShortlistParams:
    """How search enters the tree."""

    index: IndexKind = IndexKind.none
    width: int = 32
    """Nodes of the entry level taken from the index for each row."""
    hnsw_neighbors: int = 32
    """Links of a node in the HNSW graph."""

    def __post_init__(self) -> None:
        for name in ("width", "hnsw_neighbors"):
            if getattr(self, name) < 1:
                raise ConfigError(f"shortlist.{name} = {getattr(self, name)}: at least 1 is needed")


class Shortlist:
    """A FAISS index over the nodes of one level.

    Only the vectors are kept on disk; the index is built in memory, so FAISS never parses a file.
    """

    def __init__(self, vectors_KH: np.ndarray, params: ShortlistParams, level: int) -> None:
        """Index the vectors (K, H) of the nodes of `level`."""
        if params.index is IndexKind.none:
            raise ConfigError("shortlist.index = none: nothing to build; choose flat or hnsw")
        self.params, self.level = params, level
        self.vectors_KH = np.ascontiguousarray(vectors_KH, np.float32)
        self._index = _build(self.vectors_KH, params)

    @property
    def num_nodes(self) -> int:
        """Nodes of the entry level, K."""
        return len(self.vectors_KH)

    def find(self, queries_NH: np.ndarray, width: int | None = None) -> sp.csr_array:
        """The nodes with the highest inner products: csr_array (N, K) of ones.

        Raises DataError when the queries have another width than the vectors.
        """
        if queries_NH.shape[1] != self.vectors_KH.shape[1]:
            wanted = self.vectors_KH.shape[1]
            raise DataError(f"queries have {queries_NH.shape[1]} columns, the shortlist {wanted}")
        width = min(width or self.params.width, self.num_nodes)
        _, nodes_NW = self._index.search(np.ascontiguousarray(queries_NH, np.float32), width)
        found = nodes_NW >= 0  # HNSW may find fewer
        rows = np.repeat(np.arange(len(queries_NH)), found.sum(1))
        ones = np.ones(len(rows), np.float32)
        shape = (len(queries_NH), self.num_nodes)
        return binarize(sp.csr_array((ones, (rows, nodes_NW[found])), shape=shape))

    def recall(self, queries_NH: np.ndarray, top_k: int) -> float:
        """Share of the `top_k` nodes of an exhaustive search that are in the shortlist."""
        top_k = min(top_k, self.num_nodes)
        exact_NK = np.argsort(-(queries_NH @ self.vectors_KH.T), axis=1, kind="stable")[:, :top_k]
        found = self.find(queries_NH).toarray() > 0
        return float(np.take_along_axis(found, exact_NK, axis=1).mean())


def centroids(embeddings_NH: np.ndarray, Y_level: sp.csr_array) -> np.ndarray:
    """Unit-length mean of the embeddings of each node's rows: float32 (K, H), 0 without rows."""
    sums_KH = np.asarray(binarize(Y_level).T @ embeddings_NH, np.float32)
    lengths_K = np.linalg.norm(sums_KH, axis=1, keepdims=True)
    return sums_KH / np.where(lengths_K > 0, lengths_K, 1.0)


def _build(vectors_KH: np.ndarray, params: ShortlistParams) -> Any:
    import faiss

    width = vectors_KH.shape[1]
    index: Any
    if params.index is IndexKind.flat:
        index = faiss.IndexFlatIP(width)
    else:
        index = faiss.IndexHNSWFlat(width, params.hnsw_neighbors, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 200
        index.hnsw.efSearch = max(64, 2 * params.width)
    index.add(vectors_KH)
    return index


def entry_beam(
    weights: LevelWeights,
    tree: LabelTree,
    level: int,
    shortlist_NK: sp.csr_array,
    X: HybridMatrix,
    transform: PathTransform,
    num_threads: int | None = None,
) -> sp.csr_array:
    """Score the nodes of a shortlist exactly with the rankers of their level: log scores (N, K).

    The levels above are not asked: a node starts with log f(margin) of its own ranker.
    """
    parents_NP = binarize(sp.csr_array(shortlist_NK @ tree.cluster_matrix(level)))
    start = _zeros_stored(parents_NP)
    every_child = int(np.diff(tree.children(level)[0]).max()) * int(
        max(1, np.diff(start.indptr).max(initial=1))
    )
    scored = step(weights, X, start, every_child, transform, num_threads)
    return Constraint(shortlist_NK, allows=True).keep(scored)


def _zeros_stored(pattern: sp.csr_array) -> sp.csr_array:
    beam = sp.csr_array(pattern.shape, dtype=np.float32)
    beam.data = np.zeros(pattern.nnz, np.float32)
    beam.indices = pattern.indices.astype(np.int32)
    beam.indptr = pattern.indptr.astype(np.int32)
    return beam
