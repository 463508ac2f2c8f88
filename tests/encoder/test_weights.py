"""Confidences of labels and weights of rows in the matcher's loss."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from tests.encoder.matcher_run import corpus
from xrt.encoder.batches import BatchPlan
from xrt.encoder.heads import centroid_head
from xrt.encoder.levels import LevelData
from xrt.encoder.loss import row_losses_dense
from xrt.encoder.matcher import LevelBatches
from xrt.encoder.params import EncoderParams, MatcherParams, Precision, TrainerParams
from xrt.encoder.tokens import TokenStore
from xrt.encoder.training import fine_tune_matcher
from xrt.hybrid import unit_rows
from xrt.tree.label_tree import LabelTree

# labels 0 3 | 1 4 | 2 5 below three clusters
TREE = LabelTree.from_clusters(np.array([0, 1, 2, 0, 1, 2], np.int32), [np.zeros(3, np.int32)])
DOUBTED = sp.csr_array(np.array([[0.5, 0, 0, 0.75, 0, 0], [0, 1, 0, 0, 0, 0.25]], np.float32))


def test_a_cluster_weighs_as_its_surest_label():
    clusters, labels = TREE.level_confidences(DOUBTED)
    assert clusters.toarray().tolist() == [[0.75, 0, 0], [0, 1, 0.25]]
    np.testing.assert_array_equal(labels.toarray(), DOUBTED.toarray())


@pytest.mark.parametrize("M", [None, sp.csr_array(np.ones((2, 3), np.float32))])
def test_a_batch_knows_whether_all_its_targets_are_one(M):
    rows = np.arange(2)
    doubted = LevelData(DOUBTED, M, TREE, 1).of_rows(rows)
    assert not doubted.all_ones
    assert set(doubted.values_E.tolist()) - {0.0} == {0.25, 0.5, 0.75, 1.0}
    sure = LevelData(sp.csr_array(DOUBTED.toarray() > 0).astype(np.float32), M, TREE, 1)
    assert sure.of_rows(rows).to(torch.device("cpu")).all_ones


def batches(weights, rank=0, world_size=1):
    tokens = TokenStore(np.arange(12, dtype=np.int32), np.arange(0, 13, 2), 2, 0, 0)
    problem = LevelData(sp.csr_array(np.eye(6, dtype=np.float32)), None, TREE, 1)
    found = LevelBatches(tokens, [problem], BatchPlan(tokens.lengths, 100, 6, 0), weights)
    found.rank, found.world_size = rank, world_size
    return next(iter(found))


def test_a_row_of_weight_two_has_the_gradient_of_two_rows():
    weights = np.array([2, 1, 1, 3, 1, 1], np.float32)
    batch = batches(weights)
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    targets = torch.eye(6)
    found, wanted = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    losses = row_losses_dense(found[batch.rows], targets[batch.rows])
    (losses * batch.row_weights_B).sum().backward()
    repeated = np.repeat(np.arange(6), weights.astype(int))
    row_losses_dense(wanted[repeated], targets[repeated]).mean().backward()
    torch.testing.assert_close(found.grad, wanted.grad)


def test_weights_all_alike_are_no_weights_to_the_bit():
    plain = batches(None).row_weights_B
    assert torch.equal(batches(np.full(6, 2.5, np.float32)).row_weights_B, plain)
    assert torch.equal(plain, torch.full((6,), 1 / 6))


def test_shares_of_processes_have_the_mean_of_the_whole_step():
    weights = np.array([2, 1, 1, 3, 1, 0.5], np.float32)
    whole = batches(weights)
    by_row = dict(zip(whole.rows.tolist(), whole.row_weights_B.tolist(), strict=True))
    for rank in range(2):
        part = batches(weights, rank, 2)
        for row, weight in zip(part.rows.tolist(), part.row_weights_B.tolist(), strict=True):
            assert weight / 2 == pytest.approx(by_row[row])


def test_a_centroid_is_the_weighted_mean_of_its_rows():
    rng = np.random.default_rng(0)
    E, prior = unit_rows(rng.normal(size=(20, 4))), np.zeros(6, np.float32)
    Y = sp.csr_array((rng.random((20, 6)) < 0.4) * rng.uniform(0.1, 1, (20, 6)), dtype=np.float32)
    weights = rng.uniform(0.5, 2, 20).astype(np.float32)
    W, _ = centroid_head(E, Y, prior, weights)
    wanted = (Y.toarray() * weights[:, None]).T @ (E - E.mean(0))
    np.testing.assert_allclose(unit_rows(W), unit_rows(wanted), atol=1e-5)


def test_the_matcher_trains_on_weights_and_ones_change_no_byte(tmp_path):
    texts, Y_NL, tree = corpus()

    def weights_of(name, Y_NL, row_weights=None):
        result = fine_tune_matcher(
            texts, Y_NL, tree, run_folder=tmp_path / name,
            encoder=EncoderParams(name="tiny-random", max_length=16),
            params=MatcherParams(num_epochs=1, token_budget=512),
            trainer=TrainerParams(accelerator="cpu", devices=1, precision=Precision.fp32),
            row_weights=row_weights,
        )  # fmt: skip
        return result.heads[-1][0]

    plain = weights_of("plain", Y_NL)
    np.testing.assert_array_equal(weights_of("ones", Y_NL, np.ones(96)), plain)
    rng = np.random.default_rng(0)
    doubted = Y_NL.copy()
    doubted.data = rng.uniform(0.1, 1, Y_NL.nnz).astype(np.float32)
    assert not np.array_equal(weights_of("doubted", doubted), plain)
    # the folder of another run is not taken up where only the weights of rows are new
    assert not np.array_equal(weights_of("plain", Y_NL, rng.uniform(0.2, 2, 96)), plain)
