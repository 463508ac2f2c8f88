"""Linear layers whose weights lie as oneDNN's kernels read them.

torch has the weights converted and rearranged at every call, which takes longer than the product
where a batch is one short text. What comes out is the same to the bit in bfloat16, and to rounding
in float32.
"""

import torch
from torch import Tensor, nn

ROWS = 16
"""Tokens that the arrangement is chosen for; any number of them can be multiplied."""


class PackedLinear(nn.Module):
    """An `nn.Linear` for prediction on a CPU. `weight` and `bias` are the layer's own, which some
    models look at; they are not multiplied with.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.dtype = dtype
        weight = linear.weight.detach().to(dtype).contiguous()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        self._shift = None if linear.bias is None else linear.bias.detach().to(dtype)

    @staticmethod
    def can_pack(device: torch.device) -> bool:
        """Whether this torch has oneDNN, and its operators by the names that torch.compile uses."""
        names = ("_reorder_linear_weight", "_linear_pointwise")
        has_onednn = device.type == "cpu" and torch.backends.mkldnn.is_available()
        return has_onednn and all(hasattr(torch.ops.mkldnn, name) for name in names)

    def forward(self, x: Tensor) -> Tensor:
        """The product plus bias, in the packed weights' type."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(self.dtype), self._packed, self._shift, "none", [], ""
        )
        return product


def pack_linear(model: nn.Module, dtype: torch.dtype) -> None:
    """Put a PackedLinear in the place of each linear layer of the model."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, PackedLinear(child, dtype))
