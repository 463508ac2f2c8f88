import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from xrt.data import validation_split
from xrt.errors import ConfigError, DataError


def spare_rows(Y, order, size):
    """The rule, row by row."""
    left, taken = (Y != 0).sum(axis=0), []
    for row in order:
        labels = np.flatnonzero(Y[row])
        if len(taken) < size and labels.size and (left[labels] > 1).all():
            left[labels] -= 1
            taken.append(row)
    return sorted(taken)


@st.composite
def label_matrices(draw):
    shape = draw(st.integers(2, 12)), draw(st.integers(1, 6))
    cells = draw(
        st.lists(st.booleans(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
    )
    return np.array(cells, np.float32).reshape(shape)


@settings(deadline=None)
@given(label_matrices(), st.integers(0, 5), st.floats(0.05, 0.9))
def test_every_label_keeps_a_training_row(Y, seed, fraction):
    try:
        split = validation_split(sp.csr_array(Y), fraction=fraction, seed=seed)
    except DataError:
        assert spare_rows(Y, range(len(Y)), 1) == []
        return
    assert sorted([*split.train, *split.validation]) == list(range(len(Y)))
    assert ((Y[split.train].sum(axis=0) > 0) == (Y.sum(axis=0) > 0)).all()
    assert (Y[split.validation].sum(axis=1) > 0).all()
    wanted = max(1, round(fraction * len(Y)))
    order = np.random.default_rng(seed).permutation(len(Y))
    assert split.validation.tolist() == spare_rows(Y, order, wanted)


def test_size_seed_and_repetition():
    Y = sp.csr_array(np.ones((50, 2), np.float32))
    first = validation_split(Y, size=7, seed=1)
    assert len(first.validation) == 7
    assert first.validation.tolist() == validation_split(Y, size=7, seed=1).validation.tolist()
    assert first.validation.tolist() != validation_split(Y, size=7, seed=2).validation.tolist()
    assert len(validation_split(Y).validation) == 5


def test_fewer_than_wanted_is_told(caplog):
    Y = sp.csr_array(np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32))
    split = validation_split(Y, size=3)
    assert len(split.validation) == 1
    assert "3 rows wanted, 1 held out" in caplog.text


@pytest.mark.parametrize(
    "options",
    [{"fraction": 0.0}, {"fraction": 1.0}, {"size": 0}, {"size": 3}, {"fraction": 0.5, "size": 1}],
)
def test_bad_settings(options):
    with pytest.raises(ConfigError):
        validation_split(sp.csr_array(np.ones((3, 1), np.float32)), **options)


def test_no_row_to_spare():
    with pytest.raises(DataError, match="no validation row can be spared"):
        validation_split(sp.csr_array(np.eye(3, dtype=np.float32)))
