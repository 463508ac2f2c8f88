"""Hybrid rows, [TF-IDF ; embedding], of TF-IDF rows and embeddings.

N rows, F TF-IDF columns, H columns of the fine-tuned encoder, G of the frozen one where there is
one, M = H + G.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.hybrid import HybridMatrix, unit_rows


@dataclass(frozen=True)
class EmbeddingBlocks:
    """Widths of the two embeddings of a text, and how long each is in a hybrid row, where TF-IDF
    rows have length 1.
    """

    width: int
    """Columns of the fine-tuned encoder, H."""
    weight: float = 1.0
    """Length of the fine-tuned encoder's embedding."""
    frozen_width: int = 0
    """Columns of the frozen encoder, G; 0 where there is none."""
    frozen_weight: float = 0.0
    """Length of the frozen encoder's embedding; 0 leaves it out."""

    @property
    def num_dense(self) -> int:
        """Dense columns of a hybrid row, M."""
        return self.width + self.frozen_width

    def tuned(self, embeddings_NM: np.ndarray) -> np.ndarray:
        """The fine-tuned encoder's embeddings, brought to length 1: float32 (N, H).

        Args:
            embeddings_NM: as the encoders give them, (N, M).

        Returns:
            A new array.

        Raises:
            DataError: they have another width.
        """
        self.check_width(embeddings_NM)
        return unit_rows(embeddings_NM[:, : self.width])

    def join(self, X_NF: sp.csr_array, embeddings_NM: np.ndarray) -> HybridMatrix:
        """Rows [TF-IDF ; weight * tuned ; frozen_weight * frozen]: (N, F + M).

        Args:
            X_NF: TF-IDF rows of length 1.
            embeddings_NM: as the encoders give them, (N, M).

        Returns:
            The rows; without the frozen block where its weight or width is 0.

        Raises:
            DataError: the embeddings have another width.
        """
        dense_NM = self.tuned(embeddings_NM) * np.float32(self.weight)
        if self.frozen_width and self.frozen_weight:
            frozen_NG = unit_rows(embeddings_NM[:, self.width :]) * np.float32(self.frozen_weight)
            dense_NM = np.hstack([dense_NM, frozen_NG])
        return HybridMatrix.of(X_NF, dense_NM)

    def check_width(self, embeddings_NM: np.ndarray) -> None:
        """Refuse embeddings of another model.

        Args:
            embeddings_NM: as the encoders give them, (N, M).

        Raises:
            DataError: they have another width.
        """
        if embeddings_NM.shape[1] != self.num_dense:
            raise DataError(
                f"embeddings have {embeddings_NM.shape[1]} columns, this model's have "
                f"{self.num_dense}; take them from the model's own `embed`"
            )
