"""`Predictor`: texts in, suggestions out. Needs neither Lightning nor hydra.

predictor = Predictor.load("models/m")
predictor.predict(["usb-c charger 65w"], k=5)      # [[Suggestion(label, name, score), ...]]
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

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
    from xrt.explain.explanation import Explanation
    from xrt.sources.evidence import NearestRows


@dataclass(frozen=True)
class Suggestion:
    """One label for one text; `score` lies in [0, 1], higher is better: a probability, where the
    model is calibrated.
    """

    label: str
    name: str
    score: float


class Predictor:
    """A loaded model that predicts again and again."""

    def __init__(
        self, model: XrtModel, artifact: Artifact | None = None, num_threads: int | None = None
    ) -> None:
        """Wrap a model in memory; `Predictor.load` is the usual way.

        Args:
            model: the model.
            artifact: the folder it was read from; None for a model in memory.
            num_threads: threads that predict; None for all processors.

        Raises:
            ConfigError: `num_threads` is no whole number, or below 0.
        """
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

    @overload
    def predict(  # type: ignore[overload-overlap]
        self,
        texts: str,
        k: int = 5,
        min_score: float | str = 0.0,
        *,
        allowed: LabelSets | None = None,
        forbidden: LabelSets | None = None,
        tail: float = 0.0,
    ) -> list[Suggestion]: ...

    @overload
    def predict(
        self,
        texts: Sequence[str],
        k: int = 5,
        min_score: float | str = 0.0,
        *,
        allowed: LabelSets | None = None,
        forbidden: LabelSets | None = None,
        tail: float = 0.0,
    ) -> list[list[Suggestion]]: ...

    def predict(
        self,
        texts: Sequence[str] | str,
        k: int = 5,
        min_score: float | str = 0.0,
        *,
        allowed: LabelSets | None = None,
        forbidden: LabelSets | None = None,
        tail: float = 0.0,
    ) -> list[Suggestion] | list[list[Suggestion]]:
        """The best labels of each text, best first.

        Args:
            texts: texts, or one text; rows (N, F) for a model of rows.
            k: labels of a text, at most.
            min_score: labels that score below it are left out, so that a text may get none;
                "micro-F1" and "macro-F1" are the thresholds tuned in training.
            allowed: ids of labels for all texts, or a collection of ids for each text: no others
                are suggested.
            forbidden: ids of labels that are never suggested, as `allowed`.
            tail: above 0, up to 1, ranks rare labels higher; scores stay what they are.

        Returns:
            A list of suggestions for each text; for one string one list.

        Raises:
            DataError: k is below 1, the model does not know a label or the threshold, nothing is
                left to suggest, or texts cannot be used.
        """
        lone: list[str] | None = [texts] if isinstance(texts, str) else None
        least = self.threshold(min_score)
        scores_NL = self.scores(
            texts if lone is None else lone, k, allowed=allowed, forbidden=forbidden, tail=tail
        )
        weights_L = self.model.tail_weights(tail) if tail else None
        rows = range(scores_NL.shape[0])
        suggested = [self._suggestions(scores_NL, row, k, least, weights_L) for row in rows]
        return suggested if lone is None else suggested[0]

    def threshold(self, min_score: float | str) -> float:
        """A score from which on labels are suggested.

        Args:
            min_score: a number, or the name of a tuned threshold.

        Returns:
            The number.

        Raises:
            DataError: the model has no threshold of that name, or NaN.
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

        Args:
            texts: the texts.
            k: as in `predict`.
            min_score: as in `predict`.
            batch_size: texts that are predicted at once.

        Yields:
            The suggestions for a text.

        Raises:
            DataError: as in `predict`; a text is named by its place in the whole.
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
        """Scores of the best labels of each text.

        Args:
            texts: N texts; rows (N, F) for a model of rows.
            k: labels of a text, at most.
            allowed: as in `predict`.
            forbidden: as in `predict`.
            tail: as in `predict`; above 0, scores are weighted as they are ranked.

        Returns:
            csr_array (N, L), in [0, 1].

        Raises:
            DataError: as in `predict`.
        """
        inputs, constraint = as_inputs(texts), None
        if allowed is not None or forbidden is not None:
            constraint = constraint_of(self.model.labels, num_rows(inputs), allowed, forbidden)
        return self.model.predict(
            inputs, k, num_threads=self.num_threads, constraint=constraint, tail=tail
        )

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Exact scores of labels for each text, however they rank.

        Args:
            texts: N texts; rows (N, F) for a model of rows.
            labels: ids of A labels.

        Returns:
            float32 (N, A), in [0, 1].

        Raises:
            DataError: the model does not know a label, or there is none.
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

        Args:
            text: one string; for a model of rows, one row (1, F).
            k: how many of the best labels are explained.
            labels: ids of labels that are explained instead, suggested or not.
            texts: the training texts, in order, to be shown with the nearest rows.

        Returns:
            The explanation, as plain values; `to_text` is for reading.

        Raises:
            DataError: k is below 1, `text` is not one text, the model does not know a label, or
                there are more or fewer `texts` than training rows.
        """
        from xrt.explain.explainer import explain

        return explain(self.model, text, k, labels, texts, self.num_threads)

    def neighbours(
        self, text: Any, n: int = 5, *, texts: Sequence[str] | None = None
    ) -> "tuple[NearestRows, ...]":
        """The training rows most similar to a text, nearest first.

        Args:
            text: as in `explain`.
            n: rows, at most as many as vote.
            texts: as in `explain`.

        Returns:
            Rows for each source that keeps training rows: by TF-IDF, by embeddings.

        Raises:
            DataError: the model keeps no training rows.
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
