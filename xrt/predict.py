"""`Predictor`: texts in, suggestions out. Needs neither Lightning nor hydra.

predictor = Predictor.load("models/m")
predictor.predict(["usb-c charger 65w"], k=5)      # [[Suggestion(label, name, score), ...]]
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from xrt.encoder.params import compute_of
from xrt.errors import DataError
from xrt.inputs import (
    as_inputs,
    check_count,
    check_number,
    check_texts,
    check_threads,
    iter_texts,
    num_rows,
)
from xrt.model import XrtModel
from xrt.saved_model import open_model
from xrt.search.constraints import LabelSets, columns_of, constraint_of
from xrt.storage.artifact import Artifact

if TYPE_CHECKING:
    from xrt.explain.explanation import Explanation, NearestRows


@dataclass(frozen=True)
class Suggestion:
    """One label for one text; `score` lies in [0, 1], higher is better: a probability, where the
    model is calibrated.
    """

    label: str
    name: str
    score: float


class Predictor:
    """A loaded model that is asked again and again."""

    def __init__(
        self, model: XrtModel, artifact: Artifact | None = None, num_threads: int | None = None
    ) -> None:
        """Wrap a model in memory; `Predictor.load` is the usual way."""
        self.model, self.artifact = model, artifact
        self.num_threads = check_threads(num_threads)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        verify: bool | str = True,
        num_threads: int | None = None,
        compute: str = "auto",
        expect: str | None = None,
    ) -> "Predictor":
        """Open a saved model.

        Args:
            folder: the model's folder. Its files are memory-mapped; replace a model by renaming a
                new folder to its place, never by writing into it.
            verify: "sizes" skips hashing its files, for large models you trust.
            num_threads: threads that predict; None for all processors.
            compute: how its encoder computes, if it has one: `fp32`, `bf16`, `int8`, `onnx`, or
                `auto`, which is as it was trained.
            expect: the digest that the model must have, as `xrt train` and `xrt inspect` print it.

        Returns:
            The predictor, ready for its first text.

        Raises:
            ArtifactError: the folder is missing, damaged, of another format version, or another
                model than expected.
            ConfigError: another `compute`, or one that cannot be had here.
        """
        kind, num_threads = compute_of(compute), check_threads(num_threads)
        artifact, model = open_model(folder, verify, expect, kind)
        return cls(model, artifact, num_threads)

    def predict(
        self,
        texts: Sequence[str] | str,
        k: int = 5,
        min_score: float | str = 0.0,
        *,
        allowed: LabelSets | None = None,
        forbidden: LabelSets | None = None,
        tail: float = 0.0,
    ) -> list[Any]:
        """The `k` best labels of each text, best first: a list of Suggestions for each text.

        One string gives one list of Suggestions. Labels scoring below `min_score` are left out, so
        that a text may get none; "micro-F1" and "macro-F1" are the thresholds tuned in training.
        `tail` above 0, up to 1, ranks rare labels higher; the scores told stay what they are. With
        `allowed` no others are suggested, those `forbidden` never: ids for all texts, or a
        collection of ids for each text. Raises DataError when k is below 1, for labels the model
        does not know, where nothing is left to suggest, and for a threshold it does not have.
        """
        if isinstance(texts, str):
            found = self.predict(
                [texts], k, min_score, allowed=allowed, forbidden=forbidden, tail=tail
            )
            return found[0]  # type: ignore[no-any-return]
        least = self.threshold(min_score)
        scores_NL = self.scores(texts, k, allowed=allowed, forbidden=forbidden, tail=tail)
        weights_L = self.model.tail_weights(tail) if tail else None
        rows = range(scores_NL.shape[0])
        return [self._suggestions(scores_NL, row, k, least, weights_L) for row in rows]

    def threshold(self, min_score: float | str) -> float:
        """A score from which on labels are suggested: the number given, or a tuned one by name.

        Raises DataError for a name that the model has no threshold for, and for NaN.
        """
        if not isinstance(min_score, str):
            return check_number(min_score, "min_score")
        if self.model.calibration is None:
            raise DataError(
                f"min_score = {min_score!r}: this model's scores are not calibrated; give a number"
            )
        return self.model.calibration.threshold(min_score)

    def stream(
        self, texts: Iterable[str], k: int = 5, min_score: float | str = 0.0, batch_size: int = 256
    ) -> Iterator[list[Suggestion]]:
        """Suggestions for each text of an endless or large iterable, in order, batch by batch.

        Raises DataError for what `predict` refuses; a text is named by its place in the whole.
        """
        check_count(batch_size, "batch_size")
        iterator, done = iter_texts(texts), 0
        while batch := check_texts(list(islice(iterator, batch_size)), done):
            yield from self.predict(batch, k, min_score)
            done += len(batch)

    def scores(
        self,
        texts: Sequence[str],
        k: int = 5,
        *,
        allowed: LabelSets | None = None,
        forbidden: LabelSets | None = None,
        tail: float = 0.0,
    ) -> sp.csr_array:
        """Scores of the `k` best labels of each text: csr_array (N, L), in [0, 1]; `allowed` and
        `forbidden` as in `predict`. With `tail` they are weighted as they are ranked.
        """
        inputs, constraint = as_inputs(texts), None
        if allowed is not None or forbidden is not None:
            constraint = constraint_of(self.model.labels, num_rows(inputs), allowed, forbidden)
        return self.model.predict(
            inputs, k, num_threads=self.num_threads, constraint=constraint, tail=tail
        )

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Scores of the given labels for each text, however they rank: float32 (N, A), in [0, 1].

        Raises DataError for a label that the model does not know, or when none is given.
        """
        columns_A = columns_of(self.model.labels, labels, "score")
        return self.model.score(as_inputs(texts), columns_A, num_threads=self.num_threads)

    def explain(
        self,
        text: Any,
        k: int = 5,
        *,
        labels: Collection[str] | None = None,
        texts: Sequence[str] | None = None,
    ) -> "Explanation":
        """Why the model suggests what `predict(text, k)` gives: each score's parts, the way through
        the tree, the strongest terms, the nearest training rows.

        With `labels` these are explained instead, suggested or not. `texts` are the training texts,
        in order, to be shown with the nearest rows. `text` is a string; for a model of rows, one
        row (1, F). Raises DataError when k is below 1, for anything but one text, for labels the
        model does not know, and for as many `texts` as there are no training rows.
        """
        from xrt.explain.explainer import explain

        return explain(self.model, text, k, labels, texts, self.num_threads)

    def neighbours(
        self, text: Any, n: int = 5, *, texts: Sequence[str] | None = None
    ) -> "tuple[NearestRows, ...]":
        """The `n` training rows most similar to a text, at most as many as vote, nearest first: in
        each memory that the model has, of TF-IDF rows and of embeddings.

        `text` and `texts` as in `explain`. Raises DataError when the model keeps no training rows.
        """
        from xrt.explain.explainer import nearest_rows

        return nearest_rows(self.model, text, n, texts, self.num_threads)

    def _suggestions(
        self,
        scores_NL: sp.csr_array,
        row: int,
        k: int,
        min_score: float,
        weights_L: np.ndarray | None,
    ) -> list[Suggestion]:
        labels = self.model.labels
        low, high = scores_NL.indptr[row], scores_NL.indptr[row + 1]
        columns, values = scores_NL.indices[low:high], scores_NL.data[low:high]
        order = np.lexsort((columns, -values))[:k]
        if weights_L is not None:
            values = np.minimum(values / weights_L[columns], np.float32(1))
        return [
            Suggestion(labels.ids[columns[i]], labels.names[columns[i]], float(values[i]))
            for i in order
            if values[i] >= min_score
        ]
