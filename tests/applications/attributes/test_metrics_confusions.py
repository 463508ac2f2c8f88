import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import slow_attributes as slow
from xrt.applications.attributes.metrics.confusions import (
    count_impossible_paths,
    sibling_confusions,
)
from xrt.errors import DataError

columns = st.lists(st.tuples(st.integers(-1, 7), st.integers(-1, 5)), max_size=40)


@settings(max_examples=80, deadline=None)
@given(cells=columns, parents=st.lists(st.integers(-1, 2), min_size=6, max_size=6))
def test_equals_a_count_cell_by_cell(cells, parents):
    true, chosen = [t for t, _ in cells if t >= 0], [c for t, c in cells if t >= 0]
    expected = slow.sibling_pairs(true, chosen, parents)
    result = sibling_confusions(
        np.array([t for t, _ in cells], np.int32), np.array([c for _, c in cells], np.int32),
        np.array(parents), top=100,
    )  # fmt: skip
    assert {(pair.true, pair.predicted): pair.count for pair in result.pairs} == expected
    assert result.num_among_siblings == sum(expected.values())
    assert result.num_errors == sum(t != c for t, c in zip(true, chosen, strict=True))
    counts = [pair.count for pair in result.pairs]
    assert counts == sorted(counts, reverse=True)
    for pair in result.pairs:
        assert pair.parent == parents[pair.true] == parents[pair.predicted]
        assert pair.share_of_true == pytest.approx(pair.count / true.count(pair.true))
        assert pair.share_of_errors == pytest.approx(pair.count / result.num_errors)


def test_the_most_frequent_first_over_all_levels():
    true_NA = np.array([[0, 3], [0, 3], [1, 4], [1, 3]])
    predicted_NA = np.array([[1, 4], [0, 4], [1, 3], [1, 3]])
    # 0 and 1 are of the top level and without a parent here; 3 and 4 are children of 0
    result = sibling_confusions(true_NA, predicted_NA, np.array([-1, -1, -1, 0, 0]), top=1)
    assert [(pair.true, pair.predicted, pair.count) for pair in result.pairs] == [(3, 4, 2)]
    assert (result.num_errors, result.num_among_siblings) == (4, 3)


@settings(max_examples=50, deadline=None)
@given(
    predicted=st.lists(st.tuples(*[st.integers(-1, 2)] * 3), max_size=20),
    seen=st.lists(st.tuples(*[st.integers(-1, 2)] * 3), max_size=20),
)
def test_impossible_paths_equal_a_set_of_tuples(predicted, seen):
    paths_NH = np.array(predicted, np.int32).reshape(-1, 3)
    expected = slow.impossible_paths(predicted, seen)
    assert count_impossible_paths(paths_NH, np.array(seen, np.int64).reshape(-1, 3)) == expected
    assert count_impossible_paths(paths_NH, seen) == expected


def test_paths_of_other_depths_do_not_belong_together():
    with pytest.raises(DataError, match="3 levels are predicted, those seen in training have 2"):
        count_impossible_paths(np.zeros((1, 3), np.int32), np.zeros((1, 2)))
    with pytest.raises(DataError, match="shape"):
        sibling_confusions(np.zeros(2, int), np.zeros(3, int), np.zeros(1, int))
