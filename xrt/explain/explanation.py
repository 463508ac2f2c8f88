"""What an explanation consists of, for JSON, and how it reads as text.

Training rows and columns are counted from 0, as in Python; levels, places and trees from 1.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from xrt.sources.evidence import (
    LabelName,
    MarginParts,
    NearestRows,
    PathNode,
    TreePath,
)
from xrt.sources.registry import SOURCES

LONGEST_TEXT = 300
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class SourcePart:
    """One source's share of the weighted mean: `part` = `weight` * `score`.

    `weight` is its share of all weights. A source that did not name the label counts 0: `found` is
    False. `trees` are the scores of each tree of a source with trees, None where a tree did not
    name the label; `voters` tells how many of the nearest training rows have the label;
    `name_words` are the words of its name that stand in the text.
    """

    source: str
    score: float
    found: bool
    weight: float
    part: float
    trees: tuple[float | None, ...] = ()
    voters: int | None = None
    num_nearest: int | None = None
    name_words: tuple[str, ...] = ()


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
        """Plain values for JSON.

        Returns:
            The fields by name, nested.
        """
        return asdict(self)

    def to_text(self) -> str:
        """The explanation for reading.

        Returns:
            Lines of text.
        """
        return as_text(self)


def as_text(explanation: Explanation) -> str:
    """Lines of text, each indented by what it belongs to.

    Args:
        explanation: the explanation.

    Returns:
        The lines, with a newline at the end.
    """
    return "\n".join(_lines(explanation)) + "\n"


def _lines(explanation: Explanation) -> Iterator[str]:
    if explanation.text is not None:
        yield f"text: {_shortened(explanation.text)}"
    yield f"known terms in it: {explanation.num_terms:,}"
    for note in explanation.notes:
        yield f"note: {note}"
    for label in explanation.labels:
        yield ""
        yield from _label(label)
    for nearest in explanation.nearest:
        yield ""
        yield from _nearest(nearest)
    weights = {path.path_weight for label in explanation.labels for path in label.paths}
    if weights:
        yield ""
        yield (
            "fit: how well the text suits a cluster or label, 0 to 1; a tree's score is the "
            f"label's fit times the product of the clusters' fits to the power of {min(weights):g}"
        )


def _label(found: LabelExplanation) -> Iterator[str]:
    place = "not suggested:" if found.place is None else f"{found.place}."
    count = found.label.count
    rows = "row" if count == 1 else "rows"
    seen = "" if count is None else f", seen in {count:,} training {rows}"
    yield f"{place} {_named(found.label)}: score {found.score:.3f}{seen}"
    if found.why_not:
        yield f"   why not: {found.why_not}"
    yield "   where the score comes from:"
    yield from (f"     {line}" for line in _parts(found.parts))
    for margin in found.margins:
        yield from (f"   {line}" for line in _margin(margin))
    for path in found.paths:
        yield from (f"   {line}" for line in _path(path))


def _parts(parts: ScoreParts) -> Iterator[str]:
    for part in parts.sources:
        name = SOURCES[part.source].title if part.source in SOURCES else part.source
        share = f"{part.score:.3f} x weight {part.weight:.2f} = {part.part:.3f}"
        yield f"{name} ({part.source}): {share}{_aside(part)}"
    if len(parts.sources) > 1:
        yield f"weighted mean: {parts.mean:.3f}"
    if parts.boosted is not None:
        yield f"boosted trees weigh all this and the label's frequency anew: {parts.boosted:.3f}"
    if parts.calibrated is not None:
        yield (
            f"as a probability: {parts.raw:.3f} -> {parts.calibrated:.3f} (on held-out rows, about "
            f"{parts.calibrated:.0%} of labels that scored so were right)"
        )


def _aside(part: SourcePart) -> str:
    if part.voters is not None:
        have = "has" if part.voters == 1 else "have"
        few = ", too few to be named" if part.voters and not part.found else ""
        return f"; {part.voters} of the {part.num_nearest} nearest rows {have} it{few}"
    if part.name_words:
        return f"; in the text: {', '.join(part.name_words)}"
    if not part.found:
        return "; did not name it"
    if len(part.trees) > 1:
        each = ", ".join("did not name it" if s is None else f"{s:.3f}" for s in part.trees)
        return f"; the mean of {len(part.trees)} trees: {each}"
    return ""


def _margin(parts: MarginParts) -> Iterator[str]:
    trees = f", mean of {parts.num_trees} trees" if parts.num_trees > 1 else ""
    yield f"terms of the text ({parts.source}{trees}):"
    for title, some in (
        ("in favour", [term for term in parts.terms if term.part > 0]),
        ("against", [term for term in parts.terms if term.part < 0]),
    ):
        if some:
            yield f"  {title}: " + ", ".join(f"{t.term} {t.part:+.2f}" for t in some)
    rest = [f"{parts.num_rest} other terms {parts.rest:+.2f}"] if parts.num_rest else []
    if parts.dense is not None:
        rest.append(f"the text's embedding {parts.dense:+.2f}")
    yield f"  {', '.join([*rest, f'bias {parts.bias:+.2f}'])}; all together {parts.margin:+.2f}"


def _path(path: TreePath) -> Iterator[str]:
    which = f", tree {path.tree} of {path.num_trees}" if path.num_trees > 1 else ""
    yield f"way through the tree ({path.source}{which}), which scores it {path.score:.3f}:"
    for node in path.nodes:
        yield f"  level {node.level}: {_node(node)}"
    if path.lost_at is not None:
        yield f"  the search lost this way at level {path.lost_at}"


def _node(node: PathNode) -> str:
    if node.cluster is None:
        beam = f"place {node.place}" if node.place else "not"
        return f"the label itself, fit {node.fit:.3f}, {beam} among the {node.beam_size} named"
    cluster = node.cluster
    names = ", ".join(label.name or label.label for label in cluster.labels)
    terms = ", ".join(term.term for term in cluster.terms)
    more = " ..." if cluster.num_labels > len(cluster.labels) else ""
    pulled = ", ".join(term.term for term in node.terms)
    about = f"{cluster.num_labels:,} labels ({names}{more}); terms that lead there: {terms or '-'}"
    return f"{_standing(node)}; {about}; in this text: {pulled or '-'}"


def _standing(node: PathNode) -> str:
    beam = f"place {node.place} of {node.beam_size}" if node.place else "not in the beam"
    return f"fit {node.fit:.3f}, {beam}"


def _nearest(nearest: NearestRows) -> Iterator[str]:
    likeness = getattr(SOURCES.get(nearest.source), "likeness", "")
    what = f"nearest training rows {likeness} ({nearest.source})"
    if not nearest.rows:
        yield f"{what}: none is like it"
        return
    yield (
        f"{what}, {len(nearest.rows)} of the {nearest.num_nearest} that vote; row numbers count "
        "from 0:"
    )
    for row in nearest.rows:
        labels = ", ".join(_named(label) for label in row.labels)
        which = "name of a label" if row.row is None else f"row {row.row}"
        yield (
            f"   {which}, similarity {row.similarity:.3f}, {row.vote:.0%} of the vote: "
            f"{labels or 'no label'}"
        )
        if row.text is not None:
            yield f"     {_shortened(row.text)}"


def _named(label: LabelName) -> str:
    return f"{label.name} ({label.label})" if label.name else label.label


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST_TEXT else flat[: LONGEST_TEXT - 3] + "..."
