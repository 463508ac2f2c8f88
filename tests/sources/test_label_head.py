"""The matcher's head as a ranking: few rows and many, and what half precision leaves to decide."""

from typing import Any

import numpy as np
import pytest

from xrt.sources import label_head
from xrt.sources.label_head import LabelHead

NUM_LABELS, WIDTH = 3_000, 24


@pytest.fixture
def head(rng: Any) -> LabelHead:
    weight_LH = rng.normal(size=(NUM_LABELS, WIDTH)).astype(np.float32)
    return LabelHead(weight_LH, rng.normal(size=NUM_LABELS).astype(np.float32))


def expected(head: LabelHead, embeddings_NH: np.ndarray, k: int) -> np.ndarray:
    """Sigmoids of the k highest logits, 0 elsewhere."""
    logits_NL = embeddings_NH.astype(np.float64) @ head.weight_LH.T + head.bias_L
    scores_NL = np.zeros_like(logits_NL)
    for row, logits_L in enumerate(logits_NL):
        best = np.argsort(-logits_L, kind="stable")[:k]
        scores_NL[row, best] = 1 / (1 + np.exp(-logits_L[best]))
    return scores_NL


@pytest.mark.parametrize("num_rows", [0, 1, label_head.FEW_ROWS, label_head.FEW_ROWS + 1, 50])
@pytest.mark.parametrize("k", [1, 50, NUM_LABELS, NUM_LABELS + 7])
def test_the_highest_logits_are_found(head: LabelHead, rng: Any, num_rows: int, k: int):
    embeddings_NH = rng.normal(size=(num_rows, WIDTH)).astype(np.float32)
    found = head.top(embeddings_NH, k)
    assert found.shape == (num_rows, NUM_LABELS)
    np.testing.assert_allclose(found.toarray(), expected(head, embeddings_NH, k), atol=1e-5)


def test_one_row_is_as_in_a_batch(head: LabelHead, rng: Any):
    embeddings_NH = rng.normal(size=(30, WIDTH)).astype(np.float32)
    batch = head.top(embeddings_NH, 50).toarray()
    alone = np.vstack([head.top(embeddings_NH[[row]], 50).toarray() for row in range(30)])
    np.testing.assert_allclose(alone, batch, atol=1e-6)


def test_half_precision_alone_would_not_do(head: LabelHead, rng: Any, monkeypatch: Any):
    """Labels that float16 cannot tell apart: what is spare is told apart exactly."""
    weight_LH = np.ones((NUM_LABELS, WIDTH), np.float32)
    close = rng.permutation(NUM_LABELS)[:40]
    weight_LH[close] = 2 + 1e-5 * np.arange(40, dtype=np.float32)[:, None]
    tight = LabelHead(weight_LH, np.zeros(NUM_LABELS, np.float32))
    row_1H = np.full((1, WIDTH), 0.01, np.float32)
    best = close[-5:]
    assert set(tight.top(row_1H, 5).indices) == set(best)
    monkeypatch.setattr(label_head, "SPARE", 0)
    assert set(tight.top(row_1H, 5).indices) != set(best)
