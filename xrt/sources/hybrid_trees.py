"""The source `ranker`: label trees with rankers on hybrid rows, [TF-IDF ; embedding]."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import scipy.sparse as sp

from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.base import ModelShape, SourceRows, Training
from xrt.sources.evidence import Naming, SourceEvidence
from xrt.sources.ranker import TreeRanker
from xrt.sources.tree_evidence import SearchedTree, TreeEvidence, search_tree
from xrt.sources.trees import TreeEnsemble
from xrt.storage.saved_values import SavedValues

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class HybridTrees:
    """Trees on hybrid rows."""

    ensemble: TreeEnsemble

    name: ClassVar[str] = "ranker"
    title: ClassVar[str] = "label trees on words and meaning"
    uses_embeddings: ClassVar[bool] = True
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
        X, Y_NL, settings = training.rows.hybrid, training.Y_NL, training.settings
        if training.names is not None:
            assert training.embed_names is not None
            X, Y_NL = training.names.join(X, Y_NL, training.embed_names())
        return cls(training.train_trees(cls, X, Y_NL, settings.num_deep_trees))

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
        return self.ensemble.search(rows.hybrid, k, search, num_threads, constraint)

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
        return self.ensemble.score_pairs(rows.hybrid, pairs_NL, search, num_threads)

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
            num_threads: threads; None for the default.

        Returns:
            The evidence, looked up when it is first asked for.
        """
        each = self.ensemble.named_in_each(k)

        def searched() -> list[SearchedTree]:
            return [search_tree(tree, rows.hybrid, each, search) for tree in self.trees]

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
        blocks = shape.blocks
        fits = blocks is not None and self.ensemble.levels[0].num_dense == blocks.num_dense
        if blocks is None or not fits:
            return "label trees have other columns than the encoder"
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
            settings: what `save` gave.
            mmap: whether arrays are memory-mapped.

        Returns:
            The source.

        Raises:
            ArtifactError: a part is missing or damaged.
        """
        if settings.has("shortlist"):
            logger.warning(
                f"{folder}: the shortlist of an earlier xrt is not used; trees are searched from "
                "the root"
            )
        return cls(TreeEnsemble.load(folder, mmap))
