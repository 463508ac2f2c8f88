"""Every supported kind of encoder: padding, layers, freezing, one step, saved and loaded."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CONFIG_MAPPING, AutoConfig

from tests.small_encoders import write_encoder
from xrt.encoder.architectures import ARCHITECTURES, MIXES_IN_PADDING
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.configuration import KEYS, NOT_READ, ONE_VALUE
from xrt.encoder.params import Compute, EncoderParams, Precision, TrainerParams
from xrt.encoder.reader import TextReader
from xrt.encoder.resolve import require_encoder
from xrt.errors import ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")
ONE_OF_EACH = {
    "albert", "bert", "deberta-v2", "distilbert", "modernbert", "mpnet", "roformer", "t5", "xlm",
}  # fmt: skip
"""Kinds that are built unlike one another; their kin is tried with -m slow."""
KINDS = [
    kind if kind in ONE_OF_EACH else pytest.param(kind, marks=pytest.mark.slow)
    for kind in ARCHITECTURES
    if kind in CONFIG_MAPPING
]
FLOAT32 = TrainerParams(accelerator="cpu", devices=1, precision=Precision.fp32)
BFLOAT16 = TrainerParams(accelerator="cpu", devices=1, precision=Precision.bf16)
IDS = torch.tensor([[2, 9, 8, 3], [2, 7, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRT_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory) -> Path:
    return write_encoder(tmp_path_factory.mktemp(request.param), request.param)


def load(folder: Path, **params) -> TextEncoder:
    params = {"name": str(folder), "max_length": 24, **params}
    return TextEncoder.from_pretrained(folder, EncoderParams(**params)).eval()


def test_layers_are_those_of_the_model(folder):
    """Their number; the vectors are what transformers gives, and padding has no influence."""
    encoder = load(folder)
    assert len(encoder.layers) == encoder.num_layers == 3
    with torch.no_grad():
        vectors_BH = encoder(IDS, MASK)
        hidden_BTH = encoder.model(input_ids=IDS, attention_mask=MASK).last_hidden_state
        alone_BH = encoder(IDS[1:, :3], MASK[1:, :3])
    weights_BT1 = MASK.unsqueeze(-1)
    mean_BH = (hidden_BTH * weights_BT1).sum(1) / weights_BT1.sum(1)
    torch.testing.assert_close(vectors_BH, mean_BH)
    torch.testing.assert_close(vectors_BH[1:], alone_BH, atol=1e-5, rtol=1e-4)


def test_one_step_changes_what_is_not_frozen_and_nothing_else(folder):
    """The upper two of three layers, all of their weights; ALBERT's layers are one."""
    if AutoConfig.from_pretrained(folder).model_type == "albert":
        with pytest.raises(ConfigError, match="share their weights; choose 0"):
            load(folder, frozen_layers=1)
        return
    encoder = load(folder, frozen_layers=1)
    encoder.freeze(1)
    before = {name: p.detach().clone() for name, p in encoder.named_parameters()}
    encoder(IDS, MASK).square().sum().backward()
    torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad], lr=1e-2).step()
    upper = {id(p) for layer in encoder.layers[1:] for p in layer.parameters()}
    for name, parameter in encoder.named_parameters():
        changed = not torch.equal(parameter, before[name])
        assert changed == (id(parameter) in upper), name
    assert len(upper) > 10


def test_everything_is_trained_but_tables_that_are_computed(folder):
    encoder = load(folder)
    encoder.freeze(0)
    with encoder.plain_attention():
        encoder.train()(IDS, MASK).square().sum().backward()
    unused = [name for name, p in encoder.named_parameters() if p.requires_grad and p.grad is None]
    assert unused == []


def test_it_passes_the_door_and_comes_back_from_a_folder(folder, tmp_path):
    encoder = load(folder)
    require_encoder(EncoderParams(name=str(folder), max_length=24), trainer=FLOAT32)
    encoder.save(tmp_path / "saved")
    again = TextEncoder.load(tmp_path / "saved").eval()
    with torch.no_grad():
        assert torch.equal(again(IDS, MASK), encoder(IDS, MASK))
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        "config.json", "model.safetensors", "pooling.json", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    saved, before = again.model.config.to_dict(), encoder.model.config.to_dict()
    for key in KEYS & before.keys():
        assert saved[key] == before[key], key


def test_it_passes_the_door_in_bfloat16_or_says_the_way_out(folder):
    params = EncoderParams(name=str(folder), max_length=24)
    if AutoConfig.from_pretrained(folder).model_type == "deberta":  # masks with float32's lowest
        with pytest.raises(ConfigError, match=r"in bfloat16; try trainer\.precision=32"):
            require_encoder(params, trainer=BFLOAT16)
        return
    require_encoder(params, trainer=BFLOAT16)


def test_no_key_of_a_configuration_is_overlooked(folder):
    """Each that transformers has for the kind is read, has one value, or is not an encoder's."""
    config = AutoConfig.from_pretrained(folder)
    told = {key for key in config.to_dict() if "_implementation" not in key}
    assert told - KEYS - NOT_READ - ONE_VALUE.keys() == set()


@pytest.mark.parametrize("kind", sorted(MIXES_IN_PADDING))
def test_kinds_that_mix_in_padding_are_refused(kind, tmp_path):
    folder = write_encoder(tmp_path, kind)
    for call in (require_encoder, lambda params: TextEncoder.from_pretrained(folder, params)):
        with pytest.raises(ConfigError, match=f"'{kind}' is not supported: padding would change"):
            call(EncoderParams(name=str(folder), max_length=24))


@pytest.mark.parametrize("kind", ["gpt2", "bart", "vit", "clip", "xlnet", "longformer"])
def test_kinds_without_a_test_are_refused_with_those_there_are(kind, tmp_path):
    (folder := write_encoder(tmp_path)).joinpath("config.json").write_text(
        f'{{"model_type": "{kind}"}}'
    )
    with pytest.raises(ConfigError, match=f"'{kind}' is not supported; choose .*albert, bert, "):
        require_encoder(EncoderParams(name=str(folder), max_length=24))


def test_a_text_has_the_same_vector_whatever_is_read_beside_it(folder):
    encoder = load(folder)
    reader = TextReader(encoder, Compute.fp32, False)
    alone = reader.read(["lamp"])
    for other in ("", "chair", "a very long text " * 20):
        np.testing.assert_allclose(reader.read(["lamp", other])[0], alone[0], atol=1e-5)
