import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.slow_splits import take_groups
from xrt.data import validation_split
from xrt.data.splits import can_hold_out
from xrt.errors import ConfigError, DataError


@st.composite
def labelled_rows(draw):
    num_rows = draw(st.integers(2, 14))
    has_label = draw(st.lists(st.booleans(), min_size=num_rows, max_size=num_rows))
    groups = draw(st.lists(st.integers(-2, 5), min_size=num_rows, max_size=num_rows))
    times = draw(
        st.lists(
            st.sampled_from([1.0, 2.0, 3.0, 7.5, float("nan")]),
            min_size=num_rows, max_size=num_rows,
        )
    )  # fmt: skip
    return np.array(has_label, np.float32)[:, None], np.array(groups), np.array(times)


@settings(deadline=None)
@given(labelled_rows(), st.integers(0, 5), st.floats(0.05, 0.9), st.booleans(), st.booleans())
def test_groups_stand_on_one_side_and_the_newest_are_held_out(rows, seed, fraction, grouped, timed):
    Y, groups, times = rows
    given = {"groups": groups if grouped else None, "times": times if timed else None}
    try:
        split = validation_split(sp.csr_array(Y), fraction=fraction, seed=seed, **given)
    except DataError:
        assert not can_hold_out(sp.csr_array(Y), given["groups"])
        return
    assert can_hold_out(sp.csr_array(Y), given["groups"])
    assert sorted([*split.train, *split.validation]) == list(range(len(Y)))
    assert len(split.train)
    assert Y[split.validation].all()
    assert Y[split.train].any()
    wanted = max(1, round(fraction * len(Y)))
    assert split.validation.tolist() == take_groups(Y[:, 0], wanted, seed, **given)


def test_size_seed_and_repetition():
    Y = sp.csr_array(np.ones((50, 2), np.float32))
    first = validation_split(Y, size=7, seed=1)
    assert len(first.validation) == 7
    assert first.validation.tolist() == validation_split(Y, size=7, seed=1).validation.tolist()
    assert first.validation.tolist() != validation_split(Y, size=7, seed=2).validation.tolist()
    assert len(validation_split(Y).validation) == 5


def test_labels_of_a_single_row_are_held_out_in_their_share():
    """A hundred labels of one row each among two hundred rows of one label."""
    Y = sp.csr_array(
        (np.ones(300, np.float32), np.r_[np.zeros(200), 1:101].astype(int), np.arange(301))
    )
    held = np.concatenate(
        [validation_split(Y, size=30, seed=seed).validation for seed in range(20)]
    )
    assert 0.25 < (held >= 200).mean() < 0.42


def test_fewer_than_wanted_is_told(caplog):
    Y = sp.csr_array(np.ones((6, 1), np.float32))
    split = validation_split(Y, size=3, groups=np.array([0, 0, 1, 1, 2, 2]))
    assert len(split.validation) == 2
    assert "3 rows wanted, 2 held out" in caplog.text


def test_the_smallest_group_is_held_out_where_all_are_larger_than_wanted(caplog):
    Y = sp.csr_array(np.ones((50, 1), np.float32))
    groups = np.repeat([0, 1, 2], [20, 13, 17])
    assert validation_split(Y, size=5, groups=groups).validation.tolist() == list(range(20, 33))
    assert "5 rows wanted, 13 held out, the smallest group" in caplog.text


@pytest.mark.parametrize(
    "options",
    [{"fraction": 0.0}, {"fraction": 1.0}, {"size": 0}, {"size": 3}, {"fraction": 0.5, "size": 1}],
)
def test_bad_settings(options):
    with pytest.raises(ConfigError):
        validation_split(sp.csr_array(np.ones((3, 1), np.float32)), **options)


@pytest.mark.parametrize("given", [{"groups": np.zeros(2, int)}, {"times": np.zeros(4)}])
def test_groups_and_times_of_another_length(given):
    with pytest.raises(DataError, match=f"{len(next(iter(given.values())))} .* for 3 rows"):
        validation_split(sp.csr_array(np.ones((3, 1), np.float32)), size=1, **given)


def test_no_row_to_spare():
    Y = sp.csr_array(np.ones((3, 1), np.float32))
    with pytest.raises(DataError, match=r"no row can be held out: .* 3 rows .* 1 group"):
        validation_split(Y, size=1, groups=np.zeros(3, int))
    assert len(validation_split(sp.csr_array(np.eye(3, dtype=np.float32))).validation) == 1
