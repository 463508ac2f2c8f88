"""One door for texts, rows and numbers: each public method takes the same and refuses the same."""

import enum
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.deep_models import joined
from xrt.errors import ConfigError, DataError
from xrt.estimators import XRLinear
from xrt.fusion.fusion import Fusion
from xrt.hybrid import HybridMatrix
from xrt.inputs import (
    check_count,
    check_number,
    check_rows,
    check_texts,
    is_texts,
    without_surrogates,
)
from xrt.metrics.ranking import judge
from xrt.metrics.report import evaluate_ranking
from xrt.predict import Predictor
from xrt.sources.blocks import EmbeddingBlocks
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.neighbours import SparseNeighbours
from xrt.sparse import as_csr

TEXT = "a small red mug"


class Frame:
    """What going through a pandas table gives: its columns."""

    columns = ("title", "price")

    def __iter__(self):
        return iter(self.columns)

    def __len__(self) -> int:
        return 3


class Column:
    """What a column of polars or pandas is to us."""

    def __init__(self, values: list) -> None:
        self.values = values

    def to_list(self) -> list:
        return self.values


class Kind(str, enum.Enum):
    red = "red"


@pytest.fixture(scope="module")
def of_texts(tiny_corpus) -> Predictor:
    texts, Y_NL, _ = tiny_corpus
    return Predictor(XRLinear(max_leaf_size=3, num_threads=1).fit(texts, Y_NL).model_, None, 1)


@pytest.fixture(scope="module")
def of_rows(checkerboard) -> Predictor:
    X_NF, Y_NL = checkerboard
    return Predictor(XRLinear(max_leaf_size=3, num_threads=1).fit(X_NF, Y_NL).model_, None, 1)


@pytest.mark.parametrize(
    "texts",
    [
        ("a", "b"), np.array(["a", "b"]), np.array(["a", "b"], object), Column(["a", "b"]),
        iter(["a", "b"]), (text for text in "ab"), {"a": 1, "b": 2}.keys(),
        {1: "a", 2: "b"}.values(),
        [np.str_("a"), np.str_("b")], Column(("a", "b")),
    ],
)  # fmt: skip
def test_anything_in_order_that_holds_strings_is_taken(texts: Any):
    taken = check_texts(texts)
    assert taken == ["a", "b"]
    assert [type(text) for text in taken] == [str, str]


def test_a_list_of_strings_is_not_copied_and_a_member_of_an_enum_is_its_value():
    texts = ["a", "é", ""]
    assert check_texts(texts) is texts
    assert check_texts([Kind.red]) == ["red"]
    assert check_texts([]) == []


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("red \ud83d", "red \ufffd"),
        ("\udc00 red \ud83dx", "\ufffd red \ufffdx"),
        ("\ud83d\ude00", "\U0001f600"),  # both halves, as JavaScript writes them
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ufeffred\0 é", "\ufeffred\0 é"),
    ],
)
def test_half_a_surrogate_pair_is_replaced(text: str, whole: str):
    assert check_texts(["fine", text]) == ["fine", whole]


def test_halves_are_replaced_as_the_codec_replaces_them(rng):
    """The codec stops at each half, which takes seconds in a text of nothing else."""
    signs = ["a", "\ud800", "\udc00", "\ud83d\ude00", "é", "\udfff", "\U0001f600", "\ufeff", "\0"]
    for _ in range(500):
        text = "".join(rng.choice(signs, rng.integers(0, 9)))
        codec = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert without_surrogates(text) == codec
    start = time.process_time()
    assert without_surrogates("\ud83d" * 1_000_000) == "\ufffd" * 1_000_000
    assert time.process_time() - start < 1


WRONG_TEXTS = [
    ("red mug", r"one string where a list of texts is needed; write \[text\]"),
    (b"red mug", "texts is a bytes; decode it"),
    ({"red", "mug"}, "texts is a set, which has no order; pass a list"),
    ({"title": ["red"]}, r"texts is a dict; pass one column, such as table\['title'\]"),
    (Frame(), r"texts is a Frame; pass one column, such as table\['title'\], or an array of num"),
    (None, "texts is None; pass a list of strings"),
    (5, "texts is an int; pass a list of strings"),
    (np.array([["red"], ["mug"]]), r"texts has the shape \(2, 1\); pass one column"),
    (np.array([["red"], ["mug"]], object), r"texts has the shape \(2, 1\); pass one column"),
    (["red", None], r"text 1 is None, not a string; give text"),
    ([None], "text 0 is None"),
    (["red", float("nan")], r"text 1 is a float \(nan\), not a string"),
    (Column(["red", None, "mug"]), "text 1 is None"),
    (np.array(["red", None], object), "text 1 is None"),
    (["red", b"mug"], "text 1 is a bytes, not a string; decode it"),
    (np.array([b"red"]), "text 0 is a bytes, not a string; decode it"),
    (["red", 7], r"text 1 is an int \(7\), not a string"),
    (["red", ["mug"]], r"text 1 is a list \(\['mug'\]\), not a string"),
    ([["red", "mug"]], r"text 0 is a list \(\['red', 'mug'\]\), not a string"),
    ((text for text in ["red", None]), "text 1 is None"),
]


