"""Measures a model on a labelled corpus."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.formats import read_corpus
from xrt.errors import DataError
from xrt.metrics.propensity import PropensityParams
from xrt.metrics.report import RankingReport, evaluate_ranking
from xrt.model import XrtModel
from xrt.predict import Predictor
from xrt.progress import Progress
from xrt.reading import load_array
from xrt.sparse import as_csr

KS = (1, 3, 5, 10)


def evaluate_scores(
    scores_NL: sp.csr_array,
    corpus: Corpus,
    train_counts_L: np.ndarray,
    num_train: int,
    propensity: PropensityParams,
    ks: Sequence[int] = KS,
    threshold: float | None = None,
    row_weights: np.ndarray | None = None,
) -> RankingReport:
    """All metrics of predictions on a corpus, whose table may end with labels unseen in training;
    with the F1 of labels that score at least `threshold`, where there is one.

    Pairs of the corpus's filter file are struck from the rankings first. Rows count alike, whatever
    weights they have for training; `row_weights` (N,) gives them weights here.
    """
    return evaluate_ranking(
        corpus.Y,
        strike(scores_NL, corpus.filters),
        ks=tuple(ks),
        train_label_counts=train_counts_L,
        num_train=num_train,
        propensity=propensity,
        threshold=threshold,
        probabilities=True,
        row_weights=row_weights,
    )


def tuned_threshold(model: XrtModel) -> float | None:
    """The probability at which micro-F1 was highest on held-out rows; None where there is none."""
    return None if model.calibration is None else model.calibration.thresholds.get("micro-F1")


def strike(scores_NL: sp.csr_array, filters: np.ndarray | None) -> sp.csr_array:
    """The scores without the (row, label) pairs of a filter file."""
    if filters is None or not len(filters):
        return scores_NL
    num_labels = scores_NL.shape[1]
    known = filters[filters[:, 1] < num_labels]
    rows = np.repeat(np.arange(scores_NL.shape[0], dtype=np.int64), np.diff(scores_NL.indptr))
    struck = np.isin(rows * num_labels + scores_NL.indices, known[:, 0] * num_labels + known[:, 1])
    parts = (scores_NL.data[~struck], (rows[~struck], scores_NL.indices[~struck]))
    return as_csr(sp.csr_array(parts, shape=scores_NL.shape))


def predict_corpus(
    model: XrtModel,
    corpus: Corpus,
    k: int,
    embeddings_NH: np.ndarray | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> sp.csr_array:
    """Scores for a corpus of texts or rows, with room for pairs that a filter file strikes.

    Raises DataError when the corpus is of the other kind than the model.
    """
    inputs = corpus.texts if model.features is not None else corpus.X
    if inputs is None:
        kind = "texts" if model.features is not None else "feature rows"
        raise DataError(f"{corpus.report.path}: has no {kind}, and the model takes {kind}")
    spare = 0
    if corpus.filters is not None and len(corpus.filters):
        spare = int(np.bincount(corpus.filters[:, 0]).max())
    return model.predict(inputs, k + spare, embeddings_NH, num_threads, progress)


def evaluate_model(
    model_folder: str | Path,
    corpus_path: str | Path,
    ks: Sequence[int] = KS,
    progress: Progress | None = None,
) -> RankingReport:
    """The metrics of a saved model on a labelled file, read as the training file was.

    Raises ArtifactError for a damaged model, DataError for an unusable file.
    """
    predictor = Predictor.load(model_folder)
    assert predictor.artifact is not None
    configuration = predictor.artifact.manifest["configuration"]
    dataset = configuration.get("dataset", {})
    training = predictor.artifact.manifest["training"]
    model = predictor.model
    corpus = read_corpus(corpus_path, labels=model.labels, **_reading(dataset))
    scores_NL = predict_corpus(model, corpus, max(ks), progress=progress)
    propensity = PropensityParams(
        a=dataset.get("propensity_a", 0.55), b=dataset.get("propensity_b", 1.5)
    )
    counts_L = load_array(predictor.artifact.path("label_counts.npy"), np.int64, 1)
    threshold = tuned_threshold(model)
    return evaluate_scores(
        scores_NL, corpus, counts_L, training["num_rows"], propensity, ks, threshold
    )


def _reading(dataset: dict[str, Any]) -> dict[str, Any]:
    """How the training file's columns were named."""
    options: dict[str, Any] = {}
    if dataset.get("text_columns"):
        options["text_columns"] = dataset["text_columns"]
    columns = dataset.get("label_columns")
    if isinstance(columns, list) and columns:
        options["label_column"] = columns[0] if len(columns) == 1 else columns
    if dataset.get("label_separator"):
        options["label_separator"] = dataset["label_separator"]
    return options
