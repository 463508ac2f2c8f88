"""Gradients of row-wise heads over several processes: averaged over the union of touched rows.

DDP's buckets are dense, and NCCL cannot add sparse tensors up. So DDP is told to leave these
parameters alone (`leave_to_rows`), and after the backward pass their gradients are averaged by
collectives on dense tensors of the rows in question, which both gloo and NCCL have.

Shapes: K rows of a parameter, H its width, U rows that any process touched, W processes.
"""

import math
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from xrt.encoder.heads import LabelHead
from xrt.encoder.row_adam import touched_rows


def row_wise_heads(module: nn.Module) -> Iterator[tuple[str, LabelHead]]:
    """Heads within a module that move row by row, with their names."""
    for name, part in module.named_modules():
        if isinstance(part, LabelHead) and part.row_wise:
            yield name, part


def leave_to_rows(module: nn.Module) -> None:
    """Tell DDP to leave row-wise heads alone; before it wraps the module."""
    names = [
        f"{head}.{name}"
        for head, part in row_wise_heads(module)
        for name, _ in part.named_parameters()
    ]
    if names:
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)


def average_row_gradients(module: nn.Module) -> None:
    """Make the gradients of row-wise heads the mean over processes, in place.

    Every process must call it after its backward pass, also with no gradients of its own. Nothing
    happens where there is one process.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    for _, head in row_wise_heads(module):
        _average([parameter for parameter in head.parameters() if parameter.requires_grad])


def _average(parameters: list[nn.Parameter]) -> None:
    """One exchange for parameters whose rows belong together: side by side, as (U, H + 1)."""
    own = [_rows_or_none(parameter) for parameter in parameters]
    rows_U = _union_of_processes(torch.cat([rows for rows, _ in own]).unique())
    widths = [math.prod(parameter.shape[1:]) for parameter in parameters]  # 1 for a vector
    means_UH = parameters[0].detach().new_zeros(len(rows_U), sum(widths))
    parts = means_UH.split(widths, 1)
    for part_Uh, width, (rows, values) in zip(parts, widths, own, strict=True):
        part_Uh[torch.searchsorted(rows_U, rows)] = values.reshape(len(rows), width)
    if len(rows_U):
        dist.all_reduce(means_UH)
    means_UH /= dist.get_world_size()
    for parameter, part_Uh in zip(parameters, parts, strict=True):
        values = part_Uh.reshape(len(rows_U), *parameter.shape[1:])
        parameter.grad = torch.sparse_coo_tensor(
            rows_U[None], values, parameter.shape, is_coalesced=True, check_invariants=False
        )


def _rows_or_none(parameter: nn.Parameter) -> tuple[Tensor, Tensor]:
    if parameter.grad is None:
        return torch.empty(0, dtype=torch.long, device=parameter.device), parameter[:0].detach()
    return touched_rows(parameter.grad)


def _union_of_processes(rows_u: Tensor) -> Tensor:
    """Rows that any process names, in order: (U,)."""
    counts_W = [rows_u.new_zeros(1) for _ in range(dist.get_world_size())]
    dist.all_gather(counts_W, rows_u.new_tensor([len(rows_u)]))
    counts = torch.cat(counts_W).tolist()
    if not any(counts):
        return rows_u
    padded = nn.functional.pad(rows_u, (0, max(counts) - len(rows_u)))
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    rows: Tensor = torch.cat([part[:n] for part, n in zip(gathered, counts, strict=True)]).unique()
    return rows
