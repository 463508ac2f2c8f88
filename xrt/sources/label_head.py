"""The source `matcher`: the encoder's own ranking of labels, by its head over all of them.

N rows, L labels, H hidden width.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp

from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.base import ModelShape, SourceRows, Training
from xrt.sources.evidence import Naming, SourceEvidence
from xrt.sources.faiss_index import faiss_threads, half_precision_index
from xrt.sparse import as_csr, best_columns
from xrt.storage.atomic import save_array
from xrt.storage.reading import check_finite, load_array
from xrt.storage.saved_values import SavedValues
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

    name: ClassVar[str] = "matcher"
    title: ClassVar[str] = "the encoder's own ranking"
    uses_embeddings: ClassVar[bool] = True
    stays_without_weight: ClassVar[bool] = True

    @classmethod
    def fit(cls, training: Training) -> Self | None:
        """The head that the matcher was trained with; None where it was not trained down to the
        labels. See `Source.fit`.

        Args:
            training: what to fit on, and the settings.

        Returns:
            The source, or None.
        """
        return None if training.head is None else cls(*training.head)

    def score(
        self,
        rows: SourceRows,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
        constraint: Constraint | None = None,
    ) -> sp.csr_array:
        """The labels with the highest logits; see `Source.score`.

        Args:
            rows: the rows to score, N.
            k: most labels of a row.
            search: not used.
            num_threads: not used.
            constraint: which labels are let through; None: all.

        Returns:
            Scores in [0, 1], csr_array (N, L).
        """
        return self.top(rows.unit_NH, k, constraint)

    def score_given(
        self,
        rows: SourceRows,
        pairs_NL: sp.csr_array,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        """Sigmoids of the pairs' logits; see `Source.score_given`.

        Args:
            rows: the rows to score, N.
            pairs_NL: pairs of rows and labels, the stored entries of a csr_array (N, L).
            search: not used.
            num_threads: not used.

        Returns:
            Scores in [0, 1], csr_array (N, L).
        """
        return self.top_given(rows.unit_NH, pairs_NL)

    def explain(
        self,
        rows: SourceRows,
        naming: Naming,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> SourceEvidence:
        """Nothing beside the score; see `Source.explain`.

        Args:
            rows: not used.
            naming: not used.
            k: not used.
            search: not used.
            num_threads: not used.

        Returns:
            Evidence that says nothing.
        """
        return SourceEvidence()

    def fault(self, shape: ModelShape) -> str | None:
        """See `Source.fault`.

        Args:
            shape: labels and columns of the model.

        Returns:
            What is wrong, in words, or None.
        """
        width = -1 if shape.blocks is None else shape.blocks.width
        fits = self.weight_LH.shape == (shape.num_labels, width)
        if not fits or len(self.bias_L) != shape.num_labels:
            return "the head has other labels or columns"
        return None

    def check(self, num_threads: int | None = None) -> None:
        """See `Source.check`.

        Args:
            num_threads: not used.

        Raises:
            ArtifactError: a weight or bias is not finite.
        """
        check_finite(self.weight_LH, f"{self.name}/weight.npy")
        check_finite(self.bias_L, f"{self.name}/bias.npy")

    def save(self, folder: Path) -> dict[str, Any]:
        """See `Source.save`.

        Args:
            folder: the source's own folder, in the model's.

        Returns:
            No settings: an empty mapping.
        """
        save_array(folder / "weight.npy", self.weight_LH)
        save_array(folder / "bias.npy", self.bias_L)
        return {}

    @classmethod
    def load(cls, folder: Path, settings: SavedValues, mmap: bool = True) -> Self:
        """See `Source.load`.

        Args:
            folder: the source's own folder, in the model's.
            settings: not used.
            mmap: whether arrays are memory-mapped.

        Returns:
            The source.

        Raises:
            ArtifactError: a file is missing or damaged.
        """
        return cls(
            load_array(folder / "weight.npy", np.float32, 2, mmap),
            load_array(folder / "bias.npy", np.float32, 1, mmap),
        )

    def __getstate__(self) -> dict[str, Any]:
        """All but the index, which is made again of the weights."""
        return {name: value for name, value in vars(self).items() if name != "_index"}

    def top(
        self, embeddings_NH: np.ndarray, k: int, constraint: Constraint | None = None
    ) -> sp.csr_array:
        """The `k` labels with the highest logits, scored by the sigmoid: (N, L); only such as the
        constraint lets through.

        Args:
            embeddings_NH: embeddings by the fine-tuned encoder, of length 1, (N, H).
            k: most labels of a row.
            constraint: which labels are let through; None: all.

        Returns:
            Scores in [0, 1], csr_array; with a constraint a row may have fewer than `k`.
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
        scores_NL = as_csr(sp.csr_array(parts, shape=(num_rows, num_labels)))
        return scores_NL if constraint is None else constraint.keep(scores_NL)

    def top_given(self, embeddings_NH: np.ndarray, pairs_NL: sp.csr_array) -> sp.csr_array:
        """Scores of the stored entries of `pairs_NL`, (N, L), from products of the same blocks as
        those of `top`: a sum is rounded in the same way.

        Args:
            embeddings_NH: embeddings by the fine-tuned encoder, of length 1, (N, H).
            pairs_NL: pairs of rows and labels, the stored entries of a csr_array (N, L).

        Returns:
            Scores in [0, 1], float32, with the pattern of the pairs.
        """
        logits_P = np.empty(pairs_NL.nnz, np.float32)
        block = self._rows_of_block
        for first in range(0, len(embeddings_NH), block):
            logits_BL = self._logits(embeddings_NH[first : first + block])
            ptr = pairs_NL.indptr[first : first + len(logits_BL) + 1]
            rows_p = np.repeat(np.arange(len(logits_BL)), np.diff(ptr))
            logits_P[ptr[0] : ptr[-1]] = logits_BL[rows_p, pairs_NL.indices[ptr[0] : ptr[-1]]]
        scores = sp.csr_array(pairs_NL.shape, dtype=np.float32)
        scores.indptr, scores.indices = pairs_NL.indptr, pairs_NL.indices
        scores.data = np.exp(log_sigmoids(logits_P)).astype(np.float32)
        return scores

    @property
    def _rows_of_block(self) -> int:
        return max(1, 2**25 // len(self.bias_L))  # 128 MiB of logits at a time

    def _logits(self, embeddings_BH: np.ndarray) -> np.ndarray:
        logits_BL: np.ndarray = embeddings_BH @ self.weight_LH.T
        logits_BL += self.bias_L
        return logits_BL

    def _top_of_many(
        self, embeddings_NH: np.ndarray, k: int, constraint: Constraint | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best labels of each row, ascending, and their logits: (N, k) each."""
        num_rows, block = len(embeddings_NH), self._rows_of_block
        labels_NK = np.empty((num_rows, k), np.int32)
        logits_NK = np.empty((num_rows, k), np.float32)
        for first in range(0, num_rows, block):
            rows = slice(first, first + block)
            logits_BL = self._logits(embeddings_NH[rows])
            if constraint is not None:
                here = constraint.rows(first, first + block)
                logits_BL[~here.mask(len(logits_BL))] = -np.inf
            labels_NK[rows] = best_columns(logits_BL, k)
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
        best_NK = best_columns(logits_NC, k)
        labels_NK = np.take_along_axis(close_NC, best_NK, axis=1).astype(np.int32)
        return labels_NK, np.take_along_axis(logits_NC, best_NK, axis=1)

    @cached_property
    def _index(self) -> Any:
        return half_precision_index(np.hstack([self.weight_LH, self.bias_L[:, None]]))
