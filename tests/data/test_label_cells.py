"""Which label cells are split, and which look like lists by another mark."""

import pytest

from xrt.data import read_corpus, write_corpus
from xrt.data.label_cells import LabelCells
from xrt.errors import DataError


def note(*cells, separator=";"):
    column = LabelCells(separator, by_default=True)
    for cell in cells:
        column.split(cell)
    return column.note()


@pytest.mark.parametrize(
    ("cells", "mark"),
    [
        (["<http://x.org/1> <http://x.org/2>", "<http://x.org/2> <http://x.org/1>"], " "),
        (["http://x.org/1 http://x.org/2", "http://x.org/1 http://x.org/3", "http://x.org/2"], " "),
        (["L1 L2", "L2 L3", "L1", "L3"], " "),
        (["__label__a __label__b", "__label__b __label__a", "__label__a"], " "),
        (["news sport", "news", "sport", "art", "art sport", "art news"], " "),
        (["dogs, cats", "cats, birds", "birds", "dogs"], ", "),
        (["dogs,cats", "cats,birds", "birds", "dogs"], ","),
        (["a, b", "b, a, c", "c, a"], ", "),
        (["red|blue", "blue", "red", "red|green", "green|blue"], "|"),
        (["red | blue", "blue | red", "red"], "|"),
        (["a\nb", "b\nc", "a", "c"], "\n"),
    ],
)
def test_cells_whose_parts_recur_look_like_lists(cells, mark):
    assert f"set label_separator to {mark!r}" in note(*cells)


def test_a_mark_that_splits_nothing_by_default_is_looked_for():
    assert "set label_separator to ';'" in note("a;b", "b;c", "a", "c", separator=None)


@pytest.mark.parametrize("cells", [['["a", "b"]', '["b"]', "[]"], ["{a,b}", "{b}"], ["['a']"]])
def test_lists_in_brackets(cells):
    assert "look like lists in brackets" in note(*cells)


@pytest.mark.parametrize(
    "cells",
    [
        ["Health, Beauty", "Toys", "Books"],
        ["Health, Beauty", "Toys, Games", "Home, Garden", "Toys, Games"],
        ["Clothing, Shoes & Jewelry", "Patio, Lawn & Garden", "Arts, Crafts & Sewing", "Toys"],
        ["Paris, France", "Lyon, France", "Rome, Italy", "Milan, Italy"],
        ["Smith, Ann", "Smith, Bob", "Jones, Ann", "Jones, Bob"],
        ["Bags, Men", "Bags, Women", "Bags"],
        ["red shoes", "blue shoes", "red shirts", "blue shirts"],
        ["Running Shoes", "Shoes", "Running"],
        ["iPhone 12", "iPhone 13", "Galaxy S21", "Galaxy S22"],
        ["5 kg", "10 kg", "5 l", "10 l"],
        ["S21 5G", "S21 4G", "S22 5G", "S22 4G"],
        ["2025 Q1", "2025 Q2", "2026 Q1", "2026 Q2"],
        ["1,5 mm", "2,5 mm", "3,5 mm"],
        ["R&D|Sales", "Toys"],
        ["a", "b", "c"],
        [""],
        [],
    ],
)
def test_cells_that_are_names_are_not_noted(cells):
    assert note(*cells) == ""


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("Health &amp; Beauty", ["Health &amp; Beauty"]),
        ("Health &amp; Beauty;Toys", ["Health &amp; Beauty", "Toys"]),
        ("M&#252;sli;Tea", ["M&#252;sli", "Tea"]),
        ("M&#xFC;sli;Tea", ["M&#xFC;sli", "Tea"]),
        ("AT&T;Verizon", ["AT&T", "Verizon"]),
        ("Johnson&Johnson;Acme", ["Johnson&Johnson", "Acme"]),
        ("R&D; Sales", ["R&D", " Sales"]),
        ("a;b;", ["a", "b", ""]),
    ],
)
def test_entities_are_not_split_apart(cell, labels):
    assert LabelCells(";", by_default=True).split(cell) == labels


def test_entities_survive_a_corpus_written_as_csv(tmp_path):
    path = tmp_path / "trn.csv"
    path.write_text("text,labels\na,Health &amp; Beauty;Toys\nb,Toys\n")
    corpus = read_corpus(path)
    write_corpus(corpus, tmp_path / "again.csv")
    assert read_corpus(tmp_path / "again.csv").labels.ids == ("Health &amp; Beauty", "Toys")
    (tmp_path / "a.jsonl").write_text('{"text": "a", "labels": ["Health &amp", "Beauty"]}\n')
    write_corpus(read_corpus(tmp_path / "a.jsonl"), tmp_path / "again.csv")
    assert read_corpus(tmp_path / "again.csv").labels.ids == ("Beauty", "Health &amp")
    (tmp_path / "a.jsonl").write_text('{"text": "a", "labels": ["A &amp", "B"]}\n')
    with pytest.raises(DataError, match="cannot be told apart in CSV"):
        write_corpus(read_corpus(tmp_path / "a.jsonl"), tmp_path / "again.csv")


def test_the_report_of_a_corpus_says_so(tmp_path):
    path = tmp_path / "trn.csv"
    path.write_text("text,labels\na,x;y\nb,Tea &amp; more;\nc,x\n")
    report = read_corpus(path).report
    assert report.num_split_cells == 1
    assert any("1 cells of labels were split at ';'" in line for line in report.messages())
    assert read_corpus(path, label_separator=";").report.num_split_cells == 0
    path.write_text("text,labels\na,L1 L2\nb,L2 L1\nc,L1\n")
    report = read_corpus(path).report
    assert report.notes == (
        "labels look like lists by ' ', such as 'L1 L2': set label_separator to ' '",
    )
    assert read_corpus(path, label_separator=" ").labels.ids == ("L1", "L2")
    columns = read_corpus(path, label_column=["labels"]).report
    assert columns.notes[0].startswith("column 'labels': labels look like lists by ' '")
