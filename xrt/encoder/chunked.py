"""One-vs-all over a level too wide for its logits to be kept: a chunk of nodes at a time.

The loss and its gradients are those of the whole level; memory is that of B rows times one chunk.
The backward pass computes a chunk's logits anew. After Jain et al., Renee: End-to-end training of
extreme classification models, MLSys 2023, section 4.

Shapes: B rows, H hidden width, K nodes, E positive entries of the batch.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from xrt.encoder.levels import LevelTargets
from xrt.encoder.loss import entry_losses
from xrt.encoder.loss_params import LossParams, RowReduction


def row_losses_chunked(
    pooled_BH: Tensor,
    weight_KH: Tensor,
    bias_K: Tensor,
    targets: LevelTargets,
    params: LossParams,
    chunk: int,
) -> Tensor:
    """Loss of each row against all nodes: (B,), as `row_losses_dense` of the whole level.

    The targets' entries are the positives. Under autocast the products are in its type; losses, and
    sums over chunks, are in that of the weights: float32.
    """
    order_E = torch.argsort(targets.nodes_E, stable=True)
    rows_E, nodes_E, values_E = (part[order_E] for part in targets[:3])
    sums_B = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
        pooled_BH, weight_KH, bias_K, rows_E, nodes_E, values_E, params, chunk, targets.all_ones
    )
    assert isinstance(sums_B, Tensor)
    return sums_B if params.row_reduction is RowReduction.sum else sums_B / len(bias_K)


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pooled_BH: Tensor,
        weight_KH: Tensor,
        bias_K: Tensor,
        rows_E: Tensor,
        nodes_E: Tensor,
        values_E: Tensor,
        params: LossParams,
        chunk: int,
        all_ones: bool,
    ) -> Tensor:
        kind = pooled_BH.device.type
        autocast = torch.is_autocast_enabled(kind)
        ctx.dtype = torch.get_autocast_dtype(kind) if autocast else pooled_BH.dtype
        ctx.params, ctx.chunk, ctx.all_ones = params, chunk, all_ones
        entries = rows_E, nodes_E, values_E
        ctx.save_for_backward(pooled_BH, weight_KH, bias_K, rows_E, nodes_E, values_E)
        sums_B = bias_K.new_zeros(len(pooled_BH))
        with torch.autocast(kind, enabled=False):
            for nodes, targets_BC in _chunks(entries, len(pooled_BH), len(bias_K), chunk):
                logits_BC = _logits(pooled_BH, weight_KH[nodes], bias_K[nodes], ctx.dtype)
                sums_B += entry_losses(logits_BC, targets_BC, params, all_ones).sum(1)
        return sums_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        pooled_BH, weight_KH, bias_K, *entries = ctx.saved_tensors
        pooled_grad_BH = torch.zeros_like(pooled_BH, dtype=weight_KH.dtype)
        weight_grad_KH, bias_grad_K = torch.empty_like(weight_KH), torch.empty_like(bias_K)
        low_BH = pooled_BH.to(ctx.dtype)
        for nodes, targets_BC in _chunks(entries, len(pooled_BH), len(bias_K), ctx.chunk):
            logits_BC = _logits(pooled_BH, weight_KH[nodes], bias_K[nodes], ctx.dtype)
            with torch.enable_grad():
                logits_BC.requires_grad_()
                losses_BC = entry_losses(logits_BC, targets_BC, ctx.params, ctx.all_ones)
                losses_B = losses_BC.sum(1)
                (slope_BC,) = torch.autograd.grad(losses_B, logits_BC, gradients[0])
            bias_grad_K[nodes] = slope_BC.sum(0)
            slope_BC = slope_BC.to(ctx.dtype)
            weight_grad_KH[nodes] = (slope_BC.T @ low_BH).to(weight_KH.dtype)
            pooled_grad_BH += slope_BC @ weight_KH[nodes].to(ctx.dtype)
        pooled_grad_BH = pooled_grad_BH.to(pooled_BH.dtype)
        return pooled_grad_BH, weight_grad_KH, bias_grad_K, None, None, None, None, None, None


def _chunks(
    entries: Sequence[Tensor], num_rows: int, num_nodes: int, chunk: int
) -> Iterator[tuple[slice, Tensor]]:
    """Slices of nodes, each with its targets (B, C); entries are rows, nodes, values, by node."""
    rows_E, nodes_E, values_E = entries
    starts = torch.arange(0, num_nodes, chunk, device=nodes_E.device)
    bounds = [*torch.searchsorted(nodes_E, starts).tolist(), len(nodes_E)]
    for i, first in enumerate(range(0, num_nodes, chunk)):
        nodes, own = slice(first, min(first + chunk, num_nodes)), slice(*bounds[i : i + 2])
        targets_BC = values_E.new_zeros(num_rows, nodes.stop - nodes.start)
        targets_BC[rows_E[own], nodes_E[own] - first] = values_E[own]
        yield nodes, targets_BC


def _logits(pooled_BH: Tensor, weight_CH: Tensor, bias_C: Tensor, dtype: torch.dtype) -> Tensor:
    product_BC = (pooled_BH.to(dtype) @ weight_CH.to(dtype).T).to(bias_C.dtype)
    return product_BC + bias_C
