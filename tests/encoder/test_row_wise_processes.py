"""A head moved row by row is trained by two processes as by one."""

import sys

import numpy as np
import pytest
import torch
from matcher_run import corpus, encoder_and_tokens, trainer_params

from xrt.encoder.batches import BatchPlan
from xrt.encoder.fit import fit_level
from xrt.encoder.heads import LabelHead, random_weights
from xrt.encoder.levels import LevelProblem
from xrt.encoder.matcher import LevelBatches, LevelMatcher
from xrt.encoder.params import MatcherParams

pytestmark = [
    pytest.mark.ddp,
    pytest.mark.skipif(sys.platform != "linux", reason="as the other tests of processes"),
]


def fit(folder, devices: int, row_wise: bool) -> LevelMatcher:
    """Six steps without dropout, gradients clipped, 5 rows a batch: two processes get 3 and 2."""
    _, Y_NL, tree = corpus()
    encoder, tokens = encoder_and_tokens(folder)
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    start = random_weights(12, 32, 0), np.zeros(12, np.float32)
    head = LabelHead.of_arrays(*start, row_wise)
    params = MatcherParams(gradient_clip=0.5)
    matcher = LevelMatcher(encoder, [head], params, num_steps=6, level=1)
    plan = BatchPlan(tokens.lengths, token_budget=4096, max_rows=5, seed=0)
    problem = LevelProblem(Y_NL, tree.level_targets(Y_NL)[0], tree, 1)
    batches = LevelBatches(tokens, [problem], plan)
    fit_level(matcher, batches, folder / "fit.ckpt", False, trainer_params(devices))
    return matcher


def test_two_processes_move_the_rows_that_one_moves(tmp_path, monkeypatch):
    monkeypatch.setenv("XRT_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one, two = (fit(tmp_path / str(n), n, row_wise=True) for n in (1, 2))
    torch.testing.assert_close(two.losses_S, one.losses_S)
    for found, wanted in zip(two.head.arrays(), one.head.arrays(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    moved = np.abs(one.head.arrays()[0] - random_weights(12, 32, 0))
    assert moved.max() > 1e-3
