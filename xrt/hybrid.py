"""Feature rows in two blocks, [sparse | dense], that are never merged.

TF-IDF is sparse and wide, an embedding dense and narrow; each has its own kernels. N rows, F sparse
columns, H dense columns.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.sparse import as_csr


def unit_rows(embeddings_NH: np.ndarray) -> np.ndarray:
    """Each row brought to length 1, float32; rows of zeros stay."""
    lengths_N1 = np.linalg.norm(embeddings_NH, axis=1, keepdims=True)
    return np.asarray(embeddings_NH / np.where(lengths_N1 > 0, lengths_N1, 1.0), np.float32)


@dataclass(frozen=True, eq=False)
class HybridMatrix:
    """Rows whose features are `sparse` (N, F) and `dense` (N, H); either may have no columns."""

    sparse: sp.csr_array
    dense: np.ndarray

    @classmethod
    def of(cls, sparse: Any = None, dense: Any = None) -> "HybridMatrix":
        """Join what is there: a matrix, an array of embeddings, or both.

        Raises DataError when both are missing, when rows differ in number, or on NaN and
        infinities.
        """
        if sparse is None and dense is None:
            raise DataError("no features: pass sparse rows, dense rows or both")
        if dense is not None:
            dense = np.ascontiguousarray(dense, np.float32)
            if dense.ndim != 2:
                raise DataError(f"dense features: {dense.ndim} dimension(s) where 2 are needed")
            if not np.isfinite(dense).all():
                raise DataError("dense features: NaN or infinity; remove or replace it")
        csr = (
            sp.csr_array((len(dense), 0), dtype=np.float32)
            if sparse is None
            else as_csr(sparse, "X")
        )
        if dense is None:
            dense = np.zeros((csr.shape[0], 0), np.float32)
        if csr.shape[0] != len(dense):
            raise DataError(f"{csr.shape[0]} sparse rows, but {len(dense)} dense rows")
        return cls(csr, dense)

    @property
    def num_rows(self) -> int:
        """Number of rows, N."""
        return len(self.dense)

    @property
    def num_features(self) -> int:
        """Number of sparse columns, F."""
        return int(self.sparse.shape[1])

    @property
    def num_dense(self) -> int:
        """Number of dense columns, H."""
        return int(self.dense.shape[1])

    def take(self, rows: np.ndarray) -> "HybridMatrix":
        """The given rows, in the given order."""
        return HybridMatrix(as_csr(self.sparse[rows]), np.ascontiguousarray(self.dense[rows]))
