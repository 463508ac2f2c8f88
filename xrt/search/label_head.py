"""The matcher's own ranking of labels: its last head, over all of them.

N rows, L labels, H hidden width.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.search.constraints import Constraint
from xrt.sparse import as_csr
from xrt.tree.path_scores import PathTransform, log_scores


@dataclass(frozen=True, eq=False)
class LabelHead:
    """The matcher's head over the labels: weights (L, H) and biases (L,)."""

    weight_LH: np.ndarray
    bias_L: np.ndarray

    def top(
        self, embeddings_NH: np.ndarray, k: int, constraint: Constraint | None = None
    ) -> sp.csr_array:
        """The `k` labels with the highest logits, scored by the sigmoid: (N, L); only such as the
        constraint lets through.
        """
        num_rows, num_labels = len(embeddings_NH), len(self.bias_L)
        k = min(k, num_labels)
        labels_NK, scores_NK = (
            np.empty((num_rows, k), np.int32),
            np.empty((num_rows, k), np.float32),
        )
        block = max(1, 2**25 // num_labels)  # 128 MiB of logits at a time
        for first in range(0, num_rows, block):
            rows = slice(first, first + block)
            logits_BL = embeddings_NH[rows] @ self.weight_LH.T
            logits_BL += self.bias_L
            if constraint is not None:
                here = constraint.rows(first, first + block)
                logits_BL[~here.mask(len(logits_BL))] = -np.inf
            last_BK = np.argpartition(logits_BL, num_labels - k, axis=1)[:, num_labels - k :]
            best_BK = np.sort(last_BK, axis=1)
            labels_NK[rows] = best_BK
            best_logits = np.take_along_axis(logits_BL, best_BK, axis=1)
            scores_NK[rows] = np.exp(log_scores(best_logits, PathTransform.sigmoid))
        indptr = np.arange(num_rows + 1) * k
        parts = (scores_NK.ravel(), labels_NK.ravel(), indptr)
        found = as_csr(sp.csr_array(parts, shape=(num_rows, num_labels)))
        return found if constraint is None else constraint.keep(found)
