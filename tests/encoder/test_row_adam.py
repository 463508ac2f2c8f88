"""Adam row by row."""

import io

import numpy as np
import pytest
import torch

from tests.reference.row_adam import SlowRowAdam
from xrt.encoder import row_adam
from xrt.encoder.row_adam import RowAdam
from xrt.errors import ConfigError

NUM_ROWS, WIDTH = 9, 4
TOUCHED = [[0, 3], [3], [3, 8, 1], [0, 1, 2, 3, 4, 5, 6, 7, 8], [3, 5], [7, 0]]


def sparse(rows: list[int], values: torch.Tensor, num_rows: int = NUM_ROWS) -> torch.Tensor:
    size = (num_rows, *values.shape[1:])
    return torch.sparse_coo_tensor([rows], values, size, check_invariants=True)


def started(dtype: torch.dtype = torch.float32, **settings):
    weight = torch.nn.Parameter(
        torch.linspace(-1, 1, NUM_ROWS * WIDTH, dtype=dtype).view(-1, WIDTH)
    )
    return weight, RowAdam([weight], lr=0.1, **settings)


def gradients(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [10.0**i * torch.randn(len(rows), WIDTH, generator=generator) for i, rows in
            enumerate(TOUCHED, -3)]  # fmt: skip


@pytest.mark.parametrize("rows_at_a_time", [2, 512])
@pytest.mark.parametrize("scale_per_row", [False, True])
def test_rows_move_as_one_by_one(scale_per_row, rows_at_a_time, monkeypatch):
    monkeypatch.setattr(row_adam, "CPU_ROWS", rows_at_a_time)
    weight, optimizer = started(scale_per_row=scale_per_row)
    slow = SlowRowAdam(weight.tolist(), 0.1, scale_per_row=scale_per_row)
    for rows, values in zip(TOUCHED, gradients(), strict=True):
        weight.grad = sparse(rows, values)
        optimizer.step()
        slow.step(dict(zip(rows, values.tolist(), strict=True)))
        np.testing.assert_allclose(weight.detach(), slow.rows, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("is_sparse", [True, False])
@pytest.mark.parametrize("shape", [(NUM_ROWS, WIDTH), (NUM_ROWS,)])
def test_it_is_adam_where_every_step_touches_every_row(shape, is_sparse):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    found, wanted = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizers = RowAdam([found], lr=0.1), torch.optim.Adam([wanted], lr=0.1)
    for _ in range(20):
        wanted.grad = torch.randn(shape, generator=generator)
        every = list(range(NUM_ROWS))
        found.grad = sparse(every, wanted.grad) if is_sparse else wanted.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_first_move_of_a_row_is_as_long_however_late_it_comes():
    """torch's SparseAdam, which has one clock for all rows, moves it 2.5 times as far."""
    weight, optimizer = started()
    before = weight.detach().clone()
    for _ in range(999):
        weight.grad = sparse([0], torch.ones(1, WIDTH))
        optimizer.step()
    weight.grad = sparse([5], torch.full((1, WIDTH), -7.0))
    optimizer.step()
    torch.testing.assert_close(weight.detach()[5] - before[5], torch.full((WIDTH,), 0.1))


def test_rows_that_are_not_touched_keep_their_bytes_and_moments():
    weight, optimizer = started()
    weight.grad = sparse([2, 6], torch.ones(2, WIDTH))
    optimizer.step()
    state = optimizer.state[weight]
    kept = [part.clone() for part in (weight.detach(), *state.values())]
    weight.grad = sparse([6], torch.ones(1, WIDTH))
    optimizer.step()
    for before, after in zip(kept, (weight.detach(), *state.values()), strict=True):
        changed = (before != after).reshape(NUM_ROWS, -1).any(1)
        assert changed.nonzero().flatten().tolist() == [6]


def test_a_row_named_twice_has_the_sum_of_its_gradients():
    (found, first), (wanted, second) = started(), started()
    found.grad = sparse([4, 1, 4], torch.tensor([[1.0], [2.0], [3.0]]).expand(3, WIDTH))
    wanted.grad = sparse([1, 4], torch.tensor([[2.0], [4.0]]).expand(2, WIDTH))
    for optimizer in (first, second):
        optimizer.step()
    assert torch.equal(found, wanted)
    assert first.state[found]["row_steps"].tolist() == [0, 1, 0, 0, 1, 0, 0, 0, 0]


def test_a_step_without_rows_changes_nothing():
    weight, optimizer = started()
    before = weight.detach().clone()
    weight.grad = sparse([], torch.zeros(0, WIDTH))
    optimizer.step()
    weight.grad = None
    optimizer.step()
    assert torch.equal(weight, before)


@pytest.mark.parametrize("scale_per_row", [False, True])
def test_a_saved_state_goes_on_to_the_same_bytes(scale_per_row):
    weight, optimizer = started(scale_per_row=scale_per_row)
    steps = list(zip(TOUCHED, gradients(), strict=True))
    for i, (rows, values) in enumerate(steps):
        if i == 3:
            file = io.BytesIO()
            torch.save((weight.detach(), optimizer.state_dict()), file)
        weight.grad = sparse(rows, values)
        optimizer.step()
    file.seek(0)
    kept, state = torch.load(file, weights_only=True)
    again = torch.nn.Parameter(kept)
    other = RowAdam([again], lr=0.5)  # settings come from the state
    other.load_state_dict(state)
    for rows, values in steps[3:]:
        again.grad = sparse(rows, values)
        other.step()
    assert torch.equal(again, weight)


def test_one_scale_a_row_halves_the_moments():
    sizes = []
    for scale_per_row in (False, True):
        weight, optimizer = started(scale_per_row=scale_per_row)
        weight.grad = sparse([0], torch.ones(1, WIDTH))
        optimizer.step()
        sizes.append(sum(part.numel() for part in optimizer.state[weight].values()))
    assert sizes == [NUM_ROWS * (2 * WIDTH + 1), NUM_ROWS * (WIDTH + 2)]


def test_settings_it_cannot_work_with_are_refused():
    with pytest.raises(ConfigError, match="betas"):
        started(betas=(0.9, 1.0))
    with pytest.raises(ConfigError, match="bfloat16"):
        started(dtype=torch.bfloat16)
