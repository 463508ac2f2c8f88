"""Small and odd corpora: the default model beside one-vs-rest and a vote of neighbours.

Corpora are made up: a label has a few words of its own, and a text mixes the words of its labels
with frequent ones. Peers have scikit-learn's TF-IDF. R rows, T of them for the test, L labels.
"""

from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from xrt import XRLinear
from xrt.errors import DataError

SEEDS = 3
TEST_ROWS = 150
MARGIN = 2.0
"""In points, of means over SEEDS * TEST_ROWS test rows. Two systems of equal quality that differ in
a tenth of the rows have a difference with a standard error of 100 * sqrt(0.1 / 450) = 1.5."""


class Shape(NamedTuple):
    """What a made-up corpus looks like."""

    rows: int
    labels: int
    labels_per_row: int
    words: int
    noise: float = 0.5
    skew: float = 1.0


SHAPES = {
    "50 rows": Shape(50, 10, 1, 20),
    "three words": Shape(600, 30, 1, 3, noise=0.2),
    "labels with one row": Shape(400, 350, 1, 20, skew=0.0),
    "few labels": Shape(300, 10, 2, 20),
    "200 labels a row": Shape(150, 400, 200, 300, skew=0.5),
    "more rows than keep terms of one text": Shape(1200, 50, 2, 15),
}


def corpus(shape: Shape, seed: int) -> tuple[list[str], np.ndarray]:
    """Texts and labels (R + T, L)."""
    rng = np.random.default_rng(seed)
    vocabulary = np.array([f"w{number}" for number in range(4000)])
    words_LW = rng.integers(len(vocabulary), size=(shape.labels, 12))
    frequency = 1 / np.arange(1, len(vocabulary) + 1)
    share_L = 1 / np.arange(1, shape.labels + 1) ** shape.skew
    num_rows = shape.rows + TEST_ROWS
    texts, Y = [], np.zeros((num_rows, shape.labels), np.float32)
    for row in range(num_rows):
        labels = rng.choice(
            shape.labels, shape.labels_per_row, replace=False, p=share_L / share_L.sum()
        )
        own = words_LW[rng.choice(labels, shape.words), rng.integers(12, size=shape.words)]
        common = rng.choice(len(vocabulary), shape.words, p=frequency / frequency.sum())
        is_common = rng.random(shape.words) < shape.noise
        texts.append(" ".join(vocabulary[np.where(is_common, common, own)]))
        Y[row, labels] = 1
    return texts, Y


def peers(texts: list[str], Y: np.ndarray, unseen: list[str]) -> list[np.ndarray]:
    """Scores (T, L) of one-vs-rest, and of a vote of the ten nearest rows."""
    tfidf = TfidfVectorizer()
    X, Z = tfidf.fit_transform(texts), tfidf.transform(unseen)
    used = np.flatnonzero(Y.any(axis=0))
    scores = np.full((len(unseen), Y.shape[1]), -np.inf)
    scores[:, used] = (
        OneVsRestClassifier(LinearSVC(random_state=0))
        .fit(X, Y[:, used].astype(int))
        .decision_function(Z)
    )
    similar = (Z @ X.T).toarray()
    nearest = np.argsort(-similar, axis=1)[:, :10]
    votes = np.stack([s[n] @ Y[n] for s, n in zip(similar, nearest, strict=True)])
    return [scores, votes]


def precision(scores: np.ndarray, Y: np.ndarray, k: int) -> float:
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return 100 * float(np.take_along_axis(Y, best, axis=1).mean())


@pytest.mark.filterwarnings("ignore:Label")
@pytest.mark.parametrize("name", SHAPES)
def test_the_default_is_not_worse_than_plain_methods(name):
    shape = SHAPES[name]
    seeds = range(1 if shape.labels_per_row > 100 else SEEDS)
    figures: dict[int, list[list[float]]] = {}
    for seed in seeds:
        texts, Y = corpus(shape, seed)
        trn, tst = texts[: shape.rows], texts[shape.rows :]
        Y_trn, Y_tst = Y[: shape.rows], Y[shape.rows :]
        model = XRLinear().fit(trn, sp.csr_array(Y_trn))
        for k in (1, 5) if shape.labels_per_row > 1 else (1,):
            ours = model.predict(tst, k=k).toarray()
            every = [ours, *peers(trn, Y_trn, tst)]
            figures.setdefault(k, []).append([precision(s, Y_tst, k) for s in every])
    for k, of_seeds in figures.items():
        ours, one_vs_rest, vote = np.mean(of_seeds, axis=0)
        message = f"P@{k}: {ours:.1f}, one-vs-rest {one_vs_rest:.1f}, vote {vote:.1f}"
        assert ours >= max(one_vs_rest, vote) - MARGIN, message


ODD = {
    "one row": (["red shirt"], [[1, 1, 0]]),
    "two rows": (["red shirt", "blue mug"], np.eye(2)),
    "no shared word": ([f"a{row} b{row}" for row in range(5)], np.eye(5)),
    "the same text": (["same text"] * 20, np.vstack([np.eye(4)] * 5)),
    "empty texts": (["", "red shirt", " ", "blue mug"] * 4, np.vstack([np.eye(4)] * 4)),
    "rows without labels": (["red", "blue", "mug", "jar"] * 9, [[1, 0], [0, 1], *[[0, 0]] * 34]),
    "every label in every row": (["red shirt", "blue mug"] * 9, np.ones((18, 7))),
    "no blanks": (["赤いシャツ", "青いマグ", "เสื้อแดง"], np.eye(3)),
    "long": (["red shirt " * 20_000, "blue mug " * 20_000] * 3, np.vstack([np.eye(2)] * 3)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_corpora_train_and_predict(name):
    texts, labels = ODD[name]
    Y = np.asarray(labels, np.float32)
    model = XRLinear().fit(texts, sp.csr_array(Y))
    unseen = [*texts, "", "unknown 未知 words"]
    scores = model.predict(unseen, k=3)
    assert scores.shape == (len(unseen), Y.shape[1])
    assert np.isfinite(scores.data).all()
    assert np.diff(scores.indptr)[: len(texts)].all()
    first = scores.toarray().argmax(axis=1)[: len(texts)]
    known = np.array([Y[row].any() and bool(text.strip()) for row, text in enumerate(texts)])
    if name not in ("the same text", "rows without labels"):
        assert Y[np.arange(len(texts)), first][known].all()


def test_nothing_to_choose_between_is_told():
    with pytest.raises(DataError, match="only one distinct label"):
        XRLinear().fit(["red shirt"] * 9, sp.csr_array(np.ones((9, 1), np.float32)))
    with pytest.raises(DataError, match=r"no term is left of 2 texts with min_df 1"):
        XRLinear().fit(["", "..."], sp.csr_array(np.eye(2, dtype=np.float32)))
