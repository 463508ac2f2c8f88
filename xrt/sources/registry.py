"""The sources that there are, in the order in which scores are fused: a line each."""

from collections.abc import Iterable

from xrt.sources.base import Source
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.hybrid_trees import HybridTrees
from xrt.sources.label_head import LabelHead
from xrt.sources.label_names import LabelNames
from xrt.sources.linear_trees import LinearTrees
from xrt.sources.name_meanings import NameMeanings
from xrt.sources.neighbours import SparseNeighbours

SOURCES: dict[str, type[Source]] = {
    LinearTrees.name: LinearTrees,
    HybridTrees.name: HybridTrees,
    LabelHead.name: LabelHead,
    SparseNeighbours.name: SparseNeighbours,
    DenseNeighbours.name: DenseNeighbours,
    LabelNames.name: LabelNames,
    NameMeanings.name: NameMeanings,
}
"""Every source by its name."""

BASELINE = LinearTrees.name
"""The source that is a model by itself: others must be better to have a weight."""

OPTIONAL = (LabelNames.name, DenseNeighbours.name, SparseNeighbours.name)
"""Sources that a fusion is held against itself without, in this order, where it has others beside
them and the first one; it goes on without those that gain nothing."""


def by_name(sources: Iterable[Source | None]) -> dict[str, Source]:
    """Sources by name, in the order of SOURCES.

    Args:
        sources: some of them; None is left out.

    Returns:
        What a model's `sources` are.
    """
    present = {source.name: source for source in sources if source is not None}
    return {name: present[name] for name in SOURCES if name in present}
