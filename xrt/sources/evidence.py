"""What a source can say about its scores of one row: plain values, and how they are looked up.

Training rows and columns are counted from 0, as in Python; levels, places and trees from 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class LabelName:
    """A label's id and name ('' where unknown), and in how many training rows it was seen (None
    where the model does not know).
    """

    label: str
    name: str
    count: int | None = None


@dataclass(frozen=True)
class TermWeight:
    """A term (or `column N` in a model of rows) and its weight in a cluster's ranker."""

    term: str
    column: int
    weight: float


@dataclass(frozen=True)
class ClusterSummary:
    """What lies below a node: how many labels, the most frequent ones, and the terms that lead
    there.
    """

    num_labels: int
    labels: tuple[LabelName, ...]
    terms: tuple[TermWeight, ...]


@dataclass(frozen=True)
class TermPart:
    """What a term of the text adds to the margin of a label or cluster: `part` = `value` *
    `weight`.
    """

    term: str
    column: int
    value: float
    weight: float
    part: float


@dataclass(frozen=True)
class PathNode:
    """A node on the way to a label.

    `fit` is f(margin) in (0, 1], `log_score` the log score of the way down to here. `place` is that
    in the beam of `beam_size` nodes, None where the node was not in it. `terms` are those of the
    text that add most to the margin. `cluster` is None for the label itself.
    """

    level: int
    node: int
    margin: float
    fit: float
    log_score: float
    place: int | None
    beam_size: int
    terms: tuple[TermPart, ...]
    cluster: ClusterSummary | None


@dataclass(frozen=True)
class TreePath:
    """From the root to the label, in one tree of a source.

    `score` is what this tree gives the label, or would give if the search had not lost the way.
    """

    source: str
    tree: int
    num_trees: int
    path_weight: float
    score: float
    nodes: tuple[PathNode, ...]

    @property
    def lost_at(self) -> int | None:
        """The first level whose beam did not hold the label's cluster; None where all did."""
        lost = (n.level for n in self.nodes[:-1] if n.place is None)
        return next(lost, None)


@dataclass(frozen=True)
class MarginParts:
    """What a label's margin is made of, the mean over the trees of a source.

    `terms` are those with the largest parts, first those in favour, then those against. The parts
    of the terms, `rest` (that of `num_rest` other terms), `dense` (that of the embedding, None
    without one) and `bias` sum to `margin`.
    """

    source: str
    num_trees: int
    margin: float
    bias: float
    terms: tuple[TermPart, ...]
    rest: float
    num_rest: int
    dense: float | None


@dataclass(frozen=True)
class NearestRow:
    """A training row: its number (from 0), its similarity (cosine), its share of the vote, its
    labels; its text where the training texts are passed. The name of a label, which votes as a row
    does, has no number.
    """

    row: int | None
    similarity: float
    vote: float
    labels: tuple[LabelName, ...]
    text: str | None = None


@dataclass(frozen=True)
class NearestRows:
    """The nearest training rows of a source, of `num_nearest` that vote."""

    source: str
    num_nearest: int
    rows: tuple[NearestRow, ...]


class Naming(Protocol):
    """What labels and columns are called."""

    @property
    def counts_L(self) -> np.ndarray | None:
        """Training rows of each label, int64 (L,); None where the model does not know."""

    def label(self, column: int) -> LabelName:
        """A label by its column.

        Args:
            column: the label's column.

        Returns:
            Its id, name and count.
        """

    def term(self, column: int) -> str:
        """A TF-IDF column: its term, or `column N` in a model of rows.

        Args:
            column: the TF-IDF column.

        Returns:
            The term.
        """


@dataclass(frozen=True)
class LabelEvidence:
    """What a source says about its score of one label."""

    paths: tuple[TreePath, ...] = ()
    """The way to the label in each tree."""
    tree_scores: tuple[float | None, ...] = ()
    """The score by each tree; None where a tree did not name the label."""
    margin: MarginParts | None = None
    voters: int | None = None
    """Nearest training rows that have the label."""
    num_nearest: int | None = None
    """Nearest training rows that vote."""
    name_words: tuple[str, ...] = ()
    """Words of the label's name that stand in the text."""


class SourceEvidence:
    """What a source says about one row. The base class has nothing to say beside the scores."""

    def label(self, column: int, suggested: bool) -> LabelEvidence:
        """What it says about a label.

        Args:
            column: the label.
            suggested: whether its score is the one that the source's own search gave; else it is
                exact, however the label ranks.

        Returns:
            The evidence.
        """
        return LabelEvidence()

    def nearest(self, count: int, texts: Sequence[str] | None = None) -> NearestRows | None:
        """The nearest training rows.

        Args:
            count: rows that are shown, at most.
            texts: the training texts in order, to be shown; None shows none.

        Returns:
            The rows; None for a source that keeps none.

        Raises:
            DataError: there are more or fewer texts than training rows.
        """
        return None
