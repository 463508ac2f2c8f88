"""The loss of a level: one binary problem for each candidate node of each row.

Shapes: B rows, K nodes, E ragged entries. Targets are how much label weight lies below a node (0 = none):
above 0 the node is right. Only candidates count: no padded slot adds to the sum or to a denominator.
"""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor
from torch.nn import functional

from xrt.errors import ConfigError


class MatcherLoss(str, Enum):
    """Loss of one node for one row, at logit z and y = +1 (right) or -1 (wrong)."""

    bce = "bce"  # log(1 + exp(-y z))
    squared_hinge = "squared_hinge"  # max(0, 1 - y z)^2


class RowReduction(str, Enum):
    """How the losses of a row's candidates become the row's loss."""

    sum = "sum"
    mean = "mean"  # over the row's own candidates, however many others have


class PositiveWeight(str, Enum):
    """Weight of a right node."""

    one = "one"
    num_labels = "num_labels"  # its target: how many of the row's labels lie below it


@dataclass(frozen=True, kw_only=True)
class LossParams:
    """Loss of the matcher: per candidate, summed over a row's candidates, averaged over rows."""

    kind: MatcherLoss = MatcherLoss.bce
    row_reduction: RowReduction = RowReduction.sum
    positive_weight: PositiveWeight = PositiveWeight.one
    negative_weight: float = 1.0
    """Weight of a wrong node."""

    def __post_init__(self) -> None:
        if self.negative_weight <= 0:
            raise ConfigError(f"loss.negative_weight = {self.negative_weight}: must be above 0")


def entry_losses(logits: Tensor, targets: Tensor, params: LossParams) -> Tensor:
    """Weighted loss of every entry, of the inputs' shape, float32."""
    logits, positive = logits.float(), targets > 0
    if params.kind is MatcherLoss.bce:
        losses = functional.binary_cross_entropy_with_logits(
            logits, positive.to(logits.dtype), reduction="none"
        )
    else:
        losses = torch.where(positive, 1.0 - logits, 1.0 + logits).clamp(min=0).square()
    if params.positive_weight is PositiveWeight.num_labels:
        losses = torch.where(positive, targets * losses, losses)
    if params.negative_weight != 1.0:
        losses = torch.where(positive, losses, params.negative_weight * losses)
    return losses


def row_losses_dense(logits_BK: Tensor, targets_BK: Tensor, params: LossParams) -> Tensor:
    """Loss of each row when all nodes are candidates: (B,)."""
    losses_BK = entry_losses(logits_BK, targets_BK, params)
    return losses_BK.sum(1) if params.row_reduction is RowReduction.sum else losses_BK.mean(1)


def row_losses_ragged(
    logits_E: Tensor, targets_E: Tensor, rows_E: Tensor, num_rows: int, params: LossParams
) -> Tensor:
    """Loss of each row over its own candidates: (B,); a row without candidates has loss 0."""
    losses_E = entry_losses(logits_E, targets_E, params)
    sums_B = losses_E.new_zeros(num_rows).index_add(0, rows_E, losses_E)
    if params.row_reduction is RowReduction.sum:
        return sums_B
    return sums_B / torch.bincount(rows_E, minlength=num_rows).clamp(min=1)
