"""What the linear model took, from which what the rankers of the deep one will take follows.

H hidden width.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xrt.model import XrtModel
from xrt.pipeline.rows import TrainingRows
from xrt.pipeline.runner import StageRunner
from xrt.storage.stages import MemoryCache

SCORED_ROWS = 200
"""Training rows that are scored to see how long a row takes."""
DEEP_SCORING = 3
"""Times as long as the linear model that the deep one takes for a row, beside reading it: it has
trees and neighbours of embeddings, too."""
FUSION_STAGE = "linear-fusion"
VISIT, DENSE = 30, 0.5
"""In nonzeros: what a row of rankers costs besides, and what a component of an embedding costs."""


@dataclass(frozen=True, kw_only=True)
class LinearTimes:
    """What the linear model took, in seconds, and the size of what is to come.

    Attributes:
        tree: one tree with its rankers.
        fusion: scoring held-out rows, and choosing a fusion.
        nonzeros: of a TF-IDF row, on average.
        num_names: labels whose names are read.
        num_tests: rows of the test file.
        scoring: a row, by the linear model.
    """

    tree: float
    fusion: float
    nonzeros: float
    num_names: int = 0
    num_tests: int = 0
    scoring: float = 0.0

    @property
    def tests(self) -> float:
        """Seconds of scoring the test file, by the linear model and by the deep one."""
        return (1 + DEEP_SCORING) * self.num_tests * self.scoring

    def rankers(self, num_trees: int, width: int) -> float:
        """Seconds of hybrid rankers, for held-out rows and for all.

        Args:
            num_trees: trees.
            width: of the embeddings, H.

        Returns:
            Seconds.
        """
        hybrid = (self.nonzeros + VISIT + DENSE * width) / (self.nonzeros + VISIT)
        return 2 * num_trees * self.tree * hybrid


def linear_times(runner: StageRunner, rows: TrainingRows, num_tests: int) -> LinearTimes:
    """What the stages of the linear model took, in this run or when they were made.

    Args:
        runner: ran the stages.
        rows: the training rows.
        num_tests: rows of the test file.

    Returns:
        Seconds of a tree and of the fusion, with sizes.
    """
    took = runner.seconds
    whole = sum(
        seconds
        for name, seconds in took.items()
        if name.startswith(("tree", "linear")) and name != FUSION_STAGE
    )
    inner = sum(seconds for name, seconds in took.items() if name.startswith("fit-")) or whole
    fusion = max(0.0, took.get(FUSION_STAGE, 0.0) - inner)
    if isinstance(runner.cache, MemoryCache):
        fusion += inner / 2  # trees without held-out rows are trained once more; it counts twice
    num_names = 0 if rows.names is None else len(rows.names.names)
    num_rows = max(1, rows.X_NF.shape[0])
    return LinearTimes(
        tree=min(whole, inner) / runner.params.num_trees,  # the first time kernels are compiled
        fusion=fusion,
        nonzeros=rows.X_NF.nnz / num_rows,
        num_names=num_names,
        num_tests=num_tests,
    )


def seconds_a_row(
    runner: StageRunner,
    rows: TrainingRows,
    model: XrtModel,
    now: Callable[[], float] = time.monotonic,
) -> float:
    """How long a model takes to score a row, measured.

    Args:
        runner: says how many labels and threads.
        rows: the training rows, of which some are scored.
        model: the linear model.
        now: the clock, seconds.

    Returns:
        Seconds.
    """
    X = rows.X.take(np.arange(min(SCORED_ROWS, rows.X.num_rows)))
    counts_L = None if model.frequencies is None else model.frequencies.counts_L
    started = now()
    found = model.candidates(model.source_rows(X), runner.candidates, runner.num_threads)
    model.fusion.scores(found, counts_L, runner.candidates)
    return (now() - started) / X.num_rows
