"""Which words stand for which values: names, and phrases learnt from titles and from clicks.

A phrase g stands for a value v as far as items (or queries) with g have v, P(v | g), and those with
v have g, P(g | v). A product line has the first in plenty and some of the second; a word that
merely goes along with a brand's only department has almost none of the second.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from xrt.applications.query_intent.catalogue import Catalogue
from xrt.applications.query_intent.clicks.click_features import at
from xrt.applications.query_intent.words.words import phrases, trigrams, words_of

_MIN_ITEMS = 2
_MIN_FORWARD = 0.15
_MIN_STRENGTH = 0.03
_MAX_LABELS = 12
_MAX_FORMS = 6
_MAX_LIKE = 2


class Meaning(NamedTuple):
    """A value that a phrase may stand for, with P(v | g), P(g | v), and how often both met."""

    label: int
    forward: float
    backward: float
    together: float

    @property
    def strength(self) -> float:
        """Geometric mean of both shares."""
        mean: float = (self.forward * self.backward) ** 0.5
        return mean


class AliasTable:
    """Meanings of phrases. `num_with`: items (queries) with each phrase; `mass_L`: with each value;
    both are needed to leave a query's own clicks out.
    """

    def __init__(
        self, meanings: dict[str, list[Meaning]], num_with: dict[str, float], mass_L: np.ndarray
    ) -> None:
        self.meanings, self.num_with, self.mass_L = meanings, num_with, mass_L

    def without(self, phrase: str, own: Mapping[int, float]) -> list[Meaning]:
        """Meanings of a phrase without one query that has it, with the shares `own` of values.

        Args:
            phrase: The phrase.
            own: The query's shares of values, by label number; they are taken away.

        Returns:
            The meanings that remain; none where no other query has the phrase.
        """
        others = self.num_with.get(phrase, 0.0) - 1
        if others < 1:
            return []
        meanings = []
        for label, _, _, together in self.meanings.get(phrase, ()):
            share = own.get(label, 0.0)
            together_elsewhere = together - share
            if together_elsewhere > 1e-9:
                mass = max(float(self.mass_L[label]) - share, 1e-9)
                meanings.append(
                    Meaning(
                        label,
                        min(together_elsewhere / (others + 0.5), 1.0),
                        min(together_elsewhere / mass, 1.0),
                        together_elsewhere,
                    )
                )
        return meanings

    def forms(self, num_labels: int) -> list[list[str]]:
        """The strongest phrases of each value.

        Args:
            num_labels: Number of labels L.

        Returns:
            L lists of phrases, the strongest first, at most 6 each.
        """
        by_label: list[list[tuple[float, str]]] = [[] for _ in range(num_labels)]
        for phrase, meanings in self.meanings.items():
            for meaning in meanings:
                if meaning.forward >= 0.5:
                    by_label[meaning.label].append((-meaning.strength, phrase))
        return [[phrase for _, phrase in sorted(some)[:_MAX_FORMS]] for some in by_label]


def learn_from_titles(catalogue: Catalogue, max_titles: int, seed: int) -> AliasTable:
    """Aliases from the titles of the catalogue, or of a sample of it.

    Args:
        catalogue: The catalogue.
        max_titles: Size of the sample; all titles are read where there are no more.
        seed: Seed of the sample.

    Returns:
        The aliases.
    """
    rows = np.arange(len(catalogue.titles))
    if len(rows) > max_titles:
        rows = np.sort(np.random.default_rng([seed, 0]).choice(rows, max_titles, replace=False))
    texts = (catalogue.titles[row] for row in rows.tolist())
    return learn_aliases(texts, catalogue.Y_IL[rows], catalogue)


def learn_aliases(
    texts: Iterable[str], shares_NL: sp.csr_array, catalogue: Catalogue
) -> AliasTable:
    """Aliases from texts that have each value with the given share, 0 to 1.

    Args:
        texts: N texts, titles or queries.
        shares_NL: Share of each value in each text, (N, L), 0 to 1.
        catalogue: The catalogue, which has the L labels.

    Returns:
        The aliases: phrases that are frequent enough, with their strongest meanings.
    """
    vocabulary: dict[str, int] = {}
    pointers, columns = [0], []
    for text in texts:
        own_phrases = dict.fromkeys(phrase for _, _, phrase in phrases(words_of(text)))
        columns += [vocabulary.setdefault(phrase, len(vocabulary)) for phrase in own_phrases]
        pointers.append(len(columns))
    ones = np.ones(len(columns), np.float32)
    has_NG = sp.csr_array((ones, columns, pointers), shape=(len(pointers) - 1, len(vocabulary)))
    num_with_G = np.asarray(has_NG.sum(axis=0)).ravel()
    frequent_G = np.flatnonzero(num_with_G >= _MIN_ITEMS)
    has_GN = sp.csr_array(has_NG[:, frequent_G].T)
    together_GL = sp.csr_array(has_GN @ shares_NL)
    known_NA = sp.csr_array(shares_NL @ catalogue.of_attribute_LA)
    known_NA.data[:] = 1
    known_GA = sp.csr_array(has_GN @ known_NA)
    known_GA.sort_indices()
    mass_L = np.asarray(shares_NL.sum(axis=0)).ravel()
    g_P = np.repeat(np.arange(len(frequent_G)), np.diff(together_GL.indptr))
    label_P, together_P = together_GL.indices, together_GL.data.astype(np.float64)
    known_P = at(known_GA, g_P, catalogue.attribute_L[label_P])
    forward_P = np.minimum(together_P / (known_P + 0.5), 1)
    backward_P = np.minimum(together_P / np.maximum(mass_L[label_P], 1e-9), 1)
    strength_P = np.sqrt(forward_P * backward_P)
    is_strong = (forward_P >= _MIN_FORWARD) & (strength_P >= _MIN_STRENGTH) & (together_P >= 1)
    strong = np.flatnonzero(is_strong)
    strong = strong[np.lexsort((label_P[strong], -strength_P[strong], g_P[strong]))]
    names = list(vocabulary)
    meanings: dict[str, list[Meaning]] = {}
    for g, *meaning in zip(
        g_P[strong].tolist(),
        label_P[strong].tolist(),
        forward_P[strong].tolist(),
        backward_P[strong].tolist(),
        together_P[strong].tolist(),
        strict=True,
    ):
        of_phrase = meanings.setdefault(names[frequent_G[g]], [])
        if len(of_phrase) < _MAX_LABELS:
            of_phrase.append(Meaning(*meaning))
    num_with = {phrase: float(num_with_G[vocabulary[phrase]]) for phrase in meanings}
    return AliasTable(meanings, num_with, mass_L)


class NameTable:
    """Values by the words of their names, and each name's and alias's trigrams."""

    def __init__(self, names: Sequence[str], forms: Sequence[Sequence[str]]) -> None:
        self.words = [words_of(name) for name in names]
        by_phrase: dict[str, list[int]] = defaultdict(list)
        for label, words in enumerate(self.words):
            if words:
                by_phrase[" ".join(words)].append(label)
        self.labels_of = dict(by_phrase)
        self.longest = max((len(words) for words in self.words), default=1)
        self.trigrams = [
            [trigrams(form) for form in dict.fromkeys([" ".join(words), *some[:_MAX_LIKE]]) if form]
            for words, some in zip(self.words, forms, strict=True)
        ]
