"""The FAISS shortlist: finds nodes of an opening level from the embedding alone.

N rows, K nodes of the opening level, H dense columns. What the index finds is scored exactly by the
rankers, along the whole path from the root (see `opening_level`), and the best go on as the beam: a
shortlist of all nodes is an exhaustive search of the opening level.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError, ConfigError, DataError
from xrt.hybrid import HybridMatrix
from xrt.linear.scoring import Beam, RowBlock, check_columns, joined
from xrt.ranges import Range, at_least, check_ranges
from xrt.search.beam import SearchParams
from xrt.sources.faiss_index import IndexKind as IndexKind
from xrt.sources.faiss_index import NodeIndex, chosen_kind
from xrt.sources.opening_level import OpeningLevel, with_nodes
from xrt.sources.ranker import TreeRanker
from xrt.sparse import binarize
from xrt.storage.atomic import save_array
from xrt.storage.reading import check_finite, load_array
from xrt.storage.saved_values import SavedValues
from xrt.threads import run_blocks
from xrt.tree.label_tree import LabelTree

BLOCK_ROWS = 1024
"""Rows searched at once. Fixed, so that what FAISS rounds does not depend on threads."""

LEAST_RECALL = 1e-9


@dataclass(frozen=True, kw_only=True)
class ShortlistParams:
    """How search enters the tree."""

    index: IndexKind = IndexKind.none
    """How the nodes that open the search are found: `none` searches from the root, `auto` goes by
    their number, `flat` is exact, `hnsw` and `ivf_pq` are approximate."""
    width: Annotated[int, at_least(1)] | None = None
    """Nodes of the opening level taken from the index for each row. None: measured when the model
    is trained, the fewest that reach `recall_target`."""
    recall_target: Annotated[float, Range(0, 1, above=True)] = 0.99
    """Share of the best `search.beam_size` nodes of the exhaustive opening level that the shortlist
    should find."""
    union: bool = False
    """Whether nodes that a beam search from the root finds are joined with the shortlist: two ways
    to a label, and the time of both."""

    def __post_init__(self) -> None:
        """Check the ranges. Raises ConfigError for a value out of range."""
        check_ranges(self, "shortlist")


class Shortlist:
    """A FAISS index over the nodes of one level, and how many of them are taken.

    Of a flat index only the vectors are kept on disk; the others are kept as FAISS writes them, and
    read only when their hash is right.
    """

    def __init__(
        self,
        vectors_KH: np.ndarray,
        params: ShortlistParams,
        level: int,
        offsets_K: np.ndarray | None = None,
    ) -> None:
        """Index the vectors (K, H) of the nodes of `level`; offsets are added to the products."""
        if params.index is IndexKind.none:
            raise ConfigError("shortlist.index = none: nothing to build; choose auto or flat")
        offsets_K = np.zeros(len(vectors_KH)) if offsets_K is None else offsets_K
        self.params, self.level, self.width = params, level, params.width
        self.recall: float | None = None
        self._vectors_KM = np.ascontiguousarray(
            np.column_stack([vectors_KH, offsets_K]), np.float32
        )
        kind = chosen_kind(params.index, len(vectors_KH))
        self._index = NodeIndex.build(self._vectors_KM, kind)
        self._opening_level: tuple[TreeRanker, OpeningLevel] | None = None

    @property
    def num_nodes(self) -> int:
        """Nodes of the opening level, K."""
        return self._index.num_nodes

    @property
    def num_columns(self) -> int:
        """Columns of the queries, H."""
        return self._index.num_columns - 1

    @property
    def kind(self) -> IndexKind:
        """What `auto` became: flat, hnsw or ivf_pq."""
        return self._index.kind

    def nodes(self, queries_NH: np.ndarray, width: int | None = None) -> np.ndarray:
        """The nodes with the highest values for each query, best first, -1 for none: (N, width).

        Args:
            queries_NH: embeddings, float32 (N, H).
            width: nodes of a query; None: the shortlist's own width.

        Returns:
            Node numbers; the width is at most the number of nodes.

        Raises:
            DataError: the queries have another width than the vectors.
            ConfigError: the width is still to be chosen.
        """
        if queries_NH.shape[1] != self.num_columns:
            raise DataError(
                f"queries have {queries_NH.shape[1]} columns, the shortlist {self.num_columns}"
            )
        width = width or self.width
        if width is None:
            raise ConfigError("shortlist.width is not chosen yet; give a number, such as 32")
        ones = np.ones((len(queries_NH), 1), np.float32)
        return self._index.search(np.hstack([queries_NH, ones]), min(width, self.num_nodes))

    def find(self, queries_NH: np.ndarray, width: int | None = None) -> sp.csr_array:
        """What `nodes` finds, as ones: csr_array (N, K).

        Args:
            queries_NH: embeddings, float32 (N, H).
            width: nodes of a query; None: the shortlist's own width.

        Returns:
            A one for each node that is named.

        Raises:
            DataError: the queries have another width than the vectors.
            ConfigError: the width is still to be chosen.
        """
        nodes_NW = self.nodes(queries_NH, width)
        named = nodes_NW >= 0
        rows = np.repeat(np.arange(len(queries_NH)), named.sum(1))
        ones = np.ones(len(rows), np.float32)
        shape = (len(queries_NH), self.num_nodes)
        return binarize(sp.csr_array((ones, (rows, nodes_NW[named])), shape=shape))

    def opening_level(self, ranker: TreeRanker) -> OpeningLevel:
        """The levels of the ranker that lead to the nodes of the index, ready to score.

        Args:
            ranker: tree and weights.

        Returns:
            The levels; kept for the next call with the same ranker.
        """
        if self._opening_level is None or self._opening_level[0] is not ranker:
            self._opening_level = ranker, OpeningLevel(ranker.levels, ranker.tree, self.level)
        return self._opening_level[1]

    def open(
        self,
        ranker: TreeRanker,
        X: HybridMatrix,
        queries_NH: np.ndarray,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        """The beam at the opening level: log scores (N, K) of the `search.beam_size` best of the
        nodes found, with their siblings, and with those of a beam from the root in a union.

        Args:
            ranker: tree and weights.
            X: N hybrid rows.
            queries_NH: embeddings of the rows, float32 (N, H).
            search: how trees are searched.
            num_threads: threads; None for the default.

        Returns:
            The log scores, csr_array.

        Raises:
            DataError: rows have other columns than the weights, or queries than the vectors.
            ConfigError: the width is still to be chosen.
        """
        for weights in ranker.levels:
            check_columns(weights, X)
        opened = self.opening_level(ranker)

        def open_block(block: int) -> Beam:
            low = block * BLOCK_ROWS
            high = min(X.num_rows, low + BLOCK_ROWS)
            rows = RowBlock.of(X, low, high)
            nodes_nW = self.nodes(queries_NH[low:high])
            if self.params.union:
                root = opened.from_root(rows, search.beam_size)
                nodes_nW = with_nodes(nodes_nW, root)
            return opened.enter(rows, nodes_nW, search.beam_size)

        num_blocks = max(1, -(-X.num_rows // BLOCK_ROWS))
        return joined(run_blocks(open_block, num_blocks, num_threads), self.num_nodes)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the index into the folder; gives the settings that `load` asks for.

        Args:
            folder: a folder of the shortlist's own.

        Returns:
            Plain values for JSON.
        """
        settings = {"level": self.level, **asdict(self.params)}
        settings["chosen"] = {"kind": self.kind, "width": self.width, "recall": self.recall}
        if self.kind is IndexKind.flat:
            save_array(folder / "vectors.npy", self._vectors_KM)
        else:
            settings["file"] = self._index.save(folder)
        return settings

    @classmethod
    def load(
        cls,
        settings: Mapping[str, Any] | SavedValues,
        folder: Path,
        tree: LabelTree,
        mmap: bool = True,
    ) -> "Shortlist":
        """Read what `save` wrote for this tree.

        Args:
            settings: what `save` gave.
            folder: the folder that `save` wrote to.
            tree: the label tree.
            mmap: whether arrays are memory-mapped.

        Returns:
            The shortlist.

        Raises:
            ArtifactError: a file is missing, altered or of another tree.
        """
        settings = SavedValues.of(settings, f"{folder}: shortlist")
        chosen = settings.part("chosen")
        made = cls.__new__(cls)
        made.params = ShortlistParams(
            index=settings.choice("index", IndexKind),
            width=settings.whole("width", 1) if settings.has("width") else None,
            recall_target=settings.number("recall_target", LEAST_RECALL, 1),
            union=settings.flag("union"),
        )
        made.level = settings.whole("level", 0, tree.depth - 1)
        made.width = chosen.whole("width", 1) if chosen.has("width") else None
        made.recall = chosen.number("recall", 0, 1) if chosen.has("recall") else None
        made._opening_level = None
        num_nodes = tree.num_nodes(made.level)
        if chosen.choice("kind", IndexKind) is IndexKind.flat:
            vectors_KM = load_array(folder / "vectors.npy", np.float32, 2, mmap)
            check_finite(vectors_KM, folder / "vectors.npy")
            made._index = NodeIndex.build(vectors_KM, IndexKind.flat)
            made._vectors_KM = vectors_KM
            if len(vectors_KM) != num_nodes:
                raise ArtifactError(
                    f"{folder}: vectors of {len(vectors_KM)} nodes, but the tree has {num_nodes} "
                    f"at level {made.level}; copy the model again or train it anew"
                )
        else:
            made._index = NodeIndex.load(folder, settings.part("file"), num_nodes)
        return made
