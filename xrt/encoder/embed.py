"""Texts to vectors: no gradients, no trainer.

Shapes: N rows, B rows of a batch, H hidden width.
"""

import itertools

import numpy as np
import torch

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.batches import cut_sorted
from xrt.encoder.tokens import TokenStore
from xrt.progress import Progress

MAX_ROWS = 256


def encode(
    encoder: TextEncoder,
    tokens: TokenStore,
    *,
    token_budget: int = 4096,
    bf16: bool = False,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
    out_NH: np.ndarray | None = None,
) -> np.ndarray:
    """Pooled vectors of all rows, in their order: float32 (N, H), not normalised.

    Rows are batched with others of like length, so little is spent on padding; which rows share a
    batch moves a vector by rounding only. `bf16` halves the time where the processor has it, at
    three digits. `device` None is where the encoder lies. `out_NH` is filled
    and returned where it is given.

    Args:
        encoder: the encoder; it comes back to where it was.
        tokens: tokens of N texts.
        token_budget: most tokens of a batch, padding included.
        bf16: whether products are computed in bfloat16.
        device: where to compute; None: where the encoder lies.
        progress: receives the progress; None for none.
        out_NH: array to fill, float32 (N, H); None: a new one.

    Returns:
        The vectors.
    """
    order, cuts = cut_batches(tokens, token_budget)
    embeddings_NH = out_NH
    if embeddings_NH is None:
        embeddings_NH = np.empty((tokens.num_rows, encoder.hidden_size), np.float32)
    was_training, home = encoder.training, next(encoder.parameters()).device
    device = home if device is None else device
    encoder.to(device).eval()
    if progress is not None:
        progress.start("encode", tokens.num_rows)
    try:
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(device).type, torch.bfloat16, bf16),
        ):
            for first, last in itertools.pairwise(cuts):
                rows = order[first:last]
                input_ids_BT, attention_mask_BT = tokens.padded(rows)
                batch = input_ids_BT.to(device), attention_mask_BT.to(device)
                pooled_BH = encoder(*batch)
                embeddings_NH[rows] = pooled_BH.float().cpu().numpy()
                if progress is not None:
                    progress.advance(len(rows))
    finally:
        encoder.train(was_training).to(home)
        if progress is not None:
            progress.finish()
    return embeddings_NH


def cut_batches(tokens: TokenStore, token_budget: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows by length, (N,), and where batches begin and end among them.

    Args:
        tokens: tokens of N texts.
        token_budget: most tokens of a batch, padding included.

    Returns:
        Row numbers, and positions among them.
    """
    order = np.argsort(tokens.lengths, kind="stable")
    return order, cut_sorted(tokens.lengths[order], token_budget, MAX_ROWS)


def best_device(accelerator: str = "auto") -> str:
    """The device of one process: `auto` is a GPU where there is one.

    Args:
        accelerator: `auto`, `gpu`, or a name of torch.

    Returns:
        A name of torch.
    """
    if accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if accelerator == "gpu" else accelerator


_HAS_BF16 = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def supports_bf16(device: str | torch.device) -> bool:
    """True where bfloat16 products run in hardware: recent GPUs, CPUs with AVX512-BF16 or AMX.

    Args:
        device: the device.

    Returns:
        False on devices other than a GPU of CUDA or a CPU.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind != "cpu":
        return False
    # private names of torch: where a release takes them away, bfloat16 is not chosen
    checks = (getattr(torch.cpu, name, None) for name in _HAS_BF16)
    return any(check is not None and bool(check()) for check in checks)
