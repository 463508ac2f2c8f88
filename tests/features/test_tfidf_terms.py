import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrt.features.ngrams.characters import CODE_POINT, IN_TOKEN, character_table
from xrt.features.ngrams.count import learn, merge, nothing_learned
from xrt.features.ngrams.table import Terms, find, slot_of, sorted_terms
from xrt.features.ngrams.text import NgramPlan, shortest_word

LONG = "x" * 5000
TERMS = st.lists(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
    | st.text("ab\0\\\n", max_size=30)
    | st.builds(lambda end: LONG + end, st.text("ab\0", max_size=9)),
    unique=True,
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(strings=TERMS)
def test_terms_come_back_from_their_text(strings):
    terms = Terms.from_strings(strings)
    assert terms.strings() == strings
    if strings:
        again = Terms.from_text(terms.to_text())
        assert again.strings() == strings
        assert terms.to_text().count(b"\n") == len(strings)


@settings(max_examples=100, deadline=None)
@given(strings=TERMS)
def test_terms_are_sorted_like_strings(strings):
    table = Terms.from_strings(strings).table
    order = sorted_terms(table.offsets, table.chars, np.arange(len(strings)))
    assert [strings[term] for term in order] == sorted(strings)


@pytest.mark.parametrize("text", [b"", b"a", b"a\na\n", b"\xff\n", b"a\\b\n", b"\\\\\n\\\\\n"])
def test_text_that_is_no_list_of_terms(text):
    with pytest.raises(ValueError):  # noqa: PT011 (the message is the loader's business)
        Terms.from_text(text)


def test_equal_hashes_do_not_confuse_terms():
    strings = ["red", "blue", "longer than eight bytes", "longer than eight bytez"]
    table = Terms.from_strings(strings).table
    slots, same = np.zeros(16, np.uint64), np.uint64(7 << 40 | 5)
    line = np.zeros(64, np.uint8)
    for term, string in enumerate(strings):
        line[: len(string)] = np.frombuffer(string.encode(), np.uint8)
        result = find(slots, table.offsets, table.chars, line, 0, len(string), same)
        assert result < 0
        slots[-1 - result] = slot_of(term, same)
    for term, string in enumerate(strings):
        line[: len(string)] = np.frombuffer(string.encode(), np.uint8)
        assert find(slots, table.offsets, table.chars, line, 0, len(string), same) == term


def test_the_character_table_is_what_python_says():
    words, spaces = character_table(r"\w", True), character_table(r"\S", False)
    for code in [*range(0x3000), 0xD800, 0xDFFF, 0x1E9E, 0x2126, 0x10400, 0x1F600, 0x10FFFF]:
        char = chr(code)
        lower = char.lower() if len(char.lower()) == 1 else char
        is_word = lower.isalnum() or lower == "_"
        assert chr(words[code] & CODE_POINT) == lower
        assert bool(words[code] & IN_TOKEN) == is_word
        is_surrogate = 0xD800 <= code < 0xE000
        assert bool(spaces[code] & IN_TOKEN) == (not char.isspace() and not is_surrogate)
        assert chr(spaces[code] & CODE_POINT) == char


def test_lower_case_is_final():
    every = [chr(code) for code in range(0x110000)]
    assert [char for char in every if len(char.lower()) != 1] == ["\u0130"]
    assert all(char.lower().lower() == char.lower() for char in every)


@pytest.mark.parametrize(
    ("pattern", "shortest"),
    [
        (r"(?u)\b\w\w+\b", 2),
        (r"(?u)\b\w+\b", 1),
        (r"\w\w\w+", 3),
        (r"(?i)\b\w+\b", None),
        (r"\w*", None),
        (r"(\w)\w*", None),
        (r"[a-z]+", None),
    ],
)
def test_patterns_of_whole_words(pattern, shortest):
    assert shortest_word(pattern) == shortest


def test_merging_adds_up_texts_and_keeps_numbers(word_plan):
    def learned(text, first_row):
        data = np.frombuffer(text.encode(), np.uint8)
        return learn(data, np.array([len(text)]), first_row, word_plan, nothing_learned())

    into, _, _ = learned("red blue red", 0)
    other, stream, _ = learned("green red", 1)
    merged, numbers = merge(into, other)
    terms = [
        merged.chars[merged.offsets[t] : merged.offsets[t + 1] - 1].tobytes()
        for t in range(merged.num_terms)
    ]
    assert terms == [b"red", b"blue", b"green"]
    assert merged.uses[: 2 * merged.num_terms : 2].tolist() == [2, 1, 1]
    assert numbers[stream].tolist() == [2, 0]


@pytest.fixture
def word_plan():
    return NgramPlan(character_table(r"\w", True), 2, False, 1, 1, 0, False)
