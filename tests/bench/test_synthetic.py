"""The generator of synthetic corpora for the benchmarks."""

import numpy as np
import pytest

from bench import synthetic

SIZE = synthetic.SyntheticSize(num_labels=1_050, num_train=4_000, num_test=300, num_words=3_000)


@pytest.fixture(scope="module")
def corpus():
    return synthetic.synthetic_corpus(SIZE, seed=3)


def test_same_seed_same_corpus(corpus):
    again, other = (synthetic.synthetic_corpus(SIZE, seed=seed) for seed in (3, 4))
    for first, second in zip(corpus, again, strict=True):
        assert (first != second).nnz == 0
    assert (corpus.X_trn != other.X_trn).nnz > 0


def test_shapes_and_rows_of_length_one(corpus):
    assert corpus.X_trn.shape == (4_000, 3_000)
    assert corpus.Y_trn.shape == (4_000, 1_050)
    assert corpus.X_tst.shape == (300, 3_000)
    assert corpus.Y_tst.shape == (300, 1_050)
    assert corpus.X_trn.dtype == np.float32
    np.testing.assert_allclose(corpus.X_trn.power(2).sum(axis=1), 1, atol=1e-5)
    assert set(np.unique(corpus.Y_trn.data)) == {1.0}
    assert 25 < np.diff(corpus.X_trn.indptr).mean() < 50


def test_blocks_are_stacked_in_order(monkeypatch):
    monkeypatch.setattr(synthetic, "BLOCK", 16)
    rng = np.random.default_rng(0)
    world = synthetic.make_world(SIZE, rng)
    anchors = rng.integers(SIZE.num_labels, size=50)
    X, Y = synthetic.make_rows(anchors, world, np.random.SeedSequence(1))
    assert X.shape == (50, 3_000)
    assert (Y[np.arange(50), anchors] == 1).all()


def test_every_label_is_trained_and_frequencies_follow_zipf(corpus):
    falling = np.sort(np.bincount(corpus.Y_trn.indices, minlength=1_050))[::-1]
    assert falling[-1] >= 1
    companions = falling[:100] - 4_000 / 1_050
    slope = np.polyfit(np.log(np.arange(1, 101)), np.log(companions), 1)[0]
    assert -1.1 < slope < -0.6


def test_labels_can_be_told_from_the_words(corpus):
    """The label whose own training rows look most like the row is mostly one of the row's."""
    centroids = corpus.Y_trn.T @ corpus.X_trn
    centroids = centroids.multiply(1 / np.sqrt(centroids.power(2).sum(axis=1))).tocsr()
    best = np.asarray((corpus.X_tst @ centroids.T).argmax(axis=1)).ravel()
    assert corpus.Y_tst[np.arange(300), best].mean() > 0.7


def test_words_grow_slower_than_labels():
    small, large = synthetic.SyntheticSize.of(10_000), synthetic.SyntheticSize.of(1_000_000)
    assert (large.num_train, large.num_test) == (1_000_000, 10_000)
    assert 10 < large.num_words / small.num_words < 20
