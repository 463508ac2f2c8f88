import gzip
import json
import lzma

import numpy as np
import pytest

from xrt.data import LabelTable, read_corpus
from xrt.errors import ConfigError, DataError


@pytest.fixture
def write(tmp_path):
    def write(*lines, name="trn.jsonl"):
        path = tmp_path / name
        content = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        path.write_bytes(b"\n".join(content) + b"\n")
        return path

    return write


def labels_of(corpus, row):
    part = slice(corpus.Y.indptr[row], corpus.Y.indptr[row + 1])
    columns, weights = corpus.Y.indices[part], corpus.Y.data[part]
    return {corpus.labels.ids[c]: float(w) for c, w in zip(columns, weights, strict=True)}


def test_title_and_content_make_the_text(write):
    path = write(
        {"uid": 7, "title": "Fish ", "content": " and chips", "labels": ["b", "a"]},
        {"title": "Only title", "content": float("nan"), "labels": ["a", " a "]},
        {"text": "text wins", "title": "ignored", "labels": []},
    )
    corpus = read_corpus(path)
    assert corpus.texts == ["Fish\nand chips", "Only title", "text wins"]
    assert corpus.labels.ids == ("a", "b")
    assert [labels_of(corpus, i) for i in range(3)] == [{"a": 1, "b": 1}, {"a": 1}, {}]
    assert corpus.ids == ["7", "", ""]
    assert corpus.Y.dtype == np.float32
    assert corpus.report.num_without_labels == 1


def test_columns_do_not_depend_on_the_order_of_rows(write):
    rows = [{"text": str(i), "labels": [i]} for i in (10, 9, 100)]
    assert read_corpus(write(*rows)).labels.ids == ("9", "10", "100")
    assert read_corpus(write(*rows[::-1])).labels.ids == ("9", "10", "100")


def test_labels_as_integers_strings_weights_and_single_values(write):
    path = write(
        {"text": "a", "labels": {"x": 3, "y": 0.5, "z": 0}},
        {"text": "b", "labels": 12},
        {"text": "c", "labels": "x;y"},
        {"text": "d", "labels": [3.0, ""]},
    )
    corpus = read_corpus(path)
    assert [labels_of(corpus, i) for i in range(4)] == [
        {"x": 3, "y": 0.5},
        {"12": 1},
        {"x;y": 1},
        {"3": 1},
    ]
    assert labels_of(read_corpus(path, label_separator=";"), 2) == {"x": 1, "y": 1}


def test_several_label_columns_and_named_text_columns(write):
    path = write(
        {"name": "Pan", "about": ["a", "b"], "brand": "Nor", "cat": ["K", "P"], "color": ""},
        {"name": "Pot", "brand": {"Nor": 2}, "cat": None},
    )
    corpus = read_corpus(
        path, text_columns=["name", "about"], label_column=["brand", "cat", "color"]
    )
    assert corpus.texts == ["Pan\na b", "Pot"]
    assert labels_of(corpus, 0) == {"brand=Nor": 1, "cat=K": 1, "cat=P": 1}
    assert labels_of(corpus, 1) == {"brand=Nor": 2}


@pytest.mark.parametrize("pack", [lambda b: b, gzip.compress, lzma.compress])
def test_packing_is_told_by_content_and_bom_and_crlf_are_read(tmp_path, pack):
    path = tmp_path / "trn.jsonl"
    path.write_bytes(pack(b'\xef\xbb\xbf{"text": "a", "labels": ["x"]}\r\n\r\n{"text": "b"}\r\n'))
    corpus = read_corpus(path)
    assert corpus.texts == ["a", "b"]
    assert corpus.report.num_rows == 2


def test_emoji_scripts_long_text_and_lone_surrogates(write):
    long = "x" * (1 << 20)
    path = write(
        {"text": "🎈 Привет 你好", "labels": ["é"]},
        {"text": long, "labels": ["🎈"]},
        b'{"text": "half \\ud83c!", "labels": ["\\udc00"]}',
        b'{"text": "whole \\ud83c\\udf88", "labels": ["a"]}',
    )
    corpus = read_corpus(path)
    assert corpus.texts == ["🎈 Привет 你好", long, "half �!", "whole 🎈"]
    assert corpus.labels.ids == ("a", "é", "�", "🎈")
    assert corpus.report.num_replaced_surrogates == 1


