import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from xrt.data.corpus import Corpus, LabelTable, ReadReport, move_filters, read_label_table
from xrt.data.sources import open_unpacked, require_file
from xrt.errors import DataError


def corpus_of(Y, **parts):
    Y = sp.csr_array(np.asarray(Y, np.float32))
    labels = LabelTable.from_ids(f"l{i}" for i in range(Y.shape[1]))
    return Corpus([f"text {i}" for i in range(Y.shape[0])], Y, labels, **parts)


def test_label_table_falls_back_to_the_id_and_indexes_it():
    table = LabelTable(("a", "b"), ("Apple", ""))
    assert [table.name_of(0), table.name_of(1)] == ["Apple", "b"]
    assert table.index == {"a": 0, "b": 1}
    assert len(table) == 2
    assert table.num_named == 1


@pytest.mark.parametrize(
    ("ids", "names", "cause"),
    [
        (("a", "a"), ("", ""), "twice"),
        (("a",), ("", ""), "1 ids but 2 names"),
        (("a\tb",), ("",), "tab"),
        (("",), ("x",), "empty"),
    ],
)
def test_label_table_refuses_what_could_not_be_written(ids, names, cause):
    with pytest.raises(DataError, match=cause):
        LabelTable(ids, names)


def test_extending_a_table_keeps_old_columns():
    old = LabelTable(("b", "a"), ("B", ""))
    new = old.extended(LabelTable(("a", "c"), ("A", "C")))
    assert new.ids == ("b", "a", "c")
    assert new.names == ("B", "", "C")


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_label_table_round_trip(tmp_path, suffix):
    table = LabelTable(("p1", "ünï 🎈", "brand=A & B"), ("one", "", "A & B"))
    table.write(tmp_path / f"labels.tsv{suffix}")
    assert read_label_table(tmp_path / f"labels.tsv{suffix}") == table


def test_label_table_file_with_a_repeated_id_names_both_lines(tmp_path):
    path = tmp_path / "labels.tsv"
    path.write_bytes(b"\xef\xbb\xbfa\tA\r\n\r\nb\tB\tmore\r\na\tagain\r\n")
    with pytest.raises(DataError, match=r"line 4: label 'a' is already on line 1"):
        read_label_table(path)
    path.write_bytes(b"\xef\xbb\xbfa\tA\r\nb\tB\tmore\r\n")
    assert read_label_table(path).names == ("A", "B more")


def test_missing_file_suggests_near_names(tmp_path):
    (tmp_path / "trn.jsonl").write_text("x")
    with pytest.raises(DataError, match=r"no such file; did you mean trn.jsonl\?"):
        require_file(tmp_path / "train.jsonl")
    with pytest.raises(DataError, match=r"the folder holds trn\.jsonl"):
        require_file(tmp_path / "q.bin")
    with pytest.raises(DataError, match=r"its folder .* is not there either"):
        require_file(tmp_path / "no" / "trn.jsonl")
    with pytest.raises(DataError, match=r"a folder where a file is needed.*trn.jsonl"):
        require_file(tmp_path)


def test_corpus_parts_must_agree():
    Y = sp.csr_array(np.eye(2, dtype=np.float32))
    with pytest.raises(DataError, match="3 labels"):
        Corpus(["a", "b"], Y, LabelTable.from_ids("abc"))
    with pytest.raises(DataError, match="1 rows in texts but 2 in Y"):
        Corpus(["a"], Y, LabelTable.from_ids("ab"))
    with pytest.raises(DataError, match="neither texts nor X"):
        Corpus(None, Y, LabelTable.from_ids("ab"))


@pytest.mark.parametrize(
    ("Y", "cause"),
    [
        (np.zeros((0, 3)), "no rows"),
        (np.zeros((2, 3)), "no row has a label"),
        ([[0, 1], [0, 1]], r"only one distinct label \('l1'\)"),
    ],
)
def test_what_cannot_be_trained_on(Y, cause):
    with pytest.raises(DataError, match=cause):
        corpus_of(Y).require_trainable()


def test_two_labels_are_enough_to_train():
    corpus_of([[1, 0], [0, 1]]).require_trainable()


def test_validate_finds_values_that_are_not_finite_and_weights_below_zero():
    with pytest.raises(DataError, match="Y: value nan at row 1, column 0"):
        corpus_of([[1, 0], [np.nan, 1]]).validate()
    with pytest.raises(DataError, match=r"weight -1.0"):
        corpus_of([[1, -1]]).validate()
    with pytest.raises(DataError, match=r"line 2: label 7 is outside 0\.\.1"):
        corpus_of([[1, 1]], filters=np.array([[0, 1], [0, 7]])).validate()


def test_subset_takes_rows_with_all_that_belongs_to_them():
    X = sp.csr_array(np.diag([1.0, 2.0, 3.0]).astype(np.float32))
    corpus = corpus_of(np.eye(3), X=X, ids=list("abc"), filters=np.array([[2, 0], [0, 1], [2, 1]]))
    part = corpus.subset(np.array([2, 1]))
    assert part.texts == ["text 2", "text 1"]
    assert part.ids == ["c", "b"]
    assert part.X.toarray().tolist() == [[0, 0, 3], [0, 2, 0]]
    assert part.Y.toarray().tolist() == [[0, 0, 1], [0, 1, 0]]
    assert part.filters.tolist() == [[0, 0], [0, 1]]
    assert part.num_labels == 3
    assert corpus.subset(np.array([False, True, False])).texts == ["text 1"]
    with pytest.raises(DataError, match=r"0\.\.2"):
        corpus.subset(np.array([3]))


@settings(deadline=None)
@given(st.lists(st.integers(0, 5)), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3))))
def test_filters_follow_their_rows(rows, pairs):
    filters = np.array(pairs, np.int64).reshape(-1, 2)
    moved = move_filters(filters, np.array(rows, np.int64))
    expected = [(new, label) for new, old in enumerate(rows) for row, label in pairs if row == old]
    assert sorted(map(tuple, moved.tolist())) == sorted(expected)


def test_report_says_what_was_found_and_nothing_else():
    assert ReadReport(path="f", num_rows=3).messages() == ["f: 3 rows read"]
    report = ReadReport(path="f", num_unseen_labels=2, num_unseen_pairs=5, notes=("WARNING: x",))
    assert report.messages()[0] == "f: WARNING: x"
    assert "2 labels were never seen in training; their 5" in report.messages()[-1]


def test_a_fault_of_the_caller_is_not_blamed_on_the_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x")
    with pytest.raises(BrokenPipeError), open_unpacked(path):
        raise BrokenPipeError
