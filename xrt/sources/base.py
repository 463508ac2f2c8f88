"""What a source of scores is: the one protocol between a model and all that gives labels scores.

A further source is one file with a class like `Source`, and its line in `registry`. A model then
trains it, asks it, fuses its scores, explains them, saves and loads it; nothing else names it.

N rows, L labels, F TF-IDF columns, M columns of embeddings, H of them by the fine-tuned encoder.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
import scipy.sparse as sp

from xrt.errors import DataError
from xrt.features.name_words import NameWords
from xrt.hybrid import HybridMatrix
from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.blocks import EmbeddingBlocks
from xrt.sources.evidence import Naming, SourceEvidence
from xrt.storage.saved_values import SavedValues

T = TypeVar("T")

CANDIDATES = 50
"""Labels that each source names for a row before scores are fused."""


@dataclass(frozen=True, eq=False)
class SourceRows:
    """The rows that sources score or are fitted on. Texts are embedded when a source first looks
    at an embedding.
    """

    X: HybridMatrix
    """TF-IDF rows of length 1, (N, F), with their weights where they are to train on; dense columns
    only where the model was trained on such."""
    blocks: EmbeddingBlocks | None = None
    """Of the model's encoders; None without an encoder."""
    embed: Callable[[], np.ndarray] | None = None
    """Gives the embeddings of the rows, as the encoders give them: float32 (N, M)."""
    _known: dict[object, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, asker: object, work: Callable[[], T]) -> T:
        """What a source works out of these rows for more than one question: who is asked to `score`
        and then to `score_given` the same rows searches once.

        Args:
            asker: who asks; each has one result.
            work: gives the result.

        Returns:
            The result of the first call, kept as long as the rows are.
        """
        if asker not in self._known:
            self._known[asker] = work()
        result: T = self._known[asker]
        return result

    def part(self, low: int, high: int) -> "SourceRows":
        """Some of the rows; texts are still embedded all at once.

        Args:
            low: first row.
            high: the row behind the last.

        Returns:
            Rows low .. high - 1.
        """
        embed = None if self.embed is None else lambda: self.embeddings_NM[low:high]
        return SourceRows(self.X.take(np.arange(low, high)), self.blocks, embed)

    @property
    def num_rows(self) -> int:
        """Number of rows, N."""
        return self.X.num_rows

    @cached_property
    def embeddings_NM(self) -> np.ndarray:
        """Embeddings as the encoders give them: float32 (N, M).

        Raises:
            DataError: the model has no encoder.
        """
        if self.embed is None:
            raise DataError("this model is linear and has no encoder")
        return self.embed()

    @cached_property
    def unit_NH(self) -> np.ndarray:
        """Embeddings by the fine-tuned encoder, of length 1: float32 (N, H)."""
        return self._blocks.tuned(self.embeddings_NM)

    @cached_property
    def hybrid(self) -> HybridMatrix:
        """Rows [TF-IDF ; embeddings], (N, F + M), with the weights of X."""
        rows = self._blocks.join(self.X.sparse, self.embeddings_NM)
        return HybridMatrix(rows.sparse, rows.dense, self.X.weights_N)

    @property
    def _blocks(self) -> EmbeddingBlocks:
        if self.blocks is None:
            raise DataError("this model is linear and has no encoder")
        return self.blocks


@dataclass(frozen=True)
class ModelShape:
    """What all parts of a model must agree on."""

    num_labels: int
    num_features: int
    """TF-IDF columns, F."""
    blocks: EmbeddingBlocks | None = None
    """Of the encoders; None without an encoder."""


class NameRows(Protocol):
    """The names of the labels as R further training rows."""

    def join(
        self, X: HybridMatrix, Y_NL: sp.csr_array, dense_RM: np.ndarray | None = None
    ) -> tuple[HybridMatrix, sp.csr_array]:
        """Rows X and labels Y with those of the names below them, from row N on: which label a row
        is of says its row of Y. A row of a name is as long as `label_text_weight` says, not 1.
        `dense_RM` are the dense columns of the names' hybrid rows. Without them a name of no known
        word is left out.

        Args:
            X: N rows.
            Y_NL: their labels, csr_array (N, L).
            dense_RM: dense columns of the names' hybrid rows, (R, M); None: the rows have none.

        Returns:
            Rows and labels, with those of the names below.
        """

    def below(self, Y_NL: sp.csr_array) -> sp.csr_array:
        """The labels Y with those of all names below them.

        Args:
            Y_NL: labels, csr_array (N, L).

        Returns:
            Labels, csr_array (N + R, L).
        """


class TreeTrainer(Protocol):
    """How a training run grows label trees and trains the rankers at their nodes."""

    def __call__(
        self, source: "type[Source]", X: HybridMatrix, Y_NL: sp.csr_array, num_trees: int
    ) -> Any:
        """A `TreeEnsemble` trained for this source on rows X with labels Y."""


