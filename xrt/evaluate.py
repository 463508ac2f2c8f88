"""Measures a model on a labelled corpus."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.formats import CorpusFormat, detect_format, format_by_name, read_corpus
from xrt.data.sources import plain_name
from xrt.errors import DataError
from xrt.metrics.propensity import PropensityModel, PropensityParams
from xrt.metrics.report import RankingReport, check_ks, evaluate_ranking
from xrt.model import WatchCandidates, XrtModel
from xrt.predict import Predictor
from xrt.progress import Progress
from xrt.sparse import as_csr
from xrt.storage.reading import load_array
from xrt.storage.saved_values import SavedValues

logger = logging.getLogger(__name__)

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
    """All metrics of predictions on a corpus. Pairs of its filter file are struck from the rankings
    first.

    Args:
        scores_NL: scores of the labels known in training.
        corpus: N rows; its table may end with labels unseen in training.
        train_counts_L: training rows of each label.
        num_train: training rows.
        propensity: the constants of PSP and PSnDCG.
        ks: the cut-offs.
        threshold: F1 is that of labels that score at least this; None for no F1.
        row_weights: how much each row counts, (N,); None counts rows alike, whatever weights they
            have for training.

    Returns:
        The metrics.
    """
    return evaluate_ranking(
        corpus.Y,
        strike(scores_NL, corpus.filters),
        ks=ks,
        train_label_counts=train_counts_L,
        num_train=num_train,
        propensity=propensity,
        threshold=threshold,
        probabilities=True,
        row_weights=row_weights,
    )


def tuned_threshold(model: XrtModel) -> float | None:
    """The probability at which micro-F1 was highest on held-out rows.

    Args:
        model: The model.

    Returns:
        The probability, in [0, 1]; None for a model that has no such threshold.
    """
    return None if model.calibration is None else model.calibration.thresholds.get("micro-F1")


def strike(scores_NL: sp.csr_array, filters: np.ndarray | None) -> sp.csr_array:
    """The scores without the (row, label) pairs of a filter file.

    Args:
        scores_NL: csr_array (N, L).
        filters: (M, 2) whole numbers, row and label of each pair; None for no filter file. Labels
            from L on are passed over.

    Returns:
        csr_array (N, L).
    """
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
    embeddings_NM: np.ndarray | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
    watch: WatchCandidates | None = None,
) -> sp.csr_array:
    """Scores for a corpus of texts or rows, with room for pairs that a filter file strikes.

    Args:
        model: the model.
        corpus: N rows.
        k: labels of a row that are judged, at most.
        embeddings_NM: embeddings as `XrtModel.embed` gives them, which spare the encoding.
        num_threads: threads; None for all processors.
        progress: told of the texts that are encoded.
        watch: is shown the candidates, block by block, as in `XrtModel.predict`.

    Returns:
        csr_array (N, L), in [0, 1].

    Raises:
        DataError: the corpus is of the other kind than the model.
    """
    inputs = corpus.texts if model.features is not None else corpus.X
    if inputs is None:
        kind = "texts" if model.features is not None else "feature rows"
        raise DataError(f"{corpus.report.path}: has no {kind}, and the model takes {kind}")
    spare = 0
    if corpus.filters is not None and len(corpus.filters):
        spare = int(np.bincount(corpus.filters[:, 0]).max())
    return model.predict(inputs, k + spare, embeddings_NM, num_threads, progress, watch=watch)


def evaluate_model(
    model_folder: str | Path,
    corpus_path: str | Path,
    ks: Sequence[int] = KS,
    progress: Progress | None = None,
    reading: Mapping[str, Any] | None = None,
    expect: str | None = None,
) -> RankingReport:
    """The metrics of a saved model on a labelled file, read as the training file was.

    Args:
        model_folder: The model.
        corpus_path: The file.
        ks: The cut-offs.
        progress: Told of the rows done.
        reading: Arguments of `read_corpus` that are to differ from those of training. With a
            `weight_column` rows count by their weights.
        expect: The digest that the model must have.

    Returns:
        The metrics.

    Raises:
        ArtifactError: the model is damaged, or another than expected.
        DataError: the file cannot be used.
    """
    ks = check_ks(ks)
    scored = score_file(model_folder, corpus_path, max(ks), progress, reading, expect)
    return evaluate_scores(
        scored.scores_NL,
        scored.corpus,
        scored.train_counts_L,
        scored.num_train,
        scored.propensity,
        ks,
        tuned_threshold(scored.model),
        scored.corpus.row_weights,
    )


@dataclass(frozen=True, eq=False)
class ScoredFile:
    """A labelled file with the scores of a saved model, and what metrics need of its training.

    Attributes:
        model: the model.
        corpus: N rows; the table may end with labels unseen in training.
        scores_NL: scores of the labels known in training.
        train_counts_L: training rows of each label.
        num_train: training rows.
        propensity: the constants of PSP and PSnDCG.
    """

    model: XrtModel
    corpus: Corpus
    scores_NL: sp.csr_array
    train_counts_L: np.ndarray
    num_train: int
    propensity: PropensityParams


def score_file(
    model_folder: str | Path,
    corpus_path: str | Path,
    k: int,
    progress: Progress | None = None,
    reading: Mapping[str, Any] | None = None,
    expect: str | None = None,
) -> ScoredFile:
    """A labelled file, read as the training file was, and scored by a saved model.

    Args:
        model_folder: The model.
        corpus_path: The file.
        k: Labels of a row that are scored, at most.
        progress: Told of the rows done.
        reading: Arguments of `read_corpus` that are to differ from those of training.
        expect: The digest that the model must have.

    Returns:
        The rows with their scores.

    Raises:
        ArtifactError: the model is damaged, or another than expected.
        DataError: the file cannot be used.
    """
    predictor = Predictor.load(model_folder, expect=expect)
    assert predictor.artifact is not None
    manifest = predictor.artifact.manifest
    training = SavedValues(manifest.get("training"), f"{model_folder}: training")
    model = predictor.model
    corpus = read_as_trained(corpus_path, manifest, labels=model.labels, **(reading or {}))
    scores_NL = predict_corpus(model, corpus, k, progress=progress)
    known = SavedValues(_dataset(manifest), f"{model_folder}: configuration.dataset")
    path = predictor.artifact.path("label_counts.npy")
    counts_L = load_array(path, np.int64, 1, length=len(model.labels))
    num_train = training.whole("num_rows", 1)
    return ScoredFile(model, corpus, scores_NL, counts_L, num_train, _propensity(known))


def _propensity(dataset: SavedValues) -> PropensityParams:
    """The constants of a model; earlier versions saved the two numbers."""
    if dataset.has("propensity_model"):
        return dataset.choice("propensity_model", PropensityModel).constants
    return PropensityParams(
        a=dataset.number("propensity_a", default=0.55),
        b=dataset.number("propensity_b", default=1.5),
    )


def read_as_trained(path: str | Path, manifest: Mapping[str, Any], **reading: Any) -> Corpus:
    """A labelled file, read as the training file of a model was.

    Args:
        path: The file.
        manifest: Of the model.
        **reading: Arguments of `read_corpus` that are to differ from those of training.

    Returns:
        The corpus.

    Raises:
        DataError: the file cannot be used.
    """
    options = reading_of(manifest)
    options["format"] = reading.get("format") or _format_like_training(path, _dataset(manifest))
    options.pop("id_column", None)  # ids are not looked at, and another file may lack them
    corpus = read_corpus(path, **{**options, **reading})
    if corpus.report.num_skipped:
        logger.warning("%s", corpus.report.skipped_message)
    return corpus


def reading_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """How the training file of a model was read.

    Args:
        manifest: Of the model; one of an earlier version, or of an estimator, tells less.

    Returns:
        Arguments of `read_corpus`: those that differ from their defaults. `format` is the one named
        in training, else the one that the training file's name tells.
    """
    dataset = _dataset(manifest)
    options = {
        name: dataset[name]
        for name in ("text_columns", "label_separator", "id_column", "skip_bad_lines")
        if dataset.get(name)
    }
    columns = dataset.get("label_columns")
    if isinstance(columns, list) and columns:
        options["label_column"] = columns[0] if len(columns) == 1 else columns
    format = _trained_format(dataset)
    return options if format is None else {**options, "format": format}


def _dataset(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    configuration = manifest.get("configuration")
    dataset = configuration.get("dataset") if isinstance(configuration, Mapping) else None
    return dataset if isinstance(dataset, Mapping) else {}


def _trained_format(dataset: Mapping[str, Any]) -> str | None:
    named = dataset.get("format")
    if named in {format.value for format in CorpusFormat}:
        return str(named)
    by_name = format_by_name(dataset["trn"]) if isinstance(dataset.get("trn"), str) else None
    return None if by_name is None else by_name.value


def _format_like_training(path: str | Path, dataset: Mapping[str, Any]) -> str | None:
    """The format of a file beside that of training; None where the file itself tells it.

    What was named in training counts for a file with a like name and for one whose name tells
    nothing; and where a file tells nothing at all, it is taken to be as the training file was.
    """
    endings = [Path(plain_name(name)).suffix for name in (path, dataset.get("trn") or "")]
    by_name = format_by_name(path)
    if dataset.get("format") and (by_name is None or endings[0] == endings[1]):
        return _trained_format(dataset)
    try:
        return detect_format(path).value
    except DataError:
        if by_name is None and Path(path).is_file() and (format := _trained_format(dataset)):
            return format
        raise
