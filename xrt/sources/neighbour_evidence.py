"""The training rows most similar to a row, and how they vote.

One query; W neighbours.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xrt.errors import DataError
from xrt.sources.evidence import (
    LabelEvidence,
    Naming,
    NearestRow,
    NearestRows,
    SourceEvidence,
)

if TYPE_CHECKING:
    from xrt.sources.neighbours import NeighbourSource


class Votes(NamedTuple):
    """The nearest rows (W,), nearest first, their similarities, and their shares of the vote."""

    rows_W: np.ndarray
    similarities_W: np.ndarray
    shares_W: np.ndarray


class NeighbourEvidence(SourceEvidence):
    """The neighbours of one row, looked up when they are first asked for."""

    def __init__(self, source: "NeighbourSource", naming: Naming, query: Callable[[], Any]) -> None:
        """`query` gives the row as `NeighbourSource.nearest` takes it."""
        self._source, self._naming, self._query = source, naming, query

    @cached_property
    def votes(self) -> Votes:
        """The neighbours and their votes."""
        return votes_of(self._source, self._query())

    def label(self, column: int, suggested: bool) -> LabelEvidence:
        """How many of the nearest rows have the label; see `SourceEvidence.label`."""
        rows_W = self.votes.rows_W
        voters = sum(column in self._labels(row) for row in rows_W)
        return LabelEvidence(voters=voters, num_nearest=len(rows_W))

    def nearest(self, count: int, texts: Sequence[str] | None = None) -> NearestRows:
        """The nearest rows with their labels; see `SourceEvidence.nearest`."""
        num_texts = self._source.num_texts
        if texts is not None and len(texts) != num_texts:
            raise DataError(
                f"{len(texts)} training texts are passed, but the model keeps {num_texts} training "
                "rows; pass the texts it was trained on, in order"
            )
        rows = tuple(
            NearestRow(
                int(row) if row < num_texts else None,
                float(similarity),
                float(vote),
                tuple(self._naming.label(int(label)) for label in self._labels(row)),
                texts[row] if texts is not None and row < num_texts else None,
            )
            for row, similarity, vote in zip(
                self.votes.rows_W[:count],
                self.votes.similarities_W,
                self.votes.shares_W,
                strict=False,
            )
        )
        return NearestRows(self._source.name, len(self.votes.rows_W), rows)

    def _labels(self, row: int) -> np.ndarray:
        Y_NL = self._source.Y_NL
        labels: np.ndarray = Y_NL.indices[Y_NL.indptr[row] : Y_NL.indptr[row + 1]]
        return labels


def votes_of(source: "NeighbourSource", query: Any) -> Votes:
    """The neighbours of one row, and their shares of the vote, which sum to 1."""
    neighbours = source.nearest(query, 1)
    num_rows = int((neighbours.rows_MW[0] >= 0).sum())
    rows_W = neighbours.rows_MW[0, :num_rows]
    similarities_W = neighbours.similarities_MW[0, :num_rows].astype(np.float64)
    votes_W = np.exp((similarities_W - similarities_W.max(initial=0)) / source.temperature)
    if source.weights_N is not None:
        votes_W = votes_W * source.weights_N[rows_W]
    total = votes_W.sum() if num_rows else 1.0
    return Votes(rows_W, similarities_W, votes_W / total)
