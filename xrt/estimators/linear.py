"""`XRLinear`: the linear model as an estimator."""

from dataclasses import replace
from typing import Any, Self

import numpy as np

from xrt.data.corpus import Corpus
from xrt.errors import ConfigError
from xrt.estimators.base import XrtEstimator
from xrt.estimators.presets import PRESETS
from xrt.features.tfidf_params import TfidfParams
from xrt.model import XrtModel
from xrt.pipeline.params import PipelineParams
from xrt.progress import Progress
from xrt.search.beam import SearchParams
from xrt.sources.ranker import RankerParams
from xrt.tree.clustering import TreeParams, tree_shape
from xrt.tree.label_tree import LabelTree


class XRLinear(XrtEstimator):
    """The linear model: TF-IDF, label trees, one-vs-rest rankers, beam search.

    `XRLinear.preset("quality")` has settings found on held-out rows; PRESETS holds their names.
    """

    _kind = "linear"

    def __init__(
        self,
        *,
        num_trees: int = PipelineParams.num_trees,
        beam_size: int = SearchParams.beam_size,
        path_weight: float | None = SearchParams.path_weight,
        shape: str | None = TreeParams.shape,
        fan_out: int = TreeParams.fan_out,
        depth: int = TreeParams.depth,
        branching: int = TreeParams.branching,
        max_leaf_size: int = TreeParams.max_leaf_size,
        max_top_nodes: int = TreeParams.max_top_nodes,
        paths: str | None = None,
        tree: LabelTree | None = None,
        cost_positive: float = RankerParams.cost_positive,
        cost_negative: float = RankerParams.cost_negative,
        threshold: float | None = RankerParams.threshold,
        matcher_negatives: int = RankerParams.matcher_negatives,
        half: bool = RankerParams.half,
        features: TfidfParams | None = None,
        label_text_weight: float = PipelineParams.label_text_weight,
        validation_rows: int = PipelineParams.validation_rows,
        fused: bool = PipelineParams.fused,
        warm_start: bool = False,
        seed: int = PipelineParams.seed,
        num_threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Settings as in PipelineParams, SearchParams, TreeParams and RankerParams; checked by
        `fit`.

        Args:
            num_trees: label trees from different seeds, whose scores are averaged; at least 1.
            beam_size: nodes kept at each inner level of a tree; at least 1.
            path_weight: exponent of the path's score in that of a label; None chooses it on
                `validation_rows` rows, for which one more tree is trained.
            shape: of the trees: `k_means`, `halves` or `both`; None: `halves` where `branching`,
                `max_leaf_size` or `max_top_nodes` is not at its default, else `both`.
            fan_out: clusters that a node of a k-means tree is divided into, at most; at least 2.
            depth: levels of clusters of a k-means tree, at most; at least 1.
            branching: children of an inner node; at least 2.
            max_leaf_size: labels under a leaf, at most; at least 1.
            max_top_nodes: nodes under the root, at most; at least 1.
            paths: a file with a taxonomy; with it there is no clustering and one tree.
            tree: a label tree, in place of clustering; with it there is one tree.
            cost_positive: cost of a row that has the label; above 0.
            cost_negative: cost of a row that does not have the label; above 0.
            threshold: sparse weights of at most this size are dropped; None: 0.1, and less for long
                rows.
            matcher_negatives: best-scored clusters of each training row that join its true ones
                when labels are trained.
            half: keep weights as float16: half the memory and disk.
            features: how texts become rows; None for the defaults.
            label_text_weight: length of a label's name as one more training row, 0 for none; labels
                have names in a Corpus alone.
            validation_rows: rows held out for `fused` and the path weight; never more than a tenth.
            fused: train the trees twice to see on held-out rows whether the votes of similar rows
                help, and to make scores probabilities; False takes half the time.
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
        self.warm_start = warm_start
        self.seed = seed
        self.num_threads = num_threads
        self.progress = progress

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """An estimator with the settings of PRESETS[name], and others given on top.

        Args:
            name: of the preset, `fast` or `quality`.
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
        return TreeParams(
            shape=tree_shape(self.shape),
            fan_out=self.fan_out,
            depth=self.depth,
            branching=self.branching,
            max_leaf_size=self.max_leaf_size,
            max_top_nodes=self.max_top_nodes,
            paths=self.paths,
        )

    def ranker_params(self) -> RankerParams:
        """How rankers are trained.

        Returns:
            The settings of the rankers.

        Raises:
            ConfigError: a setting is out of range.
        """
        return RankerParams(
            cost_positive=self.cost_positive,
            cost_negative=self.cost_negative,
            threshold=self.threshold,
            matcher_negatives=self.matcher_negatives,
            half=self.half,
        )

    def search_params(self) -> SearchParams:
        """How trees are searched.

        Returns:
            The settings of the search.

        Raises:
            ConfigError: a setting is out of range.
        """
        return SearchParams(beam_size=self.beam_size, path_weight=self.path_weight)

    def _train(self, corpus: Corpus, dense_NH: np.ndarray | None) -> XrtModel:
        from xrt.pipeline.trainer import Trainer

        earlier = getattr(self, "model_", None) if self.warm_start else None
        params = self.pipeline_params()
        if self.features is None and earlier is not None and earlier.features is not None:
            params = replace(params, features=earlier.features.params)
        trainer = Trainer(params, progress=self.progress)
        fitted = trainer.fit(corpus, dense_NH=dense_NH, label_tree=self.tree, earlier=earlier)
        return fitted.model

    def pipeline_params(self) -> PipelineParams:
        """The settings as `xrt train` has them.

        Returns:
            Settings of a run without an encoder.

        Raises:
            ConfigError: one of them is out of range.
        """
        return PipelineParams(
            features=self.features or TfidfParams(),
            tree=self.tree_params(),
            ranker=self.ranker_params(),
            search=self.search_params(),
            num_trees=self.num_trees,
            label_text_weight=self.label_text_weight,
            validation_rows=self.validation_rows,
            fused=self.fused,
            seed=self.seed,
            num_threads=self.num_threads or 0,
        )
