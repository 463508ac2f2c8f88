"""Training rows vote by their embeddings, which lie in a FAISS index.

N training rows, M queries, H dense columns, W neighbours a query, C candidates of FAISS.
"""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from xrt.errors import DataError
from xrt.sources.base import SourceRows, Training
from xrt.sources.faiss_index import VectorIndex, Vectors
from xrt.sources.nearest import nearest_of_close
from xrt.sources.neighbours import (
    TEMPERATURE,
    NeighbourParams,
    NeighbourSource,
    check_columns,
    empty_neighbours,
    left_out,
)
from xrt.sources.votes import Neighbours, block_bounds
from xrt.storage.atomic import save_array
from xrt.storage.reading import check_finite, load_array
from xrt.storage.saved_values import SavedValues
from xrt.threads import run_blocks

SPARE = 8
"""Rows that FAISS finds beyond those asked for, so that exact similarities decide on the last."""


class DenseNeighbours(NeighbourSource):
    """Votes of training rows with near embeddings (N, H), which are kept as float16, found by a
    FAISS index.
    """

    name: ClassVar[str] = "embedding_neighbours"
    title: ClassVar[str] = "votes of rows with like meaning"
    likeness: ClassVar[str] = "by meaning"
    uses_embeddings: ClassVar[bool] = True

    def __init__(
        self,
        embeddings_NH: np.ndarray,
        Y_NL: Any,
        params: NeighbourParams | None = None,
        num_texts: int | None = None,
        weights: Any = None,
        temperature: float = TEMPERATURE,
    ) -> None:
        """Keep the embeddings and their labels, as `SparseNeighbours` does. The first `num_texts`
        rows are training texts; all, where it is not given.

        Raises DataError when they differ in rows or there is no row.
        """
        self.params, self.temperature = params or NeighbourParams(), temperature
        self._keep_labels(len(embeddings_NH), Y_NL, weights, num_texts)
        self.unit_NH = _unit_rows(embeddings_NH, "embeddings").astype(np.float16)
        self.index = VectorIndex(Vectors(self.unit_NH))

    @classmethod
    def fit(cls, training: Training) -> Self | None:
        """Keep the embeddings of the training rows, and those of the names of labels as they stand
        in hybrid rows; a name counts 1. None where no row is to vote. See `Source.fit`.

        Args:
            training: what to fit on, and the settings.

        Returns:
            The source, or None.
        """
        params = training.settings.embedding_neighbours
        if not params.num_neighbours:
            return None
        unit_NH, Y_NL, weights_N = training.rows.unit_NH, training.Y_NL, training.rows.X.weights_N
        num_texts = len(unit_NH)
        if training.names is not None:
            assert training.embed_names is not None
            names_RH = training.embed_names()[:, : unit_NH.shape[1]]
            unit_NH, Y_NL = np.vstack([unit_NH, names_RH]), training.names.below(Y_NL)
            if weights_N is not None:
                weights_N = np.append(weights_N, np.ones(len(names_RH), np.float32))
        source = cls(unit_NH, Y_NL, params, num_texts, weights_N)
        source.index = VectorIndex.build(Vectors(source.unit_NH), *training.measured_NH())
        return source

    def queries_of(self, rows: SourceRows) -> np.ndarray:
        """The fine-tuned encoder's embeddings, of length 1.

        Args:
            rows: rows of texts, M of them.

        Returns:
            Embeddings, float32 (M, H).
        """
        return rows.unit_NH

    @property
    def num_columns(self) -> int:
        """Columns of an embedding, H."""
        return int(self.unit_NH.shape[1])

    @property
    def num_rows(self) -> int:
        """Number of training rows, N."""
        return len(self.unit_NH)

    def nearest(
        self, queries: Any, num_threads: int | None = None, leave_out: np.ndarray | None = None
    ) -> Neighbours:
        """The training rows most similar to each query (M, H); see `NeighbourSource.nearest`.

        FAISS names the candidates, SPARE more than needed; their similarities are computed anew,
        since those of FAISS depend on the size of the batch. Where more than SPARE rows tie with
        the last neighbour, FAISS chooses among them.

        Args:
            queries: embeddings, (M, H).
            num_threads: threads; None for the default.
            leave_out: the training row that is no neighbour of each query, (M,), -1 for none; None:
                none.

        Returns:
            Rows and similarities, (M, W).

        Raises:
            DataError: queries have other columns than the training rows, or `leave_out` another
                length.
        """
        queries_MH = _unit_rows(queries, "queries")
        check_columns(queries_MH.shape[1], self.unit_NH.shape[1])
        leave_out_M = left_out(leave_out, len(queries_MH))
        neighbours = empty_neighbours(
            len(queries_MH), min(self.params.num_neighbours, self.num_rows)
        )
        if not len(queries_MH):
            return neighbours
        num_close = min(self.params.num_neighbours + 1 + SPARE, self.num_rows)
        close_MC = np.sort(self.index.search(queries_MH, num_close, num_threads), axis=1)
        bounds = block_bounds(len(queries_MH))

        def score_block(block: int) -> None:
            rows = slice(bounds[block], bounds[block + 1])
            close_BCH = self.unit_NH[close_MC[rows]].astype(np.float32)
            nearest_of_close(
                queries_MH[rows], close_MC[rows], close_BCH, leave_out_M[rows],
                neighbours.rows_MW[rows], neighbours.similarities_MW[rows],
            )  # fmt: skip

        run_blocks(score_block, len(bounds) - 1, num_threads)
        return neighbours

    def save(self, folder: Path) -> dict[str, Any]:
        """See `NeighbourSource.save`.

        Args:
            folder: the source's own folder; it is made where it does not exist.

        Returns:
            What the index is.
        """
        super().save(folder)
        return {"index": self.index.save(folder)}

    @classmethod
    def load(cls, folder: Path, settings: SavedValues | None = None, mmap: bool = True) -> Self:
        """See `NeighbourSource.load`.

        Args:
            folder: the source's own folder, in the model's.
            settings: what `save` gave; those of earlier versions, and none, have no index.
            mmap: whether arrays and the index are memory-mapped.

        Returns:
            The source.

        Raises:
            ArtifactError: a part is damaged or the parts do not fit together.
        """
        source = super().load(folder, settings, mmap)
        vectors = Vectors(source.unit_NH)
        source.index = VectorIndex(vectors)
        if settings is not None and settings.has("index"):
            source.index = VectorIndex.load(folder, settings.part("index"), vectors, mmap)
        return source

    def _save_rows(self, folder: Path) -> None:
        save_array(folder / "embeddings.npy", self.unit_NH)

    def _load_rows(self, folder: Path, mmap: bool) -> None:
        self.unit_NH = load_array(folder / "embeddings.npy", np.float16, 2, mmap)

    def check(self, num_threads: int | None = None) -> None:
        """See `Source.check`.

        Args:
            num_threads: not used.

        Raises:
            ArtifactError: a kept embedding is not finite.
        """
        check_finite(self.unit_NH, self.name)


def _unit_rows(embeddings: Any, what: str) -> np.ndarray:
    """Float32 rows of length 1; rows of zeros stay."""
    try:
        with np.errstate(over="ignore"):
            rows_NH = np.ascontiguousarray(embeddings, np.float32)
    except (TypeError, ValueError) as err:
        raise DataError(f"{what}: not numbers ({err}); pass an array (rows, columns)") from err
    if rows_NH.ndim != 2 or not np.isfinite(rows_NH).all():
        raise DataError(f"{what}: a matrix of finite numbers is needed (rows, columns)")
    lengths_N = np.linalg.norm(rows_NH, axis=1, keepdims=True)
    return np.asarray(rows_NH / np.where(lengths_N > 0, lengths_N, 1.0), np.float32)
