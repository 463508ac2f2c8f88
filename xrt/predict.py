"""`Predictor`: texts in, suggestions out. Needs neither Lightning nor hydra.

    predictor = Predictor.load("models/m")
    predictor.predict(["usb-c charger 65w"], k=5)      # [[Suggestion(label, name, score), ...]]

`python -m xrt.predict MODEL ...` is `xrt predict MODEL ...`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.artifact import Artifact, open_artifact
from xrt.model import XrtModel


@dataclass(frozen=True)
class Suggestion:
    """One label for one text; `score` lies in [0, 1], higher is better."""

    label: str
    name: str
    score: float


class Predictor:
    """A loaded model that is asked again and again."""

    def __init__(
        self, model: XrtModel, artifact: Artifact | None = None, num_threads: int | None = None
    ) -> None:
        """Wrap a model in memory; `Predictor.load` is the usual way."""
        self.model, self.artifact, self.num_threads = model, artifact, num_threads

    @classmethod
    def load(
        cls, folder: str | Path, verify: bool | str = True, num_threads: int | None = None
    ) -> "Predictor":
        """Open a saved model. `verify="sizes"` skips hashing its files, for large models you trust.

        Raises ArtifactError when the folder is missing, damaged or of another format version.
        """
        artifact = open_artifact(folder, verify=verify)
        return cls(XrtModel.load(artifact.folder), artifact, num_threads)

    def predict(self, texts: Sequence[str] | str, k: int = 5, min_score: float = 0.0) -> list[Any]:
        """The `k` best labels of each text, best first: a list of Suggestions for each text.

        One string gives one list of Suggestions. Labels scoring below `min_score` are left out.
        Raises DataError when k is below 1.
        """
        if isinstance(texts, str):
            return self.predict([texts], k, min_score)[0]  # type: ignore[no-any-return]
        scores_NL = self.scores(texts, k)
        return [self._suggestions(scores_NL, row, k, min_score) for row in range(len(texts))]

    def stream(
        self, texts: Iterable[str], k: int = 5, min_score: float = 0.0, batch_size: int = 256
    ) -> Iterator[list[Suggestion]]:
        """Suggestions for each text of an endless or large iterable, in order, batch by batch."""
        iterator = iter(texts)
        while batch := list(islice(iterator, batch_size)):
            yield from self.predict(batch, k, min_score)

    def scores(self, texts: Sequence[str], k: int = 5) -> sp.csr_array:
        """Scores of the `k` best labels of each text: csr_array (N, L), in [0, 1]."""
        return self.model.predict(list(texts), k, num_threads=self.num_threads)

    def _suggestions(
        self, scores_NL: sp.csr_array, row: int, k: int, min_score: float
    ) -> list[Suggestion]:
        labels = self.model.labels
        low, high = scores_NL.indptr[row], scores_NL.indptr[row + 1]
        columns, values = scores_NL.indices[low:high], scores_NL.data[low:high]
        order = np.lexsort((columns, -values))[:k]
        return [
            Suggestion(labels.ids[columns[i]], labels.names[columns[i]], float(values[i]))
            for i in order
            if values[i] >= min_score
        ]


if __name__ == "__main__":
    import sys

    from xrt.cli import main

    sys.exit(main(["predict", *sys.argv[1:]]))
