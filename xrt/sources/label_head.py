"""The source `matcher`: the encoder's own ranking of labels, by its head over all of them.

N rows, L labels, H hidden width.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.linear.scoring import index_type
from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.base import ModelShape, SourceRows, Training
from xrt.sources.evidence import Naming, SourceEvidence
from xrt.sources.faiss_index import faiss_threads, half_precision_index
from xrt.sources.products import given_products
from xrt.sparse import best_columns, top_k_rows
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
        return self.top(rows.unit_NH, k, constraint, num_threads)

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
        return self.top_given(rows.unit_NH, pairs_NL, num_threads)

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
        self,
        embeddings_NH: np.ndarray,
        k: int,
        constraint: Constraint | None = None,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        """The `k` labels with the highest logits, scored by the sigmoid: (N, L); only such as the
        constraint lets through.

        Args:
            embeddings_NH: embeddings by the fine-tuned encoder, of length 1, (N, H).
            k: most labels of a row.
            constraint: which labels are let through; None: all.
            num_threads: threads; None for the default.

        Returns:
            Scores in [0, 1], csr_array; with a constraint a row may have fewer than `k`.

        Raises:
            DataError: an embedding holds a number that is not finite.
        """
        num_rows, num_labels = len(embeddings_NH), len(self.bias_L)
        _require_finite(embeddings_NH)
        k, num_close = min(k, num_labels), min(k + SPARE, num_labels)
        if num_rows <= FEW_ROWS and num_labels >= MIN_LABELS and constraint is None:
            close_NC = self._close_of_few(embeddings_NH, num_close)
        else:
            close_NC = self._close_of_many(embeddings_NH, num_close, constraint)
        close_NL = _pairs(close_NC, num_labels)
        if constraint is not None:
            close_NL = constraint.keep(close_NL)
        close_NL.data = self._logits_given(embeddings_NH, close_NL, num_threads)
        return _sigmoids(top_k_rows(close_NL, k))

    def top_given(
        self, embeddings_NH: np.ndarray, pairs_NL: sp.csr_array, num_threads: int | None = None
    ) -> sp.csr_array:
        """Scores of the stored entries of `pairs_NL`, (N, L), to the bit those of `top`. Only the
        products of these pairs are computed.

        Args:
            embeddings_NH: embeddings by the fine-tuned encoder, of length 1, (N, H).
            pairs_NL: pairs of rows and labels, the stored entries of a csr_array (N, L).
            num_threads: threads; None for the default.

        Returns:
            Scores in [0, 1], float32, with the pattern of the pairs.

        Raises:
            DataError: an embedding holds a number that is not finite.
        """
        _require_finite(embeddings_NH)
        scores = sp.csr_array(pairs_NL.shape, dtype=np.float32)
        scores.indptr, scores.indices = pairs_NL.indptr, pairs_NL.indices
        scores.data = self._logits_given(embeddings_NH, pairs_NL, num_threads)
        return _sigmoids(scores)

    def _logits_given(
        self, embeddings_NH: np.ndarray, pairs_NL: sp.csr_array, num_threads: int | None
    ) -> np.ndarray:
        products_P = given_products(embeddings_NH, self.weight_LH, pairs_NL, num_threads)
        logits_P: np.ndarray = products_P + self.bias_L[pairs_NL.indices]
        return logits_P

    @property
    def _rows_of_block(self) -> int:
        return max(1, 2**25 // len(self.bias_L))  # 128 MiB of logits at a time

    def _logits(self, embeddings_BH: np.ndarray) -> np.ndarray:
        logits_BL: np.ndarray = embeddings_BH @ self.weight_LH.T
        logits_BL += self.bias_L
        return logits_BL

    def _close_of_many(
        self, embeddings_NH: np.ndarray, num_close: int, constraint: Constraint | None
    ) -> np.ndarray:
        """The labels with the highest logits as products of matrices round them, ascending: (N, C).
        With a constraint some of them are not let through where few are.
        """
        num_rows, block = len(embeddings_NH), self._rows_of_block
        close_NC = np.empty((num_rows, num_close), np.int32)
        for first in range(0, num_rows, block):
            rows = slice(first, first + block)
            logits_BL = self._logits(embeddings_NH[rows])
            if constraint is not None:
                here = constraint.rows(first, first + block)
                logits_BL[~here.mask(len(logits_BL))] = -np.inf
            close_NC[rows] = best_columns(logits_BL, num_close)
        return close_NC

    def _close_of_few(self, embeddings_NH: np.ndarray, num_close: int) -> np.ndarray:
        """As `_close_of_many`, by half precision."""
        ones_N1 = np.ones((len(embeddings_NH), 1), np.float32)
        with faiss_threads(1):
            close_NC = self._index.search(np.hstack([embeddings_NH, ones_N1]), num_close)[1]
        return np.sort(close_NC, axis=1).astype(np.int32)

    @cached_property
    def _index(self) -> Any:
        return half_precision_index(np.hstack([self.weight_LH, self.bias_L[:, None]]))


def _pairs(labels_NC: np.ndarray, num_labels: int) -> sp.csr_array:
    """The labels of each row, ascending, as stored entries."""
    num_rows, width = labels_NC.shape
    pairs = sp.csr_array((num_rows, num_labels), dtype=np.float32)
    pairs.indptr = np.arange(num_rows + 1, dtype=index_type(num_rows * width)) * width
    pairs.indices, pairs.data = labels_NC.ravel(), np.ones(labels_NC.size, np.float32)
    return pairs


def _sigmoids(logits_NL: sp.csr_array) -> sp.csr_array:
    logits_NL.data = np.exp(log_sigmoids(logits_NL.data)).astype(np.float32)
    return logits_NL


def _require_finite(embeddings_NH: np.ndarray) -> None:
    finite_N = np.isfinite(embeddings_NH).all(axis=1)
    if not finite_N.all():
        row = int(np.argmin(finite_N))
        raise DataError(
            f"embeddings: row {row} holds a number that is not finite; embed the text again"
        )
