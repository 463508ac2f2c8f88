"""The fast counter against scikit-learn's: same terms in the same order, same counts, same rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrt.features.ngrams.counter import NgramCounter, SklearnCounter
from xrt.features.tfidf_params import TfidfParams

NASTY = (
    "aAbZ09__ .-\n\t\r\0\x0b\x1c\x1f\x7f\x85\xa0\xadßÄéµªΣσςΑİıIKẞȺⱥ\u0301\u0307\u0345"
    "\u2028\u2029\u200b\u200d\u3000\ufeff\ufffd٣²Ⅷ機العन्𐐀𝐀😀\U0010ffff\ud800\udfff\\"
)
TEXTS = st.lists(
    st.text(st.sampled_from(NASTY), max_size=30) | st.text(max_size=30), min_size=1, max_size=6
)
SETTINGS = [
    {},
    {"word_ngram_max": 3},
    {"word_ngram_max": 2, "lowercase": False},
    {"word_ngram_max": 2, "token_pattern": r"(?u)\b\w+\b"},
    {"token_pattern": r"\w\w\w+"},
    {"word_ngram_max": 2, "min_df": 2},
    {"word_ngram_max": 2, "max_features": 3},
    {"word_ngram_max": 0, "char_ngrams": (1, 3)},
    {"word_ngram_max": 0, "char_ngrams": (3, 5), "lowercase": False},
    {"word_ngram_max": 0, "char_ngrams": (4, 4), "min_df": 2},
    {"word_ngram_max": 0, "char_ngrams": (2, 40), "max_features": 7},
]


def check_equal(params: TfidfParams, train: list[str], test: list[str], block_chars: int) -> None:
    kind = params.kinds[0]
    assert NgramCounter.can_count(params, kind)
    fast, slow = NgramCounter(params, kind, False, block_chars), SklearnCounter(params, kind)
    learned, expected = fast.learn(train), slow.learn(train)
    assert (learned is None) == (expected is None)
    if learned is None or expected is None:
        return
    assert learned[0].strings() == expected[0].strings()
    assert_same(learned[1], expected[1])
    assert_same(fast.count([*train, *test], learned[0]), slow.count([*train, *test], expected[0]))


def assert_same(a, b):
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
        assert getattr(a, part).dtype == getattr(b, part).dtype


@pytest.mark.parametrize("changes", SETTINGS)
@settings(max_examples=60, deadline=None)
@given(train=TEXTS, test=TEXTS, block_chars=st.sampled_from([1, 20, 1000]))
def test_nasty_texts(changes, train, test, block_chars):
    check_equal(TfidfParams(**({"min_df": 1} | changes)), train, test, block_chars)


@pytest.mark.parametrize("changes", SETTINGS)
@pytest.mark.parametrize("num_threads", [1, 5])
def test_many_texts_on_any_number_of_threads(changes, num_threads, monkeypatch, rng):
    """Tables grow, streams grow and are merged, ties are many."""
    monkeypatch.setenv("XRT_NUM_THREADS", str(num_threads))
    words = np.array([f"{prefix}{n}" for prefix in ("wort", "Ä", "x" * 40) for n in range(700)])
    texts = [" ".join(words[rng.zipf(1.3, size=size) % len(words)]) for size in range(200)]
    check_equal(TfidfParams(**({"min_df": 1} | changes)), texts, ["", "wort1 new"], 3000)


@pytest.mark.parametrize("kind", [{}, {"word_ngram_max": 0, "char_ngrams": (2, 3)}])
def test_very_long_texts_and_words(kind):
    params = TfidfParams(**({"min_df": 1} | kind))
    texts = ["x" * 100_000, "x" * 100_000 + "y", "ab " * 50_000, "Ⱥ" * 1000, "\U00010400 " * 3000]
    check_equal(params, texts, ["X" * 100_000], 1 << 18)


@pytest.mark.parametrize(
    "text", ["ΟΔΟΣ ΟΔΟΣ.", "Σ", "ΑΣ\nΣΑ ΑΣ'Α", "İSTANBUL DİYARBAKIR", "ẞ ǅ", "Σ\ud800 İ"]
)
def test_lower_case_that_depends_on_neighbours_or_changes_length(text):
    for changes in ({"word_ngram_max": 2}, {"word_ngram_max": 0, "char_ngrams": (1, 4)}):
        check_equal(TfidfParams(min_df=1, **changes), ["aa Aa", text, "BB"], [text + "aa"], 1 << 18)
