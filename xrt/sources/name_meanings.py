"""The source `name_meanings`: how near the meaning of a label's name is to that of the text.

N rows, L labels, R of them with a name, H hidden width. A name is embedded as a text is. The score
of a label is a sigmoid of the cosine of the two embeddings, so that a label without any training
row is named by its name alone. A label without a name is never named.
"""

from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp

from xrt.search.constraints import Constraint
from xrt.sources.base import Training
from xrt.sources.faiss_index import VectorIndex, Vectors
from xrt.sources.label_head import LabelHead
from xrt.sparse import as_csr

SCALE = 10.0
"""The logit of a label is SCALE * (cosine - 0.5): cosines from 0 to 1 fill the scores."""

NO_NAME = -200.0
"""The logit of a label without a name: its sigmoid is 0 in float32."""


class NameMeanings(LabelHead):
    """The embeddings of the labels' names as a head over the labels: weights (L, H), biases (L,),
    and the FAISS index over them.
    """

    name: ClassVar[str] = "name_meanings"
    title: ClassVar[str] = "meaning of the label's name"
    stays_without_weight: ClassVar[bool] = False

    @classmethod
    def fit(cls, training: Training) -> Self | None:
        """Keep the embeddings of the names that are training rows; None where there are none. See
        `Source.fit`.

        Args:
            training: what to fit on; of it, the names.

        Returns:
            The source, or None.
        """
        if training.names is None:
            return None
        assert training.embed_names is not None
        queries_nH, rows = training.measured_NH()
        num_labels = training.Y_NL.shape[1]
        no_rows = sp.csr_array((0, num_labels), dtype=np.float32)
        labels_R = training.names.below(no_rows).indices
        names_LH = np.zeros((num_labels, queries_nH.shape[1]), np.float32)
        names_LH[labels_R] = training.embed_names()[:, : queries_nH.shape[1]]
        bare = cls.of(names_LH, labels_R)
        index = VectorIndex.build(Vectors(bare.weight_LH, bare.bias_L), queries_nH, rows)
        return cls(bare.weight_LH, bare.bias_L, index)

    @classmethod
    def of(cls, names_LH: np.ndarray, labels_R: np.ndarray) -> Self:
        """The source of given embeddings, whose index goes through all names.

        Args:
            names_LH: embeddings of the names, of any length, (L, H).
            labels_R: the labels that have a name.

        Returns:
            The source.
        """
        lengths_L1 = np.linalg.norm(names_LH, axis=1, keepdims=True)
        weight_LH = SCALE * names_LH / np.where(lengths_L1 > 0, lengths_L1, 1)
        bias_L = np.full(len(names_LH), NO_NAME, np.float32)
        bias_L[labels_R] = -SCALE / 2
        return cls(weight_LH.astype(np.float32), bias_L)

    def top(
        self,
        embeddings_NH: np.ndarray,
        k: int,
        constraint: Constraint | None = None,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        """The `k` labels whose names are nearest, of those that have one; see `LabelHead.top`.

        Args:
            embeddings_NH: embeddings by the fine-tuned encoder, of length 1, (N, H).
            k: most labels of a row.
            constraint: which labels are let through; None: all.
            num_threads: threads; None for the default.

        Returns:
            Scores in (0, 1], csr_array (N, L).
        """
        return _named(super().top(embeddings_NH, k, constraint, num_threads))

    def top_given(
        self, embeddings_NH: np.ndarray, pairs_NL: sp.csr_array, num_threads: int | None = None
    ) -> sp.csr_array:
        """Scores of the pairs whose label has a name; see `LabelHead.top_given`.

        Args:
            embeddings_NH: embeddings by the fine-tuned encoder, of length 1, (N, H).
            pairs_NL: pairs of rows and labels, the stored entries of a csr_array (N, L).
            num_threads: threads; None for the default.

        Returns:
            Scores in (0, 1], csr_array (N, L).
        """
        return _named(super().top_given(embeddings_NH, pairs_NL, num_threads))


def _named(scores_NL: sp.csr_array) -> sp.csr_array:
    """Scores without those of labels that have no name."""
    if (scores_NL.data > 0).all():
        return scores_NL
    named_NL = scores_NL.copy()
    named_NL.eliminate_zeros()
    return as_csr(named_NL)
