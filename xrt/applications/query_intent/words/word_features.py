"""Evidence of a query's words for each value: names, aliases, likeness, and what rivals explain.

A value is *named* when the words of its name stand in the query and are not part of a longer name
that clicks support. A word that names a value is taken: it speaks less for others.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from xrt.applications.query_intent.catalogue import Catalogue
from xrt.applications.query_intent.words.aliases import AliasTable, Meaning, NameTable
from xrt.applications.query_intent.words.words import likeness, phrases, trigrams, words_of

WORD_FEATURES = (
    "name_words",
    "name_share",
    "title_alias",
    "title_forward",
    "title_backward",
    "click_alias",
    "click_forward",
    "click_backward",
    "rival_alias",
    "rival_named",
    "taken_elsewhere",
    "char_likeness",
    "rival_likeness",
    "num_words",
    "free_words",
)
_SUPPORT = 0.08


@dataclass(frozen=True)
class Words:
    """The tables that words are looked up in."""

    catalogue: Catalogue
    names: NameTable
    titles: AliasTable
    clicks: AliasTable

    @cached_property
    def attribute_of(self) -> list[int]:
        """Attribute of each label, as plain integers, which are read one by one."""
        return [int(a) for a in self.catalogue.attribute_L]


@dataclass
class Reading:
    """A query as read: its words, the spans (first word, end, phrase), and the values named there.

    named: label -> (first, end) of the longest span that names it. meanings_*: per span.
    """

    words: list[str]
    spans: list[tuple[int, int, str]]
    named: dict[int, tuple[int, int]] = field(default_factory=dict)
    by_titles: list[list[Meaning]] = field(default_factory=list)
    by_clicks: list[list[Meaning]] = field(default_factory=list)

    def free_words(self, names: Collection[tuple[int, int]]) -> int:
        """Words that lie in none of these spans.

        Args:
            names: Spans (first word, end) in the query.

        Returns:
            Number of words outside of them.
        """
        covered = {i for first, end in names for i in range(first, end)}
        return len(self.words) - len(covered)


def read_query(
    text: str, share: Mapping[int, float], tables: Words, source_query: str = ""
) -> Reading:
    """Look up all phrases of a query.

    share: smoothed click share of its values. learnt_from: the query with these clicks, where the
    aliases of `tables.clicks` were learnt from it, too; its phrases are looked up without it.

    Args:
        text: The query, or another text that is to be judged with its clicks.
        share: Smoothed click share of its values, by label number.
        tables: Tables that words are looked up in.
        source_query: The query with these clicks, where the aliases of `tables.clicks` were learnt
            from it, too: its phrases are looked up without it. '' where they were not.

    Returns:
        The words, their spans and what they may mean.
    """
    words = words_of(text)
    longest = max(3, tables.names.longest)
    spans = [(first, first + n, phrase) for first, n, phrase in phrases(words, longest)]
    own = {phrase for _, _, phrase in phrases(words_of(source_query))}
    reading = Reading(words, spans)
    for first, end, phrase in spans:
        for label in tables.names.labels_of.get(phrase, ()):
            before = reading.named.get(label)
            if before is None or end - first > before[1] - before[0]:
                reading.named[label] = (first, end)
        reading.by_titles.append(tables.titles.meanings.get(phrase, []))
        if phrase in own:
            reading.by_clicks.append(tables.clicks.without(phrase, share))
        else:
            reading.by_clicks.append(tables.clicks.meanings.get(phrase, []))
    _drop_shadowed(reading, share)
    return reading


def _drop_shadowed(reading: Reading, share: Mapping[int, float]) -> None:
    """Names inside a longer name that clicks support do not count."""
    strong = [span for label, span in reading.named.items() if share.get(label, 0.0) >= _SUPPORT]
    for label, (first, end) in list(reading.named.items()):
        if any(f <= first and end <= e and e - f > end - first for f, e in strong):
            del reading.named[label]


def supported_names(reading: Reading, share: Mapping[int, float]) -> dict[int, tuple[int, int]]:
    """Named values that have a share of the clicks.

    Args:
        reading: The query as read.
        share: Smoothed click share by label number.

    Returns:
        Label -> span (first word, end) of its name.
    """
    return {
        label: span for label, span in reading.named.items() if share.get(label, 0.0) >= _SUPPORT
    }


def word_features(
    reading: Reading, labels: Collection[int], share: Mapping[int, float], tables: Words
) -> list[tuple[float, ...]]:
    """A row of WORD_FEATURES for each of the labels.

    Args:
        reading: The query as read.
        labels: Label numbers.
        share: Smoothed click share by label number.
        tables: Tables that words are looked up in.

    Returns:
        A tuple of len(WORD_FEATURES) numbers for each label, in the order of `labels`.
    """
    catalogue = tables.catalogue
    attribute_of, related = tables.attribute_of, catalogue.related
    named = supported_names(reading, share)
    title, click = _strongest(reading.by_titles), _strongest(reading.by_clicks)
    alias = {
        label: max(
            title[label][0] if label in title else 0.0, click[label][0] if label in click else 0.0
        )
        for label in {*title, *click}
    }
    span_trigrams = [trigrams(phrase) for first, end, phrase in reading.spans if end - first <= 2]
    like = {
        label: max(
            (likeness(a, b) for a in tables.names.trigrams[label] for b in span_trigrams),
            default=0.0,
        )
        for label in labels
    }
    spoken: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for other in {*alias, *named}:
        spoken[attribute_of[other]].append((other, alias.get(other, 0.0)))
    liked: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for other, value in like.items():
        liked[attribute_of[other]].append((other, value))
    rows: list[tuple[float, ...]] = []
    for label in labels:
        attribute = attribute_of[label]
        rivals = [
            (other, strength)
            for other, strength in spoken[attribute]
            if other != label and (label, other) not in related
        ]
        elsewhere = [span for other, span in named.items() if attribute_of[other] != attribute]
        t = title.get(label, (0.0, 0.0, 0.0, -1))
        c = click.get(label, (0.0, 0.0, 0.0, -1))
        best_span = t[3] if t[0] >= c[0] else c[3]
        span = reading.named.get(label)
        name = tables.names.words[label]
        rows.append(
            (
                float(span[1] - span[0]) if span else 0.0,
                sum(word in reading.words for word in name) / len(name) if name else 0.0,
                *t[:3],
                *c[:3],
                max((strength for _, strength in rivals), default=0.0),
                float(any(other in named for other, _ in rivals)),
                _taken_elsewhere(reading, best_span, attribute, tables, named),
                like[label],
                max(
                    (
                        value
                        for other, value in liked[attribute]
                        if other != label and (label, other) not in related
                    ),
                    default=0.0,
                ),
                float(len(reading.words)),
                float(reading.free_words(elsewhere)),
            )
        )
    return rows


def _strongest(meanings_of_span: list[list[Meaning]]) -> dict[int, tuple[float, float, float, int]]:
    """Label -> (strength, forward, backward, span) of its strongest phrase."""
    best: dict[int, tuple[float, float, float, int]] = {}
    for span, meanings in enumerate(meanings_of_span):
        for meaning in meanings:
            if meaning.label not in best or meaning.strength > best[meaning.label][0]:
                best[meaning.label] = (meaning.strength, meaning.forward, meaning.backward, span)
    return best


def _taken_elsewhere(
    reading: Reading,
    span: int,
    attribute: int,
    tables: Words,
    named: Mapping[int, tuple[int, int]],
) -> float:
    """How strongly the phrase that speaks most for a value speaks for one of another attribute."""
    if span < 0:
        return 0.0
    attribute_of = tables.attribute_of
    first, end, _ = reading.spans[span]
    for label, (f, e) in named.items():
        if attribute_of[label] != attribute and f <= first and end <= e:
            return 1.0
    meanings = [*reading.by_titles[span], *reading.by_clicks[span]]
    return max((m.strength for m in meanings if attribute_of[m.label] != attribute), default=0.0)


def indicated_values(reading: Reading, min_strength: float = 0.1) -> set[int]:
    """Values that the words indicate, clicked or not: named, or of a strong alias.

    Args:
        reading: The query as read.
        min_strength: Least strength of an alias, 0 to 1.

    Returns:
        Label numbers.
    """
    values = set(reading.named)
    for meanings in (*reading.by_titles, *reading.by_clicks):
        values |= {m.label for m in meanings if m.strength >= min_strength and m.forward >= 0.4}
    return values
