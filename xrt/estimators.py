"""`XRLinear` and `XRTransformer`: the pipeline with scikit-learn's manners.

N rows, L labels, F features. `fit` takes a corpus, texts with Y, or a matrix of rows with Y; scores come
back as `csr_array` (N, L) in [0, 1]. Settings are plain arguments; what is not here stands in the
parameter dataclasses, which `xrt train` sets in full.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import scipy.sparse as sp
from sklearn.base import BaseEstimator

from xrt.artifact import open_artifact, write_artifact
from xrt.atomic import write_text
from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.errors import ArtifactError, DataError, NotFittedError
from xrt.features.tfidf_params import TfidfParams
from xrt.model import XrtModel, is_texts
from xrt.progress import Progress
from xrt.ranker import RankerParams
from xrt.search.beam import SearchParams
from xrt.sparse import as_csr
from xrt.tree.clustering import TreeParams


class _XrtEstimator(BaseEstimator):
    """What both estimators share: predict, save, load."""

    model_: XrtModel
    _kind = ""

    def fit(self, X: Any, Y: Any = None) -> Self:
        """Train on a Corpus; or on texts, or rows (N, F), with labels Y (N, L).

        Raises DataError when rows do not fit together, or there is nothing to learn.
        """
        corpus = corpus_of(X, Y)
        corpus.require_trainable()
        self.model_ = self._train(corpus)
        self.labels_ = self.model_.labels
        self.n_features_in_ = self.model_.num_features
        return self

    def _train(self, corpus: Corpus) -> XrtModel:
        raise NotImplementedError

    def predict(self, X: Any, k: int = 10) -> sp.csr_array:
        """Scores of the `k` best labels of each text or row: csr_array (N, L), in [0, 1]."""
        return self._fitted().predict(X, k, num_threads=getattr(self, "num_threads", None))

    def save(self, folder: str | Path) -> Path:
        """Write the model as a folder that `Predictor.load` and `xrt predict` open."""
        model = self._fitted()
        settings = {name: str(value) for name, value in self.get_params().items()}

        def write(target: Path) -> None:
            model.save(target)
            write_text(target / "README.md", _card(model, type(self).__name__))

        tree = model.linear.tree if model.deep is None else model.deep.ranker.tree
        manifest = {"kind": model.kind, "configuration": settings, "tree": tree.describe()}
        write_artifact(folder, write, manifest)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Open a saved model of this kind; its settings are the class's defaults.

        Raises ArtifactError when it is damaged, or of the other kind.
        """
        artifact = open_artifact(folder)
        if artifact.kind != cls._kind:
            raise ArtifactError(
                f"{folder}: a {artifact.kind} model, {cls.__name__} opens {cls._kind} ones; "
                "use Predictor.load, which opens both"
            )
        estimator = cls()
        estimator.model_ = XrtModel.load(artifact.folder)
        estimator.labels_ = estimator.model_.labels
        estimator.n_features_in_ = estimator.model_.num_features
        return estimator

    def _fitted(self) -> XrtModel:
        if not hasattr(self, "model_"):
            name = type(self).__name__
            raise NotFittedError(f"this {name} is not trained; call fit, or {name}.load")
        return self.model_


