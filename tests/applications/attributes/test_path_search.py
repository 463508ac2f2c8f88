"""The search for paths: nothing that has a score is lost, whatever the weights and the number of
values; it equals trying every path.
"""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference import path_beam as slow
from xrt.applications.attributes.decoding.candidates import BEAM, CandidateFinder
from xrt.applications.attributes.decoding.joint_weights import (
    LOWEST,
    JointWeights,
    compute_evidence,
)
from xrt.applications.attributes.decoding.path_beam import PathLevels, find_best_paths
from xrt.applications.attributes.decoding.taxonomy import Taxonomy

WIDTHS = [(2,), (500,), (2, 3), (31, 40), (32, 33), (33, 33, 90), (37, 90, 180), (5, 60, 200, 500)]
"""Values of each level: few and many, both sides of 32."""


def random_taxonomy(rng, widths, open_share=0.0) -> tuple[Taxonomy, np.ndarray]:
    """Paths over `widths` values a level, some of them under two parents, and the first label of
    each level; with `open_share` some paths end early.
    """
    firsts = np.concatenate([[0], np.cumsum(widths)])
    num_rows = 2 * max(widths)
    rows = np.empty((num_rows, len(widths)), np.int32)
    below = np.arange(num_rows) % widths[-1]
    for d in reversed(range(len(widths))):
        rows[:, d] = firsts[d] + below
        if d:
            below = np.where(rng.random(num_rows) < 0.1, below + 1, below) % widths[d - 1]
    for d in range(1, len(widths)):
        rows[rng.random(num_rows) < open_share, d:] = -1
    return Taxonomy.of(rows, [-1] * len(widths)), firsts


def random_weights(rng, depth) -> JointWeights:
    """Weights of all kinds, those that are 0 and those above what they may be among them."""
    levels = np.column_stack([rng.random(depth), rng.random(depth), rng.normal(-2, 3, depth)])
    levels[rng.random(levels.shape) < 0.3] = 0.0
    share = float(rng.random() * 2 * (rng.random() < 0.5))
    return JointWeights(levels, share, -3.0, np.zeros((0, 4)))


def random_scores(rng, num_rows, num_labels, share) -> sp.csr_array:
    """Scores in (0, 1) of a share of the labels, some of them equal."""
    dense = np.round(rng.random((num_rows, num_labels)) ** 4 + 1e-3, 3)
    dense[rng.random(dense.shape) > share] = 0.0
    return sp.csr_array(dense.astype(np.float32))


def finder_of(taxonomy, firsts, **settings) -> CandidateFinder:
    attributes = np.repeat(np.arange(len(firsts) - 1), np.diff(firsts))
    return CandidateFinder(taxonomy, attributes, tuple(range(taxonomy.depth)), (), (), **settings)


def evidence_by_label(scores, row) -> dict[int, np.ndarray]:
    a, b = scores.indptr[row], scores.indptr[row + 1]
    return dict(zip(scores.indices[a:b].tolist(), compute_evidence(scores.data[a:b]), strict=True))


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("seed", range(3))
def test_search_equals_trying_every_path(widths, seed):
    rng = np.random.default_rng([seed, *widths])
    taxonomy, firsts = random_taxonomy(rng, widths, open_share=0.1 * (seed == 2))
    weights = random_weights(rng, len(widths))
    scores = random_scores(rng, 12, firsts[-1], [0.02, 0.2, 0.9][seed])
    shares = [weights.share * taxonomy.log_shares(d) for d in range(len(widths))]
    cells = np.where(rng.random((12, len(widths))) < 0.3 * (seed == 1), 0, -1)
    cells += np.where(cells == 0, taxonomy.paths_PD[rng.integers(0, taxonomy.num_paths, 12)], 0)
    paths, totals = find_best_paths(
        scores, compute_evidence(scores.data), PathLevels.of(taxonomy), weights.levels_D3,
        np.concatenate(shares), BEAM, 16, 8, cells,
    )  # fmt: skip
    of_paths = [shares[d][taxonomy.nodes_PD[:, d]].astype(np.float64) for d in range(len(widths))]
    for row in range(12):
        needed, worths = slow.best_paths(
            evidence_by_label(scores, row), taxonomy.paths_PD, weights.levels_D3, of_paths, 16, 8,
            cells[row],
        )  # fmt: skip
        num = len(needed)
        assert np.allclose(totals[row, :num], worths, atol=1e-6)
        assert set(paths[row, :num].tolist()) == set(needed)
        assert (paths[row, num:] == -1).all()


