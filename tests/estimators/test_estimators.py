"""XRLinear and XRTransformer: scikit-learn's manners, and one answer however they are fed."""

import inspect
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from xrt.data.corpus import Corpus, LabelTable
from xrt.errors import ConfigError, DataError, NotFittedError
from xrt.estimators import XRLinear, XRTransformer
from xrt.hybrid import HybridMatrix
from xrt.pipeline.params import AUTO_ASPECTS, PipelineParams
from xrt.pipeline.rows import QUARTER
from xrt.search.beam import SearchParams

FEW = 3  # labels under a node at most, so that ten labels have a tree

Tiny = tuple[list[str], sp.csr_array, tuple[str, ...]]
Board = tuple[sp.csr_array, sp.csr_array]


def linear(**settings: Any) -> XRLinear:
    return XRLinear(**{"max_leaf_size": FEW, "num_threads": 1, **settings})


def dense(scores_NL: sp.csr_array) -> np.ndarray:
    return scores_NL.toarray()


@pytest.fixture(scope="module")
def fitted(tiny_corpus: Tiny) -> XRLinear:
    texts, Y_NL, _ = tiny_corpus
    return linear().fit(texts, Y_NL)


@pytest.mark.parametrize("kind", [XRLinear, XRTransformer])
def test_settings_are_plain_arguments(kind: type[XRLinear]):
    names = [name for name in inspect.signature(kind).parameters]
    estimator = kind(beam_size=7)
    assert sorted(estimator.get_params()) == sorted(names)
    assert estimator.set_params(beam_size=3, seed=5) is estimator
    assert (estimator.beam_size, estimator.seed) == (3, 5)
    assert clone(estimator).get_params() == estimator.get_params()
    assert repr(estimator) == f"{kind.__name__}(beam_size=3, seed=5)"
    with pytest.raises(ValueError, match="beam_sise"):
        estimator.set_params(beam_sise=3)
    with pytest.raises(TypeError):
        kind(3)  # type: ignore[misc]


def test_fit_changes_no_setting_and_what_it_learns_ends_in_an_underscore(tiny_corpus: Tiny):
    texts, Y_NL, _ = tiny_corpus
    estimator = linear()
    before = dict(vars(estimator))
    assert estimator.fit(texts, Y_NL) is estimator
    learned = set(vars(estimator)) - set(before)
    assert {name: vars(estimator)[name] for name in before} == before
    assert learned
    assert all(name.endswith("_") for name in learned)
    check_is_fitted(estimator)
    assert not hasattr(clone(estimator), "model_")


@pytest.mark.parametrize("kind", [XRLinear, XRTransformer])
def test_unfitted_it_says_so(kind: type[XRLinear], tmp_path: Path):
    for ask in (lambda e: e.predict(["a"]), lambda e: e.save(tmp_path / "m")):
        with pytest.raises(NotFittedError, match=f"this {kind.__name__} is not trained; call fit"):
            ask(kind())
    assert not list(tmp_path.iterdir())


def test_it_finds_the_labels(fitted: XRLinear, tiny_corpus: Tiny):
    texts, Y_NL, names = tiny_corpus
    scores_NL = dense(fitted.predict(texts, k=3))
    np.testing.assert_array_equal(scores_NL > 0.5, Y_NL.toarray() > 0)
    assert fitted.num_rows_ == len(texts)
    assert fitted.label_counts_.tolist() == Y_NL.sum(0).tolist()
    assert len(fitted.labels_) == len(names)


def test_a_corpus_is_learned_as_texts_with_labels_are(fitted: XRLinear, tiny_corpus: Tiny):
    texts, Y_NL, names = tiny_corpus
    corpus = Corpus(texts=texts, Y=sp.csr_array(Y_NL), labels=LabelTable.from_ids(names))
    from_corpus = linear().fit(corpus)
    np.testing.assert_array_equal(dense(from_corpus.predict(texts)), dense(fitted.predict(texts)))
    assert from_corpus.labels_.ids == names
    assert fitted.labels_.ids == tuple(str(label) for label in range(len(names)))


def test_names_of_labels_are_training_rows_of_their_own(fitted: XRLinear, tiny_corpus: Tiny):
    texts, Y_NL, ids = tiny_corpus
    words = texts[0].split()
    names = [" ".join(words) if label == len(ids) - 1 else "" for label in range(len(ids))]
    corpus = Corpus(texts=texts, Y=sp.csr_array(Y_NL), labels=LabelTable(ids, tuple(names)))
    named, without = linear().fit(corpus), linear(label_text_weight=0.0).fit(corpus)
    np.testing.assert_array_equal(dense(without.predict(texts)), dense(fitted.predict(texts)))
    last = [dense(found.predict([texts[0]], len(ids)))[0, -1] for found in (without, named)]
    assert last[1] > 2 * last[0]
    assert named.num_rows_ == len(texts)
    assert named.label_counts_.tolist() == fitted.label_counts_.tolist()


