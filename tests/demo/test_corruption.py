import re
from difflib import SequenceMatcher

import numpy as np
import pytest

from xrt.demo.corruption import CorruptionKind, corrupt, cut_text, without_vowels
from xrt.errors import ConfigError

WORDS = "stainless kettle with cordless base and variable temperature, silver".split()
TEXTS = [" ".join(np.random.default_rng(i).permutation(WORDS)) + f" {i}00 ml" for i in range(300)]
KINDS = [kind.value for kind in CorruptionKind]


def share_changed(texts, shortest):
    pairs = [
        (word, new)
        for text, damaged in zip(TEXTS, texts, strict=True)
        for word, new in zip(text.split(), damaged.split(), strict=True)
        if len(re.sub(r"\W|\d", "", word)) >= shortest
    ]
    return np.mean([word != new for word, new in pairs])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_texts_one_by_one_or_all_at_once(kind):
    damaged = corrupt(TEXTS, kind, 0.4, seed=1)
    assert damaged == corrupt(TEXTS, kind, 0.4, seed=1)
    assert damaged == [corrupt([text], kind, 0.4, seed=1)[0] for text in TEXTS]
    assert damaged != TEXTS
    if kind != "text":
        assert damaged != corrupt(TEXTS, kind, 0.4, seed=2)


@pytest.mark.parametrize("kind", KINDS)
def test_rate_0_changes_nothing_and_odd_texts_do_no_harm(kind):
    assert corrupt(TEXTS, kind, 0.0) == TEXTS
    odd = ["", " ", "\n", "a", "12 34", "é", "日本語テキスト", "aeiou", "ß" * 50, "a\nb"]
    assert len(corrupt(odd, kind, 1.0)) == len(odd)
    assert corrupt(["", " ", "12"], kind, 1.0) == ["", " ", "12"]


@pytest.mark.parametrize(("kind", "shortest"), [("typos", 3), ("vowels", 3), ("words", 5)])
def test_the_rate_is_the_share_of_the_words_hit(kind, shortest):
    rates = [share_changed(corrupt(TEXTS, kind, rate), shortest) for rate in (0.1, 0.5)]
    assert rates == pytest.approx([0.1, 0.5], abs=0.06)
    low, high = corrupt(TEXTS, kind, 0.1), corrupt(TEXTS, kind, 0.5)
    for text, some, more in zip(TEXTS, low, high, strict=True):
        for word, once, twice in zip(text.split(), some.split(), more.split(), strict=True):
            assert once in (word, twice)


def test_a_typo_is_one_slip_of_any_of_four_kinds():
    damaged = corrupt(TEXTS, "typos", 1.0)
    lengths, swapped = set(), 0
    for text, new in zip(TEXTS, damaged, strict=True):
        for word, slip in zip(text.split(), new.split(), strict=True):
            lengths.add(len(slip) - len(word))
            swapped += slip != word and sorted(slip) == sorted(word)
            same = sum(
                block.size for block in SequenceMatcher(None, word, slip).get_matching_blocks()
            )
            assert same >= len(word) - 1
    assert lengths == {-1, 0, 1}
    assert swapped > 100
    assert all(f"{i}00" in text for i, text in enumerate(damaged))


def test_vowels_go_but_the_first_letter_stays():
    assert corrupt(["Orange kettle, 2 l"], "vowels", 1.0) == ["Orng kttl, 2 l"]
    assert without_vowels("eau") == "eau"


def test_words_are_cut_to_three_letters_or_more():
    for text, damaged in zip(TEXTS, corrupt(TEXTS, "words", 1.0), strict=True):
        for word, cut in zip(text.split(), damaged.split(), strict=True):
            word, cut = word.rstrip(","), cut.rstrip(",")
            assert word.startswith(cut)
            assert (3 <= len(cut) < len(word)) if len(word) >= 5 and word.isalpha() else cut == word


def test_the_end_of_a_text_goes():
    assert cut_text("one two\nthree  four", 0.5) == "one two"
    assert cut_text("one two\nthree  four", 0.25) == "one two\nthree"
    assert cut_text("one two", 1.0) == "one"


def test_bad_settings():
    with pytest.raises(ConfigError, match="typos, vowels, words, text"):
        corrupt(["a"], "noise", 0.1)
    with pytest.raises(ConfigError, match=r"rate = 1.5: must lie in 0..1"):
        corrupt(["a"], "typos", 1.5)