@pytest.mark.parametrize(("texts", "message"), WRONG_TEXTS)
def test_what_is_no_list_of_texts_is_refused(texts: Any, message: str):
    with pytest.raises(DataError, match=message):
        check_texts(texts)


@pytest.mark.parametrize(("texts", "message"), [WRONG_TEXTS[i] for i in (2, 3, 4, 9, 17)])
def test_every_method_refuses_the_same_texts(of_texts: Predictor, texts: Any, message: str):
    estimator = XRLinear()
    estimator.model_ = of_texts.model
    ask = (
        of_texts.predict, of_texts.scores, estimator.predict, of_texts.model.predict,
        of_texts.model.source_rows, of_texts.model.rows_of, of_texts.model.hybrid_rows_of,
        lambda x: of_texts.score(x, ["1"]), lambda x: estimator.fit(x, np.eye(2)),
        lambda x: list(of_texts.stream(x)), lambda x: of_texts.explain(TEXT, texts=x),
    )  # fmt: skip
    for method in ask:
        with pytest.raises(DataError, match=message):
            method(texts)


def test_a_stream_names_the_text_by_its_place_in_the_whole(of_texts: Predictor):
    stream = of_texts.stream([TEXT] * 5 + [None], batch_size=2)
    assert len([next(stream) for _ in range(4)]) == 4
    with pytest.raises(DataError, match="text 5 is None"):
        list(stream)
    with pytest.raises(DataError, match="batch_size = 0"):
        list(of_texts.stream([TEXT], batch_size=0))


def test_generators_and_columns_are_answered_like_lists(of_texts: Predictor):
    expected = of_texts.predict([TEXT, "a large lamp"])
    for texts in ((TEXT, "a large lamp"), Column([TEXT, "a large lamp"])):
        assert of_texts.predict(texts) == expected
        assert of_texts.predict(text for text in check_texts(texts)) == expected
    assert of_texts.predict([TEXT, f"{TEXT} \ud83d"])[0] == expected[0]


def parts(data: Any, indices: Any, indptr: Any, num_columns: int = 16) -> sp.csr_array:
    """A matrix of these parts, which scipy has not looked at."""
    matrix = sp.csr_array((len(indptr) - 1, num_columns), dtype=np.float32)
    matrix.data, matrix.indices, matrix.indptr = map(np.asarray, (data, indices, indptr))
    return matrix


def changed(matrix: Any, **arrays: Any) -> Any:
    for name, values in arrays.items():
        setattr(matrix, name, np.asarray(values))
    return matrix


def csr(indices: list, indptr: list, num_values: int = 2) -> sp.csr_array:
    ones = np.ones(num_values, np.float32)
    return parts(ones, np.array(indices, np.int32), np.array(indptr, np.int32))


