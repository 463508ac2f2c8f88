"""The size of an encoder, beside the weights that it has when loaded."""

import pytest

from tests.small_encoders import write_encoder
from xrt.encoder import size
from xrt.encoder.adapters import add_adapters
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.params import EncoderParams
from xrt.encoder.resolve import find_encoder
from xrt.encoder.size import encoder_size
from xrt.errors import ConfigError


@pytest.mark.parametrize("kind", ["bert", "albert", "distilbert", "deberta-v2", "t5", "xlm"])
def test_width_layers_and_weights_are_those_of_the_loaded_encoder(tmp_path, kind):
    folder = write_encoder(tmp_path, kind)
    params = EncoderParams(name=str(folder), max_length=32)
    encoder = TextEncoder.from_pretrained(folder, params)
    told = encoder_size(params)
    assert told.width == encoder.hidden_size
    assert told.num_layers == encoder.num_layers
    count = sum(weight.numel() for weight in encoder.model.parameters())
    assert told.num_weights == pytest.approx(count, rel=0.1)  # a pooler is not always loaded
    assert told.num_trained == told.num_weights


def test_layers_that_are_frozen_and_weights_beside_adapters_are_not_trained(tmp_path):
    folder = write_encoder(tmp_path)
    for change in ({"frozen_layers": 2}, {"lora_rank": 2}):
        params = EncoderParams(name=str(folder), max_length=32, **change)
        encoder = TextEncoder.from_pretrained(folder, params)
        encoder.freeze(params.frozen_layers)
        add_adapters(encoder.model, params.lora_rank, "test")
        trained = sum(w.numel() for w in encoder.model.parameters() if w.requires_grad)
        told = encoder_size(params)
        assert 0.5 * trained < told.num_trained < 2 * trained
        assert told.num_trained < told.num_weights


def test_no_weight_is_read(tmp_path, monkeypatch):
    folder = write_encoder(tmp_path)

    class HeaderOnly:
        def __init__(self, path, framework):
            self.weights = real(path, framework)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.weights = None

        def keys(self):
            return self.weights.keys()

        def get_slice(self, name):
            return self.weights.get_slice(name)

    real = size.safe_open
    monkeypatch.setattr(size, "safe_open", HeaderOnly)
    assert encoder_size(EncoderParams(name=str(folder))).width == 16


def test_a_name_on_the_hub_without_a_local_copy_is_one_line():
    with pytest.raises(ConfigError, match=r"'someone/encoder'.*no local copy.*hf download"):
        find_encoder("someone/encoder")


def test_cut_weights_are_one_line(tmp_path):
    folder = write_encoder(tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(ConfigError, match=r"model\.safetensors: cannot be read"):
        encoder_size(EncoderParams(name=str(folder)))
