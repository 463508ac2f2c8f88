"""Corpora of the suite: columns of labels, samples, splits by hash, views."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from bench.corpora import files, views
from bench.corpora.corpus import SuiteCorpus, labels_matrix, trained_first


def small_corpus(num_rows=30):
    texts = [f"word{n % 3} other{n % 5} same" for n in range(num_rows)]
    Y = labels_matrix([[n % 3, 3 + n % 5] for n in range(num_rows)], 8)
    return SuiteCorpus.of_texts(texts, Y, texts[:10], Y[:10], "made up")


def test_labels_without_a_training_row_stand_at_the_end():
    Y_trn, Y_tst = trained_first(
        labels_matrix([[3], [1, 3]], 5), labels_matrix([[0, 1], [4], [3]], 5)
    )
    assert Y_trn.toarray().tolist() == [[0, 1], [1, 1]]
    assert Y_tst.toarray().tolist() == [[1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]]


def test_samples_are_the_same_each_time_and_keep_the_order():
    corpus = small_corpus()
    first, again = corpus.sampled(12, 5), corpus.sampled(12, 5)
    assert first.texts_trn == again.texts_trn
    assert first.Y_trn.shape[0] == len(first.texts_trn) == 12
    assert len(first.texts_tst) == first.Y_tst.shape[0] == 5
    places = [corpus.texts_trn.index(text) for text in first.texts_trn]
    assert places != list(range(12))
    assert (np.bincount(first.Y_trn.indices) > 0).all()
    assert corpus.sampled(None, 500).texts_trn == corpus.texts_trn


def test_rows_with_one_key_fall_on_one_side():
    keys = [f"name {n % 40}" for n in range(200)]
    corpus = files.split_by_hash(keys, [["a", f"b{n % 7}"] for n in range(200)], keys)
    assert not set(corpus.texts_trn) & set(corpus.texts_tst)
    assert 20 < len(corpus.texts_tst) < 100
    assert corpus.Y_trn.shape[1] == 8


def test_a_category_path_gives_a_label_for_each_step():
    assert files.steps_of(["A", "B", "C"]) == ["A", "A > B", "A > B > C"]


def test_a_file_of_another_size_is_refused(tmp_path: Path):
    folder = tmp_path / "bestbuy"
    folder.mkdir()
    (folder / "queries.jsonl").write_text('{"query": "a", "labels": {"b": 1}}\n')
    with pytest.raises(SystemExit, match="1 rows, the set of this name has 2118"):
        files.bestbuy_queries(tmp_path)
    with pytest.raises(SystemExit, match="not found"):
        files.bibtex(tmp_path)
    with pytest.raises(SystemExit, match="30 and 10 rows and 8 labels"):
        files.checked(small_corpus(), tmp_path, (31, 10, 8))


def test_views_of_texts(tmp_path: Path):
    corpus = small_corpus()
    seconds = views.write_view(corpus, "own", tmp_path / "own")
    assert seconds["rows_train_seconds"] > 0
    assert json.loads((tmp_path / "own" / "texts_tst.json").read_text()) == corpus.texts_tst
    assert views.write_view(corpus, "equal", tmp_path / "equal")["rows_train_seconds"] == 0
    assert not (tmp_path / "equal" / "texts_trn.json").exists()
    for view in ("own", "equal"):
        X = sp.load_npz(tmp_path / view / "X_trn.npz")
        np.testing.assert_allclose(X.power(2).sum(axis=1), 1, atol=1e-5)


def test_rows_of_a_corpus_without_texts_have_length_one(tmp_path: Path):
    X = sp.csr_matrix(np.array([[3.0, 4.0], [0.0, 0.0]]))
    Y = labels_matrix([[0], [1]], 2)
    corpus = SuiteCorpus.of_rows(X, Y, X, Y, "published")
    views.write_view(corpus, "given", tmp_path)
    assert sp.load_npz(tmp_path / "X_trn.npz").toarray().tolist() == pytest.approx(
        np.array([[0.6, 0.8], [0, 0]])
    )


def test_terms_of_one_text_count_where_no_term_is_in_two():
    rows = views.fitted_rows(views.peer_tfidf(blanks=True), ["one two", "three four"])
    assert rows.shape == (2, 4)
    characters = views.peer_tfidf(blanks=False).fit(["日本語", "日本人"])
    assert "日本" in characters.get_feature_names_out()