def forms_of(Y_NL: sp.csr_array) -> Iterator[Any]:
    yield Y_NL.toarray()
    yield Y_NL.toarray().astype(bool)
    yield sp.csc_matrix(Y_NL)
    yield sp.coo_array(Y_NL, dtype=np.int64)
    long = sp.csr_array(Y_NL)
    long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
    yield long
    with_zeros = sp.csr_array(np.ones(Y_NL.shape, np.float32))
    with_zeros.data = Y_NL.toarray().ravel().copy()  # stored zeros are no labels
    yield with_zeros


def test_y_may_have_any_form(fitted: XRLinear, tiny_corpus: Tiny):
    texts, Y_NL, _ = tiny_corpus
    expected_NL = dense(fitted.predict(texts))
    for Y in forms_of(Y_NL):
        before = Y.copy()
        other = linear().fit(texts, Y)
        np.testing.assert_array_equal(dense(other.predict(texts)), expected_NL)
        np.testing.assert_array_equal(other.label_counts_, fitted.label_counts_)
        if sp.issparse(Y):
            np.testing.assert_array_equal(Y.data, before.data)


def test_rows_may_have_any_form(checkerboard: Board):
    X_NF, Y_NL = checkerboard
    estimator = linear().fit(X_NF, Y_NL)
    assert estimator.n_features_in_ == 16
    expected_NL = dense(estimator.predict(X_NF, 8))
    assert expected_NL.argmax(1).tolist() == [n % 8 for n in range(64)]
    for X in forms_of(X_NF):
        if X.dtype.kind in "bi":
            continue  # 0.7 is no whole number
        np.testing.assert_array_equal(dense(estimator.predict(X, 8)), expected_NL)
        np.testing.assert_array_equal(dense(linear().fit(X, Y_NL).predict(X_NF, 8)), expected_NL)
    np.testing.assert_array_equal(dense(estimator.predict(X_NF * 7.0, 8)), expected_NL)


def test_texts_may_come_from_an_array_or_an_iterator(fitted: XRLinear, tiny_corpus: Tiny):
    texts, Y_NL, _ = tiny_corpus
    expected_NL = dense(fitted.predict(texts))
    for given in (tuple(texts), np.array(texts), np.array(texts, object), iter(texts)):
        np.testing.assert_array_equal(dense(fitted.predict(given)), expected_NL)
    other = linear().fit((text for text in texts), Y_NL)
    np.testing.assert_array_equal(dense(other.predict(texts)), expected_NL)


def test_odd_columns_are_learned_around(checkerboard: Board):
    """Features and labels that nobody has, a label that all have, rows without any feature."""
    X_NF, Y_NL = (matrix.toarray() for matrix in checkerboard)
    X_NF = np.hstack([np.zeros((64, 3)), X_NF, np.zeros((64, 2))])
    X_NF[::16] = 0.0
    Y_NL = np.hstack([np.ones((64, 1)), Y_NL, np.zeros((64, 4))])
    scores_NL = dense(linear().fit(X_NF, Y_NL).predict(X_NF, 13))
    usual = np.flatnonzero(X_NF.any(1))
    assert (scores_NL[usual, 0] > 0.5).all()
    assert (scores_NL[usual, 1:9].argmax(1) == usual % 8).all()
    assert (scores_NL[:, 9:] < 0.5).all()
    assert np.isfinite(scores_NL).all()
    without = np.flatnonzero(~X_NF.any(1))
    assert (scores_NL[without] == scores_NL[without[0]]).all()
    assert scores_NL[without[0]].argmax() == 0


def test_texts_without_a_known_word_get_the_same_answer(fitted: XRLinear):
    scores_NL = dense(fitted.predict(["", "   ", "\U0001f600", "quux" * 50_000]))
    assert (scores_NL == scores_NL[0]).all()


def test_k_above_the_labels_gives_what_there_is(fitted: XRLinear, tiny_corpus: Tiny):
    texts, _, names = tiny_corpus
    whole = fitted.predict(texts[:4], k=10_000)
    assert whole.shape == (4, len(names))
    assert np.diff(whole.indptr).max() <= len(names)
    np.testing.assert_array_equal(dense(whole), dense(fitted.predict(texts[:4], k=len(names))))


