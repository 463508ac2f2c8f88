"""What boosted trees see of a candidate: as the readable twin says, whatever else is asked for."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference.slow_features import slow_features
from xrt.fusion.candidates import Candidates
from xrt.fusion.features import MOST_RANK, feature_names, gather_features
from xrt.fusion.weights import weighted_mean
from xrt.sparse import as_csr

WEIGHTS = {"linear": 0.7, "ranker": 0.3}


def made_up(rng: Any, num_rows: int = 20, num_labels: int = 90) -> Candidates:
    """Two sources that name half of the labels each; scores of 0 and equal scores occur."""
    parts = np.round(rng.random((2, num_rows, num_labels)).astype(np.float32), 2)
    own = {
        name: as_csr(part * (rng.random(part.shape) < 0.5))
        for name, part in zip(WEIGHTS, parts, strict=True)
    }
    named = Candidates.of(own)
    rows = np.repeat(np.arange(num_rows), np.diff(named.pairs_NL.indptr))
    scores_SP = np.stack([part[rows, named.pairs_NL.indices] for part in parts])
    return Candidates(named.pairs_NL, named.names, scores_SP, own)


def features_of(candidates: Candidates, counts_L: Any) -> Any:
    mean_NL = weighted_mean(candidates, WEIGHTS)
    return gather_features(mean_NL, candidates, candidates.names, counts_L)


def test_features_are_those_of_the_readable_twin(rng: Any):
    candidates, counts_L = made_up(rng), rng.integers(0, 40, 90)
    features_PD = features_of(candidates, counts_L)
    mean = weighted_mean(candidates, WEIGHTS).data.tolist()
    expected = slow_features(candidates, mean, counts_L.tolist())
    np.testing.assert_allclose(features_PD, expected, rtol=1e-5, atol=1e-6)
    assert len(feature_names(candidates.names)) == features_PD.shape[1]


def test_ranks_end_where_a_source_stops_naming(rng: Any):
    features_PD = features_of(made_up(rng), np.ones(90))
    ranks_PS = features_PD[:, 2:4]
    assert ranks_PS.max() == MOST_RANK
    assert ranks_PS.min() == 0
    few = features_of(made_up(rng, num_labels=30), np.ones(30))
    assert few[:, 2:4].max() < MOST_RANK


def test_a_label_that_was_asked_for_moves_no_other(rng: Any):
    candidates, counts_L = made_up(rng), np.ones(90)
    before_PD = features_of(candidates, counts_L)
    dense = candidates.pairs_NL.toarray()
    named = dense > 0
    pairs = sp.csr_array(np.ones_like(dense))
    pairs.data = dense[np.repeat(np.arange(20), 90), pairs.indices].astype(np.float32)
    scores_SP = np.full((2, pairs.nnz), 0.995, np.float32)
    scores_SP[:, named.ravel()] = candidates.scores_SP
    asked = Candidates(pairs, candidates.names, scores_SP, candidates.own)
    after_PD = features_of(asked, counts_L)
    np.testing.assert_array_equal(after_PD[named.ravel()], before_PD)


def test_a_row_without_candidates_of_its_own_has_finite_features():
    pairs = sp.csr_array(np.ones((1, 3), np.float32))
    pairs.data[:] = 0
    scores_SP = np.array([[0.5, 0.0, 1.0], [0.0, 0.0, 0.0]], np.float32)
    candidates = Candidates(pairs, tuple(WEIGHTS), scores_SP, {})
    features_PD = features_of(candidates, np.zeros(3))
    assert np.isfinite(features_PD).all()
    assert (features_PD[:, 2:4] == 0).all()


@pytest.mark.parametrize("num_rows", [0, 1])
def test_no_candidates_give_no_features(num_rows: int):
    pairs = sp.csr_array((num_rows, 3), dtype=np.float32)
    candidates = Candidates(pairs, tuple(WEIGHTS), np.zeros((2, 0), np.float32), {})
    assert features_of(candidates, np.zeros(3)).shape == (0, 11)
