"""Lower layers that stay as pretrained: their bytes, checkpoints, resuming, bad values."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matcher_run import corpus, random_weights, train
from test_fine_tuning import Accident, PaceWithAccident
from test_matcher_resume import fingerprint
from torch import nn

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.heads import LevelHead
from xrt.encoder.matcher import LevelMatcher
from xrt.encoder.optimizers import parameter_groups
from xrt.encoder.params import EncoderParams, MatcherParams
from xrt.encoder.resolve import resolve_encoder
from xrt.errors import ConfigError

PARAMS = EncoderParams(name="tiny-random", max_length=16)


@pytest.fixture
def folder(tmp_path):
    return resolve_encoder("tiny-random", work_folder=tmp_path, texts=corpus()[0], seed=0)


def test_only_the_layers_above_are_trained(tmp_path, folder):
    before = dict(TextEncoder.from_pretrained(folder, PARAMS).model.named_parameters())
    after = train(tmp_path / "run", frozen_layers=1).encoder.model
    moved = {name for name, p in after.named_parameters() if not torch.equal(p, before[name])}
    assert after.config.num_hidden_layers == 2
    assert moved
    assert all(".layer.1." in f".{name}" for name in moved)
    everything = train(tmp_path / "all").encoder.model
    moved = {name for name, p in everything.named_parameters() if not torch.equal(p, before[name])}
    assert any(".layer.0." in f".{name}" for name in moved)
    assert any("embeddings" in name for name in moved)


def test_the_embeddings_are_those_of_the_saved_encoder(tmp_path):
    result = train(tmp_path / "run", frozen_layers=1)
    result.encoder.save(tmp_path / "saved")
    texts = corpus()[0][:4]
    again = TextEncoder.load(tmp_path / "saved").eval()
    tokens = again.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        found_NH = again(tokens["input_ids"], tokens["attention_mask"]).numpy()
    np.testing.assert_allclose(found_NH, result.train_embeddings[:4], atol=1e-5)


def test_a_broken_run_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("XRT_NUM_THREADS", "1")
    settings = {"frozen_layers": 1}
    train(tmp_path / "whole", **settings)
    with pytest.raises(Accident):
        train(tmp_path / "broken", progress=PaceWithAccident(), **settings)
    train(tmp_path / "broken", **settings)
    assert fingerprint(tmp_path / "broken") == fingerprint(tmp_path / "whole")


def test_two_processes_leave_them_too(tmp_path):
    common = {"frozen_layers": 1, "steps": 3}
    one = train(tmp_path / "one", max_batch_rows=8, **common)
    two = train(tmp_path / "two", devices=2, max_batch_rows=4, **common)
    assert len(two.losses) == 3
    ours, theirs = one.encoder.model.state_dict(), two.encoder.model.state_dict()
    below = [name for name in theirs if ".layer.1." not in f".{name}"]
    assert below
    assert all(torch.equal(ours[name], theirs[name]) for name in below)


def test_checkpoints_and_the_optimiser_hold_the_trained_layers_alone(folder):
    encoder = TextEncoder.from_pretrained(folder, PARAMS)
    encoder.freeze(1)
    head = LevelHead.of_arrays(random_weights(3, 32, 0), np.zeros(3, np.float32))
    matcher = LevelMatcher(encoder, [head], MatcherParams(), num_steps=5, level=0)
    checkpoint = {"state_dict": matcher.state_dict()}
    matcher.on_save_checkpoint(checkpoint)
    of_encoder = [name for name in checkpoint["state_dict"] if name.startswith("encoder.")]
    assert of_encoder
    assert all(".layer.1." in name for name in of_encoder)
    groups = parameter_groups(encoder, nn.ModuleList([head]), MatcherParams())
    optimised = {id(p) for group in groups for p in group["params"]}
    above = {id(p) for p in encoder.layers[1].parameters()}
    assert optimised == above | {id(p) for p in head.parameters()}
    encoder.freeze(0)
    assert all(p.requires_grad for p in encoder.parameters())


def test_nothing_below_is_computed_backwards(folder):
    encoder = TextEncoder.from_pretrained(folder, PARAMS)
    encoder.freeze(1)
    ids, mask = torch.tensor([[2, 9, 8, 3]]), torch.ones(1, 4, dtype=torch.long)
    states: list[torch.Tensor] = []
    for layer in encoder.layers:
        layer.register_forward_hook(
            lambda _, inputs, out: states.append(out[0] if isinstance(out, tuple) else out)
        )
    encoder(ids, mask)
    assert [state.grad_fn is None for state in states] == [True, False]


def test_bad_numbers_of_layers_say_what_to_do(folder):
    with pytest.raises(ConfigError, match=r"frozen_layers = -1: at least 0 is needed"):
        replace(PARAMS, frozen_layers=-1)
    with pytest.raises(
        ConfigError, match=r"frozen_layers = 1 and encoder.lora_rank = 2: .* set one"
    ):
        replace(PARAMS, frozen_layers=1, lora_rank=2)
    with pytest.raises(
        ConfigError, match=r"frozen_layers = 2: the encoder has 2 layers.*at most 1"
    ):
        TextEncoder.from_pretrained(folder, replace(PARAMS, frozen_layers=2))