def test_no_rows_give_no_answers(fitted: XRLinear, tiny_corpus: Tiny):
    assert fitted.predict([]).shape == (0, len(tiny_corpus[2]))


@pytest.mark.parametrize(
    ("X", "k", "message"),
    [
        (["a mug"], 0, r"k = 0: ask for at least 1 label"),
        (["a mug"], -1, r"k = -1"),
        ("a mug", 5, r"one string where a list of texts is needed; write \[text\]"),
        (np.ones((2, 3)), 5, r"rows have 3 sparse and 0 dense features.*trained on"),
        (np.full((1, 3), np.nan), 5, r"X: value nan at row 0, column 0"),
        (["a mug", None], 5, r"text 1 is None, not a string"),
        (7.0 * np.ones(3), 5, r"X: 1 dimension"),
    ],
)
def test_questions_that_cannot_be_answered(fitted: XRLinear, X: Any, k: int, message: str):
    with pytest.raises(DataError, match=message):
        fitted.predict(X, k)


@pytest.mark.parametrize(
    ("X", "Y", "message"),
    [
        (["a", "b"], None, "Y is missing"),
        (["a", "b"], np.eye(3), "X has 2 rows, Y 3"),
        ("ab", np.eye(2), "one string where a list"),
        (["a", "b"], np.zeros((2, 3)), "no row has a label"),
        (["a", "b"], np.ones((2, 1)), r"only one distinct label \('0'\)"),
        ([], np.zeros((0, 3)), "no rows"),
        (["a", "b"], -np.eye(2), "label weights must be above 0"),
        (["a", "b"], np.array([[1, np.nan], [0, 1]]), "Y: value nan at row 0, column 1"),
        (np.array([[1.0, np.inf], [0, 1]]), np.eye(2), "X: value inf at row 0, column 1"),
        (["a", "b"], [["x"], ["y"]], "Y: not a numeric matrix"),
    ],
)
def test_what_cannot_be_learned(X: Any, Y: Any, message: str):
    estimator = linear()
    with pytest.raises(DataError, match=message):
        estimator.fit(X, Y)
    assert not hasattr(estimator, "model_")


def test_a_corpus_holds_its_labels(tiny_corpus: Tiny):
    texts, Y_NL, names = tiny_corpus
    with pytest.raises(DataError, match="leave Y out"):
        linear().fit(Corpus(texts=texts, Y=Y_NL, labels=LabelTable.from_ids(names)), Y_NL)


def test_a_label_of_one_row_and_a_label_of_all_are_learned(checkerboard: Board):
    """And a column that one row has, beside columns that nobody has."""
    X_NF, Y_NL = (matrix.toarray() for matrix in checkerboard)
    X_NF = np.hstack([X_NF, np.zeros((64, 5)), np.eye(64)[:, [7]]])
    Y_NL = np.hstack([np.eye(64)[:, [7]], Y_NL, np.ones((64, 1))])
    for num_trees in (1, 3):
        estimator = linear(num_trees=num_trees, beam_size=20).fit(X_NF, Y_NL)
        scores_NL = dense(estimator.predict(X_NF, 10))
        assert scores_NL[:, 0].argmax() == 7
        assert scores_NL[7, 0] > 2 * np.delete(scores_NL[:, 0], 7).max()
        assert (scores_NL[:, 9] > 0.5).all()
        assert (scores_NL[:, 1:9].argmax(1) == np.arange(64) % 8).all()


def test_rows_without_any_feature_are_learned_from_the_bias_alone(checkerboard: Board):
    Y_NL = checkerboard[1]
    estimator = linear(num_trees=2).fit(sp.csr_array((64, 16)), sp.hstack([Y_NL, np.ones((64, 1))]))
    scores_NL = dense(estimator.predict(sp.csr_array((3, 16)), 9))
    assert (scores_NL == scores_NL[0]).all()
    assert scores_NL[0].argmax() == 8
    assert np.isfinite(scores_NL).all()


def test_each_label_in_one_row_only_leaves_none_to_choose_on(caplog: Any):
    X_NF = np.eye(8, dtype=np.float32)
    caplog.set_level(logging.INFO)
    estimator = linear(choose=["search.path_weight"]).fit(X_NF, X_NF)
    assert "8 rows are too few to choose settings on, 5,000 are needed" in caplog.text
    assert estimator.model_.search.path_weight == SearchParams().path_weight
    assert dense(estimator.predict(X_NF, 1)).argmax(1).tolist() == list(range(8))


