"""The matcher's loss, entry by entry in plain Python."""

import math


def row_loss(logits, targets, kind, reduction="sum", positive_weight="one", negative_weight=1.0):
    """Loss of one row given the logits and targets of its candidates."""
    losses = []
    for logit, target in zip(logits, targets, strict=True):
        sign = 1.0 if target > 0 else -1.0
        if kind == "bce":
            loss = math.log1p(math.exp(-sign * logit))
        else:
            loss = max(0.0, 1.0 - sign * logit) ** 2
        if target > 0 and positive_weight == "num_labels":
            loss *= target
        if target <= 0:
            loss *= negative_weight
        losses.append(loss)
    total = sum(losses)
    return total / max(1, len(losses)) if reduction == "mean" else total
