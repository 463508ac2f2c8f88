"""Corpora of any size that behave like subject indexing: rows mix the words of their labels.

Labels lie in clusters of 100 that share a vocabulary; each label has a handful of words of its own
from it. A row has an anchor label and on average two companions, half of them from the anchor's
cluster; it shows most words of each label, some of the cluster's, and background words by Zipf's
law. The anchors go round all labels, so that every label is trained; companions follow a Zipf law.

N rows, L labels, F words, C clusters. Everything follows from `SyntheticSize` and the seed.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

LABELS_PER_CLUSTER = 100
WORDS_PER_CLUSTER = 200
WORDS_PER_LABEL = 6
LABEL_WORD_SHOWN = 0.8
"""Chance that a row shows a given word of one of its labels."""
CLUSTER_WORDS_PER_ROW = 8
BACKGROUND_WORDS_PER_ROW = 16
COMPANIONS = 2.0
"""Mean number of further labels of a row, Poisson."""
SAME_CLUSTER = 0.5
"""Chance that a companion comes from the anchor's cluster."""
LABEL_EXPONENT = 0.9
WORD_EXPONENT = 1.0
BLOCK = 100_000
"""Rows made at a time; bounds the memory of the work in between."""


@dataclass(frozen=True, kw_only=True)
class SyntheticSize:
    """How many rows, labels and words."""

    num_labels: int
    num_train: int
    num_test: int
    num_words: int

    @classmethod
    def of(cls, num_labels: int) -> "SyntheticSize":
        """About as many training rows as labels, words by Heaps' law, at most 10,000 test rows."""
        num_train = int(np.clip(num_labels, 10_000, 2_000_000))
        return cls(
            num_labels=num_labels,
            num_train=num_train,
            num_test=min(10_000, num_train // 5),
            num_words=round(4_000 * (num_labels / 1_000) ** 0.6),
        )


class SyntheticCorpus(NamedTuple):
    """TF-IDF rows of length 1, float32 (N, F), and labels as ones (N, L), of both splits."""

    X_trn: sp.csr_matrix
    Y_trn: sp.csr_matrix
    X_tst: sp.csr_matrix
    Y_tst: sp.csr_matrix


class World(NamedTuple):
    """What rows are drawn from. Labels of a cluster have neighbouring numbers."""

    label_mass_L: np.ndarray
    """Running sum of the labels' Zipf weights, 0 first: float64 (L + 1,)."""
    cluster_words_CV: np.ndarray
    label_words_LW: np.ndarray
    word_mass_F: np.ndarray
    """Running sum of the words' Zipf weights, 0 first: float64 (F + 1,)."""


def synthetic_corpus(size: SyntheticSize, seed: int = 0) -> SyntheticCorpus:
    """Make a corpus; the same for the same size and seed."""
    streams = np.random.SeedSequence(seed).spawn(4)
    world = make_world(size, np.random.default_rng(streams[0]))
    anchors_N = train_anchors(size, np.random.default_rng(streams[1]))
    X_trn, Y_trn = make_rows(anchors_N, world, streams[2])
    rng = np.random.default_rng(streams[3])
    X_tst, Y_tst = make_rows(
        rng.integers(size.num_labels, size=size.num_test), world, streams[3].spawn(1)[0]
    )
    idf_F = inverse_document_frequency(X_trn)
    return SyntheticCorpus(weighted(X_trn, idf_F), Y_trn, weighted(X_tst, idf_F), Y_tst)


def zipf_mass(count: int, exponent: float, rng: np.random.Generator | None) -> np.ndarray:
    """Running sum of weights rank ** -exponent, 0 first; ranks in random order where rng is given.

    A number u below the last entry falls on item `searchsorted(mass, u, "right") - 1`.
    """
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    if rng is not None:
        rng.shuffle(weights)
    return np.concatenate([[0.0], np.cumsum(weights)])


def draw(mass: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The items on which the numbers u (below the whole mass) fall: int32."""
    items = np.searchsorted(mass, u, side="right") - 1
    return np.minimum(items, len(mass) - 2).astype(np.int32)


def make_world(size: SyntheticSize, rng: np.random.Generator) -> World:
    """Label frequencies, vocabularies of clusters and words of labels."""
    num_clusters = -(-size.num_labels // LABELS_PER_CLUSTER)
    word_mass_F = zipf_mass(size.num_words, WORD_EXPONENT, None)
    cluster_words_CV = rng.integers(
        size.num_words, size=(num_clusters, WORDS_PER_CLUSTER), dtype=np.int32
    )
    cluster_L = np.arange(size.num_labels) // LABELS_PER_CLUSTER
    places_LW = rng.integers(WORDS_PER_CLUSTER, size=(size.num_labels, WORDS_PER_LABEL))
    label_words_LW = cluster_words_CV[cluster_L[:, None], places_LW]
    label_mass_L = zipf_mass(size.num_labels, LABEL_EXPONENT, rng)
    return World(label_mass_L, cluster_words_CV, label_words_LW, word_mass_F)


def train_anchors(size: SyntheticSize, rng: np.random.Generator) -> np.ndarray:
    """The main label of each training row: all labels in turn, shuffled."""
    anchors_N = np.resize(rng.permutation(size.num_labels), size.num_train)
    return rng.permutation(anchors_N)


def make_rows(
    anchors_N: np.ndarray, world: World, stream: np.random.SeedSequence
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Word counts (N, F) and labels (N, L) of rows with these anchors, block by block."""
    starts = range(0, len(anchors_N), BLOCK)
    parts = [
        make_block(anchors_N[start : start + BLOCK], world, np.random.default_rng(child))
        for start, child in zip(starts, stream.spawn(len(starts)), strict=True)
    ]
    X_NF = sp.vstack([X for X, _ in parts], format="csr", dtype=np.float32)
    Y_NL = sp.vstack([Y for _, Y in parts], format="csr", dtype=np.float32)
    return X_NF, Y_NL


def make_block(
    anchors_N: np.ndarray, world: World, rng: np.random.Generator
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """One block of `make_rows`."""
    num_rows, num_labels = len(anchors_N), len(world.label_words_LW)
    cluster_N = anchors_N // LABELS_PER_CLUSTER
    rows_S = np.repeat(np.arange(num_rows, dtype=np.int32), rng.poisson(COMPANIONS, num_rows))
    companions_S = draw_companions(cluster_N[rows_S], world.label_mass_L, rng)
    rows_S = np.concatenate([np.arange(num_rows, dtype=np.int32), rows_S])
    labels_S = np.concatenate([anchors_N.astype(np.int32), companions_S])
    Y_NL = counted(rows_S, labels_S, (num_rows, num_labels))
    Y_NL.data[:] = 1.0

    shown_SW = rng.random((len(rows_S), WORDS_PER_LABEL)) < LABEL_WORD_SHOWN
    topical_NW = rng.integers(WORDS_PER_CLUSTER, size=(num_rows, CLUSTER_WORDS_PER_ROW))
    u_NW = rng.random((num_rows, BACKGROUND_WORDS_PER_ROW)) * world.word_mass_F[-1]
    words = [
        world.label_words_LW[labels_S][shown_SW],
        world.cluster_words_CV[cluster_N[:, None], topical_NW].ravel(),
        draw(world.word_mass_F, u_NW.ravel()),
    ]
    all_N = np.arange(num_rows, dtype=np.int32)
    rows = [
        np.repeat(rows_S, shown_SW.sum(axis=1)),
        np.repeat(all_N, CLUSTER_WORDS_PER_ROW),
        np.repeat(all_N, BACKGROUND_WORDS_PER_ROW),
    ]
    shape = (num_rows, len(world.word_mass_F) - 1)
    return counted(np.concatenate(rows), np.concatenate(words), shape), Y_NL


def draw_companions(
    cluster_S: np.ndarray, label_mass_L: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A label for each slot by its Zipf weight, from the given cluster or from all labels."""
    num_labels = len(label_mass_L) - 1
    low_S = label_mass_L[cluster_S * LABELS_PER_CLUSTER]
    high_S = label_mass_L[np.minimum((cluster_S + 1) * LABELS_PER_CLUSTER, num_labels)]
    anywhere_S = rng.random(len(cluster_S)) >= SAME_CLUSTER
    low_S = np.where(anywhere_S, 0.0, low_S)
    high_S = np.where(anywhere_S, label_mass_L[-1], high_S)
    return draw(label_mass_L, low_S + (high_S - low_S) * rng.random(len(cluster_S)))


def counted(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    """How often each pair occurs, columns ascending: float32."""
    ones = np.ones(len(rows), np.float32)
    counts = sp.csr_matrix((ones, (rows, columns)), shape=shape)
    counts.sum_duplicates()
    return counts


def inverse_document_frequency(X_NF: sp.csr_matrix) -> np.ndarray:
    """ln((N + 1) / (rows with the word + 1)) + 1: float32 (F,)."""
    rows_F = np.bincount(X_NF.indices, minlength=X_NF.shape[1])
    return (np.log((X_NF.shape[0] + 1) / (rows_F + 1)) + 1).astype(np.float32)


def weighted(X_NF: sp.csr_matrix, idf_F: np.ndarray) -> sp.csr_matrix:
    """Counts as TF-IDF rows of length 1, in place."""
    X_NF.data *= idf_F[X_NF.indices]
    squares_N = np.add.reduceat(X_NF.data**2, X_NF.indptr[:-1])
    X_NF.data /= np.repeat(np.sqrt(squares_N), np.diff(X_NF.indptr)).astype(np.float32)
    return X_NF
