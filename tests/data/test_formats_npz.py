import numpy as np
import pytest
import scipy.sparse as sp

from xrt.data import read_corpus
from xrt.errors import DataError


@pytest.fixture
def folder(tmp_path):
    sp.save_npz(tmp_path / "X.trn.npz", sp.csr_matrix(np.eye(3, 4)))
    sp.save_npz(tmp_path / "Y.trn.npz", sp.csc_array([[1, 0], [0, 2], [0, 0]]))
    return tmp_path


@pytest.mark.parametrize("name", ["X.trn.npz", "Y.trn.npz"])
def test_a_pair_is_read_from_either_side(folder, name):
    corpus = read_corpus(folder / name)
    assert corpus.X.toarray().tolist() == np.eye(3, 4).tolist()
    assert corpus.Y.toarray().tolist() == [[1, 0], [0, 2], [0, 0]]
    assert (corpus.X.dtype, corpus.Y.dtype) == (np.float32, np.float32)
    assert corpus.labels.ids == ("0", "1")
    assert corpus.texts is None
    assert corpus.report.num_without_labels == 1


def test_texts_and_names_beside_are_taken(folder):
    (folder / "X.trn.txt").write_text("one\n\nthree\n")
    (folder / "output-items.txt").write_text("first\nsecond\n")
    for name in ("X.trn.npz", "X.trn.txt"):
        corpus = read_corpus(folder / name)
        assert corpus.texts == ["one", "", "three"]
        assert corpus.labels.names == ("first", "second")
        assert corpus.report.num_empty_texts == 1
    sp.save_npz(folder / "X.trn.tfidf.npz", sp.csr_array(np.ones((3, 1))))
    assert read_corpus(folder / "X.trn.tfidf.npz").X.shape == (3, 1)


def test_parts_must_belong_together(folder):
    (folder / "X.trn.txt").write_text("one\n")
    with pytest.raises(DataError, match=r"3 rows but 1 in .*X.trn.txt"):
        read_corpus(folder / "X.trn.npz")
    (folder / "X.trn.txt").unlink()
    (folder / "output-items.txt").write_text("a\n")
    with pytest.raises(DataError, match="1 label names but Y has 2 columns"):
        read_corpus(folder / "X.trn.npz")
    (folder / "Y.trn.npz").unlink()
    with pytest.raises(DataError, match=r"no labels file Y\.\*\.npz"):
        read_corpus(folder / "X.trn.npz")
    assert read_corpus(folder / "X.trn.npz", require_labels=False).Y.shape == (3, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_must_be_finite(folder, value):
    sp.save_npz(folder / "X.trn.npz", sp.csr_array([[0, 1.0], [value, 0], [0, 0]]))
    with pytest.raises(DataError, match=r"X.trn.npz: value -?(nan|inf) at row 1, column 0"):
        read_corpus(folder / "X.trn.npz")


def test_label_weights_must_not_be_negative(folder):
    sp.save_npz(folder / "Y.trn.npz", sp.csr_array([[1.0], [-1.0], [0]]))
    with pytest.raises(DataError, match=r"Y.trn.npz: a label weight is -1.0"):
        read_corpus(folder / "X.trn.npz")


def test_broken_matrices(folder):
    path = folder / "X.trn.npz"
    path.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(DataError, match="not a sparse matrix of scipy"):
        read_corpus(path)
    np.savez(path, a=np.ones(2))
    with pytest.raises(DataError, match="not a sparse matrix of scipy"):
        read_corpus(path)
    parts = {"format": b"csr", "shape": [3, 4], "indptr": [0, 1, 1, 1], "data": [1.0]}
    np.savez(path, **parts, indices=[99])
    with pytest.raises(DataError, match="not a sparse matrix of scipy"):
        read_corpus(path)
    np.savez(path, **{**parts, "data": np.array([{}], object)}, indices=[0])
    with pytest.raises(DataError, match=r"pickle|Object arrays"):
        read_corpus(path)


def test_features_for_a_text_file(folder, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "labels": ["x"]}\n{\n{"text": "c", "labels": ["y"]}\n')
    corpus = read_corpus(
        path, features=folder / "X.trn.npz", skip_bad_lines=True, bad_lines_folder=tmp_path
    )
    assert corpus.X.toarray().tolist() == np.eye(3, 4)[[0, 2]].tolist()
    path.write_text('{"text": "a", "labels": ["x"]}\n')
    with pytest.raises(DataError, match=r"3 rows but .* has 1"):
        read_corpus(path, features=folder / "X.trn.npz")
