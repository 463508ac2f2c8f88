"""Encoder folders that cannot be used are refused in one line, before anything is trained."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.small_corpora import make_rows, small_params, write_rows
from tests.small_encoders import TEXTS, write_encoder
from xrt.encoder import resolve, tokenizer
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.params import (
    EncoderParams,
    Precision,
    TrainerParams,
)
from xrt.encoder.resolve import require_encoder
from xrt.errors import ConfigError
from xrt.pipeline import train

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 90\n"
CPU = TrainerParams(accelerator="cpu", devices=1, precision=Precision.fp32)
pytestmark = pytest.mark.usefixtures("one_thread")
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRT_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("written"))


@pytest.fixture
def folder(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "encoder"))


def params_of(folder: Path, **changes: Any) -> EncoderParams:
    return EncoderParams(**{"name": str(folder), "max_length": 24, **changes})


def config(**changes: Any) -> Change:
    """config.json with other values."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Change:
    """model.safetensors with other weights."""

    def write(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file(change(load_file(path)), path, {"format": "pt"})

    return write


def tokens(**changes: Any) -> Change:
    """tokenizer.json with other parts."""

    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def text(name: str, content: str | bytes) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def shortened(name: str, part: float) -> Change:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * part)])

    return change


def without(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def added_tokens(folder: Path) -> None:
    found = AutoTokenizer.from_pretrained(folder)
    found.add_tokens(["newtoken", "another"])
    found.save_pretrained(folder)


def in_parts(folder: Path) -> None:
    """The index names a part that is not there."""
    path = folder / "model.safetensors"
    names = list(load_file(path))
    path.rename(folder / "model-00001-of-00002.safetensors")
    where = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


DENSE = "encoder.layer.0.output.dense.weight"
GROWS = {"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 1000}
BAD: dict[str, tuple[Change, str]] = {
    "weights are a pointer": (text("model.safetensors", LFS), "git lfs pull"),
    "configuration is a pointer": (text("config.json", LFS), "git lfs pull"),
    "tokenizer is a pointer": (text("tokenizer.json", LFS), "git lfs pull"),
    "weights end early": (shortened("model.safetensors", 0.5), "no whole safetensors file"),
    "weights are empty": (text("model.safetensors", b""), "no whole safetensors file"),
    "weights are a page": (text("model.safetensors", "<html>" * 99), "no whole safetensors file"),
    "header beyond the file": (text("model.safetensors", b"\xff" * 99), "no whole safetensors"),
    "a part is missing": (in_parts, "cannot be read|not in the files by name"),
    "another shape": (
        weights(lambda w: {**w, DENSE: torch.zeros(7, 24)}), r"another shape.*\(7, 24\), not"),
    "other widths": (config(intermediate_size=32), "another shape"),
    "one name is another": (
        weights(lambda w: {k.replace("layer.0.output", "layer.0.out"): v for k, v in w.items()}),
        "not in the files by name"),
    "names of adapters": (
        weights(lambda w: {k.replace("query", "query.base_layer"): v for k, v in w.items()}),
        "not in the files by name"),
    "no name fits": (
        weights(lambda w: {f"x{i}": v for i, v in enumerate(w.values())}), "would be random"),
    "fewer layers told": (config(num_hidden_layers=2), r"layers that config.json does not"),
    "more layers told": (config(num_hidden_layers=4), "not in the files by name"),
    "not finite": (weights(lambda w: {**w, DENSE: w[DENSE] / 0}), "not finite"),
    "one is not a number": (
        weights(lambda w: {**w, DENSE: w[DENSE].where(w[DENSE] != w[DENSE][0, 0], torch.nan)}),
        "not finite"),
    "quantised": (weights(lambda w: {**w, DENSE: w[DENSE].to(torch.int8)}), "type I8, quantised"),
    "told quantised": (config(quantization_config={"bits": 4}), "before it was quantised"),
    "beside adapters": (text("adapter_config.json", "{}"), "merge them into the weights"),
    "too large to be of these files": (config(vocab_size=9_000_000), "not of one model"),
    "reads one way only": (config(is_decoder=True), "is_decoder = True is not supported"),
    "positions of a kind that is gone": (
        config(position_embedding_type="relative_key"), "position_embedding_type"),
    "activation": (config(hidden_act="no such"), "makes no model"),
    "layers without end": (config(num_hidden_layers=10**6), "from 1 to 256"),
    "no layer": (config(num_hidden_layers=0), "from 1 to 256"),
    "width is a word": (config(hidden_size="16"), "hidden_size"),
    "width is true": (config(hidden_size=True), "hidden_size"),
    "heads do not divide": (config(num_attention_heads=3), "makes no model"),
    "dropout is a list": (config(hidden_dropout_prob=[0.1]), "hidden_dropout_prob"),
    "not an object": (text("config.json", "[]"), "not a JSON object"),
    "not JSON": (shortened("config.json", 0.5), "not valid JSON"),
    "deep": (text("config.json", "[" * 9999), "not valid JSON"),
    "no kind": (text("config.json", "{}"), "is not supported"),
    "no tokenizer": (without("tokenizer.json", "tokenizer_config.json"), "no tokenizer"),
    "tokenizer is not JSON": (shortened("tokenizer.json", 0.5), "no usable tokenizer"),
    "tokenizer without a model": (tokens(model={}), "no usable tokenizer"),
    "tokenizer from elsewhere": (
        text("tokenizer_config.json", '{"tokenizer_class": "RagTokenizer"}'), "not supported"),
    "tokens without a row": (added_tokens, "2 of the tokenizer's .* 'newtoken'.*resize_token_emb"),
    "a text grows": (
        tokens(normalizer={"type": "Sequence", "normalizers": [GROWS, GROWS]}), "of one"),
    "words of another language": (
        both(without("tokenizer.json", "tokenizer_config.json"),
             text("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nzzz\n")), "knows none of"),
    "overflows": (weights(lambda w: {**w, DENSE: w[DENSE] * 1e38}), "no finite vector"),
    "all is zero": (
        weights(lambda w: {k: torch.zeros_like(v) for k, v in w.items()}), "the same vector"),
}  # fmt: skip


@pytest.mark.parametrize("fault", list(BAD))
def test_a_folder_of_no_use_is_refused_in_one_line(folder, fault):
    change, told = BAD[fault]
    change(folder)
    with pytest.raises(ConfigError, match=told) as caught:
        require_encoder(params_of(folder), trainer=CPU, texts=TEXTS)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"encoder.name = {str(folder)!r}: ")
    assert len(str(caught.value)) < 1000


def test_a_step_that_changes_nothing_is_no_training(folder, monkeypatch):
    forward = TextEncoder.forward

    def without_gradient(*args):
        vectors_BH = forward(*args)
        return 0 * vectors_BH if torch.is_grad_enabled() else vectors_BH

    monkeypatch.setattr(TextEncoder, "forward", without_gradient)
    with pytest.raises(ConfigError, match=r"changes none of its .* trained weights"):
        require_encoder(params_of(folder), trainer=CPU)


def test_what_comes_back_changed_from_a_folder_is_refused(folder, monkeypatch):
    load = TextEncoder.load

    def other(path: Path) -> TextEncoder:
        encoder = load(path)
        with torch.no_grad():
            encoder.model.embeddings.word_embeddings.weight.mul_(2)
            encoder.model.embeddings.LayerNorm.bias.add_(1)
        return encoder

    monkeypatch.setattr(TextEncoder, "load", other)
    with pytest.raises(ConfigError, match="saved and loaded it gives other vectors"):
        require_encoder(params_of(folder), trainer=CPU)


@pytest.mark.parametrize("fault", ["weights end early", "no tokenizer", "all is zero"])
def test_nothing_runs_before_the_encoder_is_tried(folder, tmp_path, fault):
    BAD[fault][0](folder)
    trn = write_rows(tmp_path / "trn.jsonl", make_rows(40, 0))
    with pytest.raises(ConfigError, match=BAD[fault][1]):
        train(small_params(trn, None, encoder=params_of(folder)), tmp_path / "run")
    assert not (tmp_path / "run" / "stages").exists()


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "model.", "module._orig_mod.",
                                    "model.bert.", "_orig_mod.bert.", "0.auto_model."])  # fmt: skip
