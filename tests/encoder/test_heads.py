import numpy as np
import scipy.sparse as sp
import torch

from xrt.encoder.heads import LevelHead, centroid_head, prior_log_odds, sample_rows
from xrt.hybrid import unit_rows


def ragged_head():
    generator = torch.Generator().manual_seed(0)
    head = LevelHead(50, 8)
    torch.nn.init.normal_(head.weight, generator=generator)
    torch.nn.init.normal_(head.bias, generator=generator)
    pooled = torch.randn(4, 8, generator=generator)
    rows = torch.tensor([0, 0, 1, 3, 3, 3])  # row 2 has no candidate
    nodes = torch.tensor([7, 49, 7, 0, 7, 20])
    return head, pooled, rows, nodes


def test_candidate_logits_are_the_dense_ones_gathered():
    head, pooled, rows, nodes = ragged_head()
    torch.testing.assert_close(head.at(pooled, rows, nodes), head(pooled)[rows, nodes])


def test_gradients_of_candidates_are_those_of_the_dense_head():
    head, pooled, rows, nodes = ragged_head()
    weights = torch.arange(1.0, 7.0)
    grads = []
    for logits in (head.at(pooled, rows, nodes), head(pooled)[rows, nodes]):
        grads.append(torch.autograd.grad((weights * logits).sum(), list(head.parameters())))
    for found, wanted in zip(*grads, strict=True):
        torch.testing.assert_close(found, wanted)
    assert (grads[0][0][1] == 0).all()  # a node that is nobody's candidate


def test_no_candidates_at_all_gives_no_logits_but_a_gradient_path():
    head, pooled, _, _ = ragged_head()
    empty = torch.zeros(0, dtype=torch.long)
    logits = head.at(pooled, empty, empty)
    assert logits.shape == (0,)
    logits.sum().backward()
    for parameter in head.parameters():
        assert (parameter.grad == 0).all()


def test_prior_log_odds_make_the_sigmoid_the_frequency():
    odds = prior_log_odds(np.array([0, 500, 999_999]), 1_000_000)
    frequency = 1 / (1 + np.exp(-odds.astype(np.float64)))
    np.testing.assert_allclose(frequency[1], 500e-6, rtol=1e-2)
    assert np.isfinite(odds).all()


def test_arrays_go_there_and_back():
    head, *_ = ragged_head()
    again = LevelHead.of_arrays(*head.arrays())
    assert torch.equal(again.weight, head.weight)
    assert torch.equal(again.bias, head.bias)


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
