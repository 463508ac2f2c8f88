"""Joint decoding: the taxonomy, the joint model and how it is learnt."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.applications.attributes.decoding.candidates import CandidateFinder
from xrt.applications.attributes.decoding.joint_fit import (
    allow_consistent,
    expect_evidence,
    fit_weights,
)
from xrt.applications.attributes.decoding.joint_model import (
    AllowedChoices,
    compute_posterior,
    pick_most_probable,
)
from xrt.applications.attributes.decoding.joint_weights import JointWeights, compute_evidence
from xrt.applications.attributes.decoding.path_lift import BACK_OFF, PathLift
from xrt.applications.attributes.decoding.taxonomy import Taxonomy

# columns 0..3 are L0, 4..11 are L1, 12..23 are L2, 24..33 are brands
BOUNDS = (0, 4, 12, 24, 34)
NUM_LABELS = 34


def random_rows(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rows (n, 4) of L0, L1, L2, brand, with a value of L1 under two parents at times."""
    types = rng.integers(12, 24, n)
    middle = 4 + (types - 12) * 2 // 3 % 8
    top = middle % 4
    top = np.where(rng.random(n) < 0.05, (top + 1) % 4, top)
    brands = 24 + (types + rng.integers(0, 3, n)) % 10
    return np.column_stack([top, middle, types, brands]).astype(np.int32)


def random_scores(
    rng: np.random.Generator, cells: np.ndarray, density: float = 0.5
) -> sp.csr_array:
    """Scores in (0, 1), higher where a value is true, for about half of the labels."""
    dense = rng.random((len(cells), NUM_LABELS)) ** 3 * 0.6
    dense[np.arange(len(cells))[:, None], cells] += rng.random(cells.shape) * 0.4
    dense[rng.random(dense.shape) > density] = 0.0
    return sp.csr_array(dense.astype(np.float32))


def finder_of(cells: np.ndarray, **settings: int) -> CandidateFinder:
    taxonomy = Taxonomy.of(cells[:, :3])
    numbers = {tuple(path): p for p, path in enumerate(taxonomy.paths_PD.tolist())}
    paths = np.array([numbers[tuple(row)] for row in cells[:, :3].tolist()])
    attributes = np.repeat(np.arange(4, dtype=np.int32), np.diff(BOUNDS))
    lift = PathLift.of(taxonomy, paths, cells[:, 3], NUM_LABELS)
    return CandidateFinder(taxonomy, attributes, (0, 1, 2), (3,), (lift,), **settings)


def test_taxonomy_counts_the_paths_of_rows_and_finds_a_home_for_open_levels():
    rows = np.array([[0, 4, 12], [0, 4, 12], [0, 4, 13], [0, 4, -1], [1, 5, -1], [-1, 4, 12]])
    taxonomy = Taxonomy.of(rows.astype(np.int32))
    assert taxonomy.paths_PD.tolist() == [[0, 4, 12], [0, 4, 13], [1, 5, -1]]
    assert taxonomy.counts_P.tolist() == [3, 1, 1]  # [0, 4, -1] fits the more frequent path
    assert taxonomy.nodes_PD.tolist() == [[0, 0, 0], [0, 0, 1], [1, 1, 2]]
    assert taxonomy.column_of_node(2).tolist() == [12, 13, -1]
    shares = np.exp(taxonomy.log_shares(2))
    assert shares[:2].sum() == pytest.approx(1)
    assert shares[2] == pytest.approx(1)
    assert taxonomy.contains(np.array([[0, 4, 13], [1, 4, 12]])).tolist() == [True, False]


def test_levels_of_which_no_row_says_anything_become_none_where_there_is_such_a_label():
    rows = np.array([[0, 4, 12], [1, 5, -1], [1, -1, -1]], np.int32)
    closed = Taxonomy.of(rows, [-1, 10, 20])
    assert closed.paths_PD.tolist() == [[0, 4, 12], [1, 5, 20], [1, 10, 20]]
    half = Taxonomy.of(rows, [-1, -1, 20])
    assert half.paths_PD.tolist() == [[0, 4, 12], [1, -1, 20], [1, 5, 20]]
    alike = Taxonomy.of(np.array([[1, 5, -1], [1, -1, -1]], np.int32), [-1, 5, 20])
    assert alike.paths_PD.tolist() == [[1, 5, 20]]
    assert alike.counts_P.tolist() == [2]