class XRLinear(_XrtEstimator):
    """The linear model: TF-IDF, label tree, one-vs-rest rankers, beam search."""

    _kind = "linear"

    def __init__(
        self,
        *,
        beam_size: int = 10,
        branching: int = 16,
        max_leaf_size: int = 100,
        cost_positive: float = 1.0,
        cost_negative: float = 1.0,
        threshold: float = 0.1,
        matcher_negatives: int = 0,
        features: TfidfParams | None = None,
        seed: int = 0,
        num_threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Settings as in SearchParams, TreeParams and RankerParams; checked by `fit`."""
        self.beam_size = beam_size
        self.branching = branching
        self.max_leaf_size = max_leaf_size
        self.cost_positive = cost_positive
        self.cost_negative = cost_negative
        self.threshold = threshold
        self.matcher_negatives = matcher_negatives
        self.features = features
        self.seed = seed
        self.num_threads = num_threads
        self.progress = progress

    def _train(self, corpus: Corpus) -> XrtModel:
        from xrt.pipeline.linear import train_linear

        return train_linear(
            corpus,
            features=self.features or TfidfParams(),
            tree=TreeParams(branching=self.branching, max_leaf_size=self.max_leaf_size),
            ranker=RankerParams(
                cost_positive=self.cost_positive,
                cost_negative=self.cost_negative,
                threshold=self.threshold,
                matcher_negatives=self.matcher_negatives,
            ),
            search=SearchParams(beam_size=self.beam_size),
            seed=self.seed,
            num_threads=self.num_threads,
            progress=self.progress,
        )


class XRTransformer(_XrtEstimator):
    """The XR-Transformer: the linear model, and an encoder fine-tuned on the label tree."""

    _kind = "transformer"

    def __init__(
        self,
        *,
        encoder: str = "minilm",
        max_length: int = 128,
        num_epochs: float = 3.0,
        token_budget: int = 4096,
        beam_size: int = 10,
        validation_rows: int = 2_000,
        run_folder: str | None = None,
        seed: int = 0,
        num_threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """`run_folder` keeps the stages, so that a fit that was stopped goes on when called again."""
        self.encoder = encoder
        self.max_length = max_length
        self.num_epochs = num_epochs
        self.token_budget = token_budget
        self.beam_size = beam_size
        self.validation_rows = validation_rows
        self.run_folder = run_folder
        self.seed = seed
        self.num_threads = num_threads
        self.progress = progress

    def _train(self, corpus: Corpus) -> XrtModel:
        from xrt.encoder.backbone import EncoderParams
        from xrt.encoder.params import MatcherParams
        from xrt.pipeline import PipelineParams
        from xrt.pipeline.run import fit_model

        params = PipelineParams(
            encoder=EncoderParams(name=self.encoder, max_length=self.max_length),
            matcher=MatcherParams(
                num_epochs=self.num_epochs, token_budget=self.token_budget, seed=self.seed
            ),
            search=SearchParams(beam_size=self.beam_size),
            validation_rows=self.validation_rows,
            seed=self.seed,
            num_threads=self.num_threads or 0,
        )
        if self.run_folder is not None:
            return fit_model(params, corpus, self.run_folder, self.progress)
        with tempfile.TemporaryDirectory(prefix="xrt-") as folder:
            return fit_model(params, corpus, folder, self.progress)


def corpus_of(X: Any, Y: Any = None) -> Corpus:
    """A corpus of what `fit` was given. Raises DataError when it cannot be one."""
    if isinstance(X, Corpus):
        if Y is not None:
            raise DataError("a corpus holds its labels; leave Y out")
        return X
    if Y is None:
        raise DataError("Y is missing; pass labels (N, L), or a Corpus")
    labels_NL = as_csr(Y, "Y")
    table = LabelTable.from_ids([str(label) for label in range(labels_NL.shape[1])])
    texts: Sequence[str] | None = None
    rows_NF = None
    if is_texts(X):
        texts = list(X)
    else:
        rows_NF = as_csr(X, "X")
    num_rows = len(texts) if texts is not None else rows_NF.shape[0]  # type: ignore[union-attr]
    if num_rows != labels_NL.shape[0]:
        raise DataError(f"X has {num_rows} rows, Y {labels_NL.shape[0]}; they must be the same")
    return Corpus(texts=texts, Y=labels_NL, labels=table, X=rows_NF)  # type: ignore[arg-type]


def _card(model: XrtModel, name: str) -> str:
    from xrt.artifact import library_versions
    from xrt.model_card import ModelCard, render_model_card

    tree = model.linear.tree if model.deep is None else model.deep.ranker.tree
    return render_model_card(
        ModelCard(
            name=name,
            kind=model.kind,
            data="data given to fit",
            num_instances=0,
            num_labels=len(model.labels),
            num_features=model.num_features,
            tree_shape=tuple(tree.num_nodes(t) for t in range(tree.depth)),
            metrics={},
            evaluated_on="nothing yet",
            versions=library_versions(),
            date="",
        )
    )


__all__ = ["XRLinear", "XRTransformer", "corpus_of"]
