"""What both estimators share: fit, predict, save and load, in scikit-learn's manners.

N rows, L labels, F features.
"""

import inspect
import reprlib
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Self, get_args

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator

from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.data.times import as_groups, as_times
from xrt.errors import ArtifactError, ConfigError, DataError, NotFittedError
from xrt.features.tfidf_params import TfidfParams
from xrt.hybrid import HybridMatrix, as_row_weights
from xrt.inputs import check_number, check_rows, check_texts, check_threads, is_texts, num_rows
from xrt.model import XrtModel
from xrt.model_card import ModelCard, render_model_card
from xrt.saved_model import read_model
from xrt.sparse import as_csr
from xrt.storage.artifact import (
    Artifact,
    library_versions,
    open_artifact,
    reading_parts,
    write_artifact,
)
from xrt.storage.atomic import write_json, write_text
from xrt.storage.hashing import plain
from xrt.storage.reading import load_array, read_json_bounded
from xrt.storage.saved_values import SavedValues

if TYPE_CHECKING:
    from xrt.pipeline.choosing.choices import Choices
    from xrt.pipeline.verdict import Verdict

CHOICES_FILE = "choices.json"
"""Of a model's folder: what was chosen, and all that was tried."""
NOT_SAVED = ("progress", "run_folder", "paths", "tree", "params", "callbacks", "logger")
"""Arguments that JSON cannot hold, or that tell of the machine."""