@dataclass(frozen=True, eq=False)
class Training:
    """What sources are fitted on, and how."""

    rows: SourceRows
    """The training rows; `rows.X.weights_N` is how much each counts."""
    Y_NL: sp.csr_array
    """Their labels: an entry is the confidence in a label."""
    settings: Any
    """The settings of the run, `PipelineParams`; a source reads those that are its own."""
    train_trees: TreeTrainer
    search: SearchParams
    """How trees will be searched."""
    names: NameRows | None = None
    """The names of the labels as training rows; None where no label has a name, where the model has
    no vectoriser, or where `label_text_weight` is 0."""
    embed_names: Callable[[], np.ndarray] | None = None
    """Gives the dense columns of the names' hybrid rows: float32 (R, M)."""
    head: tuple[np.ndarray, np.ndarray] | None = None
    """Weights (L, H) and biases (L,) of the matcher's head over the labels, where it has one."""
    name_words: Callable[[], NameWords | None] | None = None
    """Gives the words of the labels' names, whatever `label_text_weight` is; None, or gives None,
    where no label has a name or no column is a word."""
    held_out: SourceRows | None = None
    """Rows that are not trained on, to measure on; None where all rows are trained on."""
    num_threads: int | None = None

    def measured_NH(self) -> tuple[np.ndarray, str]:
        """Embeddings to measure on, of length 1, and what rows these are.

        Returns:
            float32 (n, H) and `held-out`, or `training` where no rows are held out.
        """
        if self.held_out is None:
            return self.rows.unit_NH, "training"
        return self.held_out.unit_NH, "held-out"


class Source(Protocol):
    """Gives labels scores in [0, 1]."""

    name: ClassVar[str]
    """Of its weight in a fusion, and of its folder in a saved model; of no other source."""
    title: ClassVar[str]
    """What it is called in an explanation."""
    uses_embeddings: ClassVar[bool]
    """Whether it needs an encoder."""
    stays_without_weight: ClassVar[bool]
    """Whether a model keeps it where neither the weighted mean nor the boosted trees of fusion use
    it."""

    @classmethod
    def fit(cls, training: Training) -> Self | None:
        """Train the source.

        Args:
            training: rows, labels and settings.

        Returns:
            The source; None where the settings or the run leave it out. A run may fit it twice:
            without the held-out rows, for fusion to judge it, and on all rows.
        """

    def score(
        self,
        rows: SourceRows,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
        constraint: Constraint | None = None,
    ) -> sp.csr_array:
        """The best labels of each row.

        Args:
            rows: N rows.
            k: labels named for a row, at most.
            search: how label trees are searched.
            num_threads: threads; None for all processors.
            constraint: which labels may be named; None for all.

        Returns:
            Scores in [0, 1], (N, L); a label that is not named has no entry.
        """

    def score_given(
        self,
        rows: SourceRows,
        pairs_NL: sp.csr_array,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        """Exact scores of given pairs, however the labels rank.

        Args:
            rows: N rows.
            pairs_NL: the pairs (row, label) are its stored entries, (N, L).
            search: how label trees are searched; the beam does not matter.
            num_threads: threads; None for all processors.

        Returns:
            Scores in [0, 1], (N, L), of these pairs; a pair that the source knows nothing of has no
            entry and counts 0.
        """

    def explain(
        self,
        rows: SourceRows,
        naming: Naming,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> SourceEvidence:
        """What speaks for labels of one row.

        Args:
            rows: one row.
            naming: what labels and columns are called.
            k: labels that the source names for the row.
            search: how label trees are searched.
            num_threads: threads; None for all processors.

        Returns:
            Evidence that is looked up label by label; `SourceEvidence()` where there is nothing to
            say beside the score.
        """

    def fault(self, shape: ModelShape) -> str | None:
        """How the source does not fit the rest of its model; None where it does.

        Args:
            shape: labels and columns of the model.

        Returns:
            What is wrong, in words, or None.
        """

    def check(self, num_threads: int | None = None) -> None:
        """Look at all numbers that came from disk.

        Args:
            num_threads: threads to look on; None: the default.

        Raises:
            ArtifactError: some are damaged.
        """

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the source.

        Args:
            folder: its own, in the model's.

        Returns:
            JSON values that `load` needs.
        """

    @classmethod
    def load(cls, folder: Path, settings: SavedValues, mmap: bool = True) -> Self:
        """Read what `save` wrote.

        Args:
            folder: its own, in the model's.
            settings: what `save` gave; a value is asked for by its kind, as `settings.whole("k")`.
            mmap: whether arrays are memory-mapped.

        Returns:
            The source.

        Raises:
            ArtifactError: a part is missing or damaged.
        """
