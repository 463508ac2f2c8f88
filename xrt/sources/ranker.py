"""The rankers: one-vs-rest models at every level of a label tree, on [TF-IDF ; embedding] rows.

N rows, L labels. Level t is trained on the rows whose true nodes, or whose best-scored nodes, lie
in the cluster above (teacher-forced and matcher-aware negatives).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import scipy.sparse as sp

from xrt.hybrid import HybridMatrix
from xrt.linear.scoring import root_beam, step
from xrt.linear.sink import FolderSink, LevelSink, MemorySink
from xrt.linear.solver import RankerProblem, SolverParams, train_levels
from xrt.linear.weights import LevelWeights
from xrt.progress import Progress
from xrt.ranges import at_least
from xrt.tree.candidates import matcher_aware, teacher_forced, union_candidates
from xrt.tree.label_tree import LabelTree


@dataclass(frozen=True, kw_only=True)
class RankerParams(SolverParams):
    """How the rankers are trained: the solver's settings and where negatives come from."""

    matcher_negatives: Annotated[int, at_least(0)] = 0
    """Best-scored clusters of each training row that join its true ones when labels are trained
    (MAN)."""
    half: bool = False
    """Keep weights as float16: half the memory and disk, margins right to about 3 digits."""


@dataclass(frozen=True, eq=False)
class TreeRanker:
    """A label tree and the weights of each of its levels, coarse to fine."""

    tree: LabelTree
    levels: tuple[LevelWeights, ...]

    @property
    def num_weights(self) -> int:
        """Stored weights of all levels, sparse and dense."""
        return sum(len(level.entry_values) + level.dense.size for level in self.levels)

    def save(self, folder: Path) -> None:
        """Write tree and weights into the folder.

        Args:
            folder: the folder.
        """
        self.tree.save(folder / "tree")
        for t, level in enumerate(self.levels):
            level.save(folder / f"level.{t}")

    def check(self, num_threads: int | None = None) -> None:
        """Look at all weights that came from disk.

        Args:
            num_threads: threads; None for the default.

        Raises:
            ArtifactError: some are damaged.
        """
        for level in self.levels:
            level.check(num_threads=num_threads)

    @classmethod
    def load(cls, folder: Path, mmap: bool = True) -> "TreeRanker":
        """Read what `save` wrote.

        Args:
            folder: the folder that `save` wrote.
            mmap: whether arrays are memory-mapped.

        Returns:
            The ranker.

        Raises:
            ArtifactError: it is damaged.
        """
        tree = LabelTree.load(folder / "tree")
        levels = (
            LevelWeights.load(folder / f"level.{t}", tree, t, mmap) for t in range(tree.depth)
        )
        return cls(tree, tuple(levels))


def train_ranker(
    X: HybridMatrix,
    Y: sp.csr_array,
    tree: LabelTree,
    params: RankerParams,
    seed: int,
    num_threads: int | None = None,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> TreeRanker:
    """Train every level of the tree on rows X (N, F + H) with labels Y (N, L).

    An entry of Y is the confidence in a label and multiplies `cost_positive`; above the labels that
    of the surest one below counts. The weights of the rows of X multiply all their costs. With a
    `folder`, weights are streamed to where `TreeRanker.save(folder)` would put them and come back
    memory-mapped.

    Args:
        X: N rows, with their weights.
        Y: their labels, csr_array (N, L).
        tree: the label tree.
        params: how rankers are trained.
        seed: seed of what is random.
        num_threads: threads; None for the default.
        progress: is told how far training is; None: nobody is.
        folder: where weights are streamed to; None: they stay in memory.

    Returns:
        Tree and weights.

    Raises:
        DataError: rows or labels do not fit together.
        CapacityError: the disk is full.
    """
    targets = tree.level_confidences(Y)
    above = [None, *(teacher_forced(targets[t - 1]) for t in range(1, tree.depth))]
    problems = [RankerProblem.of(X, targets[t], above[t], tree, t) for t in range(tree.depth)]

    def solve(problems: Sequence[RankerProblem]) -> list[LevelWeights]:
        sinks = [_sink(tree, problem.t, X.num_features, params, folder) for problem in problems]
        return train_levels(X, problems, tree, params, seed, num_threads, progress, sinks)

    if not params.matcher_negatives or tree.depth == 1:
        return TreeRanker(tree, tuple(solve(problems)))
    levels = solve(problems[:-1])
    beam = root_beam(X.num_rows)
    for level in levels:
        keep = max(10, params.matcher_negatives)
        beam = step(level, X, beam, keep, num_threads)
    negatives = matcher_aware(beam, params.matcher_negatives)
    last = RankerProblem.of(
        X, targets[-1], union_candidates(above[-1], negatives), tree, tree.depth - 1
    )
    return TreeRanker(tree, (*levels, *solve([last])))


def _sink(
    tree: LabelTree, t: int, num_features: int, params: RankerParams, folder: Path | None
) -> LevelSink:
    if folder is None:
        return MemorySink(tree, t, num_features, half=params.half)
    return FolderSink(folder / f"level.{t}", tree, t, num_features, half=params.half)
