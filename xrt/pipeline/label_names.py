"""The names of the labels as further training rows: a name is a text whose one label is known.

Most labels of a long tail have one or two rows; a name says the word that their texts would say. It
is in no count of labels and not held out; names vote as neighbours, too.

R labels that have a name, N rows, L labels, F TF-IDF columns, M columns of embeddings.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.data.labels import LabelTable
from xrt.features.label_features import label_text_features
from xrt.features.tfidf import TfidfFeatures
from xrt.hybrid import HybridMatrix
from xrt.sparse import as_csr
from xrt.storage.hashing import content_hash
from xrt.storage.stages import Hash


@dataclass(frozen=True, eq=False)
class LabelNameRows:
    """A row for each label that has a name, `weight` as long as a text's row."""

    names: tuple[str, ...]
    columns_R: np.ndarray
    """Which label each row is of."""
    num_labels: int
    X_RF: sp.csr_array
    weight: float

    @property
    def inputs(self) -> dict[str, Hash]:
        """What rankers trained on these rows depend on, as a stage's inputs."""
        return {"label names": self._hash}

    def _hash(self) -> str:
        return content_hash([list(self.names), self.columns_R.tolist(), self.weight])

    def join(
        self, X: HybridMatrix, Y_NL: sp.csr_array, dense_RM: np.ndarray | None = None
    ) -> tuple[HybridMatrix, sp.csr_array]:
        """Rows and labels with those of the names below them.

        Args:
            X: rows (N, F + M).
            Y_NL: their labels, (N, L).
            dense_RM: embeddings of the names as they would stand in X. Without them a name of no
                known word is left out, since its row would be empty.

        Returns:
            Rows and labels of the texts, then of the names.
        """
        used = np.arange(len(self.names))
        if dense_RM is None:
            used = np.flatnonzero(np.diff(self.X_RF.indptr))
            dense_RM = np.zeros((len(self.names), X.num_dense), np.float32)
        scale = np.float32(self.weight)
        below = HybridMatrix(as_csr(self.X_RF[used] * scale), dense_RM[used] * scale)
        weights = X.weights_N
        if weights is not None:
            weights = np.append(weights, np.ones(len(used), np.float32))
        rows = HybridMatrix(
            as_csr(sp.vstack([X.sparse, below.sparse], format="csr")),
            np.vstack([X.dense, below.dense]),
            weights,
        )
        return rows, self.below(Y_NL, used)

    def below(self, Y_NL: sp.csr_array, used: np.ndarray | None = None) -> sp.csr_array:
        """Labels with those of the names below them.

        Args:
            Y_NL: labels of N rows, (N, L).
            used: positions of the names to take; None for all.

        Returns:
            (N + names taken, L).
        """
        columns = self.columns_R if used is None else self.columns_R[used]
        ones, indptr = np.ones(len(columns), np.float32), np.arange(len(columns) + 1)
        Y_RL = sp.csr_array((ones, columns, indptr), shape=(len(columns), self.num_labels))
        return as_csr(sp.vstack([Y_NL, Y_RL], format="csr"))


def label_name_rows(
    features: TfidfFeatures | None, labels: LabelTable, weight: float
) -> LabelNameRows | None:
    """The rows of the labels' names.

    Args:
        features: the vectoriser of the texts; None where there is none.
        labels: the labels.
        weight: length of each row; 0 for no rows.

    Returns:
        The rows; None where no label has a name, where there is no vectoriser, or where the weight
        is 0.
    """
    columns_R = np.flatnonzero([bool(name) for name in labels.names])
    if features is None or weight == 0 or not len(columns_R):
        return None
    names = tuple(labels.names[column] for column in columns_R)
    return LabelNameRows(
        names, columns_R, len(labels), label_text_features(names, features), weight
    )
