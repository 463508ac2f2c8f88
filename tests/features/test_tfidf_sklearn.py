"""TfidfFeatures against scikit-learn's TfidfVectorizer with the same settings.

Scripts without blanks and combining marks are in test_scripts.py: there the words are others.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_union
from sklearn.preprocessing import normalize

from tests.reference import slow_terms
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import WORDS_OF_TWO, TfidfParams

TRAIN = [
    "Der Hund läuft, der Hund bellt.",
    "The dog barks; the DOG runs!",
    "wireless noise-cancelling headphones, wireless, black",
    "Überraschung: 5G-Router (black) für den Hund",
    "машинное обучение 한국어 noise",
    "",
    "x",
]
UNSEEN = ["der schwarze Hund barks wireless wireless", "nothing known whatsoever", "", "HUND"]
SETTINGS = [
    ({"word_ngram_max": 1}, {"ngram_range": (1, 1)}),
    ({"word_ngram_max": 2}, {"ngram_range": (1, 2)}),
    ({"word_ngram_max": 2, "min_df": 2}, {"ngram_range": (1, 2), "min_df": 2}),
    ({"word_ngram_max": 2, "max_features": 9}, {"ngram_range": (1, 2), "max_features": 9}),
    ({"word_ngram_max": 1, "lowercase": False}, {"lowercase": False}),
    ({"word_ngram_max": 1, "token_pattern": r"(\w)\w*"}, {"token_pattern": r"(\w)\w*"}),
    (
        {"word_ngram_max": 0, "char_ngrams": (2, 4)},
        {"analyzer": "char_wb", "ngram_range": (2, 4)},
    ),
    (
        {"word_ngram_max": 0, "char_ngrams": (3, 5), "min_df": 2, "max_features": 20},
        {"analyzer": "char_wb", "ngram_range": (3, 5), "min_df": 2, "max_features": 20},
    ),
]


AS_SKLEARN = {"min_df": 1, "token_pattern": WORDS_OF_TWO}


@pytest.mark.parametrize("sublinear_tf", [False, True])
@pytest.mark.parametrize(("ours", "theirs"), SETTINGS)
def test_same_terms_and_rows(ours, theirs, sublinear_tf):
    tfidf = TfidfFeatures(TfidfParams(**(AS_SKLEARN | ours), sublinear_tf=sublinear_tf))
    sklearn = TfidfVectorizer(**theirs, sublinear_tf=sublinear_tf)
    for rows, expected in (
        (tfidf.fit_transform(TRAIN), sklearn.fit_transform(TRAIN)),
        (tfidf.transform(UNSEEN), sklearn.transform(UNSEEN)),
    ):
        assert rows.has_sorted_indices
        np.testing.assert_allclose(rows.toarray(), expected.toarray(), rtol=1e-6, atol=1e-7)
        assert rows.nnz == expected.nnz
    assert tfidf.feature_names() == sklearn.get_feature_names_out().tolist()


def test_words_and_characters_are_two_blocks_of_equal_length():
    params = TfidfParams(word_ngram_max=1, char_ngrams=(2, 3), sublinear_tf=True, **AS_SKLEARN)
    union = make_union(
        TfidfVectorizer(sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3), sublinear_tf=True),
    )
    tfidf = TfidfFeatures(params)
    expected = normalize(union.fit_transform(TRAIN))
    np.testing.assert_allclose(
        tfidf.fit_transform(TRAIN).toarray(), expected.toarray(), rtol=1e-6, atol=1e-7
    )
    expected = normalize(union.transform(UNSEEN))
    np.testing.assert_allclose(
        tfidf.transform(UNSEEN).toarray(), expected.toarray(), rtol=1e-6, atol=1e-7
    )


@settings(max_examples=50, deadline=None)
@given(
    texts=st.lists(st.text(max_size=30), min_size=1, max_size=6),
    unseen=st.lists(st.text(max_size=30), max_size=4),
)
def test_any_unicode_text(texts, unseen):
    texts = [*texts, "at least one word"]
    params = TfidfParams(word_ngram_max=2, sublinear_tf=False, **AS_SKLEARN)
    tfidf = TfidfFeatures(params).fit(texts)
    sklearn = TfidfVectorizer(analyzer=lambda text: slow_terms.terms(text, longest=2)).fit(texts)
    rows = tfidf.transform([*texts, *unseen]).toarray()
    expected = sklearn.transform([*texts, *unseen]).toarray()
    np.testing.assert_allclose(rows, expected, rtol=1e-6, atol=1e-7)