@pytest.mark.parametrize("beam", [40, 41, 60, BEAM])
def test_a_beam_as_wide_as_the_widest_level_above_the_last_loses_nothing(beam):
    rng = np.random.default_rng(beam)
    taxonomy, firsts = random_taxonomy(rng, (35, 200))
    levels = np.array([[0.4, 0.1, -4.0], [0.6, 0.0, -6.0]])
    weights = JointWeights(levels, 0.3, -3.0, np.zeros((0, 4)))
    scores = random_scores(rng, 50, firsts[-1], 0.1)
    result = finder_of(taxonomy, firsts, beam=beam).find(scores, weights).paths_NM
    every = finder_of(taxonomy, firsts, beam=10**6).find(scores, weights).paths_NM
    assert np.array_equal(result, every)


@pytest.mark.parametrize("widths", WIDTHS)
def test_the_path_with_scores_is_a_candidate_whatever_the_weights(widths):
    rng = np.random.default_rng(widths)
    taxonomy, firsts = random_taxonomy(rng, widths)
    for share in (0.0, 1.0, 30.0):
        weights = replace(random_weights(rng, len(widths)), share=share)
        for beam in (4, 31, 32, BEAM):
            finder = finder_of(taxonomy, firsts, beam=beam)
            needed = rng.integers(0, taxonomy.num_paths, 20)
            columns = taxonomy.paths_PD[needed]
            data = rng.random(columns.shape).astype(np.float32).ravel() + np.float32(0.001)
            where = np.repeat(np.arange(20), len(widths)), columns.ravel()
            scores = sp.csr_array(sp.coo_array((data, where), shape=(20, firsts[-1])))
            result = finder.find(scores, weights).paths_NM
            assert (result == needed[:, None]).any(axis=1).all()
            if not share:
                best = taxonomy.paths_PD[result[:, 0]]
                num_open = np.array([
                    slow.num_open(evidence_by_label(scores, row), best[row]) for row in range(20)
                ])  # fmt: skip
                assert (num_open == 0).all(), "a path without scores came first"


@pytest.mark.parametrize("num_top", [2, 31, 32, 33, 36, 100, 500])
@pytest.mark.parametrize("top", ["first", "last"])
def test_a_sure_value_of_the_first_level_is_not_lost_among_many(num_top, top):
    rows = np.arange(num_top)[:, None] + num_top * np.arange(3)
    taxonomy = Taxonomy.of(rows.astype(np.int32), [-1, -1, -1])
    finder = finder_of(taxonomy, num_top * np.arange(4))
    saved = {
        "levels": [[0.396, 0.0, 0.0], [0.137, 0.221, -1.263], [0.663, 0.335, -5.533]],
        "share": 0.0,
        "other_path": -2.774,
        "free": [],
    }
    row = 0 if top == "first" else num_top - 1
    scores = np.zeros((1, 3 * num_top), np.float32)
    scores[0, rows[row]] = 0.995, 0.995, 0.76
    result = finder.find(sp.csr_array(scores), JointWeights.from_dict(saved, 3, 0))
    assert result.paths_NM[0, 0] == row


@pytest.mark.parametrize("beam", [1, 2, 8, 32])
def test_a_narrow_beam_never_drops_a_node_with_a_score_for_one_without(beam):
    rng = np.random.default_rng(beam)
    taxonomy, firsts = random_taxonomy(rng, (60, 120, 200))
    finder = finder_of(taxonomy, firsts, beam=beam)
    for _ in range(20):
        path = taxonomy.paths_PD[rng.integers(taxonomy.num_paths)]
        scores = np.zeros((1, firsts[-1]), np.float32)
        scores[0, path] = LOWEST  # the least that a score can be
        result = finder.find(sp.csr_array(scores), random_weights(rng, 3))
        assert (taxonomy.paths_PD[result.paths_NM[0]] == path).all(axis=1).any()


