"""The problem that the rankers of a level solve: the positive rows of each node, the rows they are
compared with, and the cost of each row.

N rows, K_t nodes at level t, K_{t-1} clusters above, n rows of a cluster.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.hybrid import HybridMatrix
from xrt.tree.label_tree import LabelTree


@dataclass(frozen=True, eq=False)
class RankerProblem:
    """What the rankers of level t are trained on.

    `positives` csc (N, K_t): an entry says that the row belongs below the node, and with what
    confidence: it multiplies `cost_positive` there. `candidates` csc (N, K_{t-1}): a nonzero makes
    the row a candidate in the cluster; None where every row is one.
    """

    t: int
    positives: sp.csc_array
    candidates: sp.csc_array | None

    @classmethod
    def of(
        cls, X: HybridMatrix, Y_level: sp.csr_array, M: sp.csr_array | None, tree: LabelTree, t: int
    ) -> "RankerProblem":
        """Make the problem of level t.

        Args:
            X: feature rows (N, F + H).
            Y_level: confidences (N, K_t); an entry of 0 is no target.
            M: candidates (N, K_{t-1}); None where every row is one.
            tree: the label tree.
            t: the level, counted from 0 below the root.

        Returns:
            The problem.

        Raises:
            DataError: the shapes do not fit together, or a target is below 0.
        """
        of_nodes, of_clusters = ((X.num_rows, tree.num_nodes(t - up)) for up in (0, 1))
        if Y_level.shape != of_nodes:
            raise DataError(
                f"targets of level {t} have shape {Y_level.shape}, rows and nodes are {of_nodes}"
            )
        if M is not None and M.shape != of_clusters:
            raise DataError(
                f"candidates of level {t} have shape {M.shape}, rows and clusters are {of_clusters}"
            )
        positives = sp.csc_array(Y_level)
        lowest = positives.data.min(initial=1)
        if lowest < 0:
            raise DataError(f"targets of level {t}: {lowest}; confidences of labels are above 0")
        if lowest == 0:
            positives.eliminate_zeros()
        return cls(t, positives, None if M is None else sp.csc_array(M))

    @property
    def is_certain(self) -> bool:
        """Whether every confidence is 1."""
        return bool((self.positives.data == 1).all())

    def rows_of(self, cluster: int, siblings: np.ndarray) -> np.ndarray:
        """Rows that the nodes of a cluster are trained on: candidates and positives, ascending."""
        candidates, positives = self.candidates, self.positives
        assert candidates is not None
        rows = [candidates.indices[candidates.indptr[cluster] : candidates.indptr[cluster + 1]]]
        rows += [
            positives.indices[positives.indptr[node] : positives.indptr[node + 1]]
            for node in siblings
        ]
        return np.unique(np.concatenate(rows)).astype(np.int32)

    def costs(self, X: HybridMatrix, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Factors of the costs: the confidence of each positive entry, and the weights of `rows`
        (n,); float32.
        """
        weights_n = np.ones(len(rows), np.float32) if X.weights_N is None else X.weights_N[rows]
        return self.positives.data.astype(np.float32, copy=False), weights_n
