"""The rows of a training corpus as every source takes them, and the rows that are held out.

N rows, L labels, F TF-IDF columns, H dense columns.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.splits import validation_split
from xrt.errors import ConfigError, DataError
from xrt.features.name_words import NameWords, name_words
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams
from xrt.hybrid import HybridMatrix, as_row_weights
from xrt.pipeline.label_names import LabelNameRows, label_name_rows
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.row_groups import group_rows
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.trees import taxonomy_input
from xrt.sparse import as_csr, load_csr, normalize_rows, save_csr
from xrt.storage.hashing import content_hash
from xrt.storage.stages import Hash, Settings, Stage, Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """TF-IDF rows of texts (N, F) and what made them; None where the corpus has rows itself."""

    X_NF: sp.csr_array
    features: TfidfFeatures | None


def _save_features(output: FeatureRows, folder: Path) -> None:
    assert output.features is not None
    output.features.save(folder / "features")
    save_csr(folder, "X", output.X_NF)


def _load_features(folder: Path) -> FeatureRows:
    return FeatureRows(load_csr(folder, "X"), TfidfFeatures.load(folder / "features"))


FEATURES = Stage("features", 2, ("features",), _save_features, _load_features)


def make_features(
    runner: StageRunner,
    corpus: Corpus,
    params: TfidfParams | None = None,
    earlier: TfidfFeatures | None = None,
    name: str | None = None,
) -> tuple[FeatureRows, Hash]:
    """Stage 1: TF-IDF rows of the texts, or the corpus's own rows brought to length 1.

    Args:
        runner: runs the stage.
        corpus: N texts or rows.
        params: instead of the settings' `features`.
        earlier: a vectoriser to use instead of a new one.
        name: of the stage, where it is not the first.

    Returns:
        The rows, and their hash.
    """
    if corpus.texts is None:
        assert corpus.X is not None
        X_NF = normalize_rows(as_csr(corpus.X, "X"))
        return FeatureRows(X_NF, None), lazy_hash(X_NF)
    texts = corpus.texts
    if earlier is not None:
        X_NF = earlier.transform(texts, runner.progress)
        return FeatureRows(X_NF, earlier), lazy_hash(X_NF)

    def make(settings: Settings, workspace: Workspace) -> FeatureRows:
        features = TfidfFeatures(settings["features"])
        return FeatureRows(features.fit_transform(texts, runner.progress), features)

    own = None if params is None else {"features": params}
    output = runner.run(FEATURES, make, {"texts": lazy_hash(texts)}, name, own)
    return output.value, output.hash


def lazy_hash(value: object) -> Callable[[], str]:
    """The content hash of a value, computed when it is first asked for.

    Args:
        value: what is hashed.

    Returns:
        A function that gives the hash.
    """
    return cache(lambda: content_hash(value))


def labels_hash(corpus: Corpus) -> str:
    """The hash of the labels, with all that says how much each counts.

    Where nothing has a weight it is the hash of Y alone.

    Args:
        corpus: the corpus.

    Returns:
        The hash.
    """
    weights_N = as_row_weights(corpus.row_weights, corpus.num_instances)
    if weights_N is None and (corpus.Y.data == 1).all():
        return content_hash(corpus.Y)
    return content_hash(["weighted", corpus.Y, weights_N])


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """The training corpus as every source takes it.

    Attributes:
        corpus: N texts or rows, with labels.
        X: rows (N, F + H) with their weights.
        features: makes TF-IDF rows of texts; None for a corpus of rows.
        names: the labels' names as further rows; None where there are none.
        inputs: the hashes of rows and labels.
        name_words: gives the words of the labels' names; None where there are none.
        groups: gives the rows that stay together where rows are held out, int64 (N,).
    """

    corpus: Corpus
    X: HybridMatrix
    features: TfidfFeatures | None
    names: LabelNameRows | None
    inputs: dict[str, Hash]
    name_words: Callable[[], NameWords | None]
    groups: Callable[[], np.ndarray]

    @property
    def X_NF(self) -> sp.csr_array:
        """The TF-IDF rows alone."""
        return self.X.sparse

    @property
    def name_inputs(self) -> dict[str, Hash]:
        """The hash of the labels' names, where they are rows."""
        return {} if self.names is None else dict(self.names.inputs)

    @property
    def source_inputs(self) -> dict[str, Hash]:
        """The hashes of what all sources make of the labels' names: rows, and words in texts."""
        names = self.corpus.labels.names
        if self.features is None or not any(names):
            return self.name_inputs
        return {**self.name_inputs, "names in texts": lazy_hash(list(names))}

    def labels_of(self, rows: np.ndarray) -> sp.csr_array:
        """The labels of some rows.

        Args:
            rows: positions of R rows.

        Returns:
            (R, L).
        """
        return as_csr(self.corpus.Y[rows])

    def weights_of(self, rows: np.ndarray) -> np.ndarray | None:
        """The weights of some rows.

        Args:
            rows: positions of R rows.

        Returns:
            (R,); None where all are 1.
        """
        weights_N = self.corpus.row_weights
        return None if weights_N is None else as_row_weights(weights_N[rows], len(rows))


