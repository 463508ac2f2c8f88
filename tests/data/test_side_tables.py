import pytest

from xrt.data.side_tables import join
from xrt.errors import DataError


def test_all_fit():
    assert join("names.tsv", {"a": "Ant", "b": "Bee"}, ["b", "a"]) == ({"b": "Bee", "a": "Ant"}, "")


def test_none_fits():
    expected = r"names.tsv: none of its 2 ids is among the 1 labels; it has 'a,Ant', .* such as 'a'"
    with pytest.raises(DataError, match=expected):
        join("names.tsv", {"a,Ant": "", "b,Bee": ""}, ["a"])


def test_few_fit():
    joined = join("names.tsv", {"a": "Ant"}, ["a", "b", "c"])
    assert joined.values == {"a": "Ant"}
    assert joined.note.startswith("names.tsv has names for 1 of the 3 labels only; 'b'")


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ("<http://x.org/1>", "http://x.org/1"),
        ("http://x.org/1", "<http://x.org/1>"),
        (" a", "a"),
        ("a\u200b", "a"),
        ("Nestle\u0301", "Nestl\u00e9"),
        ("Nestl\u00e9", "Nestle\u0301"),  # a label of a model of an earlier version
        ("big  box", "big box"),
    ],
)
def test_ids_that_look_alike_fit(given, label):
    assert join("names.tsv", {given: "A"}, [label]).values == {label: "A"}
