"""Wide heads move row by row, as Adam moves them whole."""

import copy

import pytest
import torch

from xrt.encoder.heads import LabelHead
from xrt.encoder.optimizers import PairedOptimizer, clip_gradients, make_optimizer
from xrt.encoder.params import MatcherParams

PARAMS = MatcherParams(head_learning_rate=0.1, encoder_learning_rate=0.01, weight_decay=0.0)


def parts(row_wise: bool) -> tuple[torch.nn.Module, torch.nn.ModuleList, torch.optim.Optimizer]:
    """An encoder of one layer, a head of 12 nodes, their optimiser."""
    torch.manual_seed(0)
    encoder, head = torch.nn.Linear(4, 6), LabelHead(12, 6, row_wise)
    heads = torch.nn.ModuleList([head])
    return encoder, heads, make_optimizer(encoder, heads, PARAMS, torch.device("cpu"))


def step(encoder, heads, optimizer, nodes: list[int], limit: float = 1e9) -> torch.Tensor:
    """A step on two rows with the given candidates; the norm of the head's gradient."""
    x = torch.arange(8.0).reshape(2, 4)
    rows, nodes_E = torch.arange(2).repeat_interleave(len(nodes)), torch.tensor(nodes * 2)
    optimizer.zero_grad()
    logits = heads[0].at(encoder(x), rows, nodes_E)
    ((logits - nodes_E) ** 2).sum().backward()
    norm = clip_gradients(heads, limit)
    optimizer.step()
    return norm


@pytest.mark.parametrize("limit", [1e9, 0.5])
def test_row_wise_is_whole_where_every_row_is_touched(limit):
    found, wanted = parts(row_wise=True), parts(row_wise=False)
    assert isinstance(found[2], PairedOptimizer)
    for _ in range(3):
        norms = [step(*each, nodes=list(range(12)), limit=limit) for each in (found, wanted)]
        torch.testing.assert_close(*norms, atol=0, rtol=1e-4)
    for one, other in zip(found[:2], wanted[:2], strict=True):
        for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_rows_that_no_step_looks_at_stay_where_they_are():
    encoder, heads, optimizer = parts(row_wise=True)
    step(encoder, heads, optimizer, [1, 5])
    before = copy.deepcopy(heads[0])
    step(encoder, heads, optimizer, [5, 7])
    for moved in ((heads[0].weight != before.weight).any(1), heads[0].bias != before.bias):
        assert moved.nonzero().flatten().tolist() == [5, 7]


def test_a_schedule_reaches_all_parts_and_saved_states_go_on():
    encoder, heads, optimizer = parts(row_wise=True)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    assert [group["lr"] for part in optimizer.parts for group in part.param_groups] == [
        0.005, 0.005, 0.05
    ]  # fmt: skip
    step(encoder, heads, optimizer, [1, 5])
    other = parts(row_wise=True)
    for mine, theirs in zip(other[:2], (encoder, heads), strict=True):
        mine.load_state_dict(theirs.state_dict())
    other[2].load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each in ((encoder, heads, optimizer), other):
        step(*each, nodes=[1, 5, 7])
    assert torch.equal(other[1][0].weight, heads[0].weight)
