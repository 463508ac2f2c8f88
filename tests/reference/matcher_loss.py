"""The matcher's loss, entry by entry in plain Python."""

import math


def asymmetric_loss(logit, right, gamma_positive=0.0, gamma_negative=2.0, margin=0.05):
    """Of one entry, as the paper writes it."""
    p = 1.0 / (1.0 + math.exp(-logit))
    if right:
        return -((1.0 - p) ** gamma_positive) * math.log(p)
    p = max(p - margin, 0.0)
    return -(p**gamma_negative) * math.log(1.0 - p)


def row_loss(logits, targets, kind, reduction="sum", negative_weight=1.0):
    """Loss of one row given the logits and targets of its candidates; a right one's target is its
    weight."""
    losses = []
    for logit, target in zip(logits, targets, strict=True):
        sign = 1.0 if target > 0 else -1.0
        if kind == "bce":
            loss = math.log1p(math.exp(-sign * logit))
        elif kind == "asymmetric":
            loss = asymmetric_loss(logit, target > 0)
        else:
            loss = max(0.0, 1.0 - sign * logit) ** 2
        if target > 0:
            loss *= target
        if target <= 0:
            loss *= negative_weight
        losses.append(loss)
    total = sum(losses)
    return total / max(1, len(losses)) if reduction == "mean" else total
