"""One try: the linear model with some settings on some of the rows, judged on held-out ones.

n rows that are trained on, M held-out rows, L labels, of which l occur among the n.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.fusion.candidates import Candidates, complete_scores, name_candidates
from xrt.fusion.cross_fitting import gain_of
from xrt.fusion.fit import cross_fitted_fusion
from xrt.metrics.judgement import is_better
from xrt.metrics.ranking import judge, ndcg_of_rows
from xrt.pipeline.choosing.work import work_of_trees
from xrt.pipeline.fusing import frequencies_of
from xrt.pipeline.linear import linear_training
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.rows import TrainingRows, training_rows
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.source_fits import fit_sources
from xrt.sources.base import CANDIDATES, Source, SourceRows, Training
from xrt.sources.linear_trees import LinearTrees
from xrt.sources.registry import BASELINE, SOURCES
from xrt.sparse import as_csr, top_k_rows

FIGURES = ("criterion", "P@1", "P@3", "P@5", "R@10")
"""What is measured: the first decides, and none of the others may get worse."""
_Others = tuple[dict[str, Source], dict[str, sp.csr_array]]
_MOST_VIEWS = 2  # TF-IDF rows in memory at once: those of the settings that stand, and one more


@dataclass(frozen=True, eq=False)
class Trial:
    """What a try gave.

    Attributes:
        figures_ME: FIGURES of each held-out row, 0 to 1.
        work: of training its trees, counted.
        seconds: what it took here.
    """

    figures_ME: np.ndarray
    work: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Subsample:
    """Some rows of a corpus: n to train on, then M held-out ones.

    Attributes:
        corpus: the n + M rows; of L labels the l that occur among the n.
        num_train: n.
        truth_ML: labels of the held-out rows: the l, then all others, which count as missed.
        dense_NH: dense columns of the rows; None where there are none.
    """

    corpus: Corpus
    num_train: int
    truth_ML: sp.csr_array
    dense_NH: np.ndarray | None = None

    @property
    def train(self) -> np.ndarray:
        """Positions of the rows to train on, (n,)."""
        return np.arange(self.num_train)

    @property
    def held_out(self) -> np.ndarray:
        """Positions of the held-out rows, (M,)."""
        return np.arange(self.num_train, self.corpus.num_instances)

    @property
    def weights_M(self) -> np.ndarray | None:
        """How much each held-out row counts; None where all count alike."""
        weights_N = self.corpus.row_weights
        return None if weights_N is None else weights_N[self.num_train :]


def take_subsample(
    corpus: Corpus, train: np.ndarray, held_out: np.ndarray, dense_NH: np.ndarray | None = None
) -> Subsample:
    """Take some rows of a corpus.

    Args:
        corpus: N rows.
        train: positions of the rows to train on, (n,).
        held_out: positions of those to judge on, (M,).
        dense_NH: dense columns of the N rows; None where there are none.

    Returns:
        The rows, in the order of the corpus, held-out ones last.
    """
    train, held_out = np.sort(train), np.sort(held_out)
    rows = np.concatenate([train, held_out])
    some = corpus.subset(rows)
    is_used = np.zeros(corpus.num_labels, np.bool_)
    is_used[corpus.Y[train].indices] = True
    used, others = np.flatnonzero(is_used), np.flatnonzero(~is_used)
    ids, names = corpus.labels.ids, corpus.labels.names
    table = LabelTable(tuple(ids[i] for i in used), tuple(names[i] for i in used))
    small = replace(some, Y=as_csr(some.Y[:, used]), labels=table, filters=None)
    truth_ML = as_csr(corpus.Y[held_out][:, np.concatenate([used, others])])
    return Subsample(small, len(train), truth_ML, None if dense_NH is None else dense_NH[rows])


class Trials:
    """Tries settings on one subsample; what several of them share is made once."""

    def __init__(self, sample: Subsample) -> None:
        """Nothing is trained yet.

        Args:
            sample: the rows.
        """
        self.sample = sample
        self._views: dict[Any, TrainingRows] = {}
        self._others: dict[Any, _Others] = {}
        self._trees: tuple[Any, LinearTrees] | None = None

    def run(self, params: PipelineParams) -> Trial:
        """Train with these settings and judge on the held-out rows.

        Args:
            params: the settings.

        Returns:
            What was found.

        Raises:
            XrtError: the rows cannot be trained on so.
        """
        started, sample = time.perf_counter(), self.sample
        rows = self.view(params)
        training = linear_training(StageRunner(params), rows, sample.train)
        held = SourceRows(rows.X.take(sample.held_out))
        linear, work = self._train_trees(training)
        sources: dict[str, Source] = {BASELINE: linear}
        own = name_candidates(sources, held, CANDIDATES, training.search, training.num_threads)
        if params.fused:
            others, of_others = self._others_of(training, held)
            sources, own = sources | others, own | of_others
        scores_Ml = top_k_rows(own[BASELINE], CANDIDATES)
        if len(sources) > 1:
            threads = training.num_threads
            candidates = complete_scores(sources, own, held, training.search, threads)
            scores_Ml = self._fused(candidates, scores_Ml, rows, params)
        figures_ME = figures_of_rows(sample.truth_ML, scores_Ml)
        return Trial(figures_ME, work, time.perf_counter() - started)

    def view(self, params: PipelineParams) -> TrainingRows:
        """The rows as these settings make them.

        Args:
            params: the settings.

        Returns:
            All rows of the subsample.
        """
        key = (params.features, params.label_text_weight)
        if key not in self._views:
            while len(self._views) >= _MOST_VIEWS:
                self._views.pop(list(self._views)[-1])
            runner = StageRunner(params)
            self._views[key] = training_rows(runner, self.sample.corpus, self.sample.dense_NH)
        return self._views[key]

    def _train_trees(self, training: Training) -> tuple[LinearTrees, float]:
        """The trees, and the work of training them."""
        key = trees_key(training.settings)
        if self._trees is None or self._trees[0] != key:
            self._trees = None  # the earlier ones go first
            linear = LinearTrees.fit(training)
            assert linear is not None
            self._trees = key, linear
        linear, X = self._trees[1], training.rows.X
        nonzeros = (X.sparse.nnz + X.dense.size) / X.num_rows
        negatives = training.settings.ranker.matcher_negatives
        return linear, work_of_trees(linear.ensemble, training.Y_NL, nonzeros, negatives)

    def _others_of(self, training: Training, held: SourceRows) -> _Others:
        """The other sources, and what they name for the held-out rows."""
        params, threads = training.settings, training.num_threads
        key = (params.features, params.neighbours)
        if key not in self._others:
            sources = fit_sources(training, names=set(SOURCES) - {BASELINE})
            own = name_candidates(sources, held, CANDIDATES, training.search, threads)
            self._others[key] = sources, own
        return self._others[key]

    def _fused(
        self,
        candidates: Candidates,
        alone_Ml: sp.csr_array,
        rows: TrainingRows,
        params: PipelineParams,
    ) -> sp.csr_array:
        """Weighted means that the other half of the held-out rows gives, where these are better
        than the trees alone.
        """
        weights_M, Y_Ml = self.sample.weights_M, rows.labels_of(self.sample.held_out)
        frequencies = frequencies_of(params, rows.labels_of(self.sample.train))
        fused_Ml = cross_fitted_fusion(candidates, Y_Ml, frequencies, params.seed, False, weights_M)
        gain, error = gain_of(Y_Ml, fused_Ml, alone_Ml, weights_M)
        return fused_Ml if is_better(gain, error) else alone_Ml


def trees_key(params: PipelineParams) -> tuple[Any, ...]:
    """What trees depend on: settings that agree in it share a training.

    Args:
        params: the settings.

    Returns:
        Values to compare.
    """
    return (
        params.features, params.tree, params.ranker, params.num_trees, params.label_text_weight
    )  # fmt: skip


def figures_of_rows(truth_ML: sp.csr_array, scores_Ml: sp.csr_array) -> np.ndarray:
    """FIGURES of each row.

    Args:
        truth_ML: the labels of the rows.
        scores_Ml: scores of their first columns.

    Returns:
        float64 (M, 5), 0 to 1; P@3 and P@5 of a row with fewer labels are shares of 3 and 5.
    """
    judged = judge(truth_ML, scores_Ml, 10)
    hits = judged.hits_NK.cumsum(axis=1)
    recall_M = hits[:, 9] / np.maximum(1, judged.num_true_N)
    first_M = hits[:, 0].astype(np.float64)
    criterion_M = (first_M + ndcg_of_rows(judged)[:, 9]) / 2
    return np.column_stack([criterion_M, first_M, hits[:, 2] / 3, hits[:, 4] / 5, recall_M])
