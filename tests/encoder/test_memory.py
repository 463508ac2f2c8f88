"""Out of memory: what counts as that, and a step in two parts."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.distributed as dist
from matcher_run import Pace, corpus, train, trainer_params
from torch import nn
from torch.multiprocessing import ProcessRaisedException

from xrt.encoder import fit
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.batches import BatchPlan
from xrt.encoder.heads import LevelHead
from xrt.encoder.levels import LevelData
from xrt.encoder.matcher import LevelBatches, LevelMatcher, in_micro_batches
from xrt.encoder.out_of_memory import fit_with_retry, is_out_of_memory
from xrt.encoder.params import EncoderParams, MatcherParams
from xrt.encoder.resolve import resolve_encoder
from xrt.encoder.tokens import TokenStore
from xrt.errors import CapacityError, TrainingError

OUT_OF_MEMORY = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError(OUT_OF_MEMORY), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (MemoryError(), True),
        (caused(TrainingError("another process"), RuntimeError(OUT_OF_MEMORY)), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (CapacityError("disk full while writing"), False),
        (ValueError("out of memory"), False),
        (ProcessRaisedException(f"\nRuntimeError: {OUT_OF_MEMORY}", 1, 7), True),
        (ProcessRaisedException("\nValueError: out of range", 1, 7), False),
    ],
)  # fmt: skip
def test_what_counts_as_out_of_memory(error, expected):
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize("num_rows", [1, 2, 5])
@pytest.mark.parametrize("num_micro_batches", [1, 2, 3])
def test_parts_give_the_vectors_and_gradients_of_the_whole(num_rows, num_micro_batches):
    torch.manual_seed(0)
    layer, sizes = nn.Linear(4, 3, dtype=torch.float64), []

    def vectors(ids_BT, mask_BT):
        sizes.append(len(ids_BT))
        hidden_BH = layer(ids_BT * mask_BT)
        return torch.cat([hidden_BH, hidden_BH.tanh()], dim=1)

    ids_BT = torch.randn(num_rows, 4, dtype=torch.float64)
    mask_BT = torch.ones_like(ids_BT)
    found = {}
    for parts in (1, num_micro_batches):
        layer.zero_grad()
        first_BH, second_BH = in_micro_batches(vectors, ids_BT, mask_BT, parts).chunk(2, dim=1)
        (first_BH * second_BH).sum().backward()
        found[parts] = (first_BH.detach(), second_BH.detach(), layer.weight.grad.clone())
    for whole, split in zip(found[1], found[num_micro_batches], strict=True):
        torch.testing.assert_close(split, whole)
    assert max(sizes[1:]) <= -(-num_rows // num_micro_batches)  # the first is the whole


def test_parts_hold_less_for_the_backward_pass():
    held = []
    layer = nn.Sequential(nn.Linear(4, 512), nn.Tanh(), nn.Linear(512, 3))

    def bytes_held(num_micro_batches):
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: saved.append(tensor.numel()) or tensor, lambda tensor: tensor
        ):
            in_micro_batches(
                lambda ids, mask: layer(ids), torch.randn(8, 4), torch.ones(8, 4), num_micro_batches
            )
        return sum(saved)

    held = [bytes_held(parts) for parts in (1, 2)]
    assert held[1] < 0.75 * held[0]


class RunsOut:
    """An encoder's forward pass that runs out of memory above a number of tokens, in training."""

    def __init__(self, monkeypatch, most: int, from_call: int = 0) -> None:
        forward = TextEncoder.forward
        self.calls = self.failures = 0

        def limited(encoder, input_ids_BT, attention_mask_BT):
            if torch.is_grad_enabled():
                self.calls += 1
                if self.calls > from_call and input_ids_BT.numel() > most:
                    self.failures += 1
                    raise RuntimeError(OUT_OF_MEMORY)
            return forward(encoder, input_ids_BT, attention_mask_BT)

        monkeypatch.setattr(TextEncoder, "forward", limited)


class Accident(Exception):
    """Ends a run in its middle."""


class BreaksOff(Pace):
    """A run that ends at its 16th step."""

    def advance(self, n=1, **figures):
        if "loss" in figures:
            self.steps = getattr(self, "steps", 0) + 1
            if self.steps > 15:
                raise Accident


