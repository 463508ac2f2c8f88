import numpy as np
import pytest
import torch

from tests.reference.matcher_loss import row_loss
from xrt.encoder.loss import row_losses_dense, row_losses_ragged
from xrt.encoder.params import LossParams, MatcherLoss, PositiveWeight, RowReduction
from xrt.errors import ConfigError

CASES = [
    (kind, reduction, weight, negative)
    for kind in MatcherLoss
    for reduction in RowReduction
    for weight, negative in ((PositiveWeight.one, 1.0), (PositiveWeight.num_labels, 0.5))
]


def ragged_batch(seed: int = 0):
    """Rows of 0, 1, 7 and 40 candidates: the widest must not touch the others."""
    rng = np.random.default_rng(seed)
    widths = [0, 1, 7, 40]
    logits = [rng.normal(size=w).astype(np.float32) * 2 for w in widths]
    targets = [rng.integers(0, 3, w).astype(np.float32) for w in widths]
    rows = np.repeat(np.arange(4), widths)
    flat = (torch.from_numpy(np.concatenate(part)) for part in (logits, targets))
    return logits, targets, *flat, torch.from_numpy(rows)


@pytest.mark.parametrize(("kind", "reduction", "weight", "negative"), CASES)
def test_ragged_loss_is_that_of_each_row_alone(kind, reduction, weight, negative):
    params = LossParams(kind=kind, row_reduction=reduction, positive_weight=weight,
                        negative_weight=negative)  # fmt: skip
    logits, targets, flat_logits, flat_targets, rows = ragged_batch()
    found = row_losses_ragged(flat_logits, flat_targets, rows, 4, params)
    wanted = [
        row_loss(z.tolist(), y.tolist(), kind.value, reduction.value, weight.value, negative)
        for z, y in zip(logits, targets, strict=True)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "reduction", "weight", "negative"), CASES)
def test_all_nodes_as_candidates_is_the_dense_loss(kind, reduction, weight, negative):
    params = LossParams(kind=kind, row_reduction=reduction, positive_weight=weight,
                        negative_weight=negative)  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 9, generator=generator)
    targets = torch.randint(0, 3, (5, 9), generator=generator).float()
    rows = torch.arange(5).repeat_interleave(9)
    ragged = row_losses_ragged(logits.flatten(), targets.flatten(), rows, 5, params)
    torch.testing.assert_close(ragged, row_losses_dense(logits, targets, params))


def test_a_wide_neighbour_leaves_the_gradient_of_a_narrow_row_as_it_is():
    params = LossParams(kind=MatcherLoss.squared_hinge, row_reduction=RowReduction.mean)
    *_, logits, targets, rows = ragged_batch()
    logits.requires_grad_()
    row_losses_ragged(logits, targets, rows, 4, params).sum().backward()
    alone = logits.detach()[rows == 2].requires_grad_()
    row_losses_ragged(alone, targets[rows == 2], torch.zeros(7, dtype=torch.long), 1,
                      params).sum().backward()  # fmt: skip
    torch.testing.assert_close(logits.grad[rows == 2], alone.grad)


def test_a_weight_of_zero_is_refused():
    with pytest.raises(ConfigError, match="negative_weight"):
        LossParams(negative_weight=0.0)