def test_taxonomy_without_levels_or_rows_is_one_path():
    assert Taxonomy.of(np.zeros((5, 0), np.int32)).num_paths == 1
    assert Taxonomy.of(np.full((3, 2), -1, np.int32)).num_paths == 1


def test_taxonomy_is_the_same_when_loaded(tmp_path):
    taxonomy = Taxonomy.of(random_rows(np.random.default_rng(0), 50)[:, :3])
    taxonomy.save(tmp_path)
    again = Taxonomy.load(tmp_path, {"labels": NUM_LABELS, "depth": 3})
    assert np.array_equal(again.paths_PD, taxonomy.paths_PD)
    assert np.array_equal(again.counts_P, taxonomy.counts_P)


def test_lift_is_back_off_from_the_root_down():
    cells = random_rows(np.random.default_rng(2), 200)
    finder = finder_of(cells)
    taxonomy, lift = finder.taxonomy, finder.lifts[0]
    columns = np.arange(24, 34, dtype=np.int32)[None]
    result = lift.log_lift(taxonomy, np.arange(taxonomy.num_paths, dtype=np.int32)[None], columns)
    for p, path in enumerate(taxonomy.paths_PD):
        for v, brand in enumerate(columns[0]):
            root = ((cells[:, 3] == brand).sum() + 1) / (len(cells) + len(np.unique(cells[:, 3])))
            share = root
            for d in range(3):
                below = (cells[:, : d + 1] == path[: d + 1]).all(axis=1)
                both = (below & (cells[:, 3] == brand)).sum()
                share = (both + BACK_OFF * share) / (below.sum() + BACK_OFF)
            assert result[0, p, v] == pytest.approx(np.log(share / root), abs=1e-5)


def brute_force(candidates, weights, row):
    """Worth of every combination of a row, the others included."""
    M, V = candidates.paths_NM.shape[1], candidates.values[0].columns_NV.shape[1]
    worths = {}
    for m, v in itertools.product(range(M + 1), range(V + 1)):
        if m < M and candidates.paths_NM[row, m] < 0:
            continue
        if v < V and candidates.values[0].columns_NV[row, v] < 0:
            continue
        worth = weights.other_path
        if m < M:
            vector = np.append(weights.levels_D3.ravel(), weights.share)
            worth = float(candidates.evidence_NMK[row, m] @ vector)
        free = weights.free_B4[0]
        if v < V:
            worth += float(candidates.values[0].evidence_NV2[row, v] @ free[:2])
            worth += free[2] * candidates.values[0].lift_NMV[row, m, v] if m < M else 0.0
        else:
            worth += free[3]
        worths[m, v] = worth
    return worths


@pytest.fixture
def result():
    rng = np.random.default_rng(3)
    cells = random_rows(rng, 40)
    finder = finder_of(cells, num_paths=6, num_values=4)
    weights = JointWeights(
        np.array([[0.7, 0.1, -7.0], [0.9, 0.2, -9.0], [0.8, 0.0, -8.5]]), 0.3, -6.0,
        np.array([[0.9, 0.1, 0.6, -3.0]]),
    )  # fmt: skip
    return cells, finder, weights, finder.find(random_scores(rng, cells), weights)


def test_joint_model_equals_trying_all_combinations(result):
    _, _, weights, candidates = result
    every = compute_posterior(candidates, weights, AllowedChoices.every(candidates))
    best = pick_most_probable(every)
    pairs = every.pair_probabilities(0)
    for row in range(candidates.num_rows):
        worths = brute_force(candidates, weights, row)
        log_z = np.log(np.sum(np.exp(list(worths.values()))))
        assert every.log_z[row] == pytest.approx(log_z, abs=1e-6)
        for (m, v), worth in worths.items():
            assert pairs[row, m, v] == pytest.approx(np.exp(worth - log_z), abs=1e-6)
        M, V = candidates.paths_NM.shape[1], candidates.values[0].columns_NV.shape[1]
        real = {key: worth for key, worth in worths.items() if key[0] < M and key[1] < V}
        if real:
            top = max(real, key=real.__getitem__)
            assert real[best.path_N[row], best.values[0][row]] == pytest.approx(real[top])
            needed = real[top] - log_z
            assert best.log_probability_N[row] == pytest.approx(needed, abs=1e-6)


