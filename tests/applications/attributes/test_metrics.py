import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from tests.reference import slow_attributes as slow
from xrt.applications.attributes.metrics.choices import score_choices
from xrt.applications.attributes.metrics.table import attribute_report
from xrt.errors import DataError

NUM_KNOWN, NUM_COLUMNS = 6, 8
AVERAGES = ("macro", "micro", "weighted")


@st.composite
def tables(draw):
    """given (-1 to 7; 6 and 7 unseen), predicted (-1 to 5), probabilities, counts of 6 values."""
    num_rows, num_attributes = draw(st.integers(1, 12)), draw(st.integers(1, 3))

    def table(values):
        row = st.lists(values, min_size=num_attributes, max_size=num_attributes)
        return draw(st.lists(row, min_size=num_rows, max_size=num_rows))

    true_NA = table(st.integers(-1, NUM_COLUMNS - 1))
    predicted_NA = table(st.integers(-1, NUM_KNOWN - 1))
    probabilities_NA = table(st.sampled_from([0.0, 0.25, 0.31, 0.5, 0.99, 1.0]))
    counts = draw(st.lists(st.sampled_from([1, 3, 5, 6, 20, 21, 500]), min_size=6, max_size=6))
    return true_NA, predicted_NA, probabilities_NA, counts


@settings(max_examples=80, deadline=None)
@given(table=tables())
def test_equals_the_definitions_read_row_by_row(table):
    true_NA, predicted_NA, probabilities_NA, counts = table
    row_probabilities = [row[0] for row in probabilities_NA]
    names = tuple("abc"[: len(true_NA[0])])
    report = attribute_report(
        names, np.int32(true_NA), np.int32(predicted_NA), NUM_KNOWN, np.array(counts),
        np.float32(probabilities_NA), np.float32(row_probabilities),
    )  # fmt: skip
    assert report.item_accuracy == pytest.approx(slow.item_accuracy(true_NA, predicted_NA))
    training_paths = [n for n, row in enumerate(true_NA) if max(row) < NUM_KNOWN]
    assert report.item_accuracy_seen == pytest.approx(
        slow.item_accuracy(
            [true_NA[n] for n in training_paths], [predicted_NA[n] for n in training_paths]
        )
    )
    full = [n for n in range(len(true_NA)) if min(*true_NA[n], *predicted_NA[n], 9) >= 0]
    if full:
        right = [true_NA[n] == predicted_NA[n] for n in full]
        expected = slow.expected_error([row_probabilities[n] for n in full], right, 10)
        assert report.to_dict()["row_ece"] == pytest.approx(expected, abs=1e-6)
    else:
        assert report.row_reliability is None

    for a, name in enumerate(names):
        predictions = [n for n, row in enumerate(true_NA) if row[a] >= 0]
        true, chosen = ([rows[n][a] for n in predictions] for rows in (true_NA, predicted_NA))
        figures = report[name]
        assert figures.support == len(predictions)
        assert figures.num_values == len(set(true))
        assert figures.num_unseen_values == len({t for t in true if t >= NUM_KNOWN})
        assert figures.num_unseen_rows == sum(t >= NUM_KNOWN for t in true)
        assert figures.num_abstained == chosen.count(-1)
        for tail, highest in zip(figures.tails, (5, 20), strict=True):
            assert tail.recall == pytest.approx(slow.recall_of(true, chosen, counts, 1, highest))
        assert sum(bin.num_rows for bin in figures.bins) == len(predictions)
        assert [bin.name for bin in figures.bins][2] == "2-4"
        assert figures.bins[2].recall == pytest.approx(slow.recall_of(true, chosen, counts, 2, 4))
        if not predictions:
            assert figures.scores is None
            continue
        accuracy, *averages = slow.choice_scores(true, chosen)
        assert figures.scores.accuracy == pytest.approx(accuracy)
        for average, expected in zip(AVERAGES, averages, strict=True):
            result = [
                getattr(figures.scores, f"{average}_{m}") for m in ("precision", "recall", "f1")
            ]
            assert result == pytest.approx(list(expected))
        answered = [n for n in predictions if predicted_NA[n][a] >= 0]
        if answered:
            expected = slow.expected_error(
                [probabilities_NA[n][a] for n in answered],
                [true_NA[n][a] == predicted_NA[n][a] for n in answered],
                10,
            )
            assert figures.reliability.expected_error == pytest.approx(expected, abs=1e-6)


