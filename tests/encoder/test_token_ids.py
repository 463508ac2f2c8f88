"""Tokens of texts that are cut by characters first, and of texts that no tokenizer takes."""

import time

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.params import Compute, EncoderParams
from xrt.encoder.reader import TextReader
from xrt.encoder.tiny import write_tiny_encoder
from xrt.encoder.tokens import MAX_WORD, MOST_CHARS_PER_TOKEN, TokenStore, token_ids

WORDS = ["red", "lamp", "chair", "antidisestablishmentarianism", "données", "x", "灯", "-"]
LENGTH = 24


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> TextEncoder:
    folder = write_tiny_encoder(tmp_path_factory.mktemp("tiny") / "encoder", WORDS, seed=0)
    return TextEncoder.from_pretrained(folder, EncoderParams(name="tiny", max_length=LENGTH))


def byte_level() -> PreTrainedTokenizerFast:
    """Byte-pair encoding as RoBERTa has it: blanks are parts of tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, show_progress=False, special_tokens=["<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")


def metaspace() -> PreTrainedTokenizerFast:
    """Pieces of likely texts, as T5 and XLM-R have them."""
    pieces = [("<pad>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    pieces += [(char, -5.0) for char in sorted(set("".join(WORDS)))]
    pieces += [(f"▁{word}", -4.0) for word in WORDS]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")


@pytest.fixture(scope="module", params=["wordpiece", "byte_level", "metaspace", "from the end"])
def tokenizer(request, encoder, tmp_path_factory):
    if request.param == "byte_level":
        return byte_level()
    if request.param == "metaspace":
        return metaspace()
    if request.param == "from the end":
        encoder.tokenizer.save_pretrained(tmp_path_factory.mktemp("left") / "tokenizer")
        folder = tmp_path_factory.getbasetemp() / "left0" / "tokenizer"
        return AutoTokenizer.from_pretrained(folder, truncation_side="left")
    return encoder.tokenizer


def whole_texts(tokenizer, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, truncation=True, max_length=LENGTH)["input_ids"]


def test_the_cut_changes_no_token(tokenizer):
    """Short and long texts, long words, many blanks, no blanks at all: on both sides of the cut."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, size=size)) for size in (0, 1, 20, 22, 23, 60, 3000)]
    texts += ["灯" * 5000, "red" * 3000, "lamp " + " " * 3000 + "chair", "\n".join(WORDS * 400)]
    texts += ["antidisestablishmentarianism-" * 600, ("données" * 50 + " ") * 80]
    texts += [" ".join(WORDS * 100)[:size] for size in range(1000, 1040)]
    rows, longer = token_ids(texts, tokenizer, LENGTH)
    assert rows == whole_texts(tokenizer, texts)
    told = [bool(one.overflowing) for one in tokenizer(texts, truncation=True, max_length=LENGTH,
                                                      ).encodings]  # fmt: skip
    assert longer == told


def test_a_text_beyond_the_last_cut_is_read_as_far_as_that(encoder):
    blanks = " " * (MOST_CHARS_PER_TOKEN * LENGTH)
    near, far = "lamp " + blanks[: -MAX_WORD - 99] + "chair", "lamp " + blanks + "chair"
    rows, longer = token_ids([near, far], encoder.tokenizer, LENGTH)
    assert rows == [*whole_texts(encoder.tokenizer, [near]), rows[1]]
    assert rows[1] == whole_texts(encoder.tokenizer, ["lamp"])[0]
    assert longer == [False, True]
    assert TokenStore.of_texts([near, far], encoder.tokenizer, LENGTH).num_truncated == 1


def test_a_text_of_megabytes_costs_no_more_than_its_first_characters(encoder):
    texts = ["red lamp " * (1 << 20)] * 3
    started = time.perf_counter()
    rows, longer = token_ids(texts, encoder.tokenizer, LENGTH)
    assert time.perf_counter() - started < 1
    assert rows == whole_texts(encoder.tokenizer, ["red lamp " * 100] * 3)
    assert longer == [True] * 3


HALVES = [
    "red \ud800 lamp", "\udc00", "lamp\ud83d", "\udfffchair", "\ud800\ud800", "a\udbff\udbff mug",
    "\udcff\udcfe as from a file name", "a\ud83dz" * 200, "\ud800" * 5000, "red\ud800",
]  # fmt: skip


def test_half_a_surrogate_pair_is_read_as_the_sign_for_what_cannot_be_read(encoder):
    tokenizer = encoder.tokenizer
    replaced = ["".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in t) for t in HALVES]
    assert token_ids(HALVES, tokenizer, LENGTH) == token_ids(replaced, tokenizer, LENGTH)
    found = TokenStore.of_texts(["fine", *HALVES], tokenizer, LENGTH)
    wanted = TokenStore.of_texts(["fine", *replaced], tokenizer, LENGTH)
    assert np.array_equal(found.ids, wanted.ids)


@pytest.mark.parametrize("text", HALVES)
def test_a_batch_with_half_a_pair_is_not_lost(encoder, text):
    reader = TextReader(encoder, Compute.fp32, False)
    alone, beside = reader.read([text]), reader.read(["fine", text, "fine"])
    np.testing.assert_allclose(alone[0], beside[1], atol=1e-5)
    assert np.isfinite(beside).all()
