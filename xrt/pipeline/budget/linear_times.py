"""What the linear model took, from which what the rankers of the deep one will take follows.

H hidden width.
"""

from dataclasses import dataclass

from xrt.pipeline.rows import TrainingRows
from xrt.pipeline.runner import StageRunner
from xrt.storage.stages import MemoryCache

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
    """

    tree: float
    fusion: float
    nonzeros: float
    num_names: int = 0
    num_tests: int = 0

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
