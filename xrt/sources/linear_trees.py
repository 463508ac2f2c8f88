"""The source `linear`: label trees with rankers on TF-IDF rows. It is a model by itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import scipy.sparse as sp

from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.base import ModelShape, SourceRows, Training
from xrt.sources.evidence import Naming, SourceEvidence
from xrt.sources.ranker import TreeRanker
from xrt.sources.tree_evidence import TreeEvidence, search_tree
from xrt.sources.trees import TreeEnsemble
from xrt.storage.saved_values import SavedValues


@dataclass(frozen=True, eq=False)
class LinearTrees:
    """Trees on TF-IDF rows; on dense columns beside them where the model was trained on such."""

    ensemble: TreeEnsemble

    name: ClassVar[str] = "linear"
    title: ClassVar[str] = "label trees on words"
    uses_embeddings: ClassVar[bool] = False
    stays_without_weight: ClassVar[bool] = True

    @property
    def trees(self) -> tuple[TreeRanker, ...]:
        """The trees, one or more."""
        return self.ensemble.trees

    @classmethod
    def fit(cls, training: Training) -> Self | None:
        """Train the trees on the rows and the names of the labels; see `Source.fit`.

        Args:
            training: what to fit on, and the settings.

        Returns:
            The source.
        """
        X, Y_NL = training.rows.X, training.Y_NL
        if training.names is not None:
            X, Y_NL = training.names.join(X, Y_NL)
        return cls(training.train_trees(cls, X, Y_NL, training.settings.num_trees))

    def score(
        self,
        rows: SourceRows,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
        constraint: Constraint | None = None,
    ) -> sp.csr_array:
        """The best labels by beam search; see `Source.score`.

        Args:
            rows: the rows to score, N.
            k: most labels of a row.
            search: how trees are searched.
            num_threads: threads; None for the default.
            constraint: which labels are let through; None: all.

        Returns:
            Scores in [0, 1], csr_array (N, L).
        """
        return self.ensemble.search(rows.X, k, search, num_threads, constraint)

    def score_given(
        self,
        rows: SourceRows,
        pairs_NL: sp.csr_array,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        """Scores along each label's own path; see `Source.score_given`.

        Args:
            rows: the rows to score, N.
            pairs_NL: pairs of rows and labels, the stored entries of a csr_array (N, L).
            search: how trees are searched.
            num_threads: threads; None for the default.

        Returns:
            Scores in [0, 1], csr_array (N, L).
        """
        return self.ensemble.score_pairs(rows.X, pairs_NL, search, num_threads)

    def explain(
        self,
        rows: SourceRows,
        naming: Naming,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> SourceEvidence:
        """Paths and margins; see `Source.explain`.

        Args:
            rows: one row.
            naming: what labels and columns are called.
            k: most labels of a row.
            search: how trees are searched.
            num_threads: not used.

        Returns:
            The evidence, looked up when it is first asked for.
        """
        each = self.ensemble.named_in_each(k)

        def searched() -> list[Any]:
            return [search_tree(tree, rows.X, each, search) for tree in self.trees]

        return TreeEvidence(self.name, naming, searched)

    def fault(self, shape: ModelShape) -> str | None:
        """See `Source.fault`.

        Args:
            shape: labels and columns of the model.

        Returns:
            What is wrong, in words, or None.
        """
        known = self.ensemble.tree.num_labels, self.ensemble.num_features
        if known != (shape.num_labels, shape.num_features):
            return "label trees have other labels or columns"
        return None

    def check(self, num_threads: int | None = None) -> None:
        """See `Source.check`.

        Args:
            num_threads: threads; None for the default.

        Raises:
            ArtifactError: some weights are damaged.
        """
        self.ensemble.check(num_threads)

    def save(self, folder: Path) -> dict[str, Any]:
        """See `Source.save`.

        Args:
            folder: the source's own folder, in the model's.

        Returns:
            No settings: an empty mapping.
        """
        self.ensemble.save(folder)
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
            ArtifactError: a part is missing or damaged.
        """
        return cls(TreeEnsemble.load(folder, mmap))
