"""Filters struck from rankings, and what is asked of a model on a labelled corpus."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.data.corpus import Corpus, LabelTable, ReadReport
from xrt.errors import DataError
from xrt.evaluate import _propensity, evaluate_scores, predict_corpus, reading_of, strike
from xrt.metrics.propensity import PropensityParams
from xrt.storage.saved_values import SavedValues


def scores_of(rng: np.random.Generator, num_rows: int, num_labels: int) -> sp.csr_array:
    dense_NL = rng.random((num_rows, num_labels)) * (rng.random((num_rows, num_labels)) < 0.6)
    return sp.csr_array(dense_NL.astype(np.float32))


def test_strike_against_a_loop(rng: np.random.Generator):
    for num_rows, num_labels, num_pairs in ((1, 1, 1), (6, 5, 12), (30, 17, 200), (4, 3, 0)):
        scores_NL = scores_of(rng, num_rows, num_labels)
        # pairs may repeat, and name labels that only the test file has
        rows, columns = (
            rng.integers(num_rows, size=num_pairs),
            rng.integers(num_labels + 3, size=num_pairs),
        )
        filters = np.column_stack([rows, columns]).astype(np.int64)
        expected_NL = scores_NL.toarray()
        for row, column in filters:
            if column < num_labels:
                expected_NL[row, column] = 0
        struck = strike(scores_NL, filters)
        np.testing.assert_array_equal(struck.toarray(), expected_NL)
        assert struck.shape == scores_NL.shape


def test_struck_pairs_are_gone_and_other_zeros_stay():
    scores_NL = sp.csr_array((1, 3), dtype=np.float32)
    scores_NL.data = np.zeros(2, np.float32)
    scores_NL.indices, scores_NL.indptr = np.array([0, 2], np.int32), np.array([0, 2], np.int32)
    struck = strike(scores_NL, np.array([[0, 2]]))
    assert struck.indices.tolist() == [0]
    assert scores_NL.nnz == 2


def test_without_filters_nothing_is_struck(rng: np.random.Generator):
    scores_NL = scores_of(rng, 3, 4)
    assert strike(scores_NL, None) is scores_NL
    assert strike(scores_NL, np.zeros((0, 2), np.int64)) is scores_NL


def corpus(**parts: Any) -> Corpus:
    Y_NL = sp.csr_array(np.eye(3, dtype=np.float32))
    report = ReadReport(path="tst.txt")
    return Corpus(**{"texts": None, "Y": Y_NL, "labels": LabelTable.from_ids("abc"),
                     "report": report, **parts})  # fmt: skip


def recorder(features: Any) -> Any:
    """A model that tells what it was asked."""
    return SimpleNamespace(features=features, predict=lambda inputs, k, *_, **__: (inputs, k))


def test_room_is_made_for_what_filters_strike():
    filters = np.array([[0, 1], [2, 0], [2, 1]])
    assert predict_corpus(recorder("tfidf"), corpus(texts=["x"] * 3), 5)[1] == 5
    asked = predict_corpus(recorder("tfidf"), corpus(texts=["x"] * 3, filters=filters), 5)
    assert asked == (["x"] * 3, 7)


def test_a_model_of_texts_gets_texts_and_one_of_rows_rows():
    X_NF = sp.csr_array(np.eye(3, dtype=np.float32))
    both = corpus(texts=["x"] * 3, X=X_NF)
    assert predict_corpus(recorder("tfidf"), both, 1)[0] == ["x"] * 3
    assert predict_corpus(recorder(None), both, 1)[0] is X_NF
    with pytest.raises(DataError, match=r"tst\.txt: has no texts, and the model takes texts"):
        predict_corpus(recorder("tfidf"), corpus(X=X_NF), 1)
    with pytest.raises(DataError, match="has no feature rows, and the model takes feature rows"):
        predict_corpus(recorder(None), corpus(texts=["x"] * 3), 1)


def test_unseen_labels_count_as_misses_and_filters_before_the_ranking():
    """Row 0: its label a is second after b, which is struck. Row 1: label d is unknown."""
    scores_NL = sp.csr_array(np.float32([[0.5, 0.9, 0], [0.1, 0, 0.8]]))
    Y_NL = sp.csr_array(np.float32([[1, 0, 0, 0], [0, 0, 1, 1]]))
    tst = Corpus(texts=["x", "y"], Y=Y_NL, labels=LabelTable.from_ids("abcd"),
                 filters=np.array([[0, 1]]))  # fmt: skip
    report = evaluate_scores(scores_NL, tst, np.array([3, 2, 1]), 6, PropensityParams(), ks=(1, 2))
    assert report.value("P@1") == 1.0
    assert report.value("R@2") == pytest.approx((1 + 1 / 2) / 2)
    assert (report.num_unseen_labels, report.num_unseen_pairs) == (1, 1)


def test_files_are_read_as_the_training_file_was():
    def reading(**dataset: object) -> dict[str, object]:
        return reading_of({"configuration": {"dataset": dataset}})

    assert reading_of({}) == reading_of({"configuration": {"estimator": {}}}) == reading() == {}
    assert reading(label_columns=None, text_columns=[]) == {}
    assert reading(label_columns=["subjects"], label_separator="|") == {
        "label_column": "subjects", "label_separator": "|",
    }  # fmt: skip
    assert reading(label_columns=["brand", "size"], text_columns=["name"]) == {
        "label_column": ["brand", "size"], "text_columns": ["name"],
    }  # fmt: skip
    assert reading(format="tsv", trn="a.csv", id_column="sku", skip_bad_lines=True) == {
        "format": "tsv", "id_column": "sku", "skip_bad_lines": True,
    }  # fmt: skip
    assert reading(trn="a.csv.gz") == {"format": "csv"}
    assert reading(trn="a.txt", format="nosuch") == {}


@pytest.mark.parametrize(
    ("saved", "a", "b"),
    [
        ({}, 0.55, 1.5),
        ({"propensity_model": "default"}, 0.55, 1.5),
        ({"propensity_model": "wikipedia"}, 0.5, 0.4),
        ({"propensity_model": "amazon"}, 0.6, 2.6),
        ({"propensity_a": 0.7, "propensity_b": 2.0}, 0.7, 2.0),  # of earlier versions
    ],
)
def test_constants_of_the_propensity_model_are_those_of_training(saved: dict, a: float, b: float):
    assert _propensity(SavedValues(saved, "dataset")) == PropensityParams(a=a, b=b)
