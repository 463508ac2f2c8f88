"""The source `ranker`: label trees with rankers on hybrid rows, [TF-IDF ; embedding], and the
shortlists that open their search.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError
from xrt.hybrid import HybridMatrix
from xrt.search.beam import SearchParams, beam_search
from xrt.search.constraints import Constraint
from xrt.sources.base import ModelShape, SourceRows, Training
from xrt.sources.evidence import Naming, SourceEvidence
from xrt.sources.ranker import TreeRanker
from xrt.sources.shortlist import IndexKind, Shortlist, ShortlistParams
from xrt.sources.shortlist_fit import FITTED_ROWS, MEASURED_ROWS, build_shortlist, choose_width
from xrt.sources.shortlist_fit import sample_rows as spread
from xrt.sources.tree_evidence import SearchedTree, TreeEvidence, search_tree
from xrt.sources.trees import TreeEnsemble, exp_scores, mean_scores, tree_folders
from xrt.storage.saved_values import SavedValues


@dataclass(frozen=True, eq=False)
class HybridTrees:
    """Trees on hybrid rows, with a shortlist for each or none."""

    ensemble: TreeEnsemble
    shortlists: tuple[Shortlist, ...] = ()

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
        """Train the trees on the rows and the names of the labels, then their shortlists; see
        `Source.fit`.

        Args:
            training: what to fit on, and the settings.

        Returns:
            The source.
        """
        X, Y_NL, settings = training.rows.hybrid, training.Y_NL, training.settings
        if training.names is not None:
            assert training.embed_names is not None
            X, Y_NL = training.names.join(X, Y_NL, training.embed_names())
        ensemble = training.train_trees(cls, X, Y_NL, settings.num_deep_trees)
        return cls(ensemble, make_shortlists(ensemble, training, settings.shortlist))

    def score(
        self,
        rows: SourceRows,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
        constraint: Constraint | None = None,
    ) -> sp.csr_array:
        """The best labels by beam search, opened by the shortlists where there are any and no
        constraint: theirs are the nodes nearest of all, not of those let through. See
        `Source.score`.

        Args:
            rows: the rows to score, N.
            k: most labels of a row.
            search: how trees are searched.
            num_threads: threads; None for the default.
            constraint: which labels are let through; None: all.

        Returns:
            Scores in [0, 1], csr_array (N, L).
        """
        if constraint is not None or not self.shortlists:
            return self.ensemble.search(rows.hybrid, k, search, num_threads, constraint)
        of_trees = []
        for number, ranker in enumerate(self.trees):
            start = self._opened(number, rows, search, num_threads)
            below = ranker.levels[self.shortlists[number].level + 1 :]
            scores_NL = beam_search(
                below, rows.hybrid, k, search, start=start, num_threads=num_threads
            )
            of_trees.append(exp_scores(scores_NL))
        return mean_scores(of_trees, k)

    def score_given(
        self,
        rows: SourceRows,
        pairs_NL: sp.csr_array,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        """Scores along each label's own path, whatever a shortlist would open; see
        `Source.score_given`.

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
        each = k if self.shortlists else self.ensemble.named_in_each(k)

        def searched() -> list[SearchedTree]:
            trees = []
            for number, tree in enumerate(self.trees):
                start, level = None, 0
                if self.shortlists:
                    start = self._opened(number, rows, search, num_threads)
                    level = self.shortlists[number].level
                trees.append(search_tree(tree, rows.hybrid, each, search, start, level))
            return trees

        return TreeEvidence(self.name, naming, searched)

    def _opened(
        self, number: int, rows: SourceRows, search: SearchParams, num_threads: int | None
    ) -> sp.csr_array:
        """Log scores of the nodes at which a tree's shortlist opens the search."""
        shortlist, ranker = self.shortlists[number], self.trees[number]
        return shortlist.open(ranker, rows.hybrid, rows.unit_NH, search, num_threads)

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
        if any(shortlist.num_columns != blocks.width for shortlist in self.shortlists):
            return "a shortlist has other columns than the encoder"
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
            The settings of the shortlists; empty without any.
        """
        self.ensemble.save(folder)
        if not self.shortlists:
            return {}
        homes = tree_folders(folder / "shortlist", len(self.shortlists))
        pairs = zip(self.shortlists, homes, strict=True)
        return {"shortlist": [shortlist.save(home) for shortlist, home in pairs]}

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
        ensemble = TreeEnsemble.load(folder, mmap)
        return cls(ensemble, _load_shortlists(folder, settings, ensemble, mmap))


def make_shortlists(
    ensemble: TreeEnsemble, training: Training, params: ShortlistParams
) -> tuple[Shortlist, ...]:
    """An index over the clusters just above the labels of each tree.

    Args:
        ensemble: trees that were trained on the rows of `training`.
        training: its `held_out` rows are what recall is measured on, where there are any; else the
            training rows are.
        params: how search enters the trees.

    Returns:
        A shortlist for each tree; none without an index, or where trees are flat.
    """
    if params.index is IndexKind.none or any(ranker.tree.depth < 2 for ranker in ensemble.trees):
        return ()
    num_rows = training.rows.num_rows
    X, unit_NH = _taken(training.rows, spread(num_rows, FITTED_ROWS))
    measured = training.held_out or training.rows
    sample_X, sample_NH = _taken(measured, spread(measured.num_rows, MEASURED_ROWS))
    what = "training" if training.held_out is None else "held-out"
    threads = training.num_threads
    shortlists = []
    for tree in ensemble.trees:
        level = tree.tree.depth - 2
        shortlist = build_shortlist(tree, level, X, unit_NH, params, threads)
        choose_width(shortlist, tree, sample_X, sample_NH, training.search, what, threads)
        shortlists.append(shortlist)
    return tuple(shortlists)


def _taken(rows: SourceRows, positions: np.ndarray) -> tuple[HybridMatrix, np.ndarray]:
    return replace(rows.hybrid.take(positions), weights_N=None), rows.unit_NH[positions]


def _load_shortlists(
    folder: Path, settings: SavedValues, ensemble: TreeEnsemble, mmap: bool
) -> tuple[Shortlist, ...]:
    if not settings.has("shortlist"):
        return ()
    home = folder / "shortlist"
    if not home.is_dir():  # of an earlier version, beside the trees
        home = folder.parent / "shortlist"
    saved, homes = settings.parts("shortlist"), tree_folders(home, len(ensemble.trees))
    if len(saved) != len(homes):
        raise ArtifactError(
            f"{settings.where}: {len(saved)} shortlists for {len(homes)} trees; copy the model "
            "again from where it came, or train it anew"
        )
    return tuple(
        Shortlist.load(values, shortlist_home, tree.tree, mmap)
        for values, shortlist_home, tree in zip(saved, homes, ensemble.trees, strict=True)
    )
