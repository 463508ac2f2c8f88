import json
import pickle

import numpy as np
import pytest
import torch

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.embed import encode
from xrt.encoder.params import EncoderParams
from xrt.encoder.resolve import resolve_encoder
from xrt.encoder.tokens import CHUNK_TEXTS, TokenStore
from xrt.errors import ArtifactError
from xrt.progress import SilentProgress

TEXTS = [f"lamp {i} " + "red mug " * (i % 13) for i in range(60)] + [""]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = resolve_encoder(
        "tiny-random", work_folder=tmp_path_factory.mktemp("tiny"), texts=TEXTS, seed=0
    )
    return TextEncoder.from_pretrained(folder, EncoderParams(name="tiny-random"))


def test_a_stored_row_is_what_the_tokenizer_says(encoder, tmp_path):
    texts = TEXTS * (CHUNK_TEXTS // len(TEXTS) + 2)  # more than one chunk
    store = TokenStore.build(texts, encoder.tokenizer, 12, tmp_path / "tokens")
    wanted = encoder.tokenizer(texts, truncation=True, max_length=12)["input_ids"]
    assert store.num_rows == len(texts) > CHUNK_TEXTS
    for row in (0, 5, 60, CHUNK_TEXTS - 1, CHUNK_TEXTS, len(texts) - 1):
        assert store.ids[store.indptr[row] : store.indptr[row + 1]].tolist() == wanted[row]
    assert isinstance(store.ids, np.memmap)
    assert store.ids.dtype == np.int32


def test_cut_texts_are_counted_and_exactly_full_ones_are_not(encoder):
    words = "red " * 10  # 10 tokens and 2 special ones
    store = TokenStore.of_texts([words, words + "red", "red"], encoder.tokenizer, 12)
    assert store.num_truncated == 1
    assert store.lengths.tolist() == [12, 12, 3]


def test_padded_rows_come_in_the_order_asked(encoder):
    store = TokenStore.of_texts(TEXTS, encoder.tokenizer, 12)
    ids, mask = store.padded(np.array([60, 3, 0]))
    assert ids.dtype == mask.dtype == torch.int64
    assert mask.sum(1).tolist() == store.lengths[[60, 3, 0]].tolist()
    assert ids.shape[1] == store.lengths[[60, 3, 0]].max()
    assert (ids[mask == 0] == store.pad_id).all()
    assert ids[1][mask[1] == 1].tolist() == store.ids[store.indptr[3] : store.indptr[4]].tolist()


def test_a_stored_one_crosses_processes_as_its_folder(encoder, tmp_path):
    store = TokenStore.build(TEXTS, encoder.tokenizer, 12, tmp_path / "tokens")
    message = pickle.dumps(store)
    assert len(message) < 500
    assert np.array_equal(pickle.loads(message).ids, store.ids)


def test_parts_that_do_not_fit_are_refused(encoder, tmp_path):
    folder = tmp_path / "tokens"
    TokenStore.build(TEXTS, encoder.tokenizer, 12, folder)
    np.save(folder / "indptr.npy", np.array([0, 3]))
    with pytest.raises(ArtifactError, match="must rise"):
        TokenStore.load(folder)
    (folder / "tokens.json").write_text(json.dumps({}))
    with pytest.raises(ArtifactError, match="unreadable tokens"):
        TokenStore.load(folder)


def test_no_texts_at_all(encoder, tmp_path):
    store = TokenStore.build([], encoder.tokenizer, 12, tmp_path / "tokens")
    assert store.num_rows == 0
    assert encode(encoder, store).shape == (0, 32)


def test_a_batch_gives_what_one_by_one_gives_in_row_order(encoder):
    progress = SilentProgress()
    store = TokenStore.of_texts(TEXTS, encoder.tokenizer, 24)
    together = encode(encoder, store, token_budget=200, progress=progress)
    single = np.stack(
        [encode(encoder, TokenStore.of_texts([t], encoder.tokenizer, 24))[0] for t in TEXTS]
    )
    np.testing.assert_allclose(together, single, atol=2e-5)
    assert together.dtype == np.float32
    assert progress.completed == len(TEXTS)


def test_encoding_leaves_the_mode_of_the_encoder(encoder):
    store = TokenStore.of_texts(TEXTS[:4], encoder.tokenizer, 24)
    encoder.train()
    first, second = encode(encoder, store), encode(encoder, store)
    assert encoder.training
    assert np.array_equal(first, second)  # no dropout


def test_bf16_moves_a_vector_little(encoder):
    store = TokenStore.of_texts(TEXTS, encoder.tokenizer, 24)
    full, half = encode(encoder, store), encode(encoder, store, bf16=True)
    cosine = (full * half).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(half, axis=1)
    assert cosine.min() > 0.999
    assert not np.array_equal(full, half)