def test_a_higher_score_never_moves_a_path_down():
    rng = np.random.default_rng(5)
    taxonomy, firsts = random_taxonomy(rng, (37, 90, 180))
    finder = finder_of(taxonomy, firsts, num_paths=50)
    for _ in range(60):
        weights = random_weights(rng, 3)
        dense = random_scores(rng, 1, firsts[-1], 0.3).toarray()
        before = finder.find(sp.csr_array(dense), weights).paths_NM[0]
        place = int(rng.integers(0, (before >= 0).sum()))
        path = before[place]
        column = taxonomy.paths_PD[path, rng.integers(3)]
        raised = dense.copy()
        raised[0, column] = min(1.0, dense[0, column] + rng.random())
        after = finder.find(sp.csr_array(raised), weights).paths_NM[0]
        assert path in after
        ahead = {int(p) for p in after[: after.tolist().index(path)]} - set(before[:place].tolist())
        others = taxonomy.paths_PD[sorted(ahead)] if ahead else np.zeros((0, 3), np.int32)
        assert (others == column).any(axis=1).all(), "only paths that gained as well may overtake"


@pytest.mark.parametrize(
    "level", [[0.4, 0.0, 0.0], [0.0] * 3, [0.0, 2.0, -1.0], [1.0, 1.0, -30.0], [3.0, 0.0, 9.0]]
)  # fmt: skip
def test_a_label_without_a_score_is_never_worth_more_than_the_lowest_score(level):
    levels = [level]
    least = compute_evidence(np.array([LOWEST]))[0].astype(np.float64)
    built = JointWeights(np.array(levels), 0.0, -3.0, np.zeros((0, 4)))
    loaded = JointWeights.from_dict(built.to_dict() | {"levels": levels}, 1, 0)
    for weights in (built, loaded, JointWeights.from_vector(built.to_vector(), 1, 0)):
        assert weights.levels_D3[0, 2] <= weights.levels_D3[0, :2] @ least
        assert weights.levels_D3[0, :2].tolist() == levels[0][:2]
    assert built.levels_D3[0, 2] == pytest.approx(min(levels[0][2], least[0] * levels[0][0]))


@pytest.mark.parametrize(
    "fault",
    [
        {"levels": [[-0.1, 0.0, -1.0]]},
        {"levels": [[0.1, float("nan"), -1.0]]},
        {"levels": [[0.1, 0.0]]},
        {"share": -1.0},
        {"share": float("inf")},
        {"free": [[1.0, 0.0, -0.5, 0.0]]},
        {"free": [[float("nan"), 0.0, 0.5, 0.0]]},
        {"other_path": "much"},
        {"other_path": None},
        {"levels": None},
    ],
)
def test_saved_weights_that_cannot_be_are_refused(fault):
    sound = JointWeights.initial(1, 1).to_dict()
    JointWeights.from_dict(sound, 1, 1)
    with pytest.raises((ValueError, TypeError)):
        JointWeights.from_dict(sound | fault, 1, 1)


def test_an_open_level_has_the_score_of_the_level_above():
    taxonomy = Taxonomy.of(np.array([[0, 2, 4], [0, 3, -1], [1, -1, -1]], np.int32), [-1, -1, -1])
    assert taxonomy.scored_PD.tolist() == [[0, 2, 4], [0, 3, 3], [1, 1, 1]]
    finder = finder_of(taxonomy, np.array([0, 2, 4, 5]))
    scores = np.array([[0.9, 0.1, 0.1, 0.8, 0.2], [0.1, 0.9, 0.1, 0.1, 0.1]], np.float32)
    result = finder.find(sp.csr_array(scores), JointWeights.initial(3, 0))
    assert result.paths_NM[:, 0].tolist() == [1, 2]
    logs = np.log(np.array([0.9, 0.8, 0.8], np.float32))
    assert result.evidence_NMK[0, 0, [0, 3, 6]].tolist() == pytest.approx(logs.tolist(), abs=1e-6)
    assert not result.evidence_NMK[0, 0, [2, 5, 8]].any()