def test_equals_sklearn(rng):
    true, chosen = rng.integers(0, 12, 200), rng.integers(2, 15, 200)
    scores = score_choices(true, chosen)
    assert scores.accuracy == pytest.approx(accuracy_score(true, chosen))
    for average in AVERAGES:
        expected = precision_recall_fscore_support(true, chosen, average=average, zero_division=0)
        result = [getattr(scores, f"{average}_{m}") for m in ("precision", "recall", "f1")]
        assert result == pytest.approx(expected[:3])


def test_equals_sklearn_where_some_rows_have_no_choice(rng):
    true, chosen = rng.integers(0, 5, 100), rng.integers(-1, 5, 100)
    scores = score_choices(true, chosen)
    for average in AVERAGES:
        expected = precision_recall_fscore_support(
            true, chosen, labels=range(5), average=average, zero_division=0
        )
        result = [getattr(scores, f"{average}_{m}") for m in ("precision", "recall", "f1")]
        assert result == pytest.approx(expected[:3])


def small_report(**more):
    """Two attributes; column 1 is the "none" of the first, column 4 was never seen."""
    true_NA = np.int32([[0, 2], [1, 3], [0, 4], [-1, 2]])
    predicted_NA = np.int32([[0, 2], [1, 2], [0, 3], [0, 2]])
    return attribute_report(("brand", "L0"), true_NA, predicted_NA, 4, **more)


def test_the_table_reads_as_it_should():
    report = small_report(counts_L=np.array([30, 5, 30, 2]))
    lines = report.to_text().splitlines()
    assert lines[0].split()[:2] == ["accuracy", "macro"]
    brand, l0 = lines[1].split(), lines[2].split()
    # name, accuracy, six averages, support, values, unseen values, unseen rows, tail recall twice
    assert brand == ["brand", *["1.0000"] * 7, "3", "2", "0", "0", "1.0000", "1.0000"]
    assert l0[0:2] == ["L0", "0.5000"]
    assert l0[8:] == ["4", "3", "1", "1", "0.0000", "0.0000"]
    assert "item accuracy  0.5000  (4 rows)" in report.to_text()
    assert "0.6667  (3 rows whose values were all seen in training)" in report.to_text()


def test_none_is_a_value_like_any_other():
    report = small_report()
    assert report["brand"].num_values == 2  # 0 and the none column
    wrong = attribute_report(("brand",), [[1]], [[0]], 2)
    assert wrong.item_accuracy == 0.0


def test_a_row_without_any_given_value_is_not_judged():
    report = attribute_report(("a", "b"), [[-1, -1], [0, -1]], [[0, 1], [0, 1]], 2)
    assert (report.num_rows, report.num_judged, report.item_accuracy) == (2, 1, 1.0)
    assert "1 rows give no value" in report.to_text()


def test_an_attribute_that_no_row_gives_has_no_figures():
    report = attribute_report(
        ("a", "b"), [[0, -1]], [[0, 1]], 2, counts_L=[1, 1], probabilities_NA=[[0.5, 0.5]]
    )
    assert report["b"].support == 0
    assert report["b"].scores is None
    assert report.to_text().splitlines()[2].split()[:3] == ["b", "-", "-"]
    json.dumps(report.to_dict(), allow_nan=False)


def test_no_rows_at_all():
    empty = np.zeros((0, 2), np.int32)
    report = attribute_report(("a", "b"), empty, empty, 4, counts_L=np.ones(4))
    assert report.item_accuracy is None
    json.dumps(report.to_dict(), allow_nan=False)
    assert "(0 rows)" in report.to_text()


