"""Seeded corpora of texts: three shapes, and small and odd ones.

A label has a few words out of those that its cluster shares. A row has an anchor label and others,
some of them from the anchor's cluster; its text has words of each, and background words by Zipf's
law, in random order. Some labels of a row are not recorded and a few that are recorded are wrong,
in both splits, so that no system can be right throughout. Everything follows from the shape and the
seed.

L labels, C clusters, F words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.corpora.corpus import SuiteCorpus, labels_matrix
from bench.corpora.writings import CHINESE, GERMAN, JAPANESE, THAI, WORDS, Writing
from bench.synthetic import draw, zipf_mass

SPLIT = "drawn from one distribution"
SEED = 7
"""Of the suite's corpora."""
WORDS_A_CLUSTER = 60
BACKGROUND_EXPONENT = 1.0
SAME_CLUSTER = 0.5
"""Chance that a further label comes from the anchor's cluster."""
CHANGED_WORDS = 0.08
"""Share of its family's words that a near-duplicate has exchanged."""


@dataclass(frozen=True, kw_only=True)
class TextShape:
    """What a corpus is like."""

    num_labels: int
    num_train: int
    num_test: int
    labels_a_row: float = 2.0
    """Mean of 1 and a Poisson number; exactly so many where `exact`."""
    exact: bool = False
    label_exponent: float = 0.8
    """Of Zipf's law of the labels."""
    labels_a_cluster: int = 20
    words_a_label: int = 5
    shown: float = 0.5
    """Chance that a row shows a given word of one of its labels."""
    background: int = 15
    """Words of no label in a text."""
    num_words: int = 4_000
    lost: float = 0.1
    """Chance that a label of a row is not recorded, unless it would be the last."""
    wrong: float = 0.05
    """Chance that a row has a label recorded that it does not have."""
    max_words: int | None = None
    """Of a text."""
    single: int = 0
    """Labels, the first, that have one training row each."""
    families: int = 0
    """Rows are near-duplicates of so many, where above 0."""
    writing: Writing = WORDS