def test_oddities_are_counted_and_kept(write):
    rows = [{"text": "a", "labels": ["x", "y"]}, {"text": "a", "labels": ["y", "x"]}]
    corpus = read_corpus(write(*rows, {"text": "a", "labels": ["x"]}, {"text": " ", "labels": []}))
    assert corpus.num_instances == 4
    report = corpus.report
    assert (report.num_duplicate_rows, report.num_empty_texts, report.num_without_labels) == (
        1,
        1,
        1,
    )


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b'{"text": "a", ', "broken JSON"),
        (b'{"text": "\xff"}', "byte 11 is not UTF-8"),
        (b"[1, 2]", "a JSON list, not an object"),
        (b"[", "a JSON list; write one object a line"),
        (b"[" * 100_000, "nested too deep"),
        ({"body": "a", "labels": []}, "the keys are body, labels: rename one .*text_columns="),
        ({"text": {"a": 1}, "labels": []}, "'text' holds an object where text is needed"),
        ({"text": "a", "labels": [True]}, "true/false as a label"),
        ({"text": "a", "labels": [None]}, "null as a label"),
        ({"text": "a", "labels": [2.5]}, r"label 2.5 is not whole"),
        ({"text": "a", "labels": [float("nan")]}, "label nan is not whole"),
        ({"text": "a", "labels": {"x": float("nan")}}, "weight of 'x' is nan"),
        ({"text": "a", "labels": {"x": float("inf")}}, "weight of 'x' is inf"),
        ({"text": "a", "labels": {"x": -1}}, "weight of 'x' is -1"),
        ({"text": "a", "labels": {"x": "1"}}, "weight of 'x' is a str"),
    ],
)
def test_bad_lines_are_named_or_written_aside(write, tmp_path, line, cause):
    good = {"text": "good", "labels": ["x"]}
    path = write(good, line, good)
    with pytest.raises(DataError, match=rf"trn.jsonl: line 2: .*{cause}") as caught:
        read_corpus(path)
    assert "\n" not in str(caught.value)
    corpus = read_corpus(path, skip_bad_lines=True, bad_lines_folder=tmp_path / "aside")
    assert corpus.texts == ["good", "good"]
    assert (corpus.report.num_skipped, corpus.report.skipped_rows) == (1, (1,))
    aside = tmp_path / "aside" / "trn.jsonl.bad-lines.jsonl"
    assert corpus.report.bad_lines_path == str(aside)
    (record,) = [json.loads(text) for text in aside.read_text().splitlines()]
    assert record["line"] == 2
    assert record["cause"]


def test_nothing_good_left(write, tmp_path):
    with pytest.raises(DataError, match=r"line 1: broken JSON.*none of the 2 rows is good"):
        read_corpus(write(b"{", b"}"), skip_bad_lines=True, bad_lines_folder=tmp_path)


def test_no_labels_at_all(write):
    path = write({"text": "a", "tags": ["x"]})
    with pytest.raises(DataError, match="no label column labels; the columns are text, tags"):
        read_corpus(path)
    assert read_corpus(path, require_labels=False).Y.shape == (1, 0)
    with pytest.raises(DataError, match="none of the 1 rows has a label"):
        read_corpus(write({"text": "a", "labels": []}))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "the file is empty"),
        (gzip.compress(b"", mtime=0), "the unpacked file is empty"),
        (b"\n \n", "no rows"),
        (gzip.compress(b'{"text": "a"}\n' * 999, mtime=0)[:-20], "damaged or cut off"),
        (lzma.compress(b'{"text": "a"}\n' * 999)[:-20], "damaged or cut off"),
        (b"\xff\xfe{\x00", "UTF-16"),
        (b"BZh91AY", "packed with bzip2"),
    ],
)
def test_files_that_are_no_text(tmp_path, content, cause):
    path = tmp_path / "trn.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=cause):
        read_corpus(path, require_labels=False)


def test_labels_never_seen_in_training_are_appended_and_counted(write):
    train = read_corpus(write({"text": "a", "labels": ["m", "z"]}))
    path = write(
        {"text": "b", "labels": ["b", "z", "a"]}, {"text": "c", "labels": ["b"]}, name="tst.jsonl"
    )
    test = read_corpus(path, labels=train.labels)
    assert test.labels.ids == ("m", "z", "a", "b")
    assert test.Y.toarray().tolist() == [[0, 1, 1, 1], [0, 0, 0, 1]]
    assert (test.report.num_unseen_labels, test.report.num_unseen_pairs) == (2, 3)
    assert any("2 labels were never seen" in message for message in test.report.messages())


def test_names_beside_the_file_or_given(write, tmp_path):
    path = write({"text": "a", "labels": ["x", "y"]})
    LabelTable(("x", "other"), ("Ex", "Other")).write(tmp_path / "labels.tsv.xz")
    assert read_corpus(path).labels == LabelTable(("x", "y"), ("Ex", ""))
    (tmp_path / "names.tsv").write_text("y\tWhy\n")
    assert read_corpus(path, label_names=tmp_path / "names.tsv").labels.names == ("", "Why")
    (tmp_path / "names.tsv").write_text("y\ty\ny\ty\n")
    with pytest.raises(DataError, match="line 2: label 'y' is already"):
        read_corpus(path, label_names=tmp_path / "names.tsv")


def test_a_broken_table_that_was_not_asked_for_is_only_a_note(write, tmp_path, caplog):
    path = write({"text": "a", "labels": ["x"]})
    (tmp_path / "labels.tsv").write_text("x\tone\nx\ttwo\n")
    corpus = read_corpus(path)
    assert corpus.labels.names == ("",)
    assert "label names beside the file were not used" in corpus.report.notes[0]
    assert "label names beside the file were not used" in caplog.text


def test_unknown_formats(write, tmp_path):
    path = write({"text": "a", "labels": ["x"]}, name="odd.dat")
    assert read_corpus(path).texts == ["a"]
    with pytest.raises(ConfigError, match="'xml' is unknown; choose one of jsonl, csv"):
        read_corpus(path, format="xml")
    path.write_bytes(b"hello there")
    with pytest.raises(DataError, match="'hello there' fits no known format"):
        read_corpus(path)
    with pytest.raises(ConfigError, match="text_columns"):
        read_corpus(path, text_columns=[])