ONES = np.ones(2, np.float32)
ONE_ROW = sp.csr_array(np.ones((1, 16)))
WRONG_ROWS = [
    (csr([1, 16], [0, 2]), r": column 16 at row 0 is outside 0\.\.15"),
    (csr([1, 10**9], [0, 1, 2]), "column 1000000000 at row 1"),
    (csr([-1, 3], [0, 2]), "column -1 at row 0"),
    (csr([1, 2], [0, 9]), "do not make a matrix of 1 rows"),
    (csr([1, 2], [0, 2, 1, 2]), "must rise from 0 to 2"),
    (csr([1, 2], [1, 2]), "must rise from 0"),
    (csr([1, 2], [0, -5]), "do not make a matrix"),
    (csr([1, 2], [0, 2], 1), "do not make a matrix"),
    (parts(ONES, np.array([1.0, 2.0]), np.array([0, 2], np.int32)), "no whole numbers"),
    (parts(ONES, np.array([1, 2], np.int32), np.array([0.0, 2.0])), "no whole numbers"),
    (changed(sp.csc_array(np.eye(2, 16)), indices=np.array([0, 99], np.int32)), r"outside 0\.\.1"),
    (changed(sp.coo_array(np.eye(2, 16)), coords=(np.array([0, 7]),) * 2), r"outside 0\.\.1"),
    (np.full((1, 16), np.nan), "value nan at row 0, column 0"),
    (np.full((1, 16), np.inf), "value inf at row 0, column 0"),
    (np.full((1, 16), 1e300), r"value 1e\+300 at row 0, column 0"),
    (np.ones((1, 16), complex), "values of type complex128"),
    (np.ones((1, 16)).astype(object), "values of type object"),
    (np.ones((1, 15)), "rows have 15 sparse and 0 dense features, the model was trained on 16"),
    (np.ones((1, 17)), "rows have 17 sparse"),
    (np.ones(16), "1 dimension"),
    (np.ones((1, 2, 8)), "3 dimension"),
    (HybridMatrix(csr([1, 99], [0, 2]), np.zeros((1, 0))), "column 99"),
    (HybridMatrix(ONE_ROW, np.full((1, 2), np.nan)), "dense features: NaN"),
    (HybridMatrix(ONE_ROW, np.zeros((4, 0))), "1 sparse rows, but 4 dense"),
    (HybridMatrix(ONE_ROW, np.array([["x"]])), "dense features: not numbers"),
    ([["a", 1]], "text 0 is a list"),
    ([[1.0], [1.0, 2.0]], "X: not a numeric matrix"),
]


@pytest.mark.parametrize(("rows", "message"), WRONG_ROWS)
def test_rows_that_compiled_code_must_not_walk(of_rows: Predictor, rows: Any, message: str):
    estimator = XRLinear()
    estimator.model_ = of_rows.model
    ask = (
        of_rows.predict, estimator.predict, of_rows.model.source_rows, of_rows.model.hybrid_rows_of,
        lambda x: of_rows.score(x, ["1"]), lambda x: of_rows.model.predict(x, 3, num_threads=2),
    )  # fmt: skip
    for method in ask:
        with pytest.raises(DataError, match=message):
            method(rows)


@pytest.mark.parametrize(("rows", "message"), WRONG_ROWS[:12])
def test_wrong_matrices_are_refused_wherever_they_are_given(of_rows, checkerboard, rows, message):
    X_NF, Y_NL = checkerboard
    rng = np.random.default_rng(0)
    for ask in (
        lambda x: XRLinear().fit(x, np.eye(x.shape[0], 3)),
        lambda x: XRLinear().fit(rng.random((x.shape[0], 4)), x),
        lambda x: judge(x, np.ones(x.shape), 1),
        lambda x: judge(np.ones(x.shape), x, 1),
        lambda x: evaluate_ranking(np.ones(x.shape), x, ks=[1]),
        lambda x: SparseNeighbours(X_NF, Y_NL).nearest(x),
        lambda x: SparseNeighbours(x, np.eye(x.shape[0])),
    ):
        with pytest.raises(DataError, match=message):
            ask(rows)


def test_rows_in_any_form_get_the_same_answers(of_rows: Predictor, checkerboard):
    X_NF = checkerboard[0][:9]
    expected = of_rows.predict(X_NF)
    dense = X_NF.toarray()
    rng = np.random.default_rng(0)
    order = np.concatenate([row[rng.permutation(2)] for row in np.arange(18).reshape(9, 2)])
    mixed = sp.csr_array((X_NF.data[order], X_NF.indices[order], X_NF.indptr), shape=X_NF.shape)
    mixed.has_sorted_indices = mixed.has_canonical_format = True  # what scipy remembers is wrong
    twice = np.repeat(X_NF.data / 2, 2), np.repeat(X_NF.indices, 2), X_NF.indptr * 2
    wide = X_NF.data, X_NF.indices.astype(np.int64), X_NF.indptr
    forms = [
        dense, dense.tolist(), dense.astype(np.float64), dense.astype(np.float16) * 2, mixed,
        sp.csr_array(twice, shape=X_NF.shape), sp.csr_array(wide, shape=X_NF.shape),
        dense > 0, (dense > 0).astype(np.uint8), X_NF.tocsc(), X_NF.tocoo(), X_NF.tolil(),
        X_NF.todok(), X_NF.todia(), X_NF.tobsr(), sp.csr_matrix(X_NF), HybridMatrix.of(X_NF),
        dense.astype(">f4"), np.asfortranarray(dense), list(dense),
    ]  # fmt: skip
    labels = [[result.label for result in row] for row in expected]
    for rows in forms:
        assert [[result.label for result in row] for row in of_rows.predict(rows)] == labels


