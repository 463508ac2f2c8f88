"""Made-up corpora of the suite: seeded, of the shapes they are named for, without blanks."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from bench.corpora.made_up import LANGUAGE, ODD, SHAPES, TextShape, label_words, made_texts
from bench.corpora.registry import SETS
from bench.corpora.writings import GERMAN, JAPANESE, THAI, WORDS

SMALL = TextShape(num_labels=40, num_train=200, num_test=60, num_words=500)


def words_a_text(corpus):
    return [len(text.split()) for text in corpus.texts_trn]


def test_same_seed_same_corpus():
    first, again, other = (made_texts(SMALL, seed) for seed in (1, 1, 2))
    assert first.texts_trn == again.texts_trn
    assert (first.Y_tst != again.Y_tst).nnz == 0
    assert first.texts_trn != other.texts_trn
    words = label_words(80, 20, seed=1), label_words(80, 20, seed=1), label_words(80, 20, seed=2)
    assert words[0].texts_tst == words[1].texts_tst != words[2].texts_tst


def test_every_set_of_the_registry_is_named_once_and_is_of_a_known_group():
    assert {"tibkat", "few-labels", "label-words", "thai", "one-row-labels"} <= set(SETS)
    for name, each in SETS.items():
        assert each.name == name
        assert each.short[0] <= each.num_train
        assert ("given" in each.views) is not each.texts


@pytest.mark.parametrize("name", ["rows-50", "three-words", "german-compounds"])
def test_sets_have_the_rows_that_the_registry_says(name):
    corpus = SETS[name].corpus(None, short=False)
    assert corpus.Y_trn.shape[0] == len(corpus.texts_trn) == SETS[name].num_train
    short = SETS[name].corpus(None, short=True)
    assert (short.Y_trn.shape[0], short.Y_tst.shape[0]) == SETS[name].short


def test_shapes_are_what_they_are_called():
    of = {name: replace(shape, num_test=20) for name, shape in {**ODD, **SHAPES}.items()}
    few = made_texts(replace(of["few-labels"], num_train=1_000))
    assert few.Y_trn.shape[1] == 20
    one = made_texts(replace(of["one-label"], num_train=300))
    assert set(np.diff(one.Y_trn.indptr)) == {1}
    many = made_texts(replace(of["labels-200-a-row"], num_train=20))
    assert 150 < np.diff(many.Y_trn.indptr).mean() < 205
    assert max(words_a_text(made_texts(replace(of["three-words"], num_train=300)))) == 3
    assert min(words_a_text(made_texts(replace(of["fifty-pages"], num_train=3)))) > 20_000
    tail = made_texts(replace(of["long-tail"], num_train=4_000))
    assert (np.bincount(tail.Y_trn.indices) <= 2).mean() > 0.5


def test_single_labels_have_one_row_and_occur_in_the_test_rows():
    shape = replace(SMALL, single=15, lost=0.0, wrong=0.0)
    corpus = made_texts(shape)
    counts = np.bincount(corpus.Y_trn.indices)
    assert (counts == 1).sum() >= 15
    tested = np.bincount(corpus.Y_tst.indices, minlength=len(counts))
    assert tested[: len(counts)][counts == 1].sum() > 10


def test_near_duplicates_stand_on_both_sides_of_the_split():
    corpus = made_texts(replace(SMALL, families=40))
    train = [set(text.split()) for text in corpus.texts_trn]
    nearest = [
        max(len(words & other) / len(words | other) for other in train)
        for words in (set(text.split()) for text in corpus.texts_tst)
    ]
    assert 0.5 < np.mean(np.array(nearest) > 0.6) < 0.9
    apart = made_texts(SMALL)
    others = [set(text.split()) for text in apart.texts_trn]
    far = [
        max(len(words & other) / len(words | other) for other in others)
        for words in (set(text.split()) for text in apart.texts_tst)
    ]
    assert np.mean(np.array(far) > 0.6) < 0.1


def test_labels_of_label_words_are_words_of_their_text():
    """Each label goes with one word: among texts that have the label all share a word."""
    corpus = label_words(600, 50)
    rows_of = corpus.Y_trn.T.tocsr()
    label = int(np.argmax(np.diff(rows_of.indptr)))
    rows = rows_of.indices[rows_of.indptr[label] : rows_of.indptr[label + 1]]
    assert len(rows) > 3
    assert set.intersection(*(set(corpus.texts_trn[row].split()) for row in rows))


@pytest.mark.parametrize("writing", [JAPANESE, THAI, ODD["chinese"].writing])
def test_languages_without_blanks(writing):
    shape = replace(LANGUAGE, num_train=50, num_test=10, writing=writing)
    corpus = made_texts(shape)
    assert not corpus.blanks
    assert np.mean(words_a_text(corpus)) < 5
    assert np.mean([len(text) for text in corpus.texts_trn]) > 30


def test_german_compounds_hold_stems_of_others():
    corpus = made_texts(replace(LANGUAGE, num_train=300, num_test=10, writing=GERMAN))
    words = Counter(word for text in corpus.texts_trn for word in text.split())
    assert all(word[0].isupper() for word in words)
    frequent = [word.lower() for word, _ in words.most_common(30)]
    assert all(any(w.lower().startswith(f) and w.lower() != f for w in words) for f in frequent[:5])


def test_words_are_different():
    assert len(set(WORDS.words(900, np.random.default_rng(0)))) == 900
