import numpy as np
import pytest
import torch

from xrt.encoder.heads import LabelHead, prior_log_odds


def ragged_head(row_wise: bool = False):
    generator = torch.Generator().manual_seed(0)
    head = LabelHead(50, 8, row_wise)
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


def test_gradients_of_a_row_wise_head_are_those_of_the_nodes_looked_at():
    grads = []
    for row_wise in (True, False):
        head, pooled, rows, nodes = ragged_head(row_wise)
        (torch.arange(1.0, 7.0) * head.at(pooled, rows, nodes)).sum().backward()
        grads.append([parameter.grad for parameter in head.parameters()])
    for found, wanted in zip(*grads, strict=True):
        assert found.coalesce().indices().tolist() == [[0, 7, 20, 49]]
        torch.testing.assert_close(found.to_dense(), wanted)


@pytest.mark.parametrize("row_wise", [False, True])
def test_no_candidates_at_all_gives_no_logits_but_a_gradient_path(row_wise):
    head, pooled, _, _ = ragged_head(row_wise)
    empty = torch.zeros(0, dtype=torch.long)
    logits = head.at(pooled, empty, empty)
    assert logits.shape == (0,)
    logits.sum().backward()
    for parameter in head.parameters():
        grad = parameter.grad.to_dense() if row_wise else parameter.grad
        assert (grad == 0).all()


def test_prior_log_odds_make_the_sigmoid_the_frequency():
    odds = prior_log_odds(np.array([0, 500, 999_999]), 1_000_000)
    frequency = 1 / (1 + np.exp(-odds.astype(np.float64)))
    np.testing.assert_allclose(frequency[1], 500e-6, rtol=1e-2)
    assert np.isfinite(odds).all()


def test_arrays_go_there_and_back():
    head, *_ = ragged_head()
    again = LabelHead.of_arrays(*head.arrays())
    assert torch.equal(again.weight, head.weight)
    assert torch.equal(again.bias, head.bias)
