"""What the optimiser moves, and how far."""

import torch

from xrt.encoder.heads import LevelHead
from xrt.encoder.optimizers import WEIGHT_DECAY, LinearSchedule, make_optimizer
from xrt.encoder.params import MatcherParams


def test_matrices_of_the_encoder_alone_decay():
    params = MatcherParams(head_learning_rate=0.1, encoder_learning_rate=0.01)
    encoder, heads = torch.nn.Linear(4, 6), torch.nn.ModuleList([LevelHead(12, 6)])
    optimizer = make_optimizer(encoder, heads, params, torch.device("cpu"))
    groups = [(g["lr"], g["weight_decay"], len(g["params"])) for g in optimizer.param_groups]
    assert groups == [(0.01, WEIGHT_DECAY, 1), (0.01, 0.0, 1), (0.1, 0.0, 2)]


def test_the_learning_rate_rises_and_falls_to_nothing():
    schedule = LinearSchedule(num_steps=10, warmup_share=0.2)
    factors = [schedule(step) for step in range(11)]
    assert factors[:3] == [1 / 3, 2 / 3, 1.0]
    assert factors[-2:] == [1 / 8, 0.0]
    assert LinearSchedule(1, 0.0)(0) == 1.0
