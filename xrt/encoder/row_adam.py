"""Adam for heads of which a step looks at few rows: only those rows, and their moments, move.

Shapes: K rows of a parameter, H its width, U rows that a step touched. Parameters may be vectors,
without H.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from xrt.errors import ConfigError

CPU_ROWS = 512
"""Rows that a CPU moves at a time: what a row needs is in its cache twice as fast as in memory."""


class RowAdam(torch.optim.Optimizer):
    """Adam whose rows each have a clock of their own.

    A row's moments decay, and its bias correction advances, only in steps that touch the row: the
    first move of a row is `lr` long however late it comes. Where every step touches every row this
    is Adam. Gradients may be sparse (COO over rows) or dense (all rows).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        scale_per_row: bool = False,
    ) -> None:
        """`scale_per_row` keeps one second moment a row, the mean over its width: half the memory.

        Raises ConfigError for parameters in less than float32, which could not count steps.
        """
        if lr < 0 or eps < 0 or not all(0 < beta < 1 for beta in betas):
            raise ConfigError(
                f"RowAdam: lr = {lr}, eps = {eps}, betas = {betas}: lr and eps must not be below "
                "0, betas in (0, 1)"
            )
        defaults = {"lr": lr, "betas": betas, "eps": eps, "scale_per_row": scale_per_row}
        super().__init__(params, defaults)
        for parameter in (p for group in self.param_groups for p in group["params"]):
            if parameter.dtype not in (torch.float32, torch.float64):
                raise ConfigError(f"RowAdam: parameter in {parameter.dtype}: give float32")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the rows that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    rows_U, grad_UH = touched_rows(parameter.grad)
                    size = CPU_ROWS if parameter.device.type == "cpu" else max(1, len(rows_U))
                    for rows, grad in zip(rows_U.split(size), grad_UH.split(size), strict=True):
                        self._move(parameter, rows, grad, group)
        return loss

    def _move(
        self, parameter: Tensor, rows_U: Tensor, grad_UH: Tensor, group: dict[str, Any]
    ) -> None:
        """One step of Adam on the touched rows."""
        state = self._state_of(parameter, group["scale_per_row"])
        beta_first, beta_second = group["betas"]
        square_U = grad_UH.square()
        if group["scale_per_row"] and parameter.ndim > 1:
            square_U = square_U.mean(1)
        steps_U = state["row_steps"][rows_U] + 1
        first_UH = state["exp_avg"][rows_U].lerp_(grad_UH, 1 - beta_first)
        second_U = state["exp_avg_sq"][rows_U].lerp_(square_U, 1 - beta_second)
        state["row_steps"].index_copy_(0, rows_U, steps_U)
        state["exp_avg"].index_copy_(0, rows_U, first_UH)
        state["exp_avg_sq"].index_copy_(0, rows_U, second_U)

        second_U = second_U.div_(_as_rows(_correction(beta_second, steps_U), second_U))
        scale_U = _as_rows(second_U.sqrt_().add_(group["eps"]), first_UH)
        rate_U = _as_rows(group["lr"] / _correction(beta_first, steps_U), first_UH)
        move_UH = first_UH.div_(scale_U).mul_(rate_U)
        parameter.index_copy_(0, rows_U, parameter[rows_U].sub_(move_UH))

    def _state_of(self, parameter: Tensor, scale_per_row: bool) -> dict[str, Tensor]:
        """Moments, and steps of each row; a floating type, which `load_state_dict` keeps."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            num_rows = len(parameter)
            state["row_steps"] = parameter.new_zeros(num_rows)
            state["exp_avg"] = torch.zeros_like(parameter)
            second = parameter.new_zeros(num_rows) if scale_per_row else state["exp_avg"]
            state["exp_avg_sq"] = torch.zeros_like(second)
        return state


def touched_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of a gradient (U,), each once, and what it is there (U, H)."""
    if not gradient.is_sparse:
        return torch.arange(len(gradient), device=gradient.device), gradient
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()


def _correction(beta: float, steps_U: Tensor) -> Tensor:
    """1 - beta^steps, of which float32 keeps the digits when beta is close to 1."""
    return -torch.expm1(steps_U * math.log(beta))


def _as_rows(values_U: Tensor, like_UH: Tensor) -> Tensor:
    """One value a row, (U, 1) beside (U, H); values that have that shape already, as they are."""
    return values_U.unsqueeze(1) if values_U.ndim < like_UH.ndim else values_U
