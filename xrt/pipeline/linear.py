"""The linear model in memory: features, trees, rankers, without files in between."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.labels import LABEL_TEXT_WEIGHT, LabelTable
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams
from xrt.fusion.fit import fit_scores
from xrt.fusion.frequencies import LabelFrequencies
from xrt.fusion.path_weight import choose_path_weight
from xrt.hybrid import HybridMatrix
from xrt.model import XrtModel
from xrt.pipeline.label_rows import LabelRows, label_rows
from xrt.pipeline.source_fits import fit_sources, with_sources
from xrt.pipeline.trees import TreeGrower, given_tree, hold_out, paths_above, tree_seeds
from xrt.pipeline.warm_start import kept_trees, require_same_inputs
from xrt.progress import Progress
from xrt.search.beam import SearchParams
from xrt.sources.base import Source, SourceRows, Training
from xrt.sources.linear_trees import LinearTrees
from xrt.sources.neighbours import NeighbourParams
from xrt.sources.ranker import RankerParams, train_ranker
from xrt.sources.registry import BASELINE, by_name
from xrt.sources.trees import TreeEnsemble, tree_seed
from xrt.sparse import as_csr, normalize_rows
from xrt.tree.clustering import TreeParams
from xrt.tree.label_tree import LabelTree


def train_linear(
    corpus: Corpus,
    *,
    features: TfidfParams,
    tree: TreeParams,
    ranker: RankerParams,
    search: SearchParams,
    seed: int,
    num_trees: int = 1,
    label_tree: LabelTree | None = None,
    dense_NH: np.ndarray | None = None,
    label_text_weight: float = LABEL_TEXT_WEIGHT,
    validation_rows: int = 2_000,
    fused: bool = False,
    neighbours: NeighbourParams | None = None,
    earlier: XrtModel | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> XrtModel:
    """Train the linear model on the corpus's texts, or on its rows where it has no texts.

    `dense_NH` are dense features of the rows, taken as they are; `label_tree` is a tree to use
    instead of clustering. Where texts and labels have words, the labels' names are training rows,
    too, `label_text_weight` long; 0 leaves them out. Without a path weight in `search` it is chosen
    on `validation_rows` rows. With `fused` such rows serve, too, to learn whether the votes of
    `neighbours` help and to make scores probabilities; the trees are trained once more for that.
    Weights of labels and rows reach trees, rankers, votes and what is learnt on held-out rows.
    The vocabulary and the label trees of an `earlier` model are kept.
    Raises DataError when parts do not fit together, ConfigError for other trees than the earlier.
    """
    if earlier is not None:
        num_dense = 0 if dense_NH is None else dense_NH.shape[1]
        require_same_inputs(earlier, corpus, features, num_dense)
    taxonomy = given_tree(tree, corpus.labels) if label_tree is None else label_tree
    given: tuple[LabelTree, ...] = () if taxonomy is None else (taxonomy,)
    if earlier is not None:
        seeds = tree_seeds(tree, num_trees, seed, len(corpus.labels))
        given = kept_trees(earlier, len(given) or len(seeds), taxonomy)
    vectoriser, X_NF = _rows_of(corpus, features, earlier, progress)
    X = HybridMatrix.of(X_NF, dense_NH).weighted(corpus.row_weights)
    names = label_rows(vectoriser, corpus.labels, label_text_weight)
    train = _Trainer(corpus.labels, tree, given, ranker, names, seed, num_threads, progress)
    if search.path_weight is None:
        search = train.with_path_weight(search, X, corpus.Y, validation_rows)
    counts_L = np.bincount(corpus.Y.indices, minlength=corpus.num_labels)
    settings = SimpleNamespace(num_trees=num_trees, neighbours=neighbours or NeighbourParams())
    trees = LinearTrees.fit(train.training(X, corpus.Y, settings, search))
    model = XrtModel(
        corpus.labels, vectoriser, by_name([trees]), search=search,
        frequencies=LabelFrequencies(counts_L, corpus.num_instances),
    )  # fmt: skip
    if not fused:
        return model
    return train.with_scores(model, X, corpus.Y, settings, validation_rows)


def _rows_of(
    corpus: Corpus, features: TfidfParams, earlier: XrtModel | None, progress: Progress | None
) -> tuple[TfidfFeatures | None, sp.csr_array]:
    """Rows (N, F), and what makes them of texts: a new vocabulary, or the earlier one."""
    if corpus.texts is None:
        assert corpus.X is not None
        return None, normalize_rows(as_csr(corpus.X, "X"))
    if earlier is not None and earlier.features is not None:
        return earlier.features, earlier.features.transform(corpus.texts, progress)
    vectoriser = TfidfFeatures(features)
    return vectoriser, vectoriser.fit_transform(corpus.texts, progress)


@dataclass(frozen=True)
class _Trainer:
    """Grows and trains trees on any rows with the same settings."""

    labels: LabelTable
    shape: TreeParams
    given: tuple[LabelTree, ...]
    ranker: RankerParams
    names: LabelRows | None
    seed: int
    num_threads: int | None
    progress: Progress | None

    def training(
        self, X: HybridMatrix, Y_NL: sp.csr_array, settings: Any, search: SearchParams
    ) -> Training:
        """The training of sources on rows X with labels Y."""

        def train(
            source: type[Source], X: HybridMatrix, Y_NL: sp.csr_array, num_trees: int
        ) -> TreeEnsemble:
            return self.trees(X, Y_NL, num_trees)

        return Training(
            SourceRows(X), Y_NL, settings, train, search, self.names,
            num_threads=self.num_threads,
        )  # fmt: skip

    def trees(self, X: HybridMatrix, Y_NL: sp.csr_array, num_trees: int) -> TreeEnsemble:
        """All trees first, as their label features are then let go; then one after the other."""
        if self.given:
            grown = [
                (tree, tree_seed(self.seed, index))
                for index, tree in enumerate(self.given[:num_trees])
            ]
        else:
            grower = TreeGrower(X, Y_NL, self.num_threads, self.progress)
            seeds = tree_seeds(self.shape, num_trees, self.seed, len(self.labels))
            paths = paths_above(self.shape, self.labels)
            grown = [(grower.grow(self.shape, seed, paths), seed) for seed in seeds]
            del grower
        return TreeEnsemble(
            tuple(
                train_ranker(X, Y_NL, tree, self.ranker, seed, self.num_threads, self.progress)
                for tree, seed in grown
            )
        )

    def with_path_weight(
        self, search: SearchParams, X: HybridMatrix, Y_NL: sp.csr_array, size: int
    ) -> SearchParams:
        """The path weight that is best for one tree on rows it was not trained on."""
        held = hold_out(Y_NL, size, self.seed)
        if held is None:
            return replace(search, path_weight=1.0)
        X_fit, Y_fit = X.take(held.train), as_csr(Y_NL[held.train])
        if self.names is not None:
            X_fit, Y_fit = self.names.join(X_fit, Y_fit)
        trial = self.trees(X_fit, Y_fit, 1)
        rows, Y_true = X.take(held.validation), as_csr(Y_NL[held.validation])
        chosen = choose_path_weight(trial, rows, Y_true, search, self.num_threads)
        return replace(search, path_weight=chosen.path_weight)

    def with_scores(
        self, model: XrtModel, X: HybridMatrix, Y_NL: sp.csr_array, settings: Any, size: int
    ) -> XrtModel:
        """The model with a fusion and a calibration learnt from sources of the other rows."""
        held = hold_out(Y_NL, size, self.seed)
        if held is None:
            return model
        X_fit, Y_fit = X.take(held.train), as_csr(Y_NL[held.train])
        trial = with_sources(
            model, fit_sources(self.training(X_fit, Y_fit, settings, model.search))
        )
        rows = X.take(held.validation)
        sources = trial.score_sources(trial.source_rows(rows), num_threads=self.num_threads)
        counts_L = np.bincount(Y_fit.indices, minlength=Y_fit.shape[1])
        known = LabelFrequencies(counts_L, Y_fit.shape[0])
        Y_true = as_csr(Y_NL[held.validation])
        learnt = fit_scores(sources, Y_true, known, self.seed, BASELINE, rows.weights_N)
        joined = replace(model, fusion=learnt.fusion, calibration=learnt.calibration)
        further = learnt.fusion.sources - set(model.sources)
        if not further:
            return joined
        training = self.training(X, Y_NL, settings, model.search)
        return replace(joined, sources=fit_sources(training, model.sources, further))