def test_weights_of_a_wrapper_are_those_within_it(folder, tmp_path, prefix, caplog):
    wanted = load_file(folder / "model.safetensors")
    weights(lambda w: {prefix + name: value for name, value in w.items()})(folder)
    with caplog.at_level(logging.WARNING, "xrt"):
        encoder = TextEncoder.from_pretrained(folder, params_of(folder))
    told = prefix.removesuffix("bert.")
    assert f"names of weights begin with {told!r}" in caplog.text
    found = encoder.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items()
               if "pooler" not in name)  # fmt: skip
    encoder.save(tmp_path / "saved")
    assert not any(name.startswith(told) for name in load_file(tmp_path / "saved"
                                                               / "model.safetensors"))  # fmt: skip
    require_encoder(params_of(folder), trainer=CPU)


@pytest.mark.parametrize("key", [
    {"_attn_implementation_autoset": True}, {"auto_map": {"AutoModel": "modeling_x.X"}},
    {"attn_implementation": "no/kernels"}, {"_attn_implementation": "eager"},
    {"_attn_implementation_internal": "no/kernels"}, {"experts_implementation": "no/kernels"},
    {"gradient_checkpointing": False, "_name_or_path": "/x", "torch_dtype": "float16"},
    {"max_length": 20, "top_k": 50, "label2id": {"a": 0}, "an_unknown_key": [1]},
    {"add_cross_attention": False, "use_cache": True, "transformers_version": "3.0"},
    {"dtype": "bfloat16", "num_labels": 5, "problem_type": "multi_label_classification"},
])  # fmt: skip
def test_keys_that_no_encoder_reads_are_left_out(folder, tmp_path, key):
    """Trained to its end, a model is not refused by its own loader."""
    config(**key)(folder)
    require_encoder(params_of(folder), trainer=CPU)
    encoder = TextEncoder.from_pretrained(folder, params_of(folder)).eval()
    encoder.save(tmp_path / "saved")
    assert not key.keys() & json.loads((tmp_path / "saved" / "config.json").read_text()).keys()
    again = TextEncoder.load(tmp_path / "saved").eval()
    ids, mask = torch.tensor([[2, 9, 3]]), torch.ones(1, 3, dtype=torch.long)
    assert torch.equal(encoder(ids, mask), again(ids, mask))


