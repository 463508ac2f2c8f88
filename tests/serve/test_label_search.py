import time
from pathlib import Path

import numpy as np
import pytest

from tests.reference.label_search import find_labels
from xrt.data.labels import LabelTable
from xrt.errors import DataError
from xrt.serve.label_search import MAX_LABELS, LabelSearch

NAMES = {
    "1": "Mathematics", "2": "History of mathematics", "3": "Math", "4": "Aftermath",
    "5": "Économie", "6": "Straße", "7": "İstanbul", "8": "Ærøskøbing", "9": "Ελλάς",
    "10": "日本史", "11": "नदी", "12": "नद", "13": "e-mail (electronic)", "14": "C++",
    "15": "", "http://d-nb.info/gnd/4037944-9": "Music theory", "16": "Theory of music",
    "17": "ガラス", "18": "カラス", "19": "co\u00adoperation", "<script>alert(1)</script>": "",
    "20": "ﬁlm", "21": "한국", "22": "Łódź",
}  # fmt: skip


def search(names: dict[str, str] = NAMES) -> LabelSearch:
    return LabelSearch(LabelTable.from_ids(names, names))


def find(query: str, limit: int = 20) -> list[str]:
    return [match.label for match in search().find(query, limit)[0]]


def test_whole_names_come_first_then_beginnings_then_words_then_insides():
    assert find("math") == ["3", "1", "2", "4"]
    assert find("MATHEMATICS") == ["1", "2"]


@pytest.mark.parametrize(
    ("query", "label"),
    [
        ("econ", "5"), ("ÉCON", "5"), ("e\u0301con", "5"), ("strasse", "6"), ("istan", "7"),
        ("aeroskob", "8"), ("Ærø", "8"), ("ελλασ", "9"), ("日本", "10"), ("本史", "10"),
        ("electr", "13"), ("(electronic", "13"), ("e-m", "13"), ("c++", "14"), ("15", "15"),
        ("4037944", "http://d-nb.info/gnd/4037944-9"), ("cooperation", "19"), ("film", "20"),
        ("한국", "21"), ("lodz", "22"), ("<script", "<script>alert(1)</script>"),
        ("music theo", "http://d-nb.info/gnd/4037944-9"),
    ],
)  # fmt: skip
def test_case_accents_and_forms_do_not_matter(query: str, label: str):
    assert find(query)[0] == label


def test_signs_that_make_another_letter_do_matter():
    assert find("ガ") == ["17"]
    assert find("カ") == ["18"]
    assert find("नदी") == ["11"]


def test_words_may_come_in_any_order():
    assert find("theory music") == ["16", "http://d-nb.info/gnd/4037944-9"]
    assert find("zzz music") == []


def test_an_empty_query_gives_the_first_labels_and_says_that_there_are_more():
    matches, more = search().find(" ", 3)
    assert [match.label for match in matches] == ["1", "2", "3"]
    assert more
    assert search().find("math", 4)[1] is False
    assert search().find("math", 3)[1] is True


def test_odd_queries_find_nothing_or_what_is_there():
    for query in ("\ud800", "\x00", "\t", "\n", "%", "\u202e", "a" * 200):
        search().find(query)
    assert find("math\nematics") == []


@pytest.mark.parametrize("limit", [0, -1, MAX_LABELS + 1])
def test_limits_are_told_with_both_numbers(limit: int):
    with pytest.raises(DataError, match=f"limit = {limit}: give a number from 1 to {MAX_LABELS}"):
        search().find("a", limit)
    with pytest.raises(DataError, match="q has 201 characters, 200 are allowed"):
        search().find("a" * 201)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_missed_beside_a_look_at_every_label(seed: int, tmp_path: Path):
    rng = np.random.default_rng(seed)
    syllables = ["ma", "Thé", "ri", "Ö", "ko", "日", "st", "ßa", "nu", "-", " ", "(", "x1", "ø"]
    ids = [f"L{i}" for i in range(400)]
    names = ["".join(rng.choice(syllables, rng.integers(0, 7))).strip() for _ in ids]
    table = LabelTable.from_ids(ids, names)
    table.save(tmp_path)
    for labels in (table, LabelTable.load(tmp_path)):
        finder = LabelSearch(labels)
        for query in ("ma", "the", "Ri", "o", "日", "ko ma", "L3", "ssa", "x1st", "thérikost"):
            starts, anywhere = find_labels(ids, names, query)
            matches, more = finder.find(query, MAX_LABELS)
            answer = [match.label for match in matches]
            assert len(set(answer)) == len(answer)
            assert more == (len(anywhere | set(answer)) > MAX_LABELS) or " " in query
            if more:
                assert len(answer) == MAX_LABELS
            else:
                assert anywhere <= set(answer)
            num_starts = min(len(starts), MAX_LABELS)
            assert set(answer[:num_starts]) <= starts


def test_a_hundred_thousand_labels_are_quick():
    names = {f"http://example.org/{i}": f"word{i % 997} topic{i} of things" for i in range(100_000)}
    finder = search(names)
    finder.find("warm up")
    start = time.process_time()
    for query in ("w", "top", "topic99999", "things word5", "99999", "hing", "not there"):
        finder.find(query)
    assert time.process_time() - start < 1  # each is a few milliseconds


def test_an_empty_table_has_no_labels():
    assert LabelSearch(LabelTable((), ())).find("a") == ([], False)
