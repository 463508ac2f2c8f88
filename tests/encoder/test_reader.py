"""One text through the encoder: what a batch gives, in each kind of arithmetic."""

from pathlib import Path

import numpy as np
import pytest
import torch

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.cpu_tuning import PackedLinear
from xrt.encoder.embed import encode
from xrt.encoder.params import Compute, EncoderParams, compute_of
from xrt.encoder.reader import TextReader
from xrt.encoder.tiny import write_tiny_encoder
from xrt.encoder.tokens import TokenStore
from xrt.errors import ConfigError

TEXTS = ["a small red shirt", "", "lamp", "a large black chair " * 20, "\U0001f600 данные", "mug"]
TOLERANCE = {"fp32": 1e-5, "bf16": 2e-2, "int8": 1e-6, "onnx": 1e-5}
"""Of a vector of length about 6, per column; batches and single texts take other kernels."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    folder = write_tiny_encoder(tmp_path_factory.mktemp("tiny") / "encoder", TEXTS, seed=0)
    return TextEncoder.from_pretrained(folder, EncoderParams(name="tiny", max_length=16))


def reader_of(encoder: TextEncoder, kind: str) -> TextReader:
    if kind == "onnx":
        for needed in ("onnx", "onnxruntime", "onnxscript"):
            pytest.importorskip(needed)
    return TextReader(encoder, Compute(kind), trained_in_bf16=False)


@pytest.mark.parametrize("kind", ["fp32", "bf16", "int8", "onnx"])
def test_a_batch_is_its_texts_one_by_one(encoder: TextEncoder, kind: str):
    reader = reader_of(encoder, kind)
    together_NH = reader.read(TEXTS)
    one_by_one_NH = np.vstack([reader.read([text]) for text in TEXTS])
    assert together_NH.dtype == one_by_one_NH.dtype == np.float32
    np.testing.assert_allclose(one_by_one_NH, together_NH, atol=TOLERANCE[kind])
    assert reader.read([]).shape == (0, encoder.hidden_size)


@pytest.mark.parametrize("bf16", [False, True])
def test_vectors_are_those_of_training(encoder: TextEncoder, bf16: bool):
    tokens = TokenStore.of_texts(TEXTS, encoder.tokenizer, encoder.max_length)
    expected_NH = encode(encoder, tokens, bf16=bf16)
    found_NH = reader_of(encoder, "bf16" if bf16 else "fp32").read(TEXTS)
    kind = "bf16" if bf16 else "fp32"
    np.testing.assert_allclose(found_NH, expected_NH, atol=TOLERANCE[kind])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_gives_what_a_plain_one_does(dtype: torch.dtype, bias: bool):
    linear = torch.nn.Linear(24, 40, bias)
    if not PackedLinear.can_pack(torch.device("cpu")):
        pytest.skip("this torch has no oneDNN")
    packed = PackedLinear(linear, dtype)
    for shape in ((1, 1, 24), (3, 7, 24), (300, 24)):
        x = torch.randn(shape)
        with torch.inference_mode():
            expected = linear.to(dtype)(x.to(dtype))
            torch.testing.assert_close(packed(x), expected)
        linear.float()


def test_without_onednn_layers_are_plain(encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch):
    before = {name: value.dtype for name, value in encoder.state_dict().items()}
    packed_NH = reader_of(encoder, "bf16").read(TEXTS)
    monkeypatch.setattr(PackedLinear, "can_pack", staticmethod(lambda _: False))
    plain = reader_of(encoder, "bf16")
    kinds = {type(module) for module in plain._network.modules()}  # type: ignore[attr-defined]
    assert PackedLinear not in kinds
    np.testing.assert_allclose(plain.read(TEXTS), packed_NH, atol=TOLERANCE["bf16"])
    assert {name: value.dtype for name, value in encoder.state_dict().items()} == before


@pytest.mark.parametrize(("kind", "cosine"), [("bf16", 0.9999), ("int8", 0.99), ("onnx", 0.99999)])
def test_kinds_agree_with_float32(encoder: TextEncoder, kind: str, cosine: float):
    exact_NH, found_NH = (
        reader_of(encoder, "fp32").read(TEXTS),
        reader_of(encoder, kind).read(TEXTS),
    )
    lengths_N = np.linalg.norm(exact_NH, axis=1) * np.linalg.norm(found_NH, axis=1)
    assert ((exact_NH * found_NH).sum(axis=1) / lengths_N).min() > cosine
    assert not np.array_equal(exact_NH, found_NH)


def test_one_text_has_the_tokens_of_a_store(encoder: TextEncoder):
    tokens = TokenStore.of_texts(TEXTS, encoder.tokenizer, encoder.max_length)
    reader = reader_of(encoder, "fp32")
    for row, text in enumerate(TEXTS):
        for found_1T, expected_1T in zip(
            reader.tokens_of_one(text), tokens.padded(np.array([row])), strict=True
        ):
            torch.testing.assert_close(found_1T, expected_1T)


def test_a_text_without_any_token_is_padding(encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch):
    reader = reader_of(encoder, "fp32")
    monkeypatch.setattr("xrt.encoder.reader.token_ids", lambda *_: ([[]], [False]))
    ids_1T, mask_1T = reader.tokens_of_one("")
    assert ids_1T.tolist() == [[encoder.tokenizer.pad_token_id]]
    assert mask_1T.tolist() == [[0]]
    assert mask_1T.dtype == torch.int64


@pytest.mark.parametrize("kind", ["bf16", "int8"])
def test_the_encoder_stays_as_it_was(encoder: TextEncoder, kind: str):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.train()
    reader_of(encoder, kind).read(TEXTS)
    assert encoder.training
    encoder.eval()
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    after = encoder.state_dict()
    assert list(after) == list(before)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)


def test_weights_that_are_not_converted_are_shared(encoder: TextEncoder):
    embedding = encoder.model.get_input_embeddings().weight
    for kind in ("fp32", "bf16"):
        network = reader_of(encoder, kind)._network
        shared = network.model.get_input_embeddings().weight  # type: ignore[attr-defined]
        assert shared.data_ptr() == embedding.data_ptr()


def test_auto_is_as_it_was_trained(encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch):
    for has_it in (False, True):
        monkeypatch.setattr("xrt.encoder.reader.supports_bf16", lambda _, has_it=has_it: has_it)
        kinds = [TextReader(encoder, Compute.auto, trained).compute for trained in (False, True)]
        assert kinds == [Compute.fp32, Compute.bf16 if has_it else Compute.fp32]


def test_what_cannot_be_had_is_told(encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match=r"compute = 'fp8': choose one of auto, fp32, bf16"):
        compute_of("fp8")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"is not installed; pip install 'xrt-xmc\[onnx\]'"):
        TextReader(encoder, Compute.onnx, trained_in_bf16=False)
    monkeypatch.setitem(__import__("sys").modules, "torch.ao.quantization", None)
    with pytest.raises(ConfigError, match="has no dynamic quantisation any more"):
        TextReader(encoder, Compute.int8, trained_in_bf16=False)


def test_saving_a_loaded_model_keeps_float32(encoder: TextEncoder, tmp_path: Path):
    reader_of(encoder, "bf16").read(["a"])
    encoder.save(tmp_path / "again")
    again = TextEncoder.load(tmp_path / "again")
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
