"""Feature rows in two blocks, [sparse | dense], that are never merged.

TF-IDF is sparse and wide, an embedding dense and narrow; each has its own kernels. Rows to train on
may carry a weight each. N rows, F sparse columns, H dense columns.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.sparse import as_csr


def unit_rows(embeddings_NH: np.ndarray) -> np.ndarray:
    """Each row brought to length 1, float32; rows of zeros stay.

    Args:
        embeddings_NH: any rows.

    Returns:
        float32 (N, H).
    """
    lengths_N1 = np.linalg.norm(embeddings_NH, axis=1, keepdims=True)
    return np.asarray(embeddings_NH / np.where(lengths_N1 > 0, lengths_N1, 1.0), np.float32)


@dataclass(frozen=True, eq=False)
class HybridMatrix:
    """Rows whose features are `sparse` (N, F) and `dense` (N, H); either may have no columns.

    `weights_N` are the weights of the rows in training; None where each is 1.
    """

    sparse: sp.csr_array
    dense: np.ndarray
    weights_N: np.ndarray | None = None

    @classmethod
    def of(cls, sparse: Any = None, dense: Any = None) -> "HybridMatrix":
        """Join a matrix, an array of embeddings, or both.

        Args:
            sparse: a matrix (N, F); None for no columns.
            dense: an array (N, H); None for no columns.

        Returns:
            The rows.

        Raises:
            DataError: both are missing, rows differ in number, or a number is NaN or infinite.
        """
        if sparse is None and dense is None:
            raise DataError("no features: pass sparse rows, dense rows or both")
        if dense is not None:
            try:
                with np.errstate(over="ignore"):
                    dense = np.ascontiguousarray(dense, np.float32)
            except (TypeError, ValueError) as err:
                raise DataError(f"dense features: not numbers ({err}); pass an array") from err
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
        """These rows, in this order, with their weights.

        Args:
            rows: row numbers, int (n,).

        Returns:
            n rows.
        """
        weights = None if self.weights_N is None else self.weights_N[rows]
        return HybridMatrix(
            as_csr(self.sparse[rows]), np.ascontiguousarray(self.dense[rows]), weights
        )

    def weighted(self, weights: Any) -> "HybridMatrix":
        """The same rows with instance weights as `as_row_weights` takes them.

        Args:
            weights: of the rows, (N,); None where each counts 1.

        Returns:
            The rows with weights.

        Raises:
            DataError: as for `as_row_weights`.
        """
        return replace(self, weights_N=as_row_weights(weights, self.num_rows))


def as_row_weights(weights: Any, num_rows: int) -> np.ndarray | None:
    """Instance weights as float32 (N,); None without weights, or where all are 1.

    Args:
        weights: numbers above 0, or None.
        num_rows: N.

    Returns:
        float32 (N,), or None.

    Raises:
        DataError: they are not one finite number above 0 for each row.
    """
    if weights is None:
        return None
    try:
        with np.errstate(over="ignore"):
            weights_N = np.ascontiguousarray(weights, np.float32)
    except (TypeError, ValueError) as err:
        raise DataError(f"row weights: not numbers ({err}); give one for each row") from err
    if weights_N.shape != (num_rows,):
        raise DataError(
            f"row weights: shape {weights_N.shape} for {num_rows} rows; give one for each row"
        )
    wrong = np.flatnonzero(~(np.isfinite(weights_N) & (weights_N > 0)))
    if len(wrong):
        raise DataError(
            f"row weights: {np.asarray(weights)[wrong[0]]} at row {wrong[0]}; give finite numbers "
            "above 0, and leave out rows that are not to count"
        )
    return None if (weights_N == 1).all() else weights_N
