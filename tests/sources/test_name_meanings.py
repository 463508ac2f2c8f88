"""Names of labels as vectors: the nearest are named, labels without a name never, and a trained
model keeps them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.search.constraints import Constraint
from xrt.sources.name_meanings import NameMeanings
from xrt.storage.saved_values import SavedValues

NUM_LABELS, WIDTH = 400, 12
NAMED = np.setdiff1d(np.arange(NUM_LABELS), [0, 7, 399])


@pytest.fixture
def names(rng: Any) -> np.ndarray:
    names_LH = rng.normal(size=(NUM_LABELS, WIDTH)).astype(np.float32)
    names_LH[[0, 7, 399]] = 0
    return names_LH


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def slow_scores(names_LH: np.ndarray, unit_NH: np.ndarray) -> np.ndarray:
    """Label by label; 0 without a name."""
    scores_NL = np.zeros((len(unit_NH), NUM_LABELS))
    for label in NAMED:
        cosines_N = unit_NH @ names_LH[label] / np.linalg.norm(names_LH[label])
        scores_NL[:, label] = 1 / (1 + np.exp(-10 * (cosines_N - 0.5)))
    return scores_NL


def test_the_nearest_names_are_named(names: np.ndarray, rng: Any) -> None:
    unit_NH = unit(rng.normal(size=(30, WIDTH)))
    slow_NL = slow_scores(names, unit_NH)
    got_NL = NameMeanings.of(names, NAMED).top(unit_NH, 9)
    assert (np.diff(got_NL.indptr) == 9).all()
    for row in range(30):
        best = np.argsort(-slow_NL[row], kind="stable")[:9]
        assert set(got_NL[[row]].indices) == set(best)
    rows, labels = got_NL.nonzero()
    np.testing.assert_allclose(got_NL.data, slow_NL[rows, labels], rtol=1e-4)


@pytest.mark.parametrize("k", [NUM_LABELS - 3, NUM_LABELS, NUM_LABELS + 7])
def test_a_label_without_a_name_is_never_named(names: np.ndarray, rng: Any, k: int) -> None:
    source, unit_NH = NameMeanings.of(names, NAMED), unit(rng.normal(size=(3, WIDTH)))
    for row in range(3):
        assert set(source.top(unit_NH[[row]], k).indices) == set(NAMED)
    every_pair = sp.csr_array(np.ones((3, NUM_LABELS), np.float32))
    assert set(source.top_given(unit_NH, every_pair).indices) == set(NAMED)
    only = Constraint(sp.csr_array(np.eye(1, NUM_LABELS, 7, dtype=np.float32)), allows=True)
    assert source.top(unit_NH, 5, only).nnz == 0


def test_saved_is_loaded(names: np.ndarray, rng: Any, tmp_path: Path) -> None:
    source, unit_NH = NameMeanings.of(names, NAMED), unit(rng.normal(size=(9, WIDTH)))
    settings = SavedValues(source.save(tmp_path), "model.json")
    again = NameMeanings.load(tmp_path, settings)
    assert isinstance(again, NameMeanings)
    expected, got = source.top(unit_NH, 5), again.top(unit_NH, 5)
    np.testing.assert_array_equal(got.toarray(), expected.toarray())


def test_embeddings_that_are_all_equal(names: np.ndarray) -> None:
    """Every named label has the same score; k of them are named."""
    same_LH = np.ones_like(names)
    source, unit_NH = NameMeanings.of(same_LH, np.arange(NUM_LABELS)), unit(np.ones((2, WIDTH)))
    got_NL = source.top(unit_NH, 5)
    assert (np.diff(got_NL.indptr) == 5).all()
    assert np.ptp(got_NL.data) < 1e-5
