"""A run knows the files behind the encoder's name: others are another encoder."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.small_corpora import make_rows, model_bytes
from xrt.encoder.params import EncoderParams
from xrt.encoder.tiny import write_tiny_encoder
from xrt.pipeline import train
from xrt.pipeline.encoding import encoder_identity

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = [row["title"] for row in make_rows(60, 0)]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "it", TEXTS, seed=0)


@pytest.fixture
def folder(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "encoder"))


def change_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["encoder.layer.0.output.dense.bias"] += 1.0
    save_file(weights, path, {"format": "pt"})


def change_one_byte_and_keep_size_and_time(folder: Path) -> None:
    path = folder / "model.safetensors"
    data, stat = bytearray(path.read_bytes()), path.stat()
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def change_json(name: str, key: str, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, key: value}))

    return change


CHANGES = {
    "weights": change_weights,
    "one byte": change_one_byte_and_keep_size_and_time,
    "activation": change_json("config.json", "hidden_act", "relu"),
    "normaliser": change_json("tokenizer.json", "normalizer", None),
    "side of the cut": change_json("tokenizer_config.json", "truncation_side", "left"),
    "added tokens": lambda folder: (folder / "added_tokens.json").write_text('{"new": 9}'),
    "weights in parts": lambda folder: (folder / "model-2.safetensors").write_bytes(b"x"),
    "a vocabulary": lambda folder: (folder / "vocab.txt").write_text("a\nb\n"),
    "a model of pieces": lambda folder: (folder / "spm.model").write_bytes(b"x"),
    "a file less": lambda folder: (folder / "tokenizer_config.json").unlink(),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_any_file_that_is_read_makes_another_encoder(folder, change):
    params = EncoderParams(name=str(folder), max_length=16)
    before = encoder_identity(params)
    assert encoder_identity(params) == before
    CHANGES[change](folder)
    assert encoder_identity(params) != before


def test_the_same_files_elsewhere_are_the_same_encoder(folder, tmp_path):
    before = encoder_identity(EncoderParams(name=str(folder)))
    (folder / "README.md").write_text("not read")
    moved = folder.rename(tmp_path / "moved")
    assert encoder_identity(EncoderParams(name=str(moved))) == before
    assert encoder_identity(EncoderParams(name=str(moved), max_length=8)) != before
    assert encoder_identity(EncoderParams(name="tiny-random")) == (
        encoder_identity(EncoderParams(name="tiny-random"))[0], {},
    )  # fmt: skip


def test_a_run_fine_tunes_the_weights_that_are_there_now(
    params, folder, tmp_path, stages_that_run: Any
):
    encoder = EncoderParams(name=str(folder), max_length=16)
    params, run = replace(params, encoder=encoder, frozen_weight=0.5), tmp_path / "run"
    train(params, run)
    before = model_bytes(run / "model")
    moved = folder.rename(tmp_path / "moved")
    elsewhere = replace(params, encoder=replace(encoder, name=str(moved)))
    assert stages_that_run(elsewhere, run) == set()
    change_weights(moved)
    assert {"matcher", "frozen", "ranker", "fit-ranker"} <= stages_that_run(elsewhere, run)
    after = model_bytes(run / "model")
    for part in ("encoder", "frozen-encoder"):
        assert after[f"{part}/model.safetensors"] != before[f"{part}/model.safetensors"]
    assert after["linear/level.0/bias.npy"] == before["linear/level.0/bias.npy"]