def made_texts(shape: TextShape, seed: int = SEED) -> SuiteCorpus:
    """Make a corpus; the same for the same shape and seed.

    Args:
        shape: what it is like.
        seed: of everything that is drawn.

    Returns:
        The corpus.
    """
    rng = np.random.default_rng(seed)
    world = World(shape, rng)
    if shape.families:
        train, test = near_duplicates(world, shape, rng)
    else:
        train = [world.row(anchor) for anchor in train_anchors(shape, world, rng)]
        test = [world.row(anchor) for anchor in test_anchors(shape, world, rng)]
    words = np.array(shape.writing.words(shape.num_words, rng), object)
    texts = [[shape.writing.text(words[row.words]) for row in rows] for rows in (train, test)]
    Y = [labels_matrix([row.labels for row in rows], shape.num_labels) for rows in (train, test)]
    return SuiteCorpus.of_texts(
        texts[0], Y[0], texts[1], Y[1], SPLIT, blanks=shape.writing.blanks
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class MadeRow:
    """Words of a text and its recorded labels."""

    words: np.ndarray
    labels: list[int]


class World:
    """What rows are drawn from."""

    def __init__(self, shape: TextShape, rng: np.random.Generator) -> None:
        """Draw the words of clusters and labels, and how frequent labels are."""
        self.shape, self.rng = shape, rng
        num_clusters = -(-shape.num_labels // shape.labels_a_cluster)
        self.word_mass_F = zipf_mass(shape.num_words, BACKGROUND_EXPONENT, None)
        size = (num_clusters, WORDS_A_CLUSTER)
        cluster_words_CV = rng.integers(shape.num_words // 10, shape.num_words, size=size)
        cluster_L = np.arange(shape.num_labels) // shape.labels_a_cluster
        places_LW = rng.integers(WORDS_A_CLUSTER, size=(shape.num_labels, shape.words_a_label))
        self.label_words_LW = cluster_words_CV[cluster_L[:, None], places_LW]
        self.label_mass_L = zipf_mass(shape.num_labels, shape.label_exponent, rng)

    def drawn_label(self, low: int, high: int) -> int:
        """A label of a range, by its frequency; single ones are left out."""
        low = min(max(low, self.shape.single), high - 1)
        mass = self.label_mass_L[[low, high]]
        u = mass[0] + (mass[1] - mass[0]) * self.rng.random()
        return int(draw(self.label_mass_L, np.array([u]))[0])

    def row(self, anchor: int) -> MadeRow:
        """A row with this label and others."""
        shape, rng = self.shape, self.rng
        num_labels = shape.labels_a_row if shape.exact else 1 + rng.poisson(shape.labels_a_row - 1)
        labels = {anchor: None}
        for _ in range(20 * int(num_labels)):
            if len(labels) >= num_labels:
                break
            labels[self.companion(anchor)] = None
        shown_LW = self.label_words_LW[list(labels)]
        words = shown_LW[rng.random(shown_LW.shape) < shape.shown]
        u = rng.random(shape.background) * self.word_mass_F[-1]
        words = rng.permutation(np.concatenate([words, draw(self.word_mass_F, u)]))
        if len(words) == 0:
            words = shown_LW[0, :1]
        return MadeRow(words[: shape.max_words], self.recorded(list(labels)))

    def companion(self, anchor: int) -> int:
        """A further label of a row."""
        size = self.shape.labels_a_cluster
        if self.rng.random() < SAME_CLUSTER and not self.shape.exact:
            low = anchor // size * size
            return self.drawn_label(low, min(low + size, self.shape.num_labels))
        return self.drawn_label(0, self.shape.num_labels)

    def recorded(self, labels: Sequence[int]) -> list[int]:
        """Labels as they are written down: the anchor, and most of the others."""
        recorded = [labels[0], *(i for i in labels[1:] if self.rng.random() >= self.shape.lost)]
        if self.rng.random() < self.shape.wrong:
            wrong = self.drawn_label(0, self.shape.num_labels)
            recorded = [*recorded, wrong] if self.shape.labels_a_row > 1 else [wrong]
        return recorded


def train_anchors(shape: TextShape, world: World, rng: np.random.Generator) -> np.ndarray:
    """The main label of each training row: single labels once, others by frequency."""
    others = [
        world.drawn_label(shape.single, shape.num_labels)
        for _ in range(shape.num_train - shape.single)
    ]
    return rng.permutation(np.concatenate([np.arange(shape.single), others]).astype(int))


def test_anchors(shape: TextShape, world: World, rng: np.random.Generator) -> list[int]:
    """The main label of each test row; half of them single ones where there are any."""
    return [
        int(rng.integers(shape.single))
        if shape.single and rng.random() < 0.5
        else world.drawn_label(shape.single, shape.num_labels)
        for _ in range(shape.num_test)
    ]


def near_duplicates(
    world: World, shape: TextShape, rng: np.random.Generator
) -> tuple[list[MadeRow], list[MadeRow]]:
    """Rows of families that share most words and labels; seven in ten families of test rows have
    rows in training, too.
    """
    families = [world.row(world.drawn_label(0, shape.num_labels)) for _ in range(shape.families)]
    num_known = round(0.77 * shape.families)
    train = [
        sibling(families[int(rng.integers(num_known))], world, shape, rng)
        for _ in range(shape.num_train)
    ]
    unknown = shape.families - num_known
    test = [
        sibling(
            families[
                int(rng.integers(num_known))
                if rng.random() < 0.7
                else num_known + int(rng.integers(unknown))
            ],
            *(world, shape, rng),
        )
        for _ in range(shape.num_test)
    ]
    return train, test


def sibling(family: MadeRow, world: World, shape: TextShape, rng: np.random.Generator) -> MadeRow:
    """A near-duplicate: a few words exchanged, a label changed in one of four."""
    words = family.words.copy()
    changed = rng.random(len(words)) < CHANGED_WORDS
    words[changed] = draw(world.word_mass_F, rng.random(changed.sum()) * world.word_mass_F[-1])
    labels = list(family.labels)
    if rng.random() < 0.25:
        labels[-1] = world.drawn_label(0, shape.num_labels)
    return MadeRow(words, labels)


def label_words(num_train: int = 8_000, num_test: int = 1_500, seed: int = SEED) -> SuiteCorpus:
    """Labels that are words of the text: a word of the label list that occurs is mostly a label."""
    num_words, num_labels, length = 6_000, 1_500, 30
    rng = np.random.default_rng(seed)
    words = np.array(WORDS.words(num_words, rng), object)
    mass_F = zipf_mass(num_words, 0.7, None)
    label_of_F = np.full(num_words, -1)
    label_of_F[rng.permutation(np.arange(50, num_words))[:num_labels]] = np.arange(num_labels)
    texts: list[str] = []
    labels: list[list[int]] = []
    while len(texts) < num_train + num_test:
        text = draw(mass_F, rng.random(length) * mass_F[-1])
        occurring = np.unique(label_of_F[text])
        row_labels = [int(i) for i in occurring if i >= 0 and rng.random() < 0.85]
        if row_labels:
            texts.append(WORDS.text(words[text]))
            labels.append(row_labels)
    Y = labels_matrix(labels, num_labels)
    return SuiteCorpus.of_texts(
        texts[:num_train], Y[:num_train], texts[num_train:], Y[num_train:], SPLIT
    )


LANGUAGE = TextShape(num_labels=150, num_train=3_000, num_test=800, num_words=3_000)
SHAPES = {
    "few-labels": TextShape(num_labels=20, num_train=12_000, num_test=2_000, shown=0.35),
    "long-tail": TextShape(
        num_labels=3_000, num_train=12_000, num_test=2_000, label_exponent=1.0, num_words=12_000
    ),
}
"""Made-up corpora of usual sizes."""
ODD = {
    "rows-50": TextShape(num_labels=8, num_train=50, num_test=400, labels_a_cluster=4),
    "labels-10": TextShape(num_labels=10, num_train=2_000, num_test=1_000, shown=0.35),
    "one-label": TextShape(
        num_labels=200, num_train=3_000, num_test=1_000, labels_a_row=1.0, exact=True
    ),
    "labels-200-a-row": TextShape(
        num_labels=1_000, num_train=1_500, num_test=400, labels_a_row=200, exact=True,
        label_exponent=0.5, shown=0.15, background=50,
    ),
    "three-words": TextShape(
        num_labels=150, num_train=4_000, num_test=1_000, labels_a_row=1.3, shown=0.7, background=2,
        max_words=3,
    ),
    "fifty-pages": TextShape(
        num_labels=40, num_train=150, num_test=80, labels_a_cluster=5, background=20_000,
        words_a_label=30, num_words=20_000,
    ),
    "japanese": replace(LANGUAGE, writing=JAPANESE),
    "chinese": replace(LANGUAGE, writing=CHINESE),
    "thai": replace(LANGUAGE, writing=THAI),
    "german-compounds": replace(LANGUAGE, writing=GERMAN),
    "near-duplicates": replace(LANGUAGE, families=600),
    "one-row-labels": TextShape(
        num_labels=1_500, num_train=2_500, num_test=800, single=750, words_a_label=6, shown=0.7
    ),
}  # fmt: skip
"""Small and odd ones."""
