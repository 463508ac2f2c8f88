"""Adapters are trained alone, become part of the weights, and leave an encoder like any other."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from matcher_run import random_weights
from torch import nn

from xrt.encoder.adapters import add_adapters, merge_adapters, merged_weights, require_peft
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.heads import LevelHead
from xrt.encoder.matcher import LevelMatcher
from xrt.encoder.params import EncoderParams, MatcherParams
from xrt.encoder.resolve import resolve_encoder
from xrt.errors import ConfigError

IDS, MASK = torch.tensor([[2, 9, 8, 3], [2, 7, 3, 0]]), torch.tensor([[1] * 4, [1, 1, 1, 0]])
RANK = 2


@pytest.fixture
def encoder(tmp_path) -> TextEncoder:
    texts = ["a small red lamp", "chair"]
    folder = resolve_encoder("tiny-random", work_folder=tmp_path, texts=texts, seed=1)
    params = EncoderParams(name="tiny-random", max_length=32, lora_rank=RANK)
    return TextEncoder.from_pretrained(folder, params).eval()


def num_linear(encoder: TextEncoder) -> int:
    return sum(isinstance(module, nn.Linear) for module in encoder.modules())


def trained(encoder: TextEncoder) -> torch.Tensor:
    """Vectors after some steps of what is to be trained."""
    optimizer = torch.optim.Adam([p for p in encoder.parameters() if p.requires_grad], lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        encoder(IDS, MASK).square().sum().backward()
        optimizer.step()
    return encoder(IDS, MASK).detach()


def test_adapters_begin_as_nothing_and_are_all_that_is_trained(encoder):
    before, linear = encoder(IDS, MASK), num_linear(encoder)
    weights = {name: p.detach().clone() for name, p in encoder.named_parameters()}
    add_adapters(encoder.model, RANK, "seed")
    assert torch.equal(encoder(IDS, MASK), before)
    wanted = [name for name, p in encoder.named_parameters() if p.requires_grad]
    assert len(wanted) == 2 * linear == 24
    assert all("lora_" in name for name in wanted)
    assert not torch.allclose(trained(encoder), before)
    now = {name.replace("base_layer.", ""): p for name, p in encoder.named_parameters()}
    assert all(torch.equal(now[name], weight) for name, weight in weights.items())


def test_merged_they_give_the_same_vectors_under_the_same_names(encoder):
    names = [name for name, _ in encoder.named_parameters()]
    add_adapters(encoder.model, RANK, "seed")
    wanted = trained(encoder)
    merge_adapters(encoder.model)
    assert [name for name, _ in encoder.named_parameters()] == names
    assert all(p.requires_grad for p in encoder.parameters())
    torch.testing.assert_close(encoder(IDS, MASK), wanted, atol=1e-5, rtol=1e-4)
    add_adapters(encoder.model, RANK, "next")  # the next stage has adapters of its own
    torch.testing.assert_close(encoder(IDS, MASK), wanted, atol=1e-5, rtol=1e-4)


def test_saved_with_adapters_is_loaded_without_peft(encoder, tmp_path, monkeypatch):
    add_adapters(encoder.model, RANK, "seed")
    wanted = trained(encoder)
    encoder.save(tmp_path / "saved")
    assert encoder.model.peft_config  # saving takes nothing out
    assert torch.equal(encoder(IDS, MASK), wanted)
    for module in ("peft", "peft.tuners.lora"):
        monkeypatch.setitem(sys.modules, module, None)
    loaded = TextEncoder.load(tmp_path / "saved").eval()
    torch.testing.assert_close(loaded(IDS, MASK), wanted, atol=1e-5, rtol=1e-4)
    merged = merged_weights(loaded.model)
    assert merged.keys() == loaded.model.state_dict().keys()


def test_merging_in_place_and_on_saving_give_the_same_bits(encoder):
    add_adapters(encoder.model, RANK, "seed")
    trained(encoder)
    copies = {name: value.clone() for name, value in merged_weights(encoder.model).items()}
    merge_adapters(encoder.model)
    found = encoder.model.state_dict()
    assert found.keys() == copies.keys()
    assert all(torch.equal(found[name], value) for name, value in copies.items())


def test_a_seed_gives_the_same_adapters_and_leaves_the_random_state_alone(encoder, tmp_path):
    encoder.save(tmp_path / "saved")
    found = []
    for seed in ("0", "0", "1"):
        other = TextEncoder.load(tmp_path / "saved")
        state = torch.get_rng_state()
        add_adapters(other.model, RANK, seed)
        assert torch.equal(state, torch.get_rng_state())
        found.append(torch.cat([p.flatten() for n, p in other.named_parameters() if "lora_A" in n]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_without_peft_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install xrt-xmc\[lora\]"):
        require_peft(RANK)
    require_peft(0)


def test_rank_0_changes_nothing(encoder):
    before = list(encoder.model.state_dict())
    add_adapters(encoder.model, 0, "seed")
    merge_adapters(encoder.model)
    assert list(encoder.model.state_dict()) == before


@pytest.mark.parametrize("rank", [0, RANK])
def test_checkpoints_hold_what_training_changes(encoder, rank):
    whole = sum(p.numel() for p in encoder.parameters())
    add_adapters(encoder.model, rank, "seed")
    head = LevelHead.of_arrays(random_weights(3, 32, 0), np.zeros(3, np.float32))
    matcher = LevelMatcher(encoder, [head], MatcherParams(), num_steps=5, level=0)
    checkpoint = {"state_dict": matcher.state_dict()}
    matcher.on_save_checkpoint(checkpoint)
    kept = checkpoint["state_dict"]
    assert {"losses_S", "heads.0.weight", "heads.0.bias"} <= kept.keys()
    of_encoder = sum(value.numel() for name, value in kept.items() if name.startswith("encoder."))
    if rank:
        assert of_encoder == sum(p.numel() for p in encoder.parameters() if p.requires_grad)
        assert of_encoder < whole / 5
        assert not matcher.strict_loading
    else:
        assert of_encoder >= whole
        assert matcher.strict_loading


def test_bad_ranks_are_refused():
    with pytest.raises(ConfigError, match=r"encoder\.lora_rank = -1"):
        EncoderParams(lora_rank=-1)