def test_labels_of_one_row_each_are_learned_where_one_is_held_out():
    X_NF = np.eye(8, dtype=np.float32)
    estimator = linear(fused=True).fit(X_NF, X_NF)
    assert dense(estimator.predict(X_NF, 1)).argmax(1).tolist() == list(range(8))


def test_rows_that_are_all_the_same_leave_none_to_choose_on(caplog: Any):
    linear(fused=True).fit(np.ones((8, 2), np.float32), np.eye(8, dtype=np.float32))
    assert "no row can be held out" in caplog.text


def test_hybrid_rows_are_learned_with_their_dense_part(checkerboard: Board, tmp_path: Path):
    """The sparse block tells labels 0-3 from 4-7 only; the dense one tells the rest."""
    _, Y_NL = checkerboard
    labels_N = np.arange(64) % 8
    sparse = sp.csr_array(np.eye(2)[labels_N // 4])
    X = HybridMatrix.of(sparse, np.eye(4, dtype=np.float32)[labels_N % 4] * 2)
    estimator = linear(num_trees=2).fit(X, Y_NL)
    assert estimator.n_features_in_ == 2
    scores_NL = dense(estimator.predict(X, 8))
    assert scores_NL.argmax(1).tolist() == labels_N.tolist()
    scaled = HybridMatrix.of(sparse * 5.0, X.dense)
    np.testing.assert_array_equal(dense(estimator.predict(scaled, 8)), scores_NL)
    estimator.save(tmp_path / "m")
    loaded = XRLinear.load(tmp_path / "m")
    np.testing.assert_array_equal(dense(loaded.predict(X, 8)), scores_NL)
    with pytest.raises(DataError, match=r"2 sparse and 0 dense features.*trained on 2 and 4"):
        estimator.predict(sparse)
    with pytest.raises(DataError, match="reads texts"):
        XRTransformer().fit(X, Y_NL)


@pytest.mark.parametrize(
    "wrong",
    [{"num_trees": 0}, {"validation_rows": 0}, {"path_weight": -1.0},
     {"max_top_nodes": 0}, {"beam_size": 0}, {"branching": 1},
     {"max_leaf_size": 0}, {"cost_positive": 0.0}, {"label_text_weight": -0.5},
     {"threshold": -1.0}, {"matcher_negatives": -1}, {"seed": -1}],
)  # fmt: skip
def test_settings_are_checked_by_fit(wrong: dict[str, Any], tiny_corpus: Tiny):
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"{name} = "):
        linear(**wrong).fit(tiny_corpus[0], tiny_corpus[1])


def test_rows_and_texts_are_not_mixed_up(fitted: XRLinear, checkerboard: Board, tiny_corpus: Tiny):
    of_rows = linear().fit(*checkerboard)
    with pytest.raises(DataError, match="trained on rows of 16 features, not on texts"):
        of_rows.predict(["a mug"])
    texts = tiny_corpus[0]
    X_NF = fitted.model_.rows_of(texts)
    np.testing.assert_array_equal(dense(fitted.predict(X_NF)), dense(fitted.predict(texts)))


def test_threads_change_nothing_and_neither_does_a_second_fit(fitted: XRLinear, tiny_corpus: Tiny):
    texts, Y_NL, _ = tiny_corpus
    expected_NL = dense(fitted.predict(texts))
    for num_threads in (1, 3, None):
        again = linear(num_threads=num_threads).fit(texts, Y_NL)
        np.testing.assert_array_equal(dense(again.predict(texts)), expected_NL)


def test_defaults_are_those_of_a_run():
    assert XRLinear(choose=()).pipeline_params() == PipelineParams()
    assert XRLinear().pipeline_params() == PipelineParams(choose=AUTO_ASPECTS)


def test_groups_and_times_of_rows_are_given_to_fit(tiny_corpus: Tiny, caplog: Any):
    texts, Y_NL, _ = tiny_corpus
    linear(fused=True).fit(texts, Y_NL, groups=["one"] * len(texts))
    assert "no row can be held out" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO", "xrt.pipeline.fusing"):
        linear(fused=True).fit(texts, Y_NL, times=np.arange(len(texts)))
    assert "no row can be held out" not in caplog.text
    assert f"'slices': {{'newest': {{'rows': {len(texts) // QUARTER}" in caplog.text
    with pytest.raises(DataError, match=r"times: \(2,\) for"):
        linear().fit(texts, Y_NL, times=[1, 2])