def training_rows(
    runner: StageRunner,
    corpus: Corpus,
    dense_NH: np.ndarray | None = None,
    earlier: TfidfFeatures | None = None,
) -> TrainingRows:
    """The rows of a corpus.

    Args:
        runner: runs the stage of the features.
        corpus: N texts or rows, with labels.
        dense_NH: dense features beside the sparse ones, taken as they are.
        earlier: a vectoriser to use instead of a new one.

    Returns:
        The rows, with the names of the labels.
    """
    params = runner.params
    made, rows_hash = make_features(runner, corpus, earlier=earlier)
    inputs: dict[str, Hash] = {"rows": rows_hash, "labels": cache(lambda: labels_hash(corpus))}
    if dense_NH is not None:
        inputs["dense"] = lazy_hash(dense_NH)
    inputs |= taxonomy_input(params.tree, corpus.labels)
    X = HybridMatrix.of(made.X_NF, dense_NH).weighted(corpus.row_weights)
    names = label_name_rows(made.features, corpus.labels, params.label_text_weight)
    words = cache(lambda: name_words(corpus.labels.names, made.features))
    groups = cache(lambda: group_rows(runner, corpus, dense_NH))
    return TrainingRows(corpus, X, made.features, names, inputs, words, groups)


TENTH, QUARTER = 10, 4
"""One row in TENTH is held out, at most; one in QUARTER where that is not enough."""
ENOUGH_ROWS = 750
"""Held-out rows that are enough for the fusion of a linear model, which is trained anew without
them in seconds: fitted on a tenth of 3,000 rows, fusion lost up to two points at P@1
(bench/records/2026-12-01-defaults.md)."""


class HeldOut(NamedTuple):
    """Which training rows are held out; sorted positions, int64, no row in two of them.

    Attributes:
        train: the rows to train on until all choices are made.
        validation: the rows that choices are made on: the newest where times are known, else drawn
            at random.
        drawn: where `validation` are the newest, further rows, drawn at random, which are only
            reported on; else none.
    """

    train: np.ndarray
    validation: np.ndarray
    drawn: np.ndarray

    @property
    def every(self) -> np.ndarray:
        """All rows that are not trained on: those of `validation`, then `drawn`."""
        return np.concatenate([self.validation, self.drawn])

    @property
    def inputs(self) -> dict[str, Hash]:
        """The hash of the held-out rows, as an input of stages."""
        parts = [self.validation, self.drawn] if len(self.drawn) else self.validation
        return {"held out": lazy_hash(parts)}


def hold_out(
    rows: TrainingRows, size: int, seed: int, purpose: str = "", enough: int = 0
) -> HeldOut | None:
    """Hold rows out of training, group by group, and the newest where times are known.

    Args:
        rows: the training rows.
        size: rows at most. Where times are known, half as many more are drawn at random to report
            on.
        seed: of the choice.
        purpose: what they are for and what happens without them, for the log.
        enough: never more than a tenth of the rows; where that is less than so many rows, up to a
            quarter of them until it is.

    Returns:
        The rows to train on and the held-out rows; None where no row can be held out.
    """
    Y_NL, times_N = rows.corpus.Y, rows.corpus.times
    num_rows = Y_NL.shape[0]
    most = max(num_rows // TENTH, min(num_rows // QUARTER, enough))
    size = max(1, min(size, most))
    groups_N = rows.groups()
    try:
        train, newest = validation_split(Y_NL, size=size, seed=seed, groups=groups_N, times=times_N)
    except DataError as err:
        logger.warning("%s%s", err, "; " + purpose if purpose else "")
        return None
    nothing = np.zeros(0, np.int64)
    if times_N is None or len(train) < 2:
        return HeldOut(train, newest, nothing)
    try:
        other, drawn = validation_split(
            as_csr(Y_NL[train]), size=max(1, size // 2), seed=seed, groups=groups_N[train]
        )
    except DataError:
        return HeldOut(train, newest, nothing)
    return HeldOut(train[other], newest, train[drawn])


def require_texts(params: PipelineParams, corpus: Corpus) -> None:
    """Check that an encoder has texts to read.

    Args:
        params: settings of the run.
        corpus: the training corpus.

    Raises:
        ConfigError: an encoder is set, and the corpus has rows of features.
    """
    if params.encoder is not None and corpus.texts is None:
        where = corpus.report.path or "the corpus"
        raise ConfigError(
            f"encoder is set, but {where} has rows of features instead of texts; "
            "give a file with texts",
            settings={"encoder=none": "to train a linear model"},
        )