def test_code_of_a_tokenizer_is_not_saved(folder, tmp_path):
    path = folder / "tokenizer_config.json"
    auto = {"auto_map": {"AutoTokenizer": ["x.X", None]}, "tokenizer_class": "BertTokenizer"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **auto}))
    require_encoder(params_of(folder), trainer=CPU)
    TextEncoder.from_pretrained(folder, params_of(folder)).save(tmp_path / "saved")
    assert "auto_map" not in (tmp_path / "saved" / "tokenizer_config.json").read_text()


@pytest.mark.parametrize("name", tokenizer.PIECES)
def test_pieces_without_their_library_say_what_to_install(folder, name, monkeypatch):
    both(without("tokenizer.json"), text(name, b"\x00"), config(model_type="bert"))(folder)
    monkeypatch.setattr(tokenizer, "_is_installed", lambda module: module != "sentencepiece")
    told = rf"{name}: this tokenizer needs sentencepiece; run `pip install sentencepiece`"
    with pytest.raises(ConfigError, match=told):
        require_encoder(params_of(folder), trainer=CPU)


def test_half_precision_weights_are_read_and_heads_are_left_out(folder):
    def change(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        halved = {f"bert.{name}": value.bfloat16() for name, value in found.items()
                  if "pooler" not in name}  # fmt: skip
        return {**halved, "cls.predictions.bias": torch.zeros(9)}

    weights(change)(folder)
    require_encoder(params_of(folder), trainer=CPU, texts=TEXTS)


def test_few_known_words_are_told(folder, caplog):
    with caplog.at_level(logging.WARNING, "xrt"):
        require_encoder(params_of(folder), trainer=CPU, texts=["lamp", "灯 灯 灯", "данные 灯 灯"])
    assert "does not know" in caplog.text


@pytest.mark.parametrize(("name", "changes", "told"), [
    ("", {"max_length": 67}, "at most 66 tokens"),
    ("", {"frozen_layers": 3}, "choose at most 2"),
    ("tiny-random", {"max_length": 513}, "at most 512 tokens"),
    ("tiny-random", {"frozen_layers": 2}, "choose at most 1"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_refused_at_the_door(folder, name, changes, told):
    params = params_of(folder, **changes)
    with pytest.raises(ConfigError, match=told):
        require_encoder(replace(params, name=name or params.name), trainer=CPU)


def test_devices_are_looked_at_first(folder):
    with pytest.raises(ConfigError, match="this machine has 0 GPUs"):
        require_encoder(params_of(folder), trainer=TrainerParams(accelerator="cuda", devices=1))


def test_adapters_are_tried_too(folder):
    pytest.importorskip("peft")
    require_encoder(params_of(folder, lora_rank=2), trainer=CPU)


def test_what_was_tried_is_remembered_until_something_changes(folder, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(resolve, "try_encoder", lambda *args: calls.append(args))
    record = tmp_path / "tried.txt"
    params = params_of(folder)
    for _ in range(2):
        require_encoder(params, trainer=CPU, record=record)
    assert len(calls) == 1
    require_encoder(replace(params, max_length=8), trainer=CPU, record=record)
    assert len(calls) == 2
    text("vocab.txt", "x\n")(folder)
    require_encoder(replace(params, max_length=8), trainer=CPU, record=record)
    assert len(calls) == 3


def test_a_trial_draws_none_of_the_callers_random_numbers(folder):
    before = torch.get_rng_state()
    require_encoder(params_of(folder), trainer=CPU)
    assert torch.equal(before, torch.get_rng_state())
