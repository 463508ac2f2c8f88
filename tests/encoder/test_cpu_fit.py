"""What a fit changes on a CPU for its own time: bfloat16 between layers, and freed memory kept."""

import resource
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from matcher_run import Pace, corpus, encoder_and_tokens, random_weights

from xrt.encoder import cpu_tuning
from xrt.encoder.batches import BatchPlan
from xrt.encoder.cpu_tuning import return_freed_memory, reuse_freed_memory
from xrt.encoder.fit import encode_sharded, fit_level
from xrt.encoder.heads import LevelHead
from xrt.encoder.levels import LevelData
from xrt.encoder.matcher import LevelBatches, LevelMatcher
from xrt.encoder.params import MatcherParams, Precision, TrainerParams

BLOCK = 48 * 2**20
PAGES = BLOCK // resource.getpagesize()
needs_glibc = pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")


class Fails(Pace):
    """A progress that fails when the first step is told."""

    def advance(self, n: int = 1, **figures: float) -> None:
        raise RuntimeError("the accident")


def matcher_and_batches(folder: Path, steps: int = 3) -> tuple[LevelMatcher, LevelBatches]:
    _, Y_NL, tree = corpus()
    encoder, tokens = encoder_and_tokens(folder)
    head = LevelHead.of_arrays(random_weights(12, 32, 0), np.zeros(12, np.float32))
    matcher = LevelMatcher(encoder, [head], MatcherParams(), num_steps=steps, level=0)
    plan = BatchPlan(tokens.lengths, token_budget=4096, max_rows=8, seed=0)
    return matcher, LevelBatches(tokens, [LevelData(Y_NL, None, tree, 1)], plan)


def trainer_of(precision: Precision) -> TrainerParams:
    return TrainerParams(accelerator="cpu", devices=1, precision=precision)


def fitted(folder: Path, precision: Precision, progress: Pace | None) -> LevelMatcher:
    """After a fit, or one that ended with the progress's accident."""
    matcher, batches = matcher_and_batches(folder)
    fails = progress is not None
    with pytest.raises(RuntimeError, match="the accident") if fails else nullcontext():
        fit_level(matcher, batches, folder / "fit.ckpt", False, trainer_of(precision), progress)
    return matcher


def state_types(matcher: LevelMatcher) -> list[torch.dtype]:
    """What the second layer gets, noted from now on."""
    seen: list[torch.dtype] = []
    layer = matcher.encoder.layers[1]
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    return seen


@pytest.mark.parametrize("precision", [Precision.bf16, Precision.fp32])
def test_a_fit_in_bfloat16_has_bfloat16_between_layers(tmp_path, precision):
    matcher, batches = matcher_and_batches(tmp_path)
    seen = state_types(matcher)
    fit_level(matcher, batches, tmp_path / "fit.ckpt", False, trainer_of(precision))
    wanted = torch.bfloat16 if precision is Precision.bf16 else torch.float32
    assert seen == [wanted] * 3
    assert {p.dtype for p in matcher.parameters()} == {torch.float32}
    assert torch.isfinite(matcher.losses_S).all()


@pytest.mark.parametrize("progress", [None, Fails()])
def test_nothing_is_left_on_the_encoder(tmp_path, progress):
    """Nor after a fit that fails: what embeds the rows next is the encoder alone."""
    matcher = fitted(tmp_path, Precision.bf16, progress)
    assert not any(module._forward_hooks for module in matcher.encoder.modules())


def page_faults() -> int:
    """Of taking 48 MiB, writing to each page of it, and freeing it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(BLOCK)
    block[:: resource.getpagesize()] = b"x" * PAGES
    del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@needs_glibc
def test_freed_memory_is_there_for_the_next_array_while_it_is_kept():
    reuse_freed_memory()
    try:
        first, again = page_faults(), page_faults()
        assert again < PAGES / 10, f"{first} page faults at first, {again} again, of {PAGES} pages"
    finally:
        return_freed_memory()
    assert page_faults() > PAGES / 2
    assert page_faults() > PAGES / 2


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """What is told to the C library, by name."""
    told: list[str] = []
    for name in ("reuse_freed_memory", "return_freed_memory"):
        monkeypatch.setattr(cpu_tuning, name, lambda name=name: told.append(name))
    return told


@pytest.mark.parametrize("progress", [None, Fails()])
def test_a_fit_gives_freed_memory_back_at_its_end(tmp_path, progress, told):
    fitted(tmp_path, Precision.fp32, progress)
    assert told == ["reuse_freed_memory", "return_freed_memory"]


def test_an_encoding_gives_freed_memory_back_at_its_end(tmp_path, told):
    encoder, tokens = encoder_and_tokens(tmp_path)
    encode_sharded(encoder, tokens, trainer_of(Precision.fp32))
    assert told == ["reuse_freed_memory", "return_freed_memory"]


@needs_glibc
@pytest.mark.parametrize(
    ("name", "value"),
    [("MALLOC_TRIM_THRESHOLD_", "131072"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=9")],
)
def test_settings_of_the_environment_stand(monkeypatch, name, value):
    """As far as this process can tell: they were read when it began."""
    monkeypatch.setenv(name, value)
    reuse_freed_memory()
    page_faults()
    assert page_faults() > PAGES / 2
