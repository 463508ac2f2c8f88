"""The linear model in memory: features, trees, rankers, without files in between."""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.labels import LABEL_TEXT_WEIGHT, LabelTable
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams
from xrt.hybrid import HybridMatrix
from xrt.model import XrtModel
from xrt.pipeline.label_rows import LabelRows, label_rows
from xrt.pipeline.trees import TreeGrower, given_tree, hold_out, tree_seeds
from xrt.progress import Progress
from xrt.ranker import RankerParams, train_ranker
from xrt.search.beam import SearchParams
from xrt.search.ensemble import TreeEnsemble
from xrt.search.fit_scores import fit_scores
from xrt.search.frequencies import LabelFrequencies
from xrt.search.mixture import Mixture
from xrt.search.neighbours import NeighbourParams, SparseNeighbours
from xrt.search.path_weight import choose_path_weight
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
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> XrtModel:
    """Train the linear model on the corpus's texts, or on its rows where it has no texts.

    `dense_NH` are dense features of the rows, taken as they are; `label_tree` is a tree to use
    instead of clustering. Where texts and labels have words, the labels' names are training rows,
    too, `label_text_weight` long; 0 leaves them out. Without a path weight in `search` it is chosen
    on `validation_rows` rows. With `fused` such rows serve, too, to learn whether the votes of
    `neighbours` help and to make scores probabilities; the trees are trained once more for that.
    Raises DataError when parts do not fit together.
    """
    vectoriser = None
    if corpus.texts is not None:
        vectoriser = TfidfFeatures(features)
        X_NF = vectoriser.fit_transform(corpus.texts, progress)
    else:
        assert corpus.X is not None
        X_NF = normalize_rows(as_csr(corpus.X, "X"))
    X = HybridMatrix.of(X_NF, dense_NH)
    given = given_tree(tree, corpus.labels) if label_tree is None else label_tree
    names = label_rows(vectoriser, corpus.labels, label_text_weight)
    train = _Trainer(corpus.labels, tree, given, ranker, names, seed, num_threads, progress)
    if search.path_weight is None:
        search = train.with_path_weight(search, X, corpus.Y, validation_rows)
    counts_L = np.bincount(corpus.Y.indices, minlength=corpus.num_labels)
    model = XrtModel(
        corpus.labels, vectoriser, train.trees(X, corpus.Y, num_trees), search=search,
        frequencies=LabelFrequencies(counts_L, corpus.num_instances),
    )  # fmt: skip
    if not fused:
        return model
    memory = neighbours or NeighbourParams()
    return train.with_scores(model, X, corpus.Y, num_trees, validation_rows, memory)


@dataclass(frozen=True)
class _Trainer:
    """Grows and trains trees on any rows with the same settings."""

    labels: LabelTable
    shape: TreeParams
    given: LabelTree | None
    ranker: RankerParams
    names: LabelRows | None
    seed: int
    num_threads: int | None
    progress: Progress | None

    def trees(self, X: HybridMatrix, Y_NL: sp.csr_array, num_trees: int) -> TreeEnsemble:
        """All trees first, as their label features are then let go; then one after the other."""
        if self.names is not None:
            X, Y_NL = self.names.join(X, Y_NL)
        if self.given is not None:
            grown = [(self.given, self.seed)]
        else:
            grower = TreeGrower(X, Y_NL, self.num_threads, self.progress)
            seeds = tree_seeds(self.shape, num_trees, self.seed, len(self.labels))
            grown = [(grower.grow(self.shape, seed), seed) for seed in seeds]
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
        trial = self.trees(X.take(held.train), as_csr(Y_NL[held.train]), 1)
        rows, Y_true = X.take(held.validation), as_csr(Y_NL[held.validation])
        chosen = choose_path_weight(trial, rows, Y_true, search, self.num_threads)
        return replace(search, path_weight=chosen.path_weight)

    def with_scores(
        self,
        model: XrtModel,
        X: HybridMatrix,
        Y_NL: sp.csr_array,
        num_trees: int,
        size: int,
        params: NeighbourParams,
    ) -> XrtModel:
        """The model with a fusion and a calibration learnt from trees of the other rows."""
        held = hold_out(Y_NL, size, self.seed)
        if held is None:
            return model
        fit, Y_fit = X.take(held.train), as_csr(Y_NL[held.train])
        trial = replace(
            model,
            linear=self.trees(fit, Y_fit, num_trees),
            neighbours=SparseNeighbours(fit.sparse, Y_fit, params),
            fusion=Mixture({"linear": 1.0, "neighbours": 1.0}),
        )
        sources = trial.sources(X.take(held.validation), num_threads=self.num_threads)
        counts_L = np.bincount(Y_fit.indices, minlength=Y_fit.shape[1])
        known = LabelFrequencies(counts_L, Y_fit.shape[0])
        Y_true = as_csr(Y_NL[held.validation])
        learnt = fit_scores(sources, Y_true, known, self.seed, "linear")
        joined = replace(model, fusion=learnt.mixture, calibration=learnt.calibration)
        if "neighbours" not in learnt.mixture.sources:
            return joined
        return replace(joined, neighbours=SparseNeighbours(X.sparse, Y_NL, params))
