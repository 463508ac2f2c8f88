"""How encoder and heads take a step: AdamW, and the learning rate."""

from typing import Any

import torch
from torch import nn

from xrt.encoder.params import MatcherParams

BETAS = (0.9, 0.999)
EPSILON = 1e-8
WARMUP_SHARE = 0.1
"""Share of the steps in which the learning rate rises; it falls linearly to 0 after."""
WEIGHT_DECAY = 0.01
"""Weight decay of the encoder's matrices; biases, norms and the heads have none."""
GRADIENT_CLIP = 1.0
"""Largest norm of the encoder's gradient, and of the heads'."""


def make_optimizer(
    encoder: nn.Module, heads: nn.Module, params: MatcherParams, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW of the encoder and of the heads (these without decay), fused.

    Args:
        encoder: the encoder.
        heads: the heads.
        params: learning rates.
        device: where the weights lie; `fused` is set for a CPU and CUDA.

    Returns:
        The optimiser.
    """
    groups = parameter_groups(encoder, heads, params)
    fused = device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, betas=BETAS, eps=EPSILON, fused=fused)


class LinearSchedule:
    """Learning rate factor of a step: up over the warm-up, then down to 0 at the end.

    The end may be moved while training goes on: from there the rate falls linearly from what it is
    to 0 at the new end. Checkpoints hold all of this, since `LambdaLR` saves the attributes.
    """

    def __init__(self, num_steps: int, warmup_share: float = WARMUP_SHARE) -> None:
        self.num_steps = num_steps
        self.num_warmup = round(num_steps * warmup_share)
        self.bend: tuple[int, float] | None = None

    def end_at(self, step: int, num_steps: int) -> None:
        """Move the end.

        Args:
            step: steps done so far; their rates stay as they were.
            num_steps: steps in all, more than `step`.
        """
        self.bend = step, self(step)
        self.num_steps = num_steps

    def __call__(self, step: int) -> float:
        """Factor in (0, 1] for steps 0 .. num_steps - 1; step 0 of a warm-up already moves."""
        if self.bend is not None:
            first, factor = self.bend
            return factor * max(0.0, (self.num_steps - step) / max(1, self.num_steps - first))
        if step < self.num_warmup:
            return (step + 1) / (self.num_warmup + 1)
        return max(0.0, (self.num_steps - step) / max(1, self.num_steps - self.num_warmup))


def parameter_groups(
    encoder: nn.Module, heads: nn.Module, params: MatcherParams
) -> list[dict[str, Any]]:
    """Encoder matrices with weight decay; encoder biases and norms, and the heads, without.

    Args:
        encoder: the encoder; frozen parameters are left out.
        heads: the heads.
        params: learning rates.

    Returns:
        Groups as torch's optimisers take them; none is empty.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim >= 2 else plain).append(parameter)
    encoder_rate, head_rate = params.encoder_learning_rate, params.head_learning_rate
    groups = [
        {"params": decayed, "lr": encoder_rate, "weight_decay": WEIGHT_DECAY},
        {"params": plain, "lr": encoder_rate, "weight_decay": 0.0},
        {"params": list(heads.parameters()), "lr": head_rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