@pytest.fixture
def settings(monkeypatch):
    """No dropout: halves would draw another."""
    monkeypatch.setenv("XRT_NUM_THREADS", "1")
    monkeypatch.setattr(nn.functional, "dropout", lambda x, *_, **__: x)
    return {"steps": 24}


def test_out_of_memory_halves_what_is_in_memory_and_the_steps_stay_as_they_are(
    tmp_path, monkeypatch, settings, caplog
):
    whole = train(tmp_path / "whole", **settings)
    runs_out = RunsOut(monkeypatch, most=70, from_call=11)
    halved = train(tmp_path / "halved", **settings)
    assert runs_out.failures == 1
    told = [r.getMessage() for r in caplog.records if "out of memory" in r.getMessage()]
    assert len(told) == 1
    assert "4096 tokens at a time: each batch is now cut in two, 2048" in told[0]
    np.testing.assert_allclose(halved.losses, whole.losses, rtol=1e-3)
    np.testing.assert_array_equal(halved.losses[:11], whole.losses[:11])
    np.testing.assert_allclose(halved.heads[1][0], whole.heads[1][0], atol=1e-3)


def test_a_halved_run_that_breaks_off_goes_on_halved(tmp_path, monkeypatch, settings, caplog):
    runs_out = RunsOut(monkeypatch, most=70, from_call=11)
    halved = train(tmp_path / "halved", **settings)
    runs_out.calls = 0
    with pytest.raises(Accident):
        train(tmp_path / "broken", progress=BreaksOff(), **settings)
    caplog.clear()
    resumed = train(tmp_path / "broken", **settings)
    assert "out of memory" not in caplog.text
    np.testing.assert_array_equal(resumed.losses, halved.losses)
    np.testing.assert_array_equal(resumed.heads[1][0], halved.heads[1][0])


def test_out_of_memory_a_second_time_says_what_to_try(tmp_path, monkeypatch, settings):
    RunsOut(monkeypatch, most=20, from_call=9)
    with pytest.raises(
        CapacityError,
        match=r"half of matcher.token_budget = 4096 .*longest text: \d+ tokens.*encoder.max_length",
    ):
        train(tmp_path, **settings)
    state = torch.load(tmp_path / "level-1.ckpt", weights_only=True)
    assert state["global_step"] == 9


class RunsOutInTheSecond(TextEncoder):
    """Out of memory above 50 tokens, in the second of two processes only."""

    def forward(self, input_ids_BT, attention_mask_BT):
        if dist.is_initialized() and dist.get_rank() == 1 and input_ids_BT.numel() > 50:
            raise RuntimeError(OUT_OF_MEMORY)
        return super().forward(input_ids_BT, attention_mask_BT)


def fit_six_steps(folder: Path, kind: type[TextEncoder], devices: int) -> LevelMatcher:
    """Six steps without dropout, a checkpoint after each two."""
    texts, Y_NL, tree = corpus()
    backbone = resolve_encoder("tiny-random", work_folder=folder, texts=texts)
    encoder = kind.from_pretrained(backbone, EncoderParams(name="tiny-random"))
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    tokens = TokenStore.of_texts(texts, encoder.tokenizer, 32)
    params = MatcherParams()
    matcher = LevelMatcher(encoder, [LevelHead(12, 32)], params, num_steps=6, level=1)
    plan = BatchPlan(tokens.lengths, token_budget=4096, max_rows=16, seed=0)
    batches = LevelBatches(tokens, [LevelData(Y_NL, None, tree, 1)], plan)
    with patch.object(fit, "CHECKPOINT_EVERY_STEPS", 2):
        fit_with_retry(matcher, batches, folder / "fit.ckpt", False, trainer_params(devices))
    return matcher


@pytest.mark.slow
@pytest.mark.ddp
@pytest.mark.timeout(900)
def test_out_of_memory_in_one_of_two_processes_halves_the_work_of_both(tmp_path, caplog):
    whole = fit_six_steps(tmp_path / "whole", TextEncoder, 1)
    halved = fit_six_steps(tmp_path / "halved", RunsOutInTheSecond, 2)
    assert "each batch is now cut in two" in caplog.text
    torch.testing.assert_close(halved.losses_S, whole.losses_S, rtol=1e-3, atol=0)
    torch.testing.assert_close(halved.head.weight, whole.head.weight, rtol=0, atol=1e-3)