def test_gradient_is_that_of_the_log_likelihood(result):
    cells, finder, weights, candidates = result
    every, right = AllowedChoices.every(candidates), allow_consistent(finder, candidates, cells)

    def log_likelihood(vector):
        tried = JointWeights.from_vector(vector, 3, 1)
        held_out, free = (
            compute_posterior(candidates, tried, allowed) for allowed in (right, every)
        )
        return (held_out.log_z - free.log_z).sum()

    vector = weights.to_vector()
    held_out, free = (compute_posterior(candidates, weights, allowed) for allowed in (right, every))
    slope = expect_evidence(candidates, held_out) - expect_evidence(candidates, free)
    for i in range(len(vector)):
        step = np.zeros_like(vector)
        step[i] = 1e-4
        needed = (log_likelihood(vector + step) - log_likelihood(vector - step)) / 2e-4
        assert slope[i] == pytest.approx(needed, abs=1e-3)


def test_learnt_weights_make_the_rows_more_likely_and_are_within_bounds(result):
    cells, finder, _, candidates = result
    weights = fit_weights(finder, candidates, cells)
    every, right = AllowedChoices.every(candidates), allow_consistent(finder, candidates, cells)

    def log_likelihood(tried):
        held_out, free = (
            compute_posterior(candidates, tried, allowed) for allowed in (right, every)
        )
        return (held_out.log_z - free.log_z).sum()

    assert log_likelihood(weights) > log_likelihood(JointWeights.initial(3, 1)) + 1
    assert (weights.levels_D3[:, :2] >= 0).all()
    assert (weights.levels_D3[:, 2] <= 0).all()


def test_a_value_that_is_no_candidate_leaves_its_probability_to_the_others(result):
    cells, finder, _, candidates = result
    far = cells.copy()
    far[:, 3] = 10  # the column of no brand
    right = allow_consistent(finder, candidates, far)
    assert right.values[0][:, -1].all()
    assert not right.values[0][:, :-1].any()
    open_row = cells.copy()
    open_row[:, 3] = -1
    assert allow_consistent(finder, candidates, open_row).values[0][:, -1].all()


def test_missing_values_change_nothing_of_the_rest(result):
    cells, finder, weights, candidates = result
    nothing = np.full_like(cells, -1)
    assert np.allclose(
        compute_posterior(candidates, weights, allow_consistent(finder, candidates, nothing)).log_z,
        compute_posterior(candidates, weights, AllowedChoices.every(candidates)).log_z,
    )


def test_evidence_is_finite_for_every_score():
    assert np.isfinite(compute_evidence(np.array([0.0, 1e-9, 0.5, 1.0], np.float32))).all()


def test_candidates_without_a_hierarchy_are_one_path_and_their_values():
    rng = np.random.default_rng(4)
    cells = random_rows(rng, 20)[:, 3:] - 24
    taxonomy = Taxonomy.of(cells[:, :0])
    attributes = np.zeros(10, np.int32)
    lift = PathLift.of(taxonomy, np.zeros(20, np.int64), cells[:, 0], 10)
    finder = CandidateFinder(taxonomy, attributes, (), (0,), (lift,))
    dense = rng.random((20, 10)).astype(np.float32)
    scores = sp.csr_array(dense)
    weights = JointWeights.initial(0, 1)
    candidates = finder.find(scores, weights)
    best = pick_most_probable(
        compute_posterior(candidates, weights, AllowedChoices.every(candidates))
    )
    columns = candidates.values[0].columns_NV[np.arange(20), best.values[0]]
    assert columns.tolist() == dense.argmax(axis=1).tolist()
    narrow = replace(finder, num_values=3).find(scores, weights)
    assert narrow.values[0].columns_NV.shape == (20, 3)
