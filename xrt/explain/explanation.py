"""What an explanation consists of: plain values, for JSON or for reading.

Training rows and columns are counted from 0, as in Python; levels, places and trees from 1.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LabelName:
    """A label's id and name ('' where unknown), and in how many training rows it was seen (None
    where the model does not know).
    """

    label: str
    name: str
    count: int | None = None


@dataclass(frozen=True)
class SourcePart:
    """One source's share of the weighted mean: `part` = `weight` * `score`.

    `weight` is its share of all weights. A source that did not name the label counts 0: `found` is
    False. `trees` are the scores of each tree of a source with trees, None where a tree did not
    name the label; `voters` tells how many of the nearest training rows have the label.
    """

    source: str
    score: float
    found: bool
    weight: float
    part: float
    trees: tuple[float | None, ...] = ()
    voters: int | None = None
    num_nearest: int | None = None


@dataclass(frozen=True)
class ScoreParts:
    """How a label's score came about.

    `mean` is the sum of the sources' parts; `boosted` what boosted trees made of it (None without
    such trees), `calibrated` the probability that the curve gives for it (None without one).
    """

    sources: tuple[SourcePart, ...]
    mean: float
    boosted: float | None
    calibrated: float | None

    @property
    def raw(self) -> float:
        """The score before it is calibrated."""
        return self.mean if self.boosted is None else self.boosted


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
    in the beam of `beam_size` nodes, None where the node was not in it. `searched` is False above
    the level at which a shortlist opens the search: there is no beam there. `terms` are those of
    the text that add most to the margin. `cluster` is None for the label itself.
    """

    level: int
    node: int
    margin: float
    fit: float
    log_score: float
    place: int | None
    beam_size: int
    searched: bool
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
        lost = (n.level for n in self.nodes[:-1] if n.beam_size and n.place is None)
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
class LabelExplanation:
    """Why a label has its score. `place` is its place among the suggestions; None where it is none
    of them: then `why_not` says why, and the score is that of `Predictor.score`.
    """

    label: LabelName
    score: float
    place: int | None
    why_not: str
    parts: ScoreParts
    paths: tuple[TreePath, ...]
    margins: tuple[MarginParts, ...]


@dataclass(frozen=True)
class NearestRow:
    """A training row: its number (from 0), its similarity (cosine), its share of the vote, its
    labels; its text where the training texts were given. The name of a label, which votes as a row
    does, has no number.
    """

    row: int | None
    similarity: float
    vote: float
    labels: tuple[LabelName, ...]
    text: str | None = None


@dataclass(frozen=True)
class NearestRows:
    """The nearest training rows by `neighbours` (terms) or `embedding_neighbours` (embeddings), of
    `num_nearest` that vote.
    """

    source: str
    num_nearest: int
    rows: tuple[NearestRow, ...]


@dataclass(frozen=True)
class Explanation:
    """Why a model suggests what it suggests for one text.

    `text` is None where a row was given. `notes` say what is unusual: a text without known terms, a
    model that keeps no training rows.
    """

    text: str | None
    num_terms: int
    notes: tuple[str, ...]
    labels: tuple[LabelExplanation, ...]
    nearest: tuple[NearestRows, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def to_text(self) -> str:
        """The explanation for reading."""
        from xrt.explain.wording import wording

        return wording(self)
