"""A saved encoder that somebody has changed is refused in one line: no code, no memory without
bounds, no exception of a library.
"""

import json
import shutil
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.small_encoders import TEXTS, write_encoder
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.params import EncoderParams
from xrt.errors import ArtifactError

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("saved")
    folder = write_encoder(work)
    encoder = TextEncoder.from_pretrained(folder, EncoderParams(name="it", max_length=24))
    encoder.save(work / "encoder")
    return work / "encoder"


@pytest.fixture
def folder(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "encoder"))


def changed(name: str, **changes: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def config(**changes: Any) -> Change:
    return changed("config.json", **changes)


def text(name: str, content: str | bytes) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def weights(name: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        found = load_file(path)
        save_file({**found, name: value(found[name])}, path, {"format": "pt"})

    return change


def without(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def special(count: int) -> dict[str, Any]:
    """A tokenizer's last part that puts many tokens around a text."""
    around = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}] * count
    return {
        "type": "TemplateProcessing", "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
        "single": [*around, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}},
    }  # fmt: skip


GROWS = {"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 1000}
WORD = "embeddings.word_embeddings.weight"
EVIL: dict[str, tuple[Change, str]] = {
    **{f"{key} names code": (config(**{key: "evil/kernels"}), "names code to run")
       for key in ("attn_implementation", "_attn_implementation", "_attn_implementation_internal",
                   "_attn_implementation_autoset", "experts_implementation",
                   "_experts_implementation_internal", "auto_map", "custom_pipelines")},
    "quantised": (config(quantization_config={"quant_method": "bitsandbytes"}), "quantised"),
    "code in the folder": (text("modeling_x.py", "import os"), "no file of a saved encoder"),
    "adapters in the folder": (text("adapter_config.json", "{}"), "no file of a saved encoder"),
    "pickled weights": (text("pytorch_model.bin", b"x"), "no file of a saved encoder"),
    "a template": (text("chat_template.jinja", "{{ 1 }}"), "no file of a saved encoder"),
    "a folder": (lambda folder: (folder / "x").mkdir(), "no file of a saved encoder"),
    "a link to elsewhere": (lambda folder: (folder / "y").symlink_to("/etc"), "no file of a saved"),
    "another kind": (config(model_type="lightglue"), "'lightglue' is not supported"),
    "kind is a list": (config(model_type=["bert"]), "is not supported"),
    "layers without end": (config(num_hidden_layers=10**6), "from 1 to 256"),
    "width without end": (config(hidden_size=10**9), "hidden_size"),
    "words without end": (config(vocab_size=2**24), "not of one model"),
    "wide": (config(intermediate_size=2**16, num_hidden_layers=256), "not of one model"),
    "long": (config(max_position_embeddings=2**40), "max_position_embeddings"),
    "sorts without end": (config(type_vocab_size=2**20), "not of one model|another shape"),
    "negative": (config(hidden_size=-16), "hidden_size"),
    "a number is a word": (config(layer_norm_eps="1e-5"), "layer_norm_eps"),
    "endless": (text("config.json", '{"model_type": "bert", "layer_norm_eps": 1e999}'), "unreadab"),
    "a word is long": (config(hidden_act="x" * 1000), "hidden_act"),
    "a word is none": (config(hidden_act="kernels-community/x"), "makes no model"),
    "padding beyond": (config(pad_token_id=9999), "makes no model|unreadable"),
    "heads": (config(num_attention_heads=5), "makes no model"),
    "dropout": (config(hidden_dropout_prob=7.0), "makes no model"),
    "decoder": (config(is_decoder=True), "is_decoder"),
    "another shape": (config(intermediate_size=8), "another shape"),
    "other layers": (config(num_hidden_layers=2), "layers that config.json"),
    "configuration is gone": (without("config.json"), "is missing"),
    "configuration is binary": (text("config.json", b"\xff\xfe\x00"), "not valid JSON"),
    "key twice": (text("config.json", '{"model_type": "bert", "model_type": "bert"}'), "twice"),
    "pooling is gone": (without("pooling.json"), "cannot be read"),
    "pooling is a list": (text("pooling.json", "[1]"), "unreadable encoder"),
    "pooling is unknown": (changed("pooling.json", pooling="max"), "unreadable encoder"),
    "pooling is an object": (changed("pooling.json", pooling={}), "unreadable encoder"),
    "reads nothing": (changed("pooling.json", max_length=0), "must be from 3 to 66"),
    "reads all": (changed("pooling.json", max_length=10**9), "must be from 3 to 66"),
    "reads a word": (changed("pooling.json", max_length="many"), "unreadable encoder"),
    "reads none": (changed("pooling.json", max_length=None), "unreadable encoder"),
    "weights are gone": (without("model.safetensors"), r"no model\.safetensors"),
    "weights are text": (text("model.safetensors", "weights"), "no whole safetensors file"),
    "a word is no number": (weights(WORD, lambda w: w / 0), "not finite"),
    "fewer words": (weights(WORD, lambda w: w[:5].clone()), "another shape"),
    "tokenizer is gone": (without("tokenizer.json"), "no tokenizer"),
    "tokenizer is text": (text("tokenizer.json", "tokens"), "no usable tokenizer"),
    "tokenizer is empty": (text("tokenizer.json", "{}"), "no usable tokenizer"),
    "tokenizer grows": (changed("tokenizer.json", normalizer={
        "type": "Sequence", "normalizers": [GROWS, GROWS]}), "1000000 characters of one"),
    "tokenizer grows by pattern": (changed("tokenizer.json", normalizer={
        "type": "Replace", "pattern": {"Regex": "."}, "content": "x" * 99}), "99 characters"),
    "tokenizer adds": (changed("tokenizer.json", post_processor=special(100)), "100 tokens around"),
    "tokenizer has tokens without a row": (changed("tokenizer.json", added_tokens=[
        {"id": 999, "content": "new", "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}]), "no row|no usable tokenizer"),
    "tokenizer of a class": (
        changed("tokenizer_config.json", tokenizer_class="os.system"), "not supported"),
    "tokenizer of a class that is no word": (
        changed("tokenizer_config.json", tokenizer_class=["x"]), "not supported"),
    "tokenizer with code": (
        changed("tokenizer_config.json", auto_map={"AutoTokenizer": ["x.X", "x.X"]}),
        "names code to run"),
    "tokenizer's settings are a list": (text("tokenizer_config.json", "[]"), "not a JSON object"),
    "tokenizer's settings are odd": (
        changed("tokenizer_config.json", pad_token=[1, 2], added_tokens_decoder="x"), "tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("fault", list(EVIL))
def test_a_changed_encoder_is_refused_in_one_line(folder, fault):
    change, told = EVIL[fault]
    change(folder)
    started = time.process_time()
    tracemalloc.start()
    with pytest.raises(ArtifactError, match=told) as caught:
        TextEncoder.load(folder)
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()
    assert time.process_time() - started < 10
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("extra", [
    {"_name_or_path": "/x", "gradient_checkpointing": False, "transformers_version": "4.8.2"},
    {"use_cache": True, "classifier_dropout": None, "add_cross_attention": False},
    {"dtype": "float32", "is_decoder": False, "position_embedding_type": "absolute"},
])  # fmt: skip
def test_a_folder_of_an_earlier_version_is_read(written, folder, extra):
    config(**extra)(folder)
    (folder / "vocab.txt").write_text("a\n")
    ids, mask = torch.tensor([[2, 9, 3]]), torch.ones(1, 3, dtype=torch.long)
    with torch.no_grad():
        found = TextEncoder.load(folder).eval()(ids, mask)
        assert torch.equal(found, TextEncoder.load(written).eval()(ids, mask))


def test_a_texts_vector_is_the_same_after_a_round(written, tmp_path):
    encoder = TextEncoder.load(written).eval()
    encoder.save(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "pooling.json", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes()
    ids = encoder.tokenizer(TEXTS)["input_ids"]
    assert ids == TextEncoder.load(tmp_path / "again").tokenizer(TEXTS)["input_ids"]
    assert np.isfinite([len(row) for row in ids]).all()
