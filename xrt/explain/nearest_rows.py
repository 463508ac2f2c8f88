"""The training rows most similar to a text, and how they vote.

One query; W neighbours.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrt.errors import DataError
from xrt.explain.explanation import LabelName, NearestRow, NearestRows
from xrt.hybrid import unit_rows
from xrt.model import XrtModel
from xrt.sources.neighbours import NeighbourMemory

NO_MEMORY = (
    "this model keeps no training rows: similar rows had no say when it was trained, or were not "
    "asked for"
)


@dataclass(frozen=True, eq=False)
class Voters:
    """The nearest rows in one memory (W,), nearest first, and their shares of the vote."""

    source: str
    memory: NeighbourMemory
    rows_W: np.ndarray
    similarities_W: np.ndarray
    votes_W: np.ndarray

    def num_with(self, label: int) -> int:
        """How many of the rows have the label."""
        return sum(label in self._labels(row) for row in self.rows_W)

    def shown(
        self, count: int, name_of: Callable[[int], LabelName], texts: Sequence[str] | None = None
    ) -> NearestRows:
        """The `count` nearest of them, with labels, and with their texts where given.

        Raises DataError when there are more or fewer texts than training rows.
        """
        num_texts = self.memory.num_texts
        if texts is not None and len(texts) != num_texts:
            raise DataError(
                f"{len(texts)} training texts are given, but the model keeps "
                f"{num_texts} training rows; give the texts it was trained on, in order"
            )
        rows = tuple(
            NearestRow(
                int(row) if row < num_texts else None,
                float(similarity),
                float(vote),
                tuple(name_of(int(label)) for label in self._labels(row)),
                texts[row] if texts is not None and row < num_texts else None,
            )
            for row, similarity, vote in zip(
                self.rows_W[:count], self.similarities_W, self.votes_W, strict=False
            )
        )
        return NearestRows(self.source, len(self.rows_W), rows)

    def _labels(self, row: int) -> np.ndarray:
        Y_NL = self.memory.Y_NL
        labels: np.ndarray = Y_NL.indices[Y_NL.indptr[row] : Y_NL.indptr[row + 1]]
        return labels


def voters_of(model: XrtModel, X: Any, embeddings_NM: np.ndarray | None) -> list[Voters]:
    """Who votes in each memory that the model has, for a row X (1, F) and its embedding."""
    return [
        _voters(source, memory, query) for source, memory, query in _asked(model, X, embeddings_NM)
    ]


def has_memory(model: XrtModel) -> bool:
    """Whether the model keeps training rows."""
    deep = model.deep
    return model.neighbours is not None or (
        deep is not None and deep.embedding_neighbours is not None
    )


def _asked(
    model: XrtModel, X: Any, embeddings_NM: np.ndarray | None
) -> Iterator[tuple[str, NeighbourMemory, Any]]:
    if model.neighbours is not None:
        yield "neighbours", model.neighbours, X
    if model.deep is not None and model.deep.embedding_neighbours is not None:
        assert embeddings_NM is not None
        tuned_NH = embeddings_NM[:, : model.deep.encoder.hidden_size]
        yield "embedding_neighbours", model.deep.embedding_neighbours, unit_rows(tuned_NH)


def _voters(source: str, memory: NeighbourMemory, query: Any) -> Voters:
    found = memory.nearest(query, 1)
    num_rows = int((found.rows_MW[0] >= 0).sum())
    similarities_W = found.similarities_MW[0, :num_rows].astype(np.float64)
    votes_W = np.exp((similarities_W - similarities_W.max(initial=0)) / memory.params.temperature)
    if memory.weights_N is not None:
        votes_W = votes_W * memory.weights_N[found.rows_MW[0, :num_rows]]
    total = votes_W.sum() if num_rows else 1.0
    return Voters(source, memory, found.rows_MW[0, :num_rows], similarities_W, votes_W / total)
