"""The matcher's head as a ranking: few rows and many, and what half precision leaves to decide."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.errors import DataError
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


@pytest.mark.parametrize("num_rows", [0, 1, 70])
@pytest.mark.parametrize("k", [1, 50, NUM_LABELS, NUM_LABELS + 7])
def test_the_highest_logits_are_found(head: LabelHead, rng: Any, num_rows: int, k: int):
    embeddings_NH = rng.normal(size=(num_rows, WIDTH)).astype(np.float32)
    found = head.top(embeddings_NH, k)
    assert found.shape == (num_rows, NUM_LABELS)
    np.testing.assert_allclose(found.toarray(), expected(head, embeddings_NH, k), atol=1e-5)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_one_row_is_as_in_a_batch(head: LabelHead, rng: Any, num_threads: int):
    embeddings_NH = rng.normal(size=(300, WIDTH)).astype(np.float32)
    batch = head.top(embeddings_NH, 50, num_threads=num_threads)
    for row in range(0, 300, 7):
        alone = head.top(embeddings_NH[[row]], 50)
        of_row = slice(batch.indptr[row], batch.indptr[row + 1])
        np.testing.assert_array_equal(alone.indices, batch.indices[of_row])
        np.testing.assert_array_equal(alone.data, batch.data[of_row])


@pytest.mark.parametrize("num_rows", [1, 30])
def test_given_labels_have_the_bits_of_the_ranking(head: LabelHead, rng: Any, num_rows: int):
    embeddings_NH = rng.normal(size=(num_rows, WIDTH)).astype(np.float32)
    ranked = head.top(embeddings_NH, 50)
    given = head.top_given(embeddings_NH, ranked, 2)
    np.testing.assert_array_equal(given.indices, ranked.indices)
    np.testing.assert_array_equal(given.data, ranked.data)


def test_only_given_products_are_computed(head: LabelHead, rng: Any):
    """Weights of labels that nobody asks for are not read: here they are no numbers."""
    pairs_NL = sp.csr_array((np.ones(4), ([0, 0, 1, 2], [5, 9, 2_999, 5])), shape=(3, NUM_LABELS))
    embeddings_NH = rng.normal(size=(3, WIDTH)).astype(np.float32)
    whole = head.top_given(embeddings_NH, pairs_NL).data
    others = np.setdiff1d(np.arange(NUM_LABELS), [5, 9, 2_999])
    head.weight_LH[others] = np.nan
    np.testing.assert_array_equal(head.top_given(embeddings_NH, pairs_NL).data, whole)
    logits_NL = embeddings_NH.astype(np.float64) @ head.weight_LH.T + head.bias_L
    slow = 1 / (1 + np.exp(-logits_NL[[0, 0, 1, 2], [5, 9, 2_999, 5]]))
    np.testing.assert_allclose(whole, slow, rtol=1e-5)


def test_an_embedding_that_is_no_number_is_refused(head: LabelHead):
    embeddings_NH = np.zeros((3, WIDTH), np.float32)
    embeddings_NH[1, 4] = np.nan
    with pytest.raises(DataError, match="embeddings: row 1 holds a number that is not finite"):
        head.top(embeddings_NH, 3)
    with pytest.raises(DataError, match="embeddings: row 1 holds a number that is not finite"):
        head.top_given(embeddings_NH, sp.csr_array((3, NUM_LABELS)))


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