def test_what_was_given_stays_as_it_was():
    mixed = csr([3, 1], [0, 2])
    before = mixed.indices.copy()
    assert as_csr(mixed).indices.tolist() == [1, 3]
    np.testing.assert_array_equal(mixed.indices, before)
    spare = csr([1, 3, 99, 99], [0, 2], 4)
    assert as_csr(spare).toarray().sum() == 2  # room behind the last row, which scipy allows
    assert check_rows(np.ones((1, 16)), 16).dtype == np.float32


def test_rows_differ_from_texts():
    objects = np.ones((1, 1), object)
    for rows in (np.ones(3), [[1, 2]], [np.ones(2)], ([1.0],), sp.eye_array(2), objects):
        assert not is_texts(rows)
    objects = np.array([["a"]], object)
    for texts in ([], ["a"], [None], np.array(["a"]), [["a"]], objects, None):
        assert is_texts(texts)


@pytest.mark.parametrize("k", [0, -1, "5", 5.0, True, None, [5], 2**63, float("nan"), 10**400])
def test_numbers_of_labels_that_cannot_be(of_texts: Predictor, k: Any):
    estimator = XRLinear()
    estimator.model_ = of_texts.model
    for ask in (
        lambda: of_texts.predict([TEXT], k),
        lambda: of_texts.scores([TEXT], k),
        lambda: of_texts.explain(TEXT, k),
        lambda: estimator.predict([TEXT], k),
        lambda: check_count(k, "k"),
    ):
        with pytest.raises(DataError, match=r"^k = .{1,60}: (a whole|ask for at|at most)"):
            ask()


def test_a_number_of_labels_may_be_numpys_and_above_what_there_is(of_texts: Predictor):
    assert of_texts.predict([TEXT], np.int64(2)) == of_texts.predict([TEXT], 2)
    assert of_texts.predict([TEXT], 2**31 - 1) == of_texts.predict([TEXT], 10)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"min_score": float("nan")}, "min_score = nan: a number is needed"),
        ({"min_score": None}, "min_score = None: a number"),
        ({"min_score": [0.5]}, "min_score = "),
        ({"min_score": True}, "min_score = True: a number"),
        ({"min_score": 10**400}, "min_score = .*too large"),
        ({"min_score": "half"}, "min_score = 'half'"),
        ({"tail": 1.5}, "tail = 1.5: 0"),
        ({"tail": -0.1}, "tail = -0.1"),
        ({"tail": float("nan")}, "tail = nan: a number"),
        ({"tail": "0.5"}, "tail = '0.5': a number"),
        ({"allowed": "red"}, r"allowed: one string .* write \[label\]"),
        ({"allowed": 5}, "allowed: a int where a collection of labels is needed"),
        ({"allowed": [1, 2]}, "allowed"),
        ({"allowed": [["1"], None]}, "allowed"),
        ({"allowed": [[1], ["2"]]}, "label 1 is no string"),
        ({"allowed": [["1"], ["2"], ["3"]]}, "3 sets of labels for 2 texts"),
        ({"allowed": ["1", ["2"]]}, "2 sets of labels for 2 texts"),
        ({"forbidden": {"1": "2"}}, "forbidden: a dict"),
        ({"forbidden": [[["1"]], ["2"]]}, "label .* is no string"),
        ({"forbidden": 1.5}, "forbidden: a float"),
    ],
)
def test_questions_that_cannot_be_asked(of_texts: Predictor, how: dict, message: str):
    with pytest.raises(DataError, match=message):
        of_texts.predict([TEXT, TEXT], **how)


@pytest.mark.parametrize("labels", ["1", None, 5, [], [1], [None], [["1"]], {"1": 2}])
def test_labels_to_score_that_are_none(of_texts: Predictor, labels: Any):
    with pytest.raises(DataError, match=r"score: |no labels to score"):
        of_texts.score([TEXT], labels)


@pytest.mark.parametrize(
    ("Y", "message"),
    [
        ([["La", "Lb"], ["La"]], "not a numeric matrix, but lists of labels; pass a matrix"),
        ([["La"], ["Lb"]], r"not a numeric matrix \(<U2\); pass a matrix"),
        (["La", "Lb"], "not a numeric matrix"),
        ([[3, 5], [3, 6]], "Y: 3 at row 0, column 0; for weights of labels pass floats, for numb"),
        (np.array([[0, 1], [1, 2]]), "Y: 2 at row 1, column 1"),
        ([3, 5], "1 dimension"),
        ([{"La"}, {"Lb"}], "not a numeric matrix"),
        (Frame(), "Y: a Frame, not a matrix"),
        (-np.eye(2), "label weights must be above 0"),
        (np.array([[1, np.nan], [0, 1]]), "Y: value nan"),
    ],
)
def test_labels_that_are_no_matrix(Y: Any, message: str):
    with pytest.raises(DataError, match=message) as caught:
        XRLinear().fit(["red mug", "blue lamp"], Y)
    assert len(str(caught.value)) < 300


