"""The matcher's own ranking of labels: its last head, over all of them.

N rows, L labels, H hidden width.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.search.constraints import Constraint
from xrt.sources.faiss_index import faiss_threads, half_precision_index
from xrt.sparse import as_csr
from xrt.tree.path_scores import log_sigmoids

FEW_ROWS = 4
"""Up to so many rows the weights are read in half precision first: reading them is what takes time
then. Above, one product of matrices for all rows is faster."""

MIN_LABELS = 2_000
"""Labels from which on that pays."""

SPARE = 64
"""Labels beyond those asked for that half precision names, so that exact logits decide."""


@dataclass(frozen=True, eq=False)
class LabelHead:
    """The matcher's head over the labels: weights (L, H) and biases (L,)."""

    weight_LH: np.ndarray
    bias_L: np.ndarray

    def __getstate__(self) -> dict[str, Any]:
        """All but the index, which is made again of the weights."""
        return {name: value for name, value in vars(self).items() if name != "_index"}

    def top(
        self, embeddings_NH: np.ndarray, k: int, constraint: Constraint | None = None
    ) -> sp.csr_array:
        """The `k` labels with the highest logits, scored by the sigmoid: (N, L); only such as the
        constraint lets through.
        """
        num_rows, num_labels = len(embeddings_NH), len(self.bias_L)
        k = min(k, num_labels)
        if num_rows <= FEW_ROWS and num_labels >= MIN_LABELS and constraint is None:
            labels_NK, logits_NK = self._top_of_few(embeddings_NH, k)
        else:
            labels_NK, logits_NK = self._top_of_many(embeddings_NH, k, constraint)
        scores_NK = np.exp(log_sigmoids(logits_NK)).astype(np.float32)
        indptr = np.arange(num_rows + 1) * k
        parts = (scores_NK.ravel(), labels_NK.ravel(), indptr)
        found = as_csr(sp.csr_array(parts, shape=(num_rows, num_labels)))
        return found if constraint is None else constraint.keep(found)

    def _top_of_many(
        self, embeddings_NH: np.ndarray, k: int, constraint: Constraint | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best labels of each row, ascending, and their logits: (N, k) each."""
        num_rows, num_labels = len(embeddings_NH), len(self.bias_L)
        labels_NK = np.empty((num_rows, k), np.int32)
        logits_NK = np.empty((num_rows, k), np.float32)
        block = max(1, 2**25 // num_labels)  # 128 MiB of logits at a time
        for first in range(0, num_rows, block):
            rows = slice(first, first + block)
            logits_BL = embeddings_NH[rows] @ self.weight_LH.T
            logits_BL += self.bias_L
            if constraint is not None:
                here = constraint.rows(first, first + block)
                logits_BL[~here.mask(len(logits_BL))] = -np.inf
            labels_NK[rows] = _highest(logits_BL, k)
            logits_NK[rows] = np.take_along_axis(logits_BL, labels_NK[rows], axis=1)
        return labels_NK, logits_NK

    def _top_of_few(self, embeddings_NH: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `_top_of_many`: half precision names `k` + SPARE labels, whose logits are exact."""
        num_rows, num_close = len(embeddings_NH), min(k + SPARE, len(self.bias_L))
        ones_N1 = np.ones((num_rows, 1), np.float32)
        with faiss_threads(1):
            close_NC = self._index.search(np.hstack([embeddings_NH, ones_N1]), num_close)[1]
        close_NC = np.sort(close_NC, axis=1)
        weight_NCH = self.weight_LH[close_NC]
        logits_NC = np.einsum("nh,nch->nc", embeddings_NH, weight_NCH) + self.bias_L[close_NC]
        best_NK = _highest(logits_NC, k)
        labels_NK = np.take_along_axis(close_NC, best_NK, axis=1).astype(np.int32)
        return labels_NK, np.take_along_axis(logits_NC, best_NK, axis=1)

    @cached_property
    def _index(self) -> Any:
        return half_precision_index(np.hstack([self.weight_LH, self.bias_L[:, None]]))


def _highest(logits_NC: np.ndarray, k: int) -> np.ndarray:
    """The columns of the `k` highest logits of each row, ascending: int64 (N, k)."""
    width = logits_NC.shape[1]
    last_NK = np.argpartition(logits_NC, width - k, axis=1)[:, width - k :]
    return np.sort(last_NK, axis=1)
