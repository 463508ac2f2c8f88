import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from xrt.data import Corpus, LabelTable, read_corpus, write_corpus
from xrt.errors import ConfigError, DataError

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
ID = st.text(st.characters(codec="utf-8", exclude_characters=";"), min_size=1, max_size=6).filter(
    lambda id: id.isprintable() and id == id.strip()
)


@st.composite
def corpora(draw):
    texts = draw(st.lists(TEXT, min_size=1, max_size=6))
    ids = sorted(draw(st.sets(ID, min_size=1, max_size=5)))
    dense = np.zeros((len(texts), len(ids)), np.float32)
    for row in dense:
        for column in draw(st.sets(st.integers(0, len(ids) - 1))):
            row[column] = 1
    features = draw(
        st.lists(st.floats(-9, 9, width=32), min_size=3 * len(texts), max_size=3 * len(texts))
    )
    X = sp.csr_array(np.array(features, np.float32).reshape(-1, 3))
    return Corpus(texts, sp.csr_array(dense), LabelTable.from_ids(ids), X)


def reread(corpus, name, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_corpus(corpus, path)
        return read_corpus(path, require_labels=False, **options)


def spoken(text):
    return text.replace("\r\n", "\n").strip()


@settings(deadline=None, max_examples=50)
@given(corpora(), st.sampled_from(["trn.jsonl", "trn.jsonl.gz", "trn.csv", "trn.csv.xz"]))
def test_texts_and_labels_come_back(corpus, name):
    again = reread(corpus, name, labels=corpus.labels)
    if "csv" in name:
        assert [spoken(text) for text in again.texts] == [spoken(text) for text in corpus.texts]
    else:
        assert again.texts == [text.strip() for text in corpus.texts]
    assert again.labels.ids == corpus.labels.ids
    assert (again.Y != corpus.Y).nnz == 0


@settings(deadline=None, max_examples=50)
@given(corpora())
def test_features_come_back_from_bag_of_words(corpus):
    again = reread(corpus, "train.txt", format="bow")
    assert np.array_equal(again.X.toarray(), corpus.X.toarray())
    assert np.array_equal(again.Y.toarray(), corpus.Y.toarray())


@settings(deadline=None, max_examples=50)
@given(corpora())
def test_features_texts_and_names_come_back_from_npz(corpus):
    again = reread(corpus, "X.trn.npz")
    assert np.array_equal(again.X.toarray(), corpus.X.toarray())
    assert np.array_equal(again.Y.toarray(), corpus.Y.toarray())
    assert again.texts == [" ".join(text.splitlines()).strip() for text in corpus.texts]
    assert again.labels.names == corpus.labels.ids


@pytest.fixture
def weighted():
    Y = sp.csr_array(np.array([[0.1, 2.0]], np.float32))
    return Corpus(["a"], Y, LabelTable.from_ids(["x", "y;z"]), ids=["row"])


def test_weights_and_ids_come_back_from_jsonl(weighted):
    again = reread(weighted, "trn.jsonl")
    assert again.Y.toarray().tolist() == weighted.Y.toarray().tolist()
    assert again.ids == ["row"]


def test_what_a_format_cannot_hold_is_refused_and_leaves_nothing(weighted, tmp_path):
    with pytest.raises(DataError, match="holds no label weights"):
        write_corpus(weighted, tmp_path / "a.csv")
    plain = Corpus(["a"], sp.csr_array(np.ones((1, 2), np.float32)), weighted.labels)
    with pytest.raises(DataError, match="'y;z' has ';' in it"):
        write_corpus(plain, tmp_path / "a.csv")
    with pytest.raises(DataError, match="no features"):
        write_corpus(plain, tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"X.SPLIT.npz"):
        write_corpus(plain, tmp_path / "a.npz")
    with pytest.raises(ConfigError, match=r"no format is known for '\.doc'"):
        write_corpus(plain, tmp_path / "a.doc")
    with pytest.raises(ConfigError, match="read but not written"):
        write_corpus(plain, tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


def test_packed_files_are_the_same_bytes_each_time(weighted, tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_corpus(weighted, tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.jsonl.gz", "b.jsonl.gz"))
    assert first == second
    assert gzip.decompress(first).endswith(b"\n")
