"""The one trainer: the linear model first, then what the encoder adds, then how they are fused.

N training rows, L labels. It serves `xrt train`, the estimators and the folds of an audit: with a
`FolderCache` its stages are kept in a run folder, with a `MemoryCache` nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.encoder.launcher import Group
from xrt.hybrid import HybridMatrix
from xrt.metrics.judgement import Judgement
from xrt.model import XrtModel
from xrt.pipeline.budget.fitting import Budget, fit_within
from xrt.pipeline.budget.plan import Plan
from xrt.pipeline.budget.report import BudgetReport
from xrt.pipeline.budget.spending import RECORD, Spending
from xrt.pipeline.choosing.choices import Choices
from xrt.pipeline.choosing.stage import choose_settings
from xrt.pipeline.fusing import HeldOutRows
from xrt.pipeline.hooks import HeldOutScores
from xrt.pipeline.linear import fuse_linear, linear_model, train_trees
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.rows import lazy_hash, require_texts, training_rows
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.trees import PlantedTree, planted, taxonomy_tree, tree_seeds
from xrt.pipeline.verdict import Verdict, require_held_out
from xrt.pipeline.warm_start import earlier_trees, require_same_inputs
from xrt.progress import Progress
from xrt.sources.base import CANDIDATES
from xrt.sources.trees import TreeEnsemble
from xrt.storage.stages import Hash, MemoryCache, StageCache
from xrt.tree.label_tree import LabelTree


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a training gives.

    Attributes:
        linear: the linear model, calibrated where rows could be held out.
        deep: the deep model; None without an encoder, or where it does not ship and is not compared
            on other rows.
        verdict: whether the deep model is better; None without an encoder.
        held_out: rows that no source was trained on; None where no row was held out.
        choices: the settings that were chosen; None where nothing was to be chosen.
        judgements: each learnt step beside its plain alternative on held-out rows, and which ships.
        plan: what a budget was spent on; None without one.
        budget: how it was used; None without one.
    """

    linear: XrtModel
    deep: XrtModel | None = None
    verdict: Verdict | None = None
    held_out: HeldOutRows | None = None
    choices: Choices | None = None
    judgements: tuple[Judgement, ...] = ()
    plan: Plan | None = None
    budget: BudgetReport | None = None

    @property
    def model(self) -> XrtModel:
        """The model that ships."""
        if self.deep is None or self.verdict is None or not self.verdict.ships_deep:
            return self.linear
        return self.deep

    @property
    def objective(self) -> float | None:
        """What a search over settings maximises: the mean of P@1 and nDCG@10 on the held-out rows
        of the model that ships; None where no row was held out.
        """
        return None if self.held_out is None else self.held_out.criterion

    def held_out_scores(self, candidates: int = CANDIDATES) -> HeldOutScores | None:
        """The held-out rows as the model that ships scores them.

        Args:
            candidates: labels of each row.

        Returns:
            The rows and their scores; None where no row was held out.
        """
        return None if self.held_out is None else self.held_out.scored_by(self.model, candidates)


