import numpy as np
import pytest
import scipy.sparse as sp

from xrt.encoder.bootstrap import Above, Sample, centroid_head, sample_rows, start_head
from xrt.encoder.heads import prior_log_odds
from xrt.encoder.loss_params import LossParams, MatcherLoss
from xrt.encoder.params import Bootstrap, MatcherParams
from xrt.hybrid import unit_rows
from xrt.tree.label_tree import LabelTree

# labels 0 3 | 1 4 | 2 5 below three clusters
TREE = LabelTree.from_clusters(np.array([0, 1, 2, 0, 1, 2], np.int32), [np.zeros(3, np.int32)])
Y = sp.csr_array(np.array([[1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]], np.float32))


def test_an_inheriting_child_scores_its_parent_times_its_share():
    targets = TREE.level_targets(Y)
    head = (np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0.1, 0.2, 0.3], np.float32))
    above = Above(targets[0], head)
    hinge = MatcherParams(
        loss=LossParams(kind=MatcherLoss.squared_hinge), bootstrap=Bootstrap.inherit
    )
    bce = MatcherParams(bootstrap=Bootstrap.inherit)
    W, b = start_head(targets[1], above, None, TREE, 1, 2, hinge)
    assert W.tolist() == head[0][[0, 1, 2, 0, 1, 2]].tolist()
    np.testing.assert_allclose(b, head[1][[0, 1, 2, 0, 1, 2]])
    _, b_bce = start_head(targets[1], above, None, TREE, 1, 2, bce)
    assert b_bce[1] == pytest.approx(0.2)  # cluster 1 is label 1 alone here
    assert b_bce[4] < b_bce[1]  # a label nobody has


def test_a_linear_start_ranks_separable_nodes_rightly():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 6
    E = (np.eye(6)[labels] + 0.1 * rng.normal(size=(60, 6))).astype(np.float32)
    Y_NL = sp.csr_array(np.eye(6, dtype=np.float32)[labels])
    targets = TREE.level_targets(Y_NL)
    params, sample = MatcherParams(bootstrap=Bootstrap.linear), Sample(np.arange(60), E)
    W, b = start_head(targets[0], None, sample, TREE, 0, 6, params)
    clusters = TREE.parents[1][labels]
    assert ((E @ W.T + b).argmax(1) == clusters).all()
    W, b = start_head(targets[1], Above(targets[0], None), sample, TREE, 1, 6, params)
    logits = E @ W.T + b
    siblings = TREE.parents[1][None, :] == clusters[:, None]
    assert (np.where(siblings, logits, -np.inf).argmax(1) == labels).all()


def test_centroids_rank_rows_near_them_and_stand_at_the_prior_in_the_middle():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 6
    E = unit_rows(np.eye(6)[labels] + 0.1 * rng.normal(size=(60, 6)))
    Y_NL = sp.csr_array(np.eye(7, dtype=np.float32)[labels])  # the seventh label has no row
    prior = prior_log_odds(np.bincount(labels, minlength=7), 60)
    W, b = centroid_head(E, Y_NL, prior)
    assert ((E @ W.T + b).argmax(1) == labels).all()
    np.testing.assert_allclose(W @ E.mean(0) + b, prior, atol=1e-4)
    assert not W[6].any()
    params = MatcherParams(bootstrap=Bootstrap.centroid)
    same = start_head(Y_NL, None, Sample(np.arange(60), E), TREE, 0, 6, params)
    assert np.array_equal(same[0], W)


def test_without_a_sample_the_start_is_small_and_random_at_the_prior():
    W, b = start_head(Y, None, None, TREE, 1, 8, MatcherParams(head_scale=5.0))
    assert W.shape == (6, 8)
    assert 0.05 < W.std() < 0.15  # five times 0.02
    np.testing.assert_allclose(b, prior_log_odds(np.array([1, 1, 0, 1, 0, 1]), 3))


def test_a_sample_has_each_label_often_enough_and_is_the_same_for_a_seed():
    rng = np.random.default_rng(3)
    Y_NL = sp.csr_array((rng.random((200, 20)) < 0.05).astype(np.float32))
    rows = sample_rows(Y_NL, 2, seed=1)
    counts, all_counts = Y_NL[rows].sum(0), Y_NL.sum(0)
    assert (counts >= np.minimum(all_counts, 2)).all()
    assert len(rows) <= 40
    assert (np.diff(rows) > 0).all()
    assert np.array_equal(rows, sample_rows(Y_NL, 2, seed=1))
    assert not np.array_equal(rows, sample_rows(Y_NL, 2, seed=2))
