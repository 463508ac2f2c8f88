"""The loss of a level: one binary problem for each candidate node of each row.

Shapes: B rows, K nodes, E ragged entries. Targets are what a right node's loss is multiplied by, 0
for a wrong one. Only candidates count: no padded slot adds to the sum or to a denominator.
"""

import torch
from torch import Tensor
from torch.nn import functional

from xrt.encoder.loss_params import LossParams, MatcherLoss, RowReduction


def entry_losses(
    logits: Tensor, targets: Tensor, params: LossParams, all_ones: bool = False
) -> Tensor:
    """Weighted loss of every entry, of the inputs' shape, float32.

    `all_ones` says that no target is other than 0 or 1, which saves a product.
    """
    logits, positive = logits.float(), targets > 0
    if params.kind is MatcherLoss.bce:
        losses = _bce(logits, positive.to(logits.dtype))
    elif params.kind is MatcherLoss.asymmetric:
        losses = torch.where(
            positive, _focused(logits, params.gamma_positive), _shifted(logits, params)
        )
    else:
        losses = torch.where(positive, 1.0 - logits, 1.0 + logits).clamp(min=0).square()
    if not all_ones:
        losses = torch.where(positive, targets * losses, losses)
    if params.negative_weight != 1.0:
        losses = torch.where(positive, losses, params.negative_weight * losses)
    return losses


def _bce(logits: Tensor, right: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, right, reduction="none")


def _focused(logits: Tensor, gamma: float) -> Tensor:
    """-(1 - p)^gamma log p, p the sigmoid of the logits."""
    losses = _bce(logits, torch.ones_like(logits))
    return losses * torch.sigmoid(-logits).pow(gamma) if gamma else losses


def _shifted(logits: Tensor, params: LossParams) -> Tensor:
    """-q^gamma log(1 - q), q = max(0, p - margin): the asymmetric loss of a wrong node, whose
    gradient is 0 below the margin. Ridnik et al., Asymmetric Loss for Multi-Label Classification,
    2021, equations 4 to 6.
    """
    if not params.margin:
        losses, shifted = _bce(logits, torch.zeros_like(logits)), torch.sigmoid(logits)
    else:
        shifted = (torch.sigmoid(logits) - params.margin).clamp(min=0)
        losses = -torch.log1p(-shifted)
    return losses * shifted.pow(params.gamma_negative) if params.gamma_negative else losses


def row_losses_dense(
    logits_BK: Tensor, targets_BK: Tensor, params: LossParams, all_ones: bool = False
) -> Tensor:
    """Loss of each row when all nodes are candidates: (B,)."""
    losses_BK = entry_losses(logits_BK, targets_BK, params, all_ones)
    return losses_BK.sum(1) if params.row_reduction is RowReduction.sum else losses_BK.mean(1)


def row_losses_ragged(
    logits_E: Tensor,
    targets_E: Tensor,
    rows_E: Tensor,
    num_rows: int,
    params: LossParams,
    all_ones: bool = False,
) -> Tensor:
    """Loss of each row over its own candidates: (B,); a row without candidates has loss 0."""
    losses_E = entry_losses(logits_E, targets_E, params, all_ones)
    sums_B = losses_E.new_zeros(num_rows).index_add(0, rows_E, losses_E)
    if params.row_reduction is RowReduction.sum:
        return sums_B
    return sums_B / torch.bincount(rows_E, minlength=num_rows).clamp(min=1)
