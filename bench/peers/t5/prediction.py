"""Writes the values of rows with a trained model, known ones only, and how likely they are.

N rows, A attributes, B rows at once, T tokens.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.peers.t5.targets import KnownValues
from bench.peers.t5.training import autocast, forward, padded


@dataclass(frozen=True)
class Written:
    """Label columns int32 (N, A); the probability of each value given those before it, and of the
    whole row: the products of the model's token probabilities over all texts, known or not.
    """

    columns_NA: np.ndarray
    probabilities_NA: np.ndarray
    row_probabilities_N: np.ndarray


def predict(
    model: Any, known: KnownValues, inputs: list[list[int]], batch_rows: int = 64, beams: int = 1
) -> Written:
    """The most likely text of each row that is in the trie: greedily, or with more `beams`.

    Rows are taken by length, so that few tokens are padding.
    """
    model.eval()
    order = np.argsort([len(row) for row in inputs], kind="stable")
    num_attributes = len(known.target.attributes)
    columns_NA = np.zeros((len(inputs), num_attributes), np.int32)
    logs_NA = np.zeros((len(inputs), num_attributes + 1))
    for low in range(0, len(order), batch_rows):
        rows = order[low : low + batch_rows]
        texts = [inputs[row] for row in rows]
        written = _generate(model, known, texts, beams)
        columns_NA[rows] = [known.columns(tokens) for tokens in written]
        logs_NA[rows] = _log_probabilities(model, known, texts, columns_NA[rows])
        known.forget()
    return Written(
        columns_NA,
        np.exp(logs_NA[:, :num_attributes]).astype(np.float32),
        np.exp(logs_NA.sum(axis=1)).astype(np.float32),
    )


def _generate(
    model: Any, known: KnownValues, texts: list[list[int]], beams: int
) -> list[list[int]]:
    """Tokens of one text a row, without the token that starts the decoder."""
    device = next(model.parameters()).device
    pad = model.config.pad_token_id
    ids = padded(texts, pad, device)
    lengths = torch.tensor([[len(row)] for row in texts], device=device)
    mask = (torch.arange(ids.shape[1], device=device) < lengths).long()

    def allowed(_: int, written: torch.Tensor) -> list[int]:
        return known.allowed(written[1:].tolist())

    # with several beams, whole texts are compared by their probability whatever their length
    plain = {"length_penalty": 0.0} if beams > 1 else {}
    with torch.inference_mode(), autocast(device):
        generated = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=known.target.longest,
            num_beams=beams, do_sample=False, prefix_allowed_tokens_fn=allowed, **plain,
        )  # fmt: skip
    return [row[1:] for row in generated.tolist()]


def _log_probabilities(
    model: Any, known: KnownValues, texts: list[list[int]], columns_BA: np.ndarray
) -> np.ndarray:
    """Summed log probabilities of the tokens of each value, and of the end: (B, A + 1)."""
    device = next(model.parameters()).device
    targets = [known.target.write(row)[0] for row in columns_BA]
    with torch.inference_mode(), autocast(device):
        logs = forward(model, texts, targets, device).float().log_softmax(-1)
    result = np.zeros((len(texts), columns_BA.shape[1] + 1))
    for row, target in enumerate(targets):
        tokens = torch.tensor(target, device=device)
        of_token = logs[row, torch.arange(len(target), device=device), tokens].cpu().numpy()
        lengths = [len(known.target.tokens_of[int(column)]) for column in columns_BA[row]]
        starts = np.cumsum([0, *lengths])
        result[row] = np.add.reduceat(of_token, starts)
    return result
