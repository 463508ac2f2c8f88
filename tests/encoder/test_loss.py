import numpy as np
import torch

from tests.reference.matcher_loss import row_loss
from xrt.encoder.loss import row_losses_dense, row_losses_ragged


def ragged_batch(seed: int = 0):
    """Rows of 0, 1, 7 and 40 candidates: the widest must not touch the others."""
    rng = np.random.default_rng(seed)
    widths = [0, 1, 7, 40]
    logits = [rng.normal(size=w).astype(np.float32) * 2 for w in widths]
    targets = [rng.integers(0, 5, w).astype(np.float32) / 2 for w in widths]
    rows = np.repeat(np.arange(4), widths)
    flat = (torch.from_numpy(np.concatenate(part)) for part in (logits, targets))
    return logits, targets, *flat, torch.from_numpy(rows)


def test_ragged_loss_is_that_of_each_row_alone():
    logits, targets, flat_logits, flat_targets, rows = ragged_batch()
    found = row_losses_ragged(flat_logits, flat_targets, rows, 4)
    wanted = [row_loss(z.tolist(), y.tolist()) for z, y in zip(logits, targets, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_all_nodes_as_candidates_is_the_dense_loss():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 9, generator=generator)
    targets = torch.randint(0, 3, (5, 9), generator=generator).float()
    rows = torch.arange(5).repeat_interleave(9)
    ragged = row_losses_ragged(logits.flatten(), targets.flatten(), rows, 5)
    torch.testing.assert_close(ragged, row_losses_dense(logits, targets))


def test_a_wide_neighbour_leaves_the_gradient_of_a_narrow_row_as_it_is():
    *_, logits, targets, rows = ragged_batch()
    logits.requires_grad_()
    row_losses_ragged(logits, targets, rows, 4).sum().backward()
    alone = logits.detach()[rows == 2].requires_grad_()
    own = torch.zeros(7, dtype=torch.long)
    row_losses_ragged(alone, targets[rows == 2], own, 1).sum().backward()
    torch.testing.assert_close(logits.grad[rows == 2], alone.grad)


def test_targets_that_are_all_one_change_no_bit_of_loss_or_gradient():
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(0, 2, (5, 9), generator=generator).float()
    found = []
    for all_ones in (False, True):
        logits = torch.randn(5, 9, generator=torch.Generator().manual_seed(2)).requires_grad_()
        losses = row_losses_dense(logits, targets, all_ones)
        losses.sum().backward()
        found.append((losses, logits.grad))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