def test_a_label_of_the_table_with_no_training_row_is_unseen():
    report = attribute_report(("a",), [[1]], [[0]], 2, counts_L=np.array([3, 0]))
    assert report["a"].num_unseen_rows == 1
    assert report.num_seen == 0


def test_json_holds_every_figure():
    written = small_report(
        counts_L=np.ones(4),
        probabilities_NA=np.full((4, 2), 0.9, np.float32),
        row_probabilities_N=np.full(4, 0.8, np.float32),
    ).to_dict()
    assert json.loads(json.dumps(written, allow_nan=False)) is not None
    assert written["attributes"][0]["ece"] == pytest.approx(0.1)
    assert written["attributes"][0]["scores"]["macro_f1"] == 1.0
    # of the three rows that give both, one is right
    assert written["row_ece"] == pytest.approx(0.8 - 1 / 3)


def test_a_space_gives_the_names():
    space = SimpleNamespace(attributes=("brand",))
    assert attribute_report(space, [[0]], [[0]], 1)["brand"].support == 1


@pytest.mark.parametrize(
    ("true_NA", "predicted_NA", "more", "message"),
    [
        ([[0]], [[0, 0]], {}, "rows x attributes"),
        ([[0, 0]], [[0, 0]], {}, "2 columns of values for 1 attributes"),
        ([[0]], [[4]], {}, "label column 4 is predicted, but training knew only 4"),
        ([[0]], [[0]], {"counts_L": [1]}, "1 training counts for 4"),
        ([[0]], [[0]], {"probabilities_NA": [0.5]}, "probabilities of shape"),
        ([[0]], [[0]], {"row_probabilities_N": [0.5, 0.5]}, "row probabilities of shape"),
        ([[0]], [[0]], {"probabilities_NA": [[1.5]]}, "must lie in 0 to 1"),
    ],
)
def test_inputs_that_do_not_belong_together(true_NA, predicted_NA, more, message):
    with pytest.raises(DataError, match=message):
        attribute_report(("a",), true_NA, predicted_NA, 4, **more)


def test_what_a_fill_would_write_is_counted():
    true_NA = [[0, 2], [0, 3], [1, -1], [-1, -1], [6, 2]]  # 3 says none, 6 is new, row 3 is bare
    predicted_NA = [[0, 2], [1, 2], [1, 2], [0, 2], [0, 2]]
    is_written_NA = np.array([[1, 1], [1, 1], [0, 1], [1, 1], [1, 0]], bool)
    is_none_L = np.array([0, 0, 0, 1, 0, 0], bool)
    report = attribute_report(
        ("a", "b"), true_NA, predicted_NA, 6, is_written_NA=is_written_NA, is_none_L=is_none_L
    )
    a, b = (figures.fills for figures in report.attributes)
    assert (a.num_written, a.num_right, a.num_wrong, a.num_in_empty, a.num_empty) == (3, 1, 2, 0, 0)
    assert (b.num_written, b.num_right, b.num_wrong, b.num_in_empty, b.num_empty) == (3, 1, 0, 2, 2)
    lines = report.to_text().splitlines()
    assert lines[-4].split() == [*"a fill writes cells right wrong where the file is empty".split(),
                                 *"of empty cells".split()]  # fmt: skip
    assert lines[-2].split() == ["b", "3", "1", "0", "2", "2"]
    assert report.to_dict()["attributes"][1]["fills"]["num_in_empty"] == 2
    assert attribute_report(("a", "b"), true_NA, predicted_NA, 6)["a"].fills is None


def test_an_attribute_that_no_row_gives_has_no_empty_cells():
    written = np.ones((2, 2), bool)
    result = attribute_report(("a", "b"), [[0, -1], [1, -1]], [[0, 2], [0, 3]], 6,
                             is_written_NA=written)  # fmt: skip
    assert result["b"].fills.num_written == result["b"].fills.num_empty == 0
    with pytest.raises(DataError, match="cells written of shape"):
        attribute_report(("a",), [[0]], [[0]], 6, is_written_NA=written)
