"""`XRLinear`: the linear model as an estimator."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from xrt.data.corpus import Corpus
from xrt.errors import ConfigError
from xrt.estimators.base import XrtEstimator
from xrt.estimators.presets import PRESETS
from xrt.features.tfidf_params import TfidfParams
from xrt.model import XrtModel
from xrt.pipeline.choosing.aspects import open_aspects
from xrt.pipeline.params import AUTO_ASPECTS, PipelineParams
from xrt.progress import Progress
from xrt.search.beam import SearchParams
from xrt.sources.ranker import RankerParams
from xrt.tree.clustering import TreeParams, tree_shape
from xrt.tree.label_tree import LabelTree

_SHAPE = ("fan_out", "depth", "branching", "max_leaf_size", "max_top_nodes")
_RANKERS = ("cost_positive", "cost_negative", "threshold", "matcher_negatives")


class XRLinear(XrtEstimator):
    """The linear model: TF-IDF, label trees, one-vs-rest rankers, beam search.

    `XRLinear.preset("quality")` has settings found on held-out rows; PRESETS holds their names.
    """

    _kind = "linear"

    def __init__(
        self,
        *,
        num_trees: int | None = None,
        beam_size: int = SearchParams.beam_size,
        path_weight: float | None = None,
        shape: str | None = None,
        fan_out: int | None = None,
        depth: int | None = None,
        branching: int | None = None,
        max_leaf_size: int | None = None,
        max_top_nodes: int | None = None,
        paths: str | None = None,
        tree: LabelTree | None = None,
        cost_positive: float | None = None,
        cost_negative: float | None = None,
        threshold: float | None = None,
        matcher_negatives: int | None = None,
        half: bool = RankerParams.half,
        features: TfidfParams | None = None,
        label_text_weight: float = PipelineParams.label_text_weight,
        validation_rows: int = PipelineParams.validation_rows,
        fused: bool = PipelineParams.fused,
        choose: Sequence[str] | None = None,
        warm_start: bool = False,
        seed: int = PipelineParams.seed,
        num_threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Settings as in PipelineParams, SearchParams, TreeParams and RankerParams; checked by
        `fit`. One that is None is not given: it is chosen where `choose` says so, else it has its
        default there.

        Args:
            num_trees: label trees from different seeds, whose scores are averaged; at least 1.
            beam_size: nodes kept at each inner level of a tree; at least 1.
            path_weight: exponent of the path's score in that of a label; at least 0.
            shape: of the trees: `k_means`, `halves` or `both`; None: `halves` where `branching`,
                `max_leaf_size` or `max_top_nodes` is given, else `both`.
            fan_out: clusters that a node of a k-means tree is divided into, at most; at least 2.
            depth: levels of clusters of a k-means tree, at most; at least 1.
            branching: children of an inner node; at least 2.
            max_leaf_size: labels under a leaf, at most; at least 1.
            max_top_nodes: nodes under the root, at most; at least 1.
            paths: a file with a taxonomy; with it there is no clustering and one tree.
            tree: a label tree, in place of clustering; with it there is one tree.
            cost_positive: cost of a row that has the label; above 0.
            cost_negative: cost of a row that does not have the label; above 0.
            threshold: sparse weights of at most this size are dropped; by default 0.1, and less for
                long rows.
            matcher_negatives: best-scored clusters of each training row that join its true ones
                when labels are trained.
            half: keep weights as float16: half the memory and disk.
            features: how texts become rows.
            label_text_weight: length of a label's name as one more training row, 0 for none; labels
                have names in a Corpus alone.
            validation_rows: rows held out for `fused` and the path weight; never more than a
                tenth, but up to a quarter for `fused` where a tenth is less than 750 rows.
            fused: train the trees twice to see on held-out rows whether the votes of similar rows
                help, and to make scores probabilities; False takes half the time.
            choose: parts of the model that `fit` chooses on held-out training rows, of ASPECTS:
                those none of whose settings are given; None for those of AUTO_ASPECTS, () for
                none. On fewer than 5,000 rows only `features.min_df` is chosen. What was chosen and
                all that was tried is `choices_`.
            warm_start: a further `fit` keeps vocabulary and label trees of the model that is there,
                fitted or loaded. Labels and columns must be the same, and settings of the trees'
                shape count no more. Classifiers start from zero and learn only the rows of this
                `fit`.
            seed: of all random choices; at least 0.
            num_threads: threads; None for all processors.
            progress: told of the work done; None for nothing.
        """
        self.num_trees = num_trees
        self.beam_size = beam_size
        self.path_weight = path_weight
        self.shape = shape
        self.fan_out = fan_out
        self.depth = depth
        self.branching = branching
        self.max_leaf_size = max_leaf_size
        self.max_top_nodes = max_top_nodes
        self.paths = paths
        self.tree = tree
        self.cost_positive = cost_positive
        self.cost_negative = cost_negative
        self.threshold = threshold
        self.matcher_negatives = matcher_negatives
        self.half = half
        self.features = features
        self.label_text_weight = label_text_weight
        self.validation_rows = validation_rows
        self.fused = fused
        self.choose = choose
        self.warm_start = warm_start
        self.seed = seed
        self.num_threads = num_threads
        self.progress = progress

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """An estimator with the settings of PRESETS[name], and others given on top.

        Args:
            name: of the preset: `auto`, `default`, `fast` or `quality`.
            **overrides: arguments of the class, in place of the preset's.

        Returns:
            The estimator, not trained.

        Raises:
            ConfigError: there is no such preset.
        """
        if name not in PRESETS:
            raise ConfigError(f"preset {name!r} is unknown; choose one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **overrides})

    def tree_params(self) -> TreeParams:
        """Shape of the label trees.

        Returns:
            The settings of the trees.

        Raises:
            ConfigError: a setting is out of range.
        """
        return TreeParams(paths=self.paths, shape=tree_shape(self.shape), **self._given(*_SHAPE))

    def ranker_params(self) -> RankerParams:
        """How rankers are trained.

        Returns:
            The settings of the rankers.

        Raises:
            ConfigError: a setting is out of range.
        """
        return RankerParams(half=self.half, **self._given(*_RANKERS))

    def search_params(self) -> SearchParams:
        """How trees are searched.

        Returns:
            The settings of the search.

        Raises:
            ConfigError: a setting is out of range.
        """
        return SearchParams(beam_size=self.beam_size, **self._given("path_weight"))

    def _given(self, *names: str) -> dict[str, Any]:
        """Those of some arguments that were given."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def _train(self, corpus: Corpus, dense_NH: np.ndarray | None) -> XrtModel:
        from xrt.pipeline.trainer import Trainer

        earlier = getattr(self, "model_", None) if self.warm_start else None
        params = self.pipeline_params()
        choices = None if earlier is None else self._choices()
        if choices is not None:
            params = choices.applied_to(params)
        elif self.features is None and earlier is not None and earlier.features is not None:
            params = replace(params, features=earlier.features.params)
        trainer = Trainer(params, progress=self.progress)
        fitted = trainer.fit(corpus, dense_NH=dense_NH, label_tree=self.tree, earlier=earlier)
        if earlier is None:
            self._keep_choices(fitted.choices)
        return fitted.model

    def pipeline_params(self) -> PipelineParams:
        """The settings as `xrt train` has them, before any of them is chosen.

        Returns:
            Settings of a run without an encoder.

        Raises:
            ConfigError: one of them is out of range.
        """
        given = [
            *(f"tree.{name}" for name in self._given("shape", *_SHAPE, "paths")),
            *(f"ranker.{name}" for name in self._given(*_RANKERS)),
            *(f"search.{name}" for name in self._given("path_weight")),
            *self._given("num_trees", "features"),
        ]
        return PipelineParams(
            features=self.features or TfidfParams(),
            tree=self.tree_params(),
            ranker=self.ranker_params(),
            search=self.search_params(),
            label_text_weight=self.label_text_weight,
            validation_rows=self.validation_rows,
            fused=self.fused,
            choose=open_aspects(AUTO_ASPECTS if self.choose is None else self.choose, given),
            seed=self.seed,
            num_threads=self.num_threads or 0,
            **self._given("num_trees"),
        )
