"""Batches of rows of like length, under a budget of tokens; their order is f(seed, epoch) and no
more.

A batch is what all processes together see in one step. Each process takes every world-size-th row
of it (`rows_of_rank`), so all take equally many steps, their rows are alike in length, and the
sequence of batches, the number of steps and the averaged gradient do not depend on the number of
processes.
"""

from collections.abc import Iterator

import numpy as np

from xrt.errors import ConfigError


class BatchPlan:
    """Cuts rows, sorted by length, into batches; every epoch has the same number of them.

    `token_budget` bounds rows times longest row, padding included; a row longer than that goes
    alone.
    `max_rows` bounds the rows of a batch.
    """

    def __init__(self, lengths: np.ndarray, token_budget: int, max_rows: int, seed: int) -> None:
        if token_budget < 1 or max_rows < 1:
            raise ConfigError(
                f"token_budget = {token_budget}, max_rows = {max_rows}: must be above 0"
            )
        if not len(lengths):
            raise ConfigError("no rows to make batches of; check the corpus")
        self.lengths = np.asarray(lengths, np.int64)
        self.seed = seed
        self.cuts = cut_sorted(np.sort(self.lengths), token_budget, max_rows)

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return len(self.cuts) - 1

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """Row numbers of each batch of an epoch, in the order of training.

        Args:
            epoch: number of the epoch, from 0.

        Returns:
            An array for each batch.
        """
        rng = np.random.default_rng([self.seed, epoch])
        shuffled = rng.permutation(len(self.lengths))
        by_length = shuffled[np.argsort(self.lengths[shuffled], kind="stable")]
        batches = np.split(by_length, self.cuts[1:-1])
        return [batches[i] for i in rng.permutation(self.num_batches)]


class BatchStream:
    """Batches of epoch after epoch without end; `position` counts those handed out."""

    def __init__(self, plan: BatchPlan, position: int = 0) -> None:
        self.plan = plan
        self.position = position

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            epoch, first = divmod(self.position, self.plan.num_batches)
            for batch in self.plan.epoch(epoch)[first:]:
                self.position += 1
                yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the stream stands.

        Returns:
            `{"position": batches handed out}`.
        """
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a saved position; the next iterator begins there.

        Args:
            state: what `state_dict` gave.
        """
        self.position = int(state["position"])


def cut_sorted(lengths: np.ndarray, token_budget: int, max_rows: int) -> np.ndarray:
    """Boundaries of greedy batches over ascending lengths: int64, from 0 to N; only 0 for no
    rows.

    Args:
        lengths: tokens of each row, ascending, (N,).
        token_budget: most tokens of a batch, padding included.
        max_rows: most rows of a batch.

    Returns:
        Row numbers.
    """
    if not len(lengths):
        return np.zeros(1, np.int64)
    cuts = [0]
    for row, length in enumerate(np.maximum(lengths, 1).tolist()):
        rows = row - cuts[-1] + 1
        if rows > 1 and (rows * length > token_budget or rows > max_rows):
            cuts.append(row)
    return np.array([*cuts, len(lengths)], np.int64)


def rows_of_rank(batch: np.ndarray, rank: int, world_size: int) -> np.ndarray:
    """The rows of a batch that one process works on; may be empty when there are few rows.

    Args:
        batch: row numbers of a batch.
        rank: number of the process, from 0.
        world_size: number of processes.

    Returns:
        Row numbers.
    """
    return batch[rank::world_size]
