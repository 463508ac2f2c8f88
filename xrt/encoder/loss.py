"""The loss of a level: one binary problem for each candidate node of each row.

Shapes: B rows, K nodes, E ragged entries. Targets are what a right node's loss is multiplied by, 0
for a wrong one. Only candidates count: no padded slot adds to the sum.
"""

import torch
from torch import Tensor
from torch.nn import functional


def entry_losses(logits: Tensor, targets: Tensor, all_ones: bool = False) -> Tensor:
    """Weighted binary cross entropy of every entry.

    Args:
        logits: Any shape.
        targets: Of the same shape.
        all_ones: Says that no target is other than 0 or 1, which saves a product.

    Returns:
        Losses of the inputs' shape, float32.
    """
    logits, positive = logits.float(), targets > 0
    right = positive.to(logits.dtype)
    losses = functional.binary_cross_entropy_with_logits(logits, right, reduction="none")
    return losses if all_ones else torch.where(positive, targets * losses, losses)


def row_losses_dense(logits_BK: Tensor, targets_BK: Tensor, all_ones: bool = False) -> Tensor:
    """Loss of each row when all nodes are candidates: (B,).

    Args:
        logits_BK: logits, (B, K).
        targets_BK: targets, (B, K).
        all_ones: whether no target is other than 0 or 1.

    Returns:
        The losses.
    """
    return entry_losses(logits_BK, targets_BK, all_ones).sum(1)


def row_losses_ragged(
    logits_E: Tensor, targets_E: Tensor, rows_E: Tensor, num_rows: int, all_ones: bool = False
) -> Tensor:
    """Loss of each row over its own candidates: (B,); a row without candidates has loss 0.

    Args:
        logits_E: logits of the entries.
        targets_E: targets of the entries.
        rows_E: row of each entry.
        num_rows: rows of the batch, B.
        all_ones: whether no target is other than 0 or 1.

    Returns:
        The losses.
    """
    losses_E = entry_losses(logits_E, targets_E, all_ones)
    return losses_E.new_zeros(num_rows).index_add(0, rows_E, losses_E)
