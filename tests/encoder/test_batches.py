import itertools

import numpy as np
import pytest

from xrt.encoder.batches import BatchPlan, BatchStream, rows_of_rank
from xrt.errors import ConfigError


@pytest.fixture
def lengths() -> np.ndarray:
    return np.random.default_rng(3).integers(1, 60, 500)


def test_an_epoch_holds_every_row_once_and_no_batch_breaks_the_budget(lengths):
    plan = BatchPlan(lengths, token_budget=256, max_rows=20, seed=1)
    batches = plan.epoch(0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert all(len(b) * lengths[b].max() <= 256 and len(b) <= 20 for b in batches)
    assert len(batches) == plan.num_batches


def test_padding_is_small_because_rows_of_a_batch_are_alike(lengths):
    batches = BatchPlan(lengths, token_budget=256, max_rows=99, seed=1).epoch(0)
    padded = sum(len(b) * lengths[b].max() for b in batches)
    assert padded < 1.06 * lengths.sum()


def test_order_is_a_function_of_seed_and_epoch(lengths):
    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(BatchPlan(lengths, 256, 20, seed).epoch(epoch)).tolist()

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_a_row_longer_than_the_budget_goes_alone():
    batches = BatchPlan(np.array([3, 3, 50]), token_budget=10, max_rows=8, seed=0).epoch(0)
    assert sorted(sorted(b.tolist()) for b in batches) == [[0, 1], [2]]


def test_a_stream_goes_on_where_it_stood_across_the_epoch_border(lengths):
    plan = BatchPlan(lengths, 256, 20, seed=5)
    whole = [b.tolist() for b in itertools.islice(BatchStream(plan), 2 * plan.num_batches + 3)]
    first = BatchStream(plan)
    head = [b.tolist() for b in itertools.islice(first, plan.num_batches - 1)]
    second = BatchStream(plan)
    second.load_state_dict(first.state_dict())
    tail = [b.tolist() for b in itertools.islice(second, plan.num_batches + 4)]
    assert head + tail == whole


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_every_batch_without_overlap(lengths, world_size):
    for batch in BatchPlan(lengths, 256, 20, seed=1).epoch(0):
        shares = [rows_of_rank(batch, rank, world_size) for rank in range(world_size)]
        assert sorted(np.concatenate(shares).tolist()) == sorted(batch.tolist())
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_no_rows_is_an_error_that_says_so():
    with pytest.raises(ConfigError, match="no rows"):
        BatchPlan(np.array([], np.int64), 10, 10, 0)
