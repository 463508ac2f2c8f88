import gzip
import json

import pytest

from xrt.data import read_corpus
from xrt.errors import DataError


@pytest.fixture
def folder(tmp_path):
    def lines(*records):
        return "".join(json.dumps(record) + "\n" for record in records).encode()

    labels = lines({"uid": "A", "title": "Apple"}, {"uid": "B", "title": "Bee"}, {"uid": "C"})
    (tmp_path / "lbl.json.gz").write_bytes(gzip.compress(labels))
    for split, targets in (("trn", [[2, 0], [1], []]), ("tst", [[2], [0], [1]])):
        rows = [
            {
                "uid": str(i),
                "title": f"t{i}",
                "content": "",
                "target_ind": t,
                "target_rel": [0.5] * len(t),
            }
            for i, t in enumerate(targets)
        ]
        (tmp_path / f"{split}.json.gz").write_bytes(gzip.compress(lines(*rows)))
    return tmp_path


def test_labels_come_from_the_label_file(folder):
    corpus = read_corpus(folder / "trn.json.gz")
    assert corpus.labels.ids == ("A", "B", "C")
    assert corpus.labels.names == ("Apple", "Bee", "")
    assert corpus.Y.toarray().tolist() == [[0.5, 0, 0.5], [0, 0.5, 0], [0, 0, 0]]
    assert corpus.texts == ["t0", "t1", "t2"]
    assert corpus.ids == ["0", "1", "2"]


def test_without_filter_files_the_report_warns(folder, caplog):
    corpus = read_corpus(folder / "tst.json.gz")
    assert "WARNING: no filter file (filter_labels_test.txt)" in corpus.report.messages()[0]
    assert "no filter file" in caplog.text
    assert corpus.filters is None


def test_the_filter_file_beside_is_found(folder):
    (folder / "filter_labels_test.txt").write_text("0 2\n2 1\n")
    corpus = read_corpus(folder / "tst.json.gz")
    assert corpus.filters.tolist() == [[0, 2], [2, 1]]
    assert corpus.report.notes == ()
    assert read_corpus(folder / "trn.json.gz").filters is None
    assert read_corpus(folder / "trn.json.gz").report.notes == ()


def test_filters_follow_the_label_table_of_training_and_skipped_rows(folder, tmp_path):
    (folder / "filter_labels_test.txt").write_text("0 2\n1 1\n2 0\n")
    content = gzip.decompress((folder / "tst.json.gz").read_bytes()).splitlines()
    content[1] = b"{"
    (folder / "tst.json.gz").write_bytes(gzip.compress(b"\n".join(content)))
    table = read_corpus(folder / "trn.json.gz").labels.from_ids(("C", "A"))
    corpus = read_corpus(
        folder / "tst.json.gz", labels=table, skip_bad_lines=True, bad_lines_folder=tmp_path
    )
    assert corpus.labels.ids == ("C", "A", "B")
    assert corpus.filters.tolist() == [[0, 0], [1, 1]]
    assert corpus.report.num_unseen_labels == 1


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("0 1\n7 0\n", r"line 2: row 7 is outside 0\.\.2"),
        ("0 9\n", r"line 1: label 9 is outside 0\.\.2"),
        ("0 x\n", "line 1: '0 x' where two whole numbers"),
        ("1\n", "line 1: '1' where two whole numbers"),
    ],
)
def test_bad_filter_files(folder, content, cause):
    (folder / "filter_labels_test.txt").write_text(content)
    with pytest.raises(DataError, match=f"filter_labels_test.txt: {cause}"):
        read_corpus(folder / "tst.json.gz")


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        ({"title": "a", "target_ind": [3]}, r"label 3 is outside 0\.\.2"),
        ({"title": "a", "target_ind": [-1]}, r"label -1 is outside"),
        ({"title": "a", "target_ind": ["x"]}, r"label 'x' is outside"),
        ({"title": "a", "target_ind": [0], "target_rel": []}, "1 in 'target_ind' but 0"),
        ({"title": "a", "target_ind": [0], "target_rel": [float("nan")]}, "holds nan"),
        ({"title": "a", "target_ind": 0}, "must be lists"),
    ],
)
def test_bad_rows(folder, record, cause):
    (folder / "trn.json").write_text(json.dumps(record) + "\n")
    with pytest.raises(DataError, match=f"trn.json: line 1: .*{cause}"):
        read_corpus(folder / "trn.json")


def test_without_a_label_file_columns_are_the_ids(folder):
    (folder / "lbl.json.gz").unlink()
    assert read_corpus(folder / "trn.json.gz").labels.ids == ("0", "1", "2")


def test_a_bad_label_file_is_an_error(folder):
    (folder / "lbl.json.gz").write_bytes(b'{"uid": "A"}\n{\n')
    with pytest.raises(DataError, match=r"lbl.json.gz: line 2: .*shifts the others"):
        read_corpus(folder / "trn.json.gz")


def test_label_uids_that_are_not_distinct_are_told(folder):
    path = folder / "lbl.json.gz"
    path.write_bytes(b'{"uid": "A"}\n{"uid": " A"}\n{"uid": "C"}\n')
    corpus = read_corpus(folder / "trn.json.gz")
    assert corpus.labels.ids == ("0", "1", "2")
    assert any("a uid is missing or stands there twice" in note for note in corpus.report.notes)
    path.write_bytes(b'{"title": "a"}\n{"title": "b"}\n{"title": "c"}\n')
    assert not any("uid" in note for note in read_corpus(folder / "trn.json.gz").report.notes)
