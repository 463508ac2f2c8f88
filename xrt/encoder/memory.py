"""A step in less memory: the encoder works on its rows part by part.

Shapes: B rows, T tokens, H hidden width.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.utils.checkpoint import checkpoint

from xrt.errors import XrtError

_SIGNS = ("out of memory", "OutOfMemoryError", "can't allocate memory", "DefaultCPUAllocator",
          "ALLOC_FAILED")  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """True where memory ran out, of a GPU or of the machine, in this process or in one started by
    it.
    """
    if isinstance(error, XrtError):  # told already, or the one line of another process
        return error.__cause__ is not None and is_out_of_memory(error.__cause__)
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    told = str(error)
    if isinstance(error, ProcessRaisedException):
        last = told.strip().splitlines()[-1]
        return last.startswith("MemoryError") or any(sign in last for sign in _SIGNS)
    return isinstance(error, RuntimeError) and any(sign in told for sign in _SIGNS)


def in_parts(
    vectors: Callable[[Tensor, Tensor], Tensor],
    input_ids_BT: Tensor,
    attention_mask_BT: Tensor,
    num_parts: int,
) -> Tensor:
    """What `vectors` gives for all rows, (B, H), with the intermediate results of one part of
    the rows in memory at a time.

    All parts but the last keep nothing but their vectors: the backward pass, which adds their
    gradients up, computes them again, with the same dropout.
    """
    if num_parts < 2 or len(input_ids_BT) < 2 or not torch.is_grad_enabled():
        return vectors(input_ids_BT, attention_mask_BT)
    num_parts = min(num_parts, len(input_ids_BT))
    ids, masks = (t.tensor_split(num_parts) for t in (input_ids_BT, attention_mask_BT))
    parts = [
        checkpoint(vectors, part_ids, part_mask, use_reentrant=False)
        for part_ids, part_mask in zip(ids[:-1], masks[:-1], strict=True)
    ]
    parts.append(vectors(ids[-1], masks[-1]))
    return torch.cat(parts)
