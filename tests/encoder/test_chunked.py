"""The chunked one-vs-all head is the whole one."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from xrt.encoder.chunked import row_losses_chunked
from xrt.encoder.heads import LabelHead
from xrt.encoder.levels import LevelTargets
from xrt.encoder.loss import row_losses_dense
from xrt.encoder.loss_params import LossParams, MatcherLoss, PositiveWeight, RowReduction

NUM_ROWS, NUM_NODES, WIDTH = 6, 23, 5


def batch(seed: int = 0) -> tuple[torch.Tensor, LabelHead, LevelTargets, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    head = LabelHead(NUM_NODES, WIDTH).double()
    with torch.no_grad():
        head.weight.copy_(torch.randn(NUM_NODES, WIDTH, generator=generator))
        head.bias.copy_(torch.randn(NUM_NODES, generator=generator))
    pooled = torch.randn(NUM_ROWS, WIDTH, generator=generator, dtype=torch.float64)
    dense = torch.randint(0, 3, (NUM_ROWS, NUM_NODES), generator=generator).double()
    dense[:, 7:14] = 0  # a chunk without a positive
    rows, nodes = dense.nonzero(as_tuple=True)
    shuffled = torch.randperm(len(rows), generator=generator)
    targets = LevelTargets(rows[shuffled], nodes[shuffled], dense[rows, nodes][shuffled], True)
    return pooled.requires_grad_(), head, targets, dense


@pytest.mark.parametrize("kind", list(MatcherLoss))
@pytest.mark.parametrize("reduction", list(RowReduction))
@pytest.mark.parametrize("chunk", [1, 7, 23, 1000])
def test_loss_and_gradients_are_those_of_the_whole_level(kind, reduction, chunk):
    params = LossParams(
        kind=kind, row_reduction=reduction, positive_weight=PositiveWeight.num_labels,
        negative_weight=0.5,
    )  # fmt: skip
    pooled, head, targets, dense = batch()
    row_weights = torch.linspace(0.1, 2.0, NUM_ROWS, dtype=torch.float64)
    found, wanted = [], []
    for gathered in (found, wanted):
        pooled.grad = head.weight.grad = head.bias.grad = None
        if gathered is found:
            losses = row_losses_chunked(pooled, head.weight, head.bias, targets, params, chunk)
        else:
            losses = row_losses_dense(head(pooled), dense, params)
        (losses * row_weights).sum().backward()
        gathered += [losses.detach(), pooled.grad, head.weight.grad, head.bias.grad]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.float(), other.float(), atol=1e-5, rtol=1e-5)


def test_under_autocast_products_are_rounded_and_sums_are_not():
    params = LossParams()
    pooled, head, targets, dense = batch()
    pooled, head = pooled.detach().float().requires_grad_(), head.float()
    targets = LevelTargets(*targets[:2], targets.values_E.float(), True)
    exact = row_losses_dense(head(pooled), dense.float(), params)
    with torch.autocast("cpu", torch.bfloat16):
        losses = row_losses_chunked(pooled, head.weight, head.bias, targets, params, 4)
        losses.sum().backward()
    assert losses.dtype == head.weight.grad.dtype == torch.float32
    torch.testing.assert_close(losses, exact, atol=0.5, rtol=2e-2)
    assert not torch.equal(losses, exact)


def test_sums_over_chunks_are_exact_where_the_encoder_gives_bf16():
    """A bf16 sum stands still once a chunk is below a 256th of it."""
    generator = torch.Generator().manual_seed(0)
    low = torch.randn(4, 8, generator=generator).bfloat16()
    head = LabelHead.of_arrays(
        torch.randn(4096, 8, generator=generator).bfloat16().float().numpy(), np.zeros(4096)
    )
    none = torch.zeros(0, dtype=torch.long)
    targets = LevelTargets(none, none, torch.zeros(0), True)
    found = []
    for pooled in (low.requires_grad_(), low.detach().float().requires_grad_()):
        with torch.autocast("cpu", torch.bfloat16):
            losses = row_losses_chunked(
                pooled, head.weight, head.bias, targets, LossParams(), chunk=4
            )
        losses.sum().backward()
        found += [losses.detach(), pooled.grad.float()]
    assert found[0].dtype == torch.float32
    assert torch.equal(found[0], found[2])
    torch.testing.assert_close(found[1], found[3], atol=0, rtol=2**-8)


class LargestTensor(TorchDispatchMode):
    """The most elements that any operation gave back."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            self.numel = max(self.numel, found.numel())
        return found


def test_no_tensor_has_a_place_for_every_row_and_node():
    num_rows, num_nodes, width, chunk = 64, 4096, 2, 128
    head = LabelHead(num_nodes, width)
    pooled = torch.ones(num_rows, width, requires_grad=True)
    rows = torch.arange(num_rows)
    targets = LevelTargets(rows, rows * 63, torch.ones(num_rows), True)
    with LargestTensor() as largest:
        row_losses_chunked(
            pooled, head.weight, head.bias, targets, LossParams(), chunk
        ).sum().backward()
    assert head.weight.grad is not None
    assert largest.numel <= max(num_rows * chunk, num_nodes * width)
