"""The source `matcher`: the encoder's own ranking of labels, by its head over all of them.

N rows, L labels, H hidden width.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError
from xrt.linear.scoring import index_type
from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.base import ModelShape, SourceRows, Training
from xrt.sources.evidence import Naming, SourceEvidence
from xrt.sources.faiss_index import VectorIndex, Vectors, require_finite
from xrt.sources.products import given_products
from xrt.sparse import as_csr, top_k_rows
from xrt.storage.atomic import save_array
from xrt.storage.reading import check_finite, load_array
from xrt.storage.saved_values import SavedValues
from xrt.tree.path_scores import log_sigmoids

SPARE = 64
"""Labels beyond those asked for that FAISS names, so that exact logits decide."""

MOST_FORBIDDEN = 512
"""Labels forbidden to a row up to which FAISS names so many more; above, all labels are scored."""

MOST_PAIRS = 2**22
"""Pairs of rows and labels that are looked at at once under a constraint."""


@dataclass(frozen=True, eq=False)
class LabelHead:
    """The matcher's head over the labels: weights (L, H) and biases (L,), and the FAISS index over
    them; one that goes through all of them where none is given.
    """

    weight_LH: np.ndarray
    bias_L: np.ndarray
    index: VectorIndex = None  # type: ignore[assignment]

    name: ClassVar[str] = "matcher"
    title: ClassVar[str] = "the encoder's own ranking"
    uses_embeddings: ClassVar[bool] = True
    stays_without_weight: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.index is None:
            object.__setattr__(self, "index", VectorIndex(self._vectors))

    @property
    def _vectors(self) -> Vectors:
        return Vectors(self.weight_LH, self.bias_L)

    @classmethod
    def fit(cls, training: Training) -> Self | None:
        """The head that the matcher was trained with, and an index over its labels, measured on
        held-out rows; None where it was not trained down to the labels. See `Source.fit`.

        Args:
            training: what to fit on, and the settings.

        Returns:
            The source, or None.
        """
        if training.head is None:
            return None
        weight_LH, bias_L = training.head
        queries_NH, rows = training.measured_NH()
        return cls(
            weight_LH, bias_L, VectorIndex.build(Vectors(weight_LH, bias_L), queries_NH, rows)
        )

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
            What the index is.
        """
        save_array(folder / "weight.npy", self.weight_LH)
        save_array(folder / "bias.npy", self.bias_L)
        return {"index": self.index.save(folder)}

    @classmethod
    def load(cls, folder: Path, settings: SavedValues, mmap: bool = True) -> Self:
        """See `Source.load`.

        Args:
            folder: the source's own folder, in the model's.
            settings: what `save` gave; those of earlier versions have no index.
            mmap: whether arrays and the index are memory-mapped.

        Returns:
            The source.

        Raises:
            ArtifactError: a file is missing or damaged.
        """
        weight_LH = load_array(folder / "weight.npy", np.float32, 2, mmap)
        bias_L = load_array(folder / "bias.npy", np.float32, 1, mmap)
        if len(weight_LH) != len(bias_L):
            raise ArtifactError(
                f"{folder}: weights of {len(weight_LH)} labels, but biases of {len(bias_L)}; copy "
                "the model again, or train it anew"
            )
        index = None
        if settings.has("index"):
            vectors = Vectors(weight_LH, bias_L)
            index = VectorIndex.load(folder, settings.part("index"), vectors, mmap)
        return cls(weight_LH, bias_L, index)  # type: ignore[arg-type]

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
        num_labels = len(self.bias_L)
        require_finite(embeddings_NH, "embeddings")
        if constraint is None:
            return self._best(embeddings_NH, None, k, SPARE, num_threads)
        most = int(np.diff(constraint.marked_NL.indptr).max(initial=0))
        if not constraint.allows and most <= MOST_FORBIDDEN:
            return self._best(embeddings_NH, constraint, k, SPARE + most, num_threads)
        block = max(1, MOST_PAIRS // max(1, most if constraint.allows else num_labels))
        parts = []
        for low in range(0, max(1, len(embeddings_NH)), block):
            rows_BH = embeddings_NH[low : low + block]
            here = constraint.rows(low, low + len(rows_BH))
            if constraint.allows:
                pairs_BL = _for_all(here.marked_NL, len(rows_BH))
            else:
                pairs_BL = here.keep(
                    _pairs(np.tile(np.arange(num_labels), (len(rows_BH), 1)), num_labels)
                )
            parts.append(top_k_rows(self.top_given(rows_BH, pairs_BL, num_threads), k))
        return as_csr(sp.vstack(parts, format="csr"))

    def _best(
        self,
        embeddings_NH: np.ndarray,
        constraint: Constraint | None,
        k: int,
        spare: int,
        num_threads: int | None,
    ) -> sp.csr_array:
        """The best of the `k` + `spare` labels that the index names."""
        num_labels = len(self.bias_L)
        close_NC = np.sort(self.index.search(embeddings_NH, k + spare, num_threads), axis=1)
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
        require_finite(embeddings_NH, "embeddings")
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


def _pairs(labels_NC: np.ndarray, num_labels: int) -> sp.csr_array:
    """The labels of each row, ascending, as stored entries; -1 is none."""
    named_NC = labels_NC >= 0
    pairs = sp.csr_array((len(labels_NC), num_labels), dtype=np.float32)
    indptr = np.concatenate([[0], np.cumsum(named_NC.sum(axis=1))])
    pairs.indptr = indptr.astype(index_type(int(indptr[-1])))
    pairs.indices = labels_NC[named_NC].astype(np.int32)
    pairs.data = np.ones(len(pairs.indices), np.float32)
    return pairs


def _for_all(marked: sp.csr_array, num_rows: int) -> sp.csr_array:
    """Marked labels of each row; one row holds for all."""
    if marked.shape[0] == num_rows:
        return marked
    return _pairs(np.tile(marked.indices, (num_rows, 1)), marked.shape[1])


def _sigmoids(logits_NL: sp.csr_array) -> sp.csr_array:
    logits_NL.data = np.exp(log_sigmoids(logits_NL.data)).astype(np.float32)
    return logits_NL
