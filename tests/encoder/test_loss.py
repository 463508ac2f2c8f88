import numpy as np
import pytest
import torch

from tests.reference.matcher_loss import asymmetric_loss, row_loss
from xrt.encoder.loss import entry_losses, row_losses_dense, row_losses_ragged
from xrt.encoder.loss_params import LossParams, MatcherLoss, RowReduction
from xrt.errors import ConfigError

CASES = [
    (kind, reduction, negative)
    for kind in MatcherLoss
    for reduction in RowReduction
    for negative in (1.0, 0.5)
]


def ragged_batch(seed: int = 0):
    """Rows of 0, 1, 7 and 40 candidates: the widest must not touch the others."""
    rng = np.random.default_rng(seed)
    widths = [0, 1, 7, 40]
    logits = [rng.normal(size=w).astype(np.float32) * 2 for w in widths]
    targets = [rng.integers(0, 5, w).astype(np.float32) / 2 for w in widths]
    rows = np.repeat(np.arange(4), widths)
    flat = (torch.from_numpy(np.concatenate(part)) for part in (logits, targets))
    return logits, targets, *flat, torch.from_numpy(rows)


@pytest.mark.parametrize(("kind", "reduction", "negative"), CASES)
def test_ragged_loss_is_that_of_each_row_alone(kind, reduction, negative):
    params = LossParams(kind=kind, row_reduction=reduction, negative_weight=negative)
    logits, targets, flat_logits, flat_targets, rows = ragged_batch()
    found = row_losses_ragged(flat_logits, flat_targets, rows, 4, params)
    wanted = [
        row_loss(z.tolist(), y.tolist(), kind.value, reduction.value, negative)
        for z, y in zip(logits, targets, strict=True)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "reduction", "negative"), CASES)
def test_all_nodes_as_candidates_is_the_dense_loss(kind, reduction, negative):
    params = LossParams(kind=kind, row_reduction=reduction, negative_weight=negative)
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


@pytest.mark.parametrize("kind", MatcherLoss)
def test_targets_that_are_all_one_change_no_bit_of_loss_or_gradient(kind):
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(0, 2, (5, 9), generator=generator).float()
    found = []
    for all_ones in (False, True):
        logits = torch.randn(5, 9, generator=torch.Generator().manual_seed(2)).requires_grad_()
        losses = row_losses_dense(logits, targets, LossParams(kind=kind), all_ones)
        losses.sum().backward()
        found.append((losses, logits.grad))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_a_weight_of_zero_is_refused():
    with pytest.raises(ConfigError, match="negative_weight"):
        LossParams(negative_weight=0.0)


ASYMMETRIC = {"kind": MatcherLoss.asymmetric}


@pytest.mark.parametrize(
    ("field", "value"), [("gamma_positive", -1.0), ("gamma_negative", 0.5), ("margin", 1.0)]
)
def test_bad_settings_of_the_asymmetric_loss_are_named(field, value):
    with pytest.raises(ConfigError, match=f"loss.{field}"):
        LossParams(**{field: value})


@pytest.mark.parametrize("settings", [(0.0, 4.0, 0.05), (1.0, 0.0, 0.2), (2.0, 3.0, 0.0)])
def test_the_asymmetric_loss_is_the_papers(settings):
    names = ("gamma_positive", "gamma_negative", "margin")
    params = LossParams(**ASYMMETRIC, **dict(zip(names, settings, strict=True)))
    logits = torch.linspace(-6, 6, 13)
    for right in (0.0, 1.0):
        found = entry_losses(logits, torch.full((13,), right), params)
        wanted = [asymmetric_loss(z, right > 0, *settings) for z in logits.tolist()]
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-6)


def test_without_focus_and_margin_it_is_bce():
    params = LossParams(**ASYMMETRIC, gamma_positive=0.0, gamma_negative=0.0, margin=0.0)
    logits, targets = torch.linspace(-60, 60, 25), torch.arange(25.0) % 2
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    assert torch.equal(entry_losses(logits, targets, params), bce)


@pytest.mark.parametrize("settings", [(0.0, 4.0, 0.05), (1.0, 2.0, 0.2), (2.0, 1.0, 0.0)])
@pytest.mark.parametrize("right", [False, True])
def test_the_gradient_of_the_asymmetric_loss_is_its_slope(settings, right):
    names = ("gamma_positive", "gamma_negative", "margin")
    params = LossParams(**ASYMMETRIC, **dict(zip(names, settings, strict=True)))
    logits = torch.tensor([-7.0, -3.0, -2.0, -0.5, 0.0, 0.5, 2.0, 7.0]).requires_grad_()
    entry_losses(logits, torch.full((8,), float(right)), params).sum().backward()
    h = 1e-5
    wanted = [
        (asymmetric_loss(z + h, right, *settings) - asymmetric_loss(z - h, right, *settings))
        / (2 * h)
        for z in logits.tolist()
    ]
    np.testing.assert_allclose(logits.grad, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_gradients_of_the_asymmetric_loss_are_finite_however_sure_the_matcher_is(margin):
    params = LossParams(**ASYMMETRIC, gamma_positive=1.0, gamma_negative=4.0, margin=margin)
    logits = torch.tensor([-200.0, -30.0, 0.0, 30.0, 200.0]).repeat(2).requires_grad_()
    targets = torch.tensor([0.0] * 5 + [1.0] * 5)
    entry_losses(logits, targets, params).sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[:5] >= 0).all()
    assert (logits.grad[5:] <= 0).all()
