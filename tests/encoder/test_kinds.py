"""Encoders of the kinds that the presets name, each tiny and random."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import transformers
from transformers import AutoTokenizer

from xrt.encoder.adapters import add_adapters
from xrt.encoder.architectures import position_limit
from xrt.encoder.backbone import TextEncoder, quiet_transformers
from xrt.encoder.cpu_tuning import Bf16Activations
from xrt.encoder.embed import encode
from xrt.encoder.folder import encoder_hash, weight_files
from xrt.encoder.params import (
    EncoderParams,
    MatcherParams,
    Pooling,
    Precision,
    TrainerParams,
)
from xrt.encoder.tiny import write_tiny_encoder
from xrt.encoder.tokens import TokenStore
from xrt.encoder.training import fine_tune_matcher
from xrt.errors import ConfigError
from xrt.tree.label_tree import LabelTree

TEXTS = ["a small red lamp", "chair", "", "a very long text about mugs and shirts and chairs"]
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
}  # fmt: skip
T5_SIZES = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}
KINDS = {
    "bert": ("BertConfig", "BertModel", SIZES),
    "distilroberta": ("RobertaConfig", "RobertaModel", SIZES | {"max_position_embeddings": 66}),
    "xlm_roberta": ("XLMRobertaConfig", "XLMRobertaModel", SIZES),
    "modernbert": ("ModernBertConfig", "ModernBertModel", SIZES),
    "deberta_v3": (
        "DebertaV2Config", "DebertaV2Model",
        SIZES | {"relative_attention": True, "position_buckets": 16,
                 "pos_att_type": ["p2c", "c2p"]},
    ),
    "t5": ("T5Config", "T5ForConditionalGeneration", T5_SIZES),
}  # fmt: skip


@pytest.fixture(scope="module", params=list(KINDS))
def folder(request, tmp_path_factory) -> Path:
    """A folder as transformers writes it, with the tokenizer of the tiny BERT."""
    work = tmp_path_factory.mktemp(request.param)
    tokenizer = AutoTokenizer.from_pretrained(write_tiny_encoder(work / "bert", TEXTS, seed=0))
    config_kind, model_kind, sizes = KINDS[request.param]
    config = getattr(transformers, config_kind)(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, bos_token_id=2,
        eos_token_id=3, cls_token_id=2, sep_token_id=3, decoder_start_token_id=0, **sizes,
    )  # fmt: skip
    torch.manual_seed(0)
    with quiet_transformers():
        getattr(transformers, model_kind)(config).save_pretrained(work / "model")
        tokenizer.save_pretrained(work / "model")
    return work / "model"


@pytest.fixture
def encoder(folder) -> TextEncoder:
    return TextEncoder.from_pretrained(folder, EncoderParams(name="it", max_length=24))


def vectors(encoder: TextEncoder, texts: list[str], **settings) -> np.ndarray:
    tokens = TokenStore.of_texts(texts, encoder.tokenizer, encoder.max_length)
    return encode(encoder, tokens, **settings)


@pytest.mark.parametrize("pooling", list(Pooling))
def test_texts_together_are_texts_one_by_one(folder, pooling):
    params = EncoderParams(name="it", max_length=24, pooling=pooling)
    encoder = TextEncoder.from_pretrained(folder, params)
    together = vectors(encoder, TEXTS)
    alone = np.concatenate([vectors(encoder, [text]) for text in TEXTS])
    assert together.shape == (4, 32)
    np.testing.assert_allclose(together, alone, atol=2e-5)
    assert np.isfinite(together).all()


def test_bfloat16_gives_nearly_the_same(encoder):
    exact, rounded = vectors(encoder, TEXTS), vectors(encoder, TEXTS, bf16=True)
    assert np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()


def test_half_states_are_for_kinds_that_normalise_after_each_sum(encoder):
    """A layer gets bfloat16 while the callback is there, where products are computed in it."""
    ids, mask = torch.tensor([[2, 9, 8, 3], [2, 7, 3, 0]]), torch.tensor([[1] * 4, [1, 1, 1, 0]])
    seen: list[torch.dtype] = []
    encoder.layers[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    module: Any = SimpleNamespace(encoder=encoder.eval())

    def vectors_BH(products: bool) -> torch.Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=products):
            return encoder(ids, mask)

    callback, trainer = Bf16Activations(), cast(Any, None)
    with encoder.plain_attention():
        exact, rounded = vectors_BH(False), vectors_BH(True)
        callback.setup(trainer, module, "fit")
        assert torch.equal(vectors_BH(False), exact)
        halved = vectors_BH(True)
        callback.teardown(trainer, module, "fit")
        assert torch.equal(vectors_BH(True), rounded)
    halves = encoder.model.config.model_type in {"bert", "roberta", "xlm-roberta"}
    assert (seen[3] is torch.bfloat16) is halves
    assert seen.count(torch.bfloat16) == halves
    assert halved.dtype == torch.float32
    if not halves:
        assert torch.equal(halved, rounded)
    assert (halved - exact).abs().max() < 0.03 * exact.abs().max()


def test_every_trained_weight_gets_a_gradient(encoder):
    """One without would keep processes of DDP waiting for each other."""
    ids, mask = torch.tensor([[2, 9, 8, 3], [2, 7, 3, 0]]), torch.tensor([[1] * 4, [1, 1, 1, 0]])
    with encoder.plain_attention():
        encoder.train()(ids, mask).square().sum().backward()
    missing = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert missing == []
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())


@pytest.mark.parametrize("pooling", list(Pooling))
def test_texts_without_a_single_token_do_no_harm(folder, pooling):
    """There are tokenizers that put nothing around a text."""
    params = EncoderParams(name="it", max_length=24, pooling=pooling)
    encoder = TextEncoder.from_pretrained(folder, params)
    ids, mask = torch.tensor([[2, 9, 3], [0, 0, 0]]), torch.tensor([[1, 1, 1], [0, 0, 0]])
    with torch.inference_mode():
        assert torch.isfinite(encoder.eval()(ids, mask)).all()
    with encoder.plain_attention():
        encoder.train()(ids, mask).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_adapters_fit_every_kind(encoder, tmp_path):
    add_adapters(encoder.model, 2, "seed")
    wanted = [p for p in encoder.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter in wanted:
            parameter.normal_(std=0.1)
    encoder.save(tmp_path / "saved")
    loaded = TextEncoder.load(tmp_path / "saved")
    np.testing.assert_allclose(vectors(loaded, TEXTS), vectors(encoder, TEXTS), atol=1e-4)
    ids, mask = torch.tensor([[2, 9, 8, 3]]), torch.ones(1, 4, dtype=torch.long)
    encoder.train()(ids, mask).square().sum().backward()
    assert all(p.grad is not None for p in wanted)


def test_saved_is_loaded_without_a_decoder(encoder, tmp_path):
    encoder.save(tmp_path / "saved")
    loaded = TextEncoder.load(tmp_path / "saved")
    assert np.array_equal(vectors(loaded, TEXTS), vectors(encoder, TEXTS))
    assert not [name for name, _ in loaded.named_parameters() if "decoder" in name]


@pytest.mark.parametrize("folder", ["t5"], indirect=True)
def test_the_encoder_of_a_t5_is_trained_as_a_matcher(folder, tmp_path, monkeypatch):
    """Its loss falls, and what comes back embeds the training rows as it says."""
    monkeypatch.setenv("XRT_NUM_THREADS", "1")
    words = ("red", "lamp", "chair", "mugs", "shirts", "small")
    chosen = [(n % 6, (n + 1 + n // 6) % 6) for n in range(48)]
    texts = [f"{words[a]} and {words[b]}" for a, b in chosen]
    Y_NL = np.zeros((48, 6), np.float32)
    for row, labels in enumerate(chosen):
        Y_NL[row, labels] = 1.0
    result = fine_tune_matcher(
        texts, sp.csr_array(Y_NL), LabelTree.from_paths([["x"], ["x"], ["y"], ["y"], ["z"], ["z"]]),
        run_folder=tmp_path, encoder=EncoderParams(name=str(folder), max_length=24),
        params=MatcherParams(
            steps=60, max_batch_rows=8, encoder_learning_rate=5e-3, head_learning_rate=5e-3
        ),
        trainer=TrainerParams(accelerator="cpu", devices=1, precision=Precision.fp32),
    )  # fmt: skip
    losses_S = result.losses
    assert losses_S[-6:].mean() < 0.8 * losses_S[:6].mean()
    assert result.encoder.model.config.model_type == "t5"
    np.testing.assert_allclose(vectors(result.encoder, texts), result.train_embeddings, atol=2e-5)


def test_more_tokens_than_positions_are_refused_before_training(folder):
    config = TextEncoder.from_pretrained(
        folder, EncoderParams(name="it", max_length=8)
    ).model.config
    limit = position_limit(config)
    if config.model_type == "t5":
        assert limit is None
        return
    assert limit is not None
    if config.model_type == "roberta":
        assert limit == 65  # of 66 positions the padding token's number, 0, is not counted
    with pytest.raises(ConfigError, match=f"reads at most {limit} tokens"):
        TextEncoder.from_pretrained(folder, EncoderParams(name="it", max_length=limit + 1))
    encoder = TextEncoder.from_pretrained(folder, EncoderParams(name="it", max_length=limit))
    if limit < 100:
        assert np.isfinite(vectors(encoder, ["lamp " * 200])).all()


def test_weights_in_several_files_are_hashed_together(encoder, tmp_path):
    with quiet_transformers():
        encoder.model.save_pretrained(tmp_path / "whole")
        encoder.model.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert len(list((tmp_path / "parts").glob("model-*.safetensors"))) > 1
    assert encoder_hash(tmp_path / "parts") != encoder_hash(tmp_path / "whole")
    with pytest.raises(ConfigError, match=r"no model\.safetensors"):
        weight_files(tmp_path)