class XrtEstimator(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: predict, save, load."""

    model_: XrtModel
    labels_: LabelTable
    label_counts_: np.ndarray
    """Training rows of each label: int64 (L,)."""
    num_rows_: int
    """Training rows, N."""
    n_features_in_: int
    """Sparse columns of a row, F."""
    num_threads: int | None
    choices_: "Choices"
    """The settings that were chosen, and all that was tried; only where something was open."""
    _kind = ""

    def fit(
        self,
        X: Any,
        Y: Any = None,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        times: Any = None,
    ) -> Self:
        """Train on a Corpus; or on texts, or rows (N, F), with labels Y (N, L).

        Rows are brought to length 1. A HybridMatrix is taken by XRLinear only: its sparse block is
        brought to length 1, and the lengths of its dense rows say how much they count beside it.

        Args:
            X: a Corpus; N texts; or N rows of F features, a matrix or HybridMatrix.
            Y: (N, L), sparse or dense; None for a Corpus. Entries are confidences: one of 0.3 costs
                0.3 times as much to get wrong, and above 1 they count like repetitions. Entries
                that are all 1 change nothing.
            sample_weight: (N,), how much each row counts; rows without it count 1.
            groups: (N,) numbers or texts: rows with the same one stay together where rows are held
                out; None or '' for a row of no group. Without it rows of the same, or nearly the
                same, text do.
            times: (N,) numbers or dates: the newest rows are held out. Without it rows are drawn at
                random.

        Returns:
            This estimator, trained.

        Raises:
            DataError: rows do not fit together, or there is nothing to learn.
            ConfigError: a setting is out of range.
        """
        self._check_settings()
        dense_NH = None
        if isinstance(X, HybridMatrix):
            X = check_rows(X)
            X, dense_NH = X.sparse, X.dense
        corpus = with_sides(corpus_of(X, Y, sample_weight), groups, times)
        corpus.require_trainable()
        counts_L = np.bincount(corpus.Y.indices, minlength=corpus.num_labels)
        self._keep(self._train(corpus, dense_NH), counts_L, corpus.num_instances)
        return self

    def _check_settings(self) -> None:
        """Raise ConfigError for a setting that is no number where one is needed, or below 0."""
        check_threads(self.num_threads)
        for name, parameter in inspect.signature(type(self)).parameters.items():
            kinds = set(get_args(parameter.annotation) or [parameter.annotation])
            value = getattr(self, name)
            if not kinds <= {int, float, NoneType} or (value is None and NoneType in kinds):
                continue
            if float in kinds:
                check_number(value, name, ConfigError)
            elif isinstance(value, bool) or not hasattr(value, "__index__"):
                raise ConfigError(f"{name} = {reprlib.repr(value)}: a whole number is needed")
        if self.get_params()["seed"] < 0:
            raise ConfigError(f"seed = {self.get_params()['seed']}: must not be below 0")

    def _keep(self, model: XrtModel, label_counts_L: np.ndarray, num_rows: int) -> None:
        self.model_ = model
        self.labels_ = model.labels
        self.label_counts_ = label_counts_L
        self.num_rows_ = num_rows
        self.n_features_in_ = model.num_features

    def _keep_verdict(self, path: Path) -> None:
        raise NotImplementedError

    def _train(self, corpus: Corpus, dense_NH: np.ndarray | None) -> XrtModel:
        raise NotImplementedError

    def predict(self, X: Any, k: int = 10) -> sp.csr_array:
        """Scores of the best labels of each text or row.

        Args:
            X: N texts, or N rows of F features, as in `fit`.
            k: labels of a row, at most.

        Returns:
            csr_array (N, L), in [0, 1].

        Raises:
            NotFittedError: the estimator is not trained.
            DataError: k is below 1, or X cannot be used.
            ConfigError: `num_threads` is out of range.
        """
        model = self._fitted()
        return model.predict(X, k, num_threads=check_threads(self.num_threads))

    def save(self, folder: str | Path) -> Path:
        """Write the model as a folder that `Predictor.load` and `xrt predict` open.

        Args:
            folder: the model's folder; a model that is there is replaced.

        Returns:
            The folder.

        Raises:
            NotFittedError: the estimator is not trained.
            ArtifactError: the folder is there, not empty, and no model.
        """
        model, verdict, choices = self._fitted(), self._verdict(), self._choices()

        def write(target: Path) -> None:
            model.save(target)
            write_text(target / "README.md", self._card())
            if verdict is not None:
                write_json(target / "verdict.json", verdict.to_dict())
            if choices is not None and choices.tried:
                write_json(target / CHOICES_FILE, choices.without_seconds().to_dict())

        manifest = {
            "kind": model.kind,
            "configuration": {"estimator": self._settings()},
            "training": {"num_rows": self.num_rows_, "num_labels": len(model.labels)},
            "tree": model.trees.describe(),
            **model.about_scores(),
            **({} if verdict is None else {"verdict": verdict.summary()}),
        }
        write_artifact(folder, write, manifest)
        return Path(folder)

    def _settings(self) -> dict[str, Any]:
        """The constructor's arguments that JSON can hold and that tell nothing of this machine."""
        return {
            name: plain(value, name)
            for name, value in self.get_params().items()
            if name not in NOT_SAVED
        }

    def _verdict(self) -> "Verdict | None":
        """Whether the encoder made the model better; None for a model that had none."""
        return getattr(self, "verdict_", None)

    def _choices(self) -> "Choices | None":
        """What `fit` chose; None where nothing was open to choice."""
        return getattr(self, "choices_", None)

    def _keep_choices(self, choices: "Choices | None") -> None:
        self.__dict__.pop("choices_", None)
        if choices is not None:
            self.choices_ = choices

    def _card(self) -> str:
        model, verdict = self.model_, self._verdict()
        tree = model.trees.tree
        return render_model_card(
            ModelCard(
                name=type(self).__name__,
                kind=model.kind,
                data="data given to fit",
                num_instances=self.num_rows_,
                num_labels=len(model.labels),
                num_features=model.num_features,
                tree_shape=tuple(tree.num_nodes(t) for t in range(tree.depth)),
                num_trees=len(model.trees.trees),
                metrics={},
                evaluated_on="nothing yet",
                versions=library_versions(),
                date="",
                calibrated=model.calibration is not None,
                thresholds=model.about_scores()["thresholds"],
                encoder=self.get_params().get("encoder") if model.encoder is not None else None,
                verdict="" if verdict is None else verdict.message,
                choices=_told(self._choices()),
                added={} if verdict is None else verdict.added_on(),
            )
        )

    @classmethod
    def load(cls, folder: str | Path, verify: bool | str = True, expect: str | None = None) -> Self:
        """Open a saved model of this kind, with the settings it was saved with.

        A model that `xrt train` wrote has others; then the settings are the class's defaults.

        Args:
            folder: the model's folder.
            verify: "sizes" skips hashing its files, for large models you trust.
            expect: the digest that the model must have, as `xrt train` and `xrt inspect` print it.

        Returns:
            A fitted estimator.

        Raises:
            ArtifactError: it is damaged, of the other kind, or another model than expected.
        """
        artifact = open_artifact(folder, verify, expect)
        judged = cls._kind == "transformer" and artifact.has("verdict.json")
        if artifact.kind != cls._kind and not judged:
            raise ArtifactError(
                f"{folder}: a {artifact.kind} model, {cls.__name__} opens {cls._kind} ones; "
                "use Predictor.load, which opens both"
            )
        model = read_model(artifact, verify)
        with reading_parts(folder):
            estimator = cls(**_restored(artifact, cls))
            path = artifact.path("label_counts.npy")
            counts_L = load_array(path, np.int64, 1, length=len(model.labels))
            training = SavedValues(artifact.manifest.get("training"), f"{folder}: training")
            estimator._keep(model, counts_L, training.whole("num_rows", 1))
            if judged:
                estimator._keep_verdict(artifact.path("verdict.json"))
            if artifact.has(CHOICES_FILE):
                from xrt.pipeline.choosing.choices import Choices

                content = read_json_bounded(artifact.path(CHOICES_FILE))
                estimator._keep_choices(Choices.from_dict(content))
        return estimator

    def _fitted(self) -> XrtModel:
        if not hasattr(self, "model_"):
            name = type(self).__name__
            raise NotFittedError(f"this {name} is not trained; call fit, or {name}.load")
        return self.model_


def _told(choices: "Choices | None") -> tuple[str, ...]:
    """What was chosen, for a card: the sentence, then the settings."""
    if choices is None or not choices.tried:
        return ()
    return choices.message, *choices.as_words()


def corpus_of(X: Any, Y: Any = None, sample_weight: Any = None) -> Corpus:
    """A corpus of what `fit` was given.

    Args:
        X: a Corpus, N texts, or N rows of F features.
        Y: labels (N, L), a matrix of numbers; None for a Corpus.
        sample_weight: (N,), how much each row counts; None: rows count alike.

    Returns:
        A corpus of N rows. Without a table of their own labels are called '0'..'L-1'.

    Raises:
        DataError: it cannot be one: Y is missing or no matrix, or the numbers of rows differ.
    """
    if isinstance(X, Corpus):
        corpus: Corpus = X
        if Y is not None:
            raise DataError("a corpus holds its labels; leave Y out")
        if sample_weight is not None and corpus.row_weights is not None:
            raise DataError("the corpus holds weights of its rows; leave sample_weight out")
        if sample_weight is not None:
            corpus = replace(
                corpus, row_weights=as_row_weights(sample_weight, corpus.num_instances)
            )
        return corpus if corpus.texts is None else replace(corpus, texts=check_texts(corpus.texts))
    if Y is None:
        raise DataError("Y is missing; pass labels (N, L), or a Corpus")
    labels_NL = _labels_of(Y)
    table = LabelTable.from_ids([str(label) for label in range(labels_NL.shape[1])])
    texts: list[str] | None = None
    rows_NF: sp.csr_array | None = None
    if not is_texts(X):
        rows_NF = check_rows(X)
    else:
        texts = check_texts(X)
    count = num_rows(texts if rows_NF is None else rows_NF)
    if count != labels_NL.shape[0]:
        raise DataError(f"X has {count} rows, Y {labels_NL.shape[0]}; they must be the same")
    weights_N = as_row_weights(sample_weight, count)
    corpus = Corpus(texts=texts, Y=labels_NL, labels=table, X=rows_NF, row_weights=weights_N)
    corpus.validate()
    return corpus


def with_sides(corpus: Corpus, groups: Any = None, times: Any = None) -> Corpus:
    """The corpus with groups and times of its rows.

    Args:
        corpus: N rows.
        groups: (N,) numbers or texts, or None.
        times: (N,) numbers or dates, or None.

    Returns:
        The corpus; that given where neither is.

    Raises:
        DataError: not N of them, one cannot be read, or the corpus has its own.
    """
    for name, given, own in (("groups", groups, corpus.groups), ("times", times, corpus.times)):
        if given is not None and own is not None:
            raise DataError(f"the corpus holds {name} of its rows; leave {name} out")
    num_rows = corpus.num_instances
    if groups is not None:
        corpus = replace(corpus, groups=as_groups(groups, num_rows))
    if times is not None:
        corpus = replace(corpus, times=as_times(times, num_rows))
    return corpus


_MATRIX = (
    "pass a matrix (N, L), 1 where a row has a label; "
    "sklearn.preprocessing.MultiLabelBinarizer(sparse_output=True) makes one of lists of labels"
)


def _labels_of(Y: Any) -> sp.csr_array:
    """The labels of the rows, (N, L), with no stored zeros.

    Raises DataError for lists of labels: of names, or of numbers, whose columns would be taken for
    labels and the numbers for weights.
    """
    if not sp.issparse(Y) and not hasattr(Y, "columns"):
        try:
            Y = np.asarray(Y)
        except (TypeError, ValueError):  # rows of different lengths
            raise DataError(f"Y: not a numeric matrix, but lists of labels; {_MATRIX}") from None
        if Y.dtype.kind not in "fiub":
            raise DataError(f"Y: not a numeric matrix ({Y.dtype}); {_MATRIX}")
        if Y.dtype.kind in "iu" and Y.ndim == 2 and Y.size and Y.min() >= 0 and Y.max() > 1:
            row, column = (int(place[0]) for place in np.nonzero(Y > 1))
            raise DataError(
                f"Y: {Y[row, column]} at row {row}, column {column}; for weights of labels pass "
                f"floats, for numbers of labels {_MATRIX}"
            )
    labels_NL = as_csr(Y, "Y")
    if not labels_NL.data.all():
        labels_NL = labels_NL.copy()  # what the caller gave stays as it is
        labels_NL.eliminate_zeros()
    return labels_NL


def _restored(artifact: Artifact, cls: type[XrtEstimator]) -> dict[str, Any]:
    """Constructor's arguments as `_settings` wrote them."""
    settings = artifact.manifest["configuration"].get("estimator", {})
    saved = SavedValues(settings, f"{artifact.folder}: configuration.estimator")
    if saved.has("num_threads"):
        saved.whole("num_threads", 1, 4096)
    known = {name: settings[name] for name in cls._get_param_names() if name in settings}
    if isinstance(known.get("features"), dict):
        names = {field.name for field in fields(TfidfParams)}  # others are of earlier versions
        given = {name: value for name, value in known["features"].items() if name in names}
        known["features"] = TfidfParams(**given)
    if isinstance(known.get("choose"), list):
        known["choose"] = tuple(known["choose"])
    return known
