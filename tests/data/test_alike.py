"""Labels, ids and columns that look alike are one, whatever the file."""

import json
from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from xrt.data import LabelTable, read_corpus
from xrt.data.formats import align_labels
from xrt.data.label_paths import read_label_paths
from xrt.errors import DataError

NFD, NFC = "Nestle\u0301", "Nestl\u00e9"


def written(tmp_path, name, labels):
    """A corpus file of any format with one label a row."""
    path = tmp_path / name
    rows = [{"text": f"row {i}", "labels": label} for i, label in enumerate(labels)]
    if name.endswith(".parquet"):
        pl.DataFrame(rows).write_parquet(path)
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        mark = "," if name.endswith(".csv") else "\t"
        lines = [f"{row['text']}{mark}{row['labels']}\n" for row in rows]
        path.write_text(f"text{mark}labels\n" + "".join(lines))
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
@pytest.mark.parametrize(
    ("labels", "ids"),
    [
        ([NFD, NFC, f" {NFC}"], (NFC,)),
        (["Acme", "Acme\u200b", "Ac\u00adme", "\ufeffAcme", "Acme "], ("Acme",)),
        (["big box", "big  box", "big\u00a0box"], ("big box",)),
    ],
)
@pytest.mark.parametrize("columns", ["labels", ["labels"]])
def test_one_label_at_every_door(tmp_path, name, labels, ids, columns):
    corpus = read_corpus(written(tmp_path, name, labels), label_column=columns)
    assert corpus.labels.ids == tuple(f"labels={id}" if columns != "labels" else id for id in ids)
    assert corpus.Y.shape == (len(labels), 1)


