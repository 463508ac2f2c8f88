"""The matcher's loss, entry by entry in plain Python."""

import math


def row_loss(logits, targets):
    """Loss of one row given the logits and targets of its candidates; a right one's target is its
    weight."""
    total = 0.0
    for logit, target in zip(logits, targets, strict=True):
        sign = 1.0 if target > 0 else -1.0
        loss = math.log1p(math.exp(-sign * logit))
        total += target * loss if target > 0 else loss
    return total
