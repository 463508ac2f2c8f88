"""How encoder and heads take a step: Adam, row by row where a head is wide, and the learning rate.

Shapes: K nodes of a head, H hidden width.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from xrt.encoder.heads import LabelHead
from xrt.encoder.params import MatcherParams
from xrt.encoder.row_adam import RowAdam

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class PairedOptimizer(torch.optim.Optimizer):
    """Several optimisers as one, each with parameters of its own; their groups are in a row."""

    def __init__(self, parts: list[torch.optim.Optimizer]) -> None:
        super().__init__([{"params": [torch.zeros(1)]}], {})
        self.parts = parts
        self._share_groups()

    def _share_groups(self) -> None:
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """A step of each."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from saved states."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()


def make_optimizer(
    encoder: nn.Module, heads: nn.Module, params: MatcherParams, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW of the encoder and Adam of the heads (AdamW without decay), fused.

    Of heads that are touched in a few rows a step, those rows alone are moved, with their moments:
    `RowAdam`.
    """
    row_wise = [parameter for head in heads.modules()
                if isinstance(head, LabelHead) and head.row_wise
                for parameter in head.parameters()]  # fmt: skip
    groups = parameter_groups(encoder, heads, params, leave_out=row_wise)
    fused = device.type in ("cpu", "cuda")
    dense = torch.optim.AdamW(groups, betas=BETAS, eps=EPSILON, fused=fused)
    if not row_wise:
        return dense
    rows = RowAdam(
        row_wise, params.head_learning_rate, BETAS, EPSILON, scale_per_row=params.scale_per_row
    )
    return PairedOptimizer([dense, rows])


def clip_gradients(part: nn.Module, limit: float) -> Tensor:
    """Bring the norm of a part's gradients, sparse ones too, down to the limit; the norm it had."""
    found = [p.grad for p in part.parameters() if p.grad is not None]
    if not any(gradient.is_sparse for gradient in found):
        return nn.utils.clip_grad_norm_(part.parameters(), limit)
    values = []
    for parameter in part.parameters():
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            values.append(parameter.grad.values())
        elif parameter.grad is not None:
            values.append(parameter.grad)
    norm = nn.utils.get_total_norm(values)
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for gradient in values:
        gradient.mul_(factor)
    return norm


class LinearSchedule:
    """Learning rate factor of a step: up over the warm-up, then down to 0 at the end."""

    def __init__(self, num_steps: int, warmup_fraction: float) -> None:
        self.num_steps = num_steps
        self.num_warmup = round(num_steps * warmup_fraction)

    def __call__(self, step: int) -> float:
        """Factor in (0, 1] for steps 0 .. num_steps - 1; step 0 of a warm-up already moves."""
        if step < self.num_warmup:
            return (step + 1) / (self.num_warmup + 1)
        return max(0.0, (self.num_steps - step) / max(1, self.num_steps - self.num_warmup))


def parameter_groups(
    encoder: nn.Module,
    heads: nn.Module,
    params: MatcherParams,
    leave_out: list[nn.Parameter] | None = None,
) -> list[dict[str, Any]]:
    """Encoder matrices with weight decay; encoder biases and norms, and the heads, without."""
    left_out = {id(parameter) for parameter in leave_out or []}
    of_heads = [parameter for parameter in heads.parameters() if id(parameter) not in left_out]
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim >= 2 else plain).append(parameter)
    encoder_rate, head_rate = params.encoder_learning_rate, params.head_learning_rate
    groups = [
        {"params": decayed, "lr": encoder_rate, "weight_decay": params.weight_decay},
        {"params": plain, "lr": encoder_rate, "weight_decay": 0.0},
        {"params": of_heads, "lr": head_rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