def test_many_lists_of_labels_make_a_short_message():
    with pytest.raises(DataError, match="lists of labels") as caught:
        XRLinear().fit(["red"] * 4000, [["La", "Lb"][: 1 + i % 2] for i in range(4000)])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("ks", [5, "5", [], [0], [True], [1.5], ["1"], [2**63], None, [10**9] * 3])
def test_cut_offs_that_cannot_be(ks: Any):
    with pytest.raises(ConfigError):
        evaluate_ranking(np.eye(3), np.eye(3), ks=ks)


def test_numbers_are_numbers():
    assert check_number(np.float32(0.5), "x") == 0.5
    assert check_number(1, "x") == 1.0
    for wrong in (1j, np.bool_(1), "1", [1], np.nan, np.complex64(1), None):
        with pytest.raises(DataError, match=r"^x = "):
            check_number(wrong, "x")


def test_mutated_rows_are_answered_or_refused(of_rows: Predictor, checkerboard):
    """Numbers changed anywhere in a matrix: an answer or an error of ours, never more."""
    X_NF = checkerboard[0][:8]
    rng = np.random.default_rng(0)
    values = (0, 1, -1, 15, 16, 17, 2**15, 2**31 - 1, -(2**31))
    messages = []
    for _ in range(600):
        arrays = {name: getattr(X_NF, name).copy() for name in ("data", "indices", "indptr")}
        name = rng.choice(sorted(arrays))
        for place in rng.integers(0, len(arrays[name]), rng.integers(1, 4)):
            arrays[name][place] = rng.choice(values)
        if rng.random() < 0.2:
            arrays[name] = arrays[name][: rng.integers(1, len(arrays[name]))]
        try:
            assert len(of_rows.predict(parts(**arrays))) == len(arrays["indptr"]) - 1
        except DataError as err:
            messages.append(str(err))
    assert 100 < len(messages) < 600
    assert not any("\n" in message for message in messages)


@pytest.mark.parametrize("shape", [(1,), (0, 32), (3, 32), (2, 2, 32), (2, 31)])
def test_embeddings_of_other_rows(of_texts: Predictor, shape: tuple):
    model = of_texts.model
    neighbours = DenseNeighbours(np.ones((4, 32)), np.eye(4, len(model.labels)))
    encoder = SimpleNamespace(blocks=EmbeddingBlocks(32))
    deep = joined(model, neighbours, encoder=encoder, fusion=Fusion({neighbours.name: 1.0}))
    with pytest.raises(DataError, match="embeddings have"):
        deep.predict([TEXT, TEXT], embeddings_NM=np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": "1"}, "seed = '1': a whole number"),
        ({"seed": 0.5}, "seed = 0.5: a whole number"),
        ({"seed": True}, "seed = True: a whole number"),
        ({"seed": None}, "seed = None: a whole number"),
        ({"seed": -1}, "seed = -1"),
        ({"num_trees": 1.5}, "num_trees = 1.5"),
        ({"num_trees": "2"}, "num_trees = '2'"),
        ({"beam_size": None}, "beam_size = None"),
        ({"beam_size": "10"}, "beam_size = '10'"),
        ({"branching": [16]}, r"branching = \[16\]"),
        ({"max_leaf_size": float("nan")}, "max_leaf_size = nan"),
        ({"path_weight": "half"}, "path_weight = 'half': a number"),
        ({"path_weight": float("nan")}, "path_weight = nan"),
        ({"label_text_weight": None}, "label_text_weight = None"),
        ({"threshold": True}, "threshold = True: a number"),
        ({"cost_positive": 10**400}, "cost_positive = .*too large"),
        ({"validation_rows": 0}, "validation_rows = 0"),
        ({"num_threads": 2.0}, "num_threads = 2.0"),
    ],
)
def test_settings_that_are_no_numbers(tiny_corpus, settings: dict, message: str):
    texts, Y_NL, _ = tiny_corpus
    with pytest.raises(ConfigError, match=message):
        XRLinear(**settings).fit(texts, Y_NL)


def test_one_row_is_explained_only_if_it_is_sound(of_rows: Predictor, checkerboard):
    for rows, message in [WRONG_ROWS[0], WRONG_ROWS[2], WRONG_ROWS[12], WRONG_ROWS[17]]:
        with pytest.raises(DataError, match=message):
            of_rows.explain(rows)
    assert of_rows.explain(checkerboard[0][:1]).labels