class Trainer:
    """Trains models with the same settings; a cache says where its stages are kept."""

    def __init__(
        self,
        params: PipelineParams,
        cache: StageCache | None = None,
        progress: Progress | None = None,
        candidates: int = CANDIDATES,
        budget: Budget | None = None,
        callbacks: Sequence[Any] = (),
        loggers: Sequence[Any] = (),
        group: Group | None = None,
    ) -> None:
        """Nothing is computed yet.

        Args:
            params: the settings.
            cache: `FolderCache(run_folder)` or, when not given, a `MemoryCache`.
            progress: is told how far a stage is.
            candidates: labels that each source names for a held-out row.
            budget: the clock of a run that has begun already; by default, where the settings have a
                budget, it runs from `fit` on.
            callbacks: callbacks of Lightning's, which take part in the fine-tuning.
            loggers: loggers of Lightning's, which get its figures.
            group: the processes that fine-tune together; None where the run starts its own.
        """
        self.params = params
        self.budget = budget
        self.runner = StageRunner(
            params, cache or MemoryCache(), progress, candidates,
            callbacks=tuple(callbacks), loggers=tuple(loggers), group=group,
        )  # fmt: skip

    def fit(
        self,
        corpus: Corpus,
        *,
        dense_NH: np.ndarray | None = None,
        label_tree: LabelTree | None = None,
        earlier: XrtModel | None = None,
        compared: bool = False,
    ) -> Fitted:
        """Train on a corpus.

        Weights of labels and rows reach trees, rankers, votes and what is chosen on held-out rows.

        Args:
            corpus: N texts, or rows of features, with labels.
            dense_NH: dense features of the rows, taken as they are; without an encoder only.
            label_tree: a tree to use instead of clustering.
            earlier: a model whose vocabulary and label trees are used again.
            compared: finish the deep model even where it does not ship.

        Returns:
            The models, and the verdict on them.

        Raises:
            DataError: parts do not fit together, or there is nothing to learn.
            ConfigError: other settings than those of the earlier model, or rows of features for an
                encoder.
            TrainingError: the encoder could not be trained.
            ChoosingStopped: Ctrl-C while settings were chosen.
        """
        with self.runner.cache.lock():
            budget = self.budget
            if self.params.encoder is None:
                budget = None
            elif budget is None and self.params.budget is not None:
                budget = Budget(Spending(self.params, self.runner.cache.record(RECORD)))
            try:
                self.check(corpus)
                self.runner.judgements.clear()
                fitted = self._fit(corpus, dense_NH, label_tree, earlier, compared, budget)
            except BaseException:  # Ctrl-C, too: the time until now counts when the run goes on
                if budget is not None:
                    budget.spending.keep()
                raise
            return replace(fitted, judgements=tuple(self.runner.judgements))

    def check(self, corpus: Corpus) -> None:
        """Refuse what cannot be trained, before hours of work.

        Args:
            corpus: the training corpus.

        Raises:
            DataError: there is nothing to learn, or no row can be held out to judge an encoder.
            ConfigError: rows of features for an encoder; or the encoder cannot be read, trained or
                saved as the settings say.
        """
        corpus.require_trainable()
        require_texts(self.params, corpus)
        require_held_out(self.params, corpus)
        group = self.runner.group
        if self.params.encoder is not None and (group is None or group.is_first):
            from xrt.encoder.attachments import check_attached
            from xrt.encoder.resolve import require_encoder

            check_attached(self.params.trainer)
            require_encoder(
                self.params.encoder, trainer=self.params.trainer,
                texts=corpus.texts or (), record=self.runner.cache.record("encoder-tried.txt"),
            )  # fmt: skip

    def _fit(
        self,
        corpus: Corpus,
        dense_NH: np.ndarray | None,
        label_tree: LabelTree | None,
        earlier: XrtModel | None,
        compared: bool,
        budget: Budget | None,
    ) -> Fitted:
        if budget is not None:
            budget.spending.begin("linear model")
        choices, runner = None, self.runner
        if earlier is None:
            choices = choose_settings(runner, corpus, dense_NH, label_tree is not None)
            if choices is not None:
                runner = replace(runner, params=choices.applied_to(self.params))
                runner.judgements.extend(choices.judgements)
        else:
            num_dense = 0 if dense_NH is None else dense_NH.shape[1]
            require_same_inputs(earlier, corpus, self.params.features, num_dense)
        trees = self._ready_trees(corpus.labels, label_tree, earlier)
        vectoriser = None if earlier is None else earlier.features
        rows = training_rows(runner, corpus, dense_NH, vectoriser)
        linear = linear_model(runner, rows, trees)
        if budget is not None:
            ready, deep, verdict, held_out, plan, used = fit_within(
                runner, rows, linear, trees, compared, budget
            )
            return Fitted(ready, deep, verdict, held_out, choices, plan=plan, budget=used)
        if runner.params.encoder is not None:
            from xrt.pipeline.deep import fit_deep  # here, since it brings torch

            return Fitted(*fit_deep(runner, rows, linear, compared), choices)
        if not runner.params.fused:
            return Fitted(linear, choices=choices)
        model, held_out = fuse_linear(runner, rows, linear, trees)
        return Fitted(model, held_out=held_out, choices=choices)

    def fit_trees(self, X: HybridMatrix, Y_NL: sp.csr_array, labels: LabelTable) -> TreeEnsemble:
        """Train `num_trees` label trees with rankers on some rows, and nothing else.

        Args:
            X: rows (N, F + H).
            Y_NL: their labels.
            labels: the label table.

        Returns:
            The trees with their rankers.
        """
        inputs: dict[str, Hash] = {
            "rows": lazy_hash([X.sparse, X.dense]),
            "labels": lazy_hash(Y_NL),
        }
        return train_trees(self.runner, X, Y_NL, labels, inputs, num_trees=self.params.num_trees)

    def _ready_trees(
        self, labels: LabelTable, label_tree: LabelTree | None, earlier: XrtModel | None
    ) -> list[PlantedTree]:
        """Trees that need not be grown: one given, or those of an earlier model."""
        params = self.params
        if earlier is None:
            return [] if label_tree is None else planted([label_tree], params.seed)
        taxonomy = taxonomy_tree(params.tree, labels) if label_tree is None else label_tree
        seeds = tree_seeds(params.tree, params.num_trees, params.seed, len(labels))
        num_trees = len(seeds) if taxonomy is None else 1
        return planted(earlier_trees(earlier, num_trees, taxonomy), params.seed)