def test_a_blank_behind_the_comma(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("title, brand, kind\none, Acme, Phones\ntwo,Acme,Phones\nthree, ,Phones\n")
    corpus = read_corpus(path, text_columns="title", label_column=["brand", "kind"])
    assert corpus.labels.ids == ("brand=Acme", "kind=Phones")
    assert corpus.Y.toarray().tolist() == [[1, 1], [1, 1], [0, 1]]


def test_weighted_labels_of_a_named_column_without_the_empty_one(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "kind": {"": 0.5, " Tea ": 0.25}}\n')
    corpus = read_corpus(path, label_column=["kind"])
    assert corpus.labels.ids == ("kind=Tea",)
    assert corpus.Y.toarray().tolist() == [[0.25]]


def test_whole_floats_are_ids_and_labels_as_whole_numbers(tmp_path):
    frame = pl.DataFrame({"text": ["a", "b"], "uid": [392.0, None], "labels": [1.0, float("nan")]})
    frame.write_parquet(tmp_path / "a.parquet")
    corpus = read_corpus(tmp_path / "a.parquet")
    assert corpus.ids == ["392", ""]
    assert corpus.labels.ids == ("1",)
    (tmp_path / "a.jsonl").write_text(
        '{"text": "a", "id": 392.0, "labels": [1.0, 9007199254740993]}\n'
        '{"text": "b", "id": " 7 ", "labels": [1]}\n'
    )
    corpus = read_corpus(tmp_path / "a.jsonl")
    assert corpus.ids == ["392", "7"]
    assert corpus.labels.ids == ("1", "9007199254740993")


@pytest.mark.parametrize("wanted", ["Product\nname", "Product name", " Product  name\u200b"])
def test_a_column_is_found_by_its_look(tmp_path, wanted):
    path = tmp_path / "a.csv"
    path.write_text('"Product\nname";labels\nfoo;a\nbar;b\n')
    corpus = read_corpus(path, text_columns=wanted)
    assert corpus.texts == ["foo", "bar"]
    assert corpus.labels.ids == ("a", "b")


def test_labels_of_an_earlier_model_are_found(tmp_path):
    model = LabelTable((NFD, "big  box", "plain"), ("", "", ""))
    corpus = read_corpus(written(tmp_path, "a.csv", [NFC, "big box", "plain", "new"]))
    aligned = align_labels(corpus, model)
    assert aligned.labels.ids == (*model.ids, "new")
    assert aligned.Y.toarray().tolist() == [[i == j for j in range(4)] for i in range(4)]
    assert aligned.report.num_unseen_labels == 1
    assert model.column_of(NFC) == model.column_of(NFD) == 0
    assert model.column_of("other") is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.tsv", f"{NFC}\tthe brand\nTea\ttea\n"),
        ("names.csv", f"id,name\n{NFC},the brand\nTea,tea\n"),
        ("names.csv", f"{NFC},the brand\nTea,tea\n"),
        ("names.csv", f'uri,label_en,notation\n<{NFD}>,"the brand",1\n<Tea>,tea,2\n'),
        ("names.csv", f"name;id\nthe brand;{NFC}\ntea;Tea\n"),
        ("names.csv", f"label,label_id\nthe brand, {NFC}\ntea, Tea\n"),
        ("names.tsv", f"\ufeff<{NFC}>\tthe brand\r\nTea\ttea\r\n"),
    ],
)
def test_names_fit_their_labels(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    path = written(tmp_path, "a.jsonl", [NFD, "Tea"])
    corpus = read_corpus(path, label_names=tmp_path / name)
    assert corpus.labels.names == ("the brand", "tea")
    assert corpus.report.notes == ()


def test_names_that_fit_nothing_or_little(tmp_path):
    (tmp_path / "names.tsv").write_text("L1\tone\n")
    path = written(tmp_path, "a.jsonl", ["x", "y"])
    with pytest.raises(DataError, match=r"names\.tsv: none of its 1 ids .* 2 labels; it has 'L1'"):
        read_corpus(path, label_names=tmp_path / "names.tsv")
    (tmp_path / "names.tsv").write_text("x\tone\n")
    path = written(tmp_path, "a.jsonl", ["x", "y", "z"])
    (note,) = read_corpus(path, label_names=tmp_path / "names.tsv").report.notes
    assert "names for 1 of the 3 labels only" in note


def test_names_for_a_test_file_are_those_of_training(tmp_path):
    (tmp_path / "names.tsv").write_text("x\tone\n")
    known = LabelTable(("x",), ("one",))
    path = written(tmp_path, "a.jsonl", ["y"])
    corpus = read_corpus(path, label_names=tmp_path / "names.tsv", labels=known)
    assert corpus.labels == LabelTable(("x", "y"), ("one", ""))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("paths.tsv", f"<{NFC}>\tFood >  Sweets\n"),
        ("paths.csv", f"label,path\n{NFC},Food > Sweets\n"),
    ],
)
def test_paths_fit_their_labels(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert read_label_paths(tmp_path / name, LabelTable.from_ids([NFD])) == [("Food", "Sweets")]


def test_paths_of_few_labels_are_told(tmp_path, caplog):
    (tmp_path / "paths.tsv").write_text("a\tFood\n")
    read_label_paths(tmp_path / "paths.tsv", LabelTable.from_ids(["a", "b", "c"]))
    assert "paths for 1 of the 3 labels only" in caplog.text
    (tmp_path / "paths.tsv").write_bytes(b"a\tFo\xffod\n")
    with pytest.raises(DataError, match="line 1: not UTF-8"):
        read_label_paths(tmp_path / "paths.tsv", LabelTable.from_ids(["a"]))


@pytest.mark.parametrize(
    ("column", "reading", "cause"),
    [
        ([b"a", b"\xff"], {"label_column": "value"}, "line 2: bytes that are not UTF-8"),
        ([b"a", b"\xff"], {"id_column": "value"}, "line 2: bytes that are not UTF-8"),
        ([[1], [2]], {"id_column": "value"}, "line 1: 'value' holds a list as an id"),
        ([True, False], {"id_column": "value"}, "line 1: 'value' holds true/false as an id"),
        ([{"a": 1}, {"a": 2}], {"id_column": "value"}, "line 1: 'value' holds an object as an id"),
        ([Decimal("1.5")] * 2, {"label_column": "value"}, "line 1: 'value': label 1.5.* is not wh"),
        ([date(2026, 1, 1)] * 2, {"label_column": "value"}, "line 1: 'value' holds a date as a la"),
        ([b"a", b"b"], {"text_columns": "value"}, "line 1: 'value' holds a bytes where text is"),
    ],
)
def test_columns_of_parquet_that_cannot_be_read_so(tmp_path, column, reading, cause):
    path = tmp_path / "a.parquet"
    frame = pl.DataFrame({"text": ["a", "b"], "labels": ["x", "y"], "value": column})
    frame.write_parquet(path)
    with pytest.raises(DataError, match=cause):
        read_corpus(path, **reading)


def test_columns_of_parquet_that_have_a_plain_form(tmp_path):
    path = tmp_path / "a.parquet"
    frame = pl.DataFrame({"day": [date(2026, 1, 31)], "price": [Decimal("2.50")], "kind": [b"Tea"]})
    frame.with_columns(pl.col("kind").alias("id")).write_parquet(path)
    corpus = read_corpus(
        path, text_columns=["day", "price"], label_column="kind", weight_column="price"
    )
    assert corpus.texts == ["2026-01-31\n2.50"]
    assert corpus.labels.ids == ("Tea",)
    assert corpus.ids == ["Tea"]
    assert corpus.row_weights.tolist() == [2.5]
