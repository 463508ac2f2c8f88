"""Training rows vote for labels; the source `neighbours`, of rows with near TF-IDF.

N training rows, M queries, F sparse columns, H dense columns, L labels, W neighbours a query. Rows
and queries are brought to length 1, similarity is their inner product, and only rows with a
similarity above 0 are neighbours; among equal similarities the lower row wins.

Sparse rows lie in an inverted index: for each column its postings, the rows that have it. A query
walks the postings of its own columns and adds up similarities. Embeddings: `dense_neighbours`.
"""

import threading
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp

from xrt.errors import ArtifactError, DataError
from xrt.hybrid import HybridMatrix, as_row_weights
from xrt.inputs import check_count
from xrt.ranges import at_least, check_ranges
from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.base import ModelShape, SourceRows, Training
from xrt.sources.evidence import Naming, SourceEvidence
from xrt.sources.nearest import nearest_by_postings
from xrt.sources.votes import Neighbours, block_bounds, vote_labels, votes_given
from xrt.sparse import as_csr, binarize, load_csr, normalize_rows, save_csr, top_k_rows
from xrt.storage.atomic import save_array, write_json
from xrt.storage.reading import load_array
from xrt.storage.saved_values import SavedValues
from xrt.threads import run_blocks

TEMPERATURE = 0.05
"""Weights are softmax(similarity / temperature): lower trusts the nearest rows more."""


@dataclass(frozen=True, kw_only=True)
class NeighbourParams:
    """Which training rows vote."""

    num_neighbours: Annotated[int, at_least(0)] = 50
    """Most similar training rows that vote; 0 for none, which spares a large training set the
    memory and the time."""

    def __post_init__(self) -> None:
        """Check the range. Raises ConfigError for a value out of range."""
        check_ranges(self, "neighbours")


class NeighbourSource(ABC):
    """Training rows, their labels `Y_NL` and the parameters of the vote.

    Labels are entries in (0, 1], all 1 where `confident`; `weights_N` are weights of the rows, None
    where all are 1.
    """

    Y_NL: sp.csr_array
    params: NeighbourParams
    temperature: float
    confident: bool
    weights_N: np.ndarray | None
    num_texts: int
    """Rows that are training texts; those behind them are names of labels."""

    name: ClassVar[str]
    title: ClassVar[str]
    likeness: ClassVar[str]
    """By what rows are near, in an explanation."""
    uses_embeddings: ClassVar[bool]
    stays_without_weight: ClassVar[bool] = False

    @abstractmethod
    def queries_of(self, rows: SourceRows) -> Any:
        """The rows as `nearest` takes them.

        Args:
            rows: M rows.

        Returns:
            Queries, of M rows.
        """

    def score(
        self,
        rows: SourceRows,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
        constraint: Constraint | None = None,
    ) -> sp.csr_array:
        """The labels that the neighbours give the most weight; see `Source.score`.

        Args:
            rows: the rows to score, N.
            k: most labels of a row.
            search: not used.
            num_threads: threads; None for the default.
            constraint: which labels are let through; None: all.

        Returns:
            Scores in [0, 1], csr_array (N, L).
        """
        k = check_count(k, "k")
        return self._best_votes(self._nearest_of(rows, num_threads), k, num_threads, constraint)

    def score_given(
        self,
        rows: SourceRows,
        pairs_NL: sp.csr_array,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        """The votes for the pairs, as many as `score` counts; see `Source.score_given`.

        Args:
            rows: the rows to score, N.
            pairs_NL: pairs of rows and labels, the stored entries of a csr_array (N, L).
            search: not used.
            num_threads: threads; None for the default.

        Returns:
            Scores in [0, 1], csr_array (N, L); a pair without a vote has no entry.
        """
        return votes_given(
            self._nearest_of(rows, num_threads), self.Y_NL, pairs_NL, self.temperature,
            num_threads, self.confident, self.weights_N,
        )  # fmt: skip

    def _nearest_of(self, rows: SourceRows, num_threads: int | None) -> Neighbours:
        """The nearest training rows, searched once for the same rows."""
        return rows.once(self, lambda: self.nearest(self.queries_of(rows), num_threads))

    def explain(
        self,
        rows: SourceRows,
        naming: Naming,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> SourceEvidence:
        """The neighbours of the row; see `Source.explain`.

        Args:
            rows: one row.
            naming: what labels and columns are called.
            k: not used.
            search: not used.
            num_threads: not used.

        Returns:
            The evidence, looked up when it is first asked for.
        """
        from xrt.sources.neighbour_evidence import NeighbourEvidence

        return NeighbourEvidence(self, naming, lambda: self.queries_of(rows))

    @property
    @abstractmethod
    def num_columns(self) -> int:
        """Columns of the rows, F or H."""

    def fault(self, shape: ModelShape) -> str | None:
        """See `Source.fault`.

        Args:
            shape: labels and columns of the model.

        Returns:
            What is wrong, in words, or None.
        """
        width = shape.num_features
        if self.uses_embeddings:
            width = -1 if shape.blocks is None else shape.blocks.width
        if (self.Y_NL.shape[1], self.num_columns) != (shape.num_labels, width):
            return "the neighbours have other labels or columns"
        return None

    @property
    @abstractmethod
    def num_rows(self) -> int:
        """Number of training rows, N."""

    @abstractmethod
    def nearest(
        self, queries: Any, num_threads: int | None = None, leave_out: np.ndarray | None = None
    ) -> Neighbours:
        """The training rows most similar to each query.

        `leave_out` (M,) names the training row that is no neighbour of its query, -1 for none: what
        a training row needs to be scored without itself.

        Args:
            queries: M rows, as `queries_of` gives them.
            num_threads: threads; None for the default.
            leave_out: a training row for each query, or None.

        Returns:
            Rows and similarities, (M, W).

        Raises:
            DataError: queries have other columns than the training rows.
        """

    def vote(
        self,
        queries: Any,
        k: int,
        num_threads: int | None = None,
        leave_out: np.ndarray | None = None,
        constraint: Constraint | None = None,
    ) -> sp.csr_array:
        """The `k` labels that the neighbours of each query give the most weight: (M, L), in [0, 1];
        only such as the constraint lets through.

        A query without neighbours has an empty row; `leave_out` is that of `nearest`. Raises
        DataError when k is below 1 or the columns are not those of the training rows.

        Args:
            queries: M rows, as `queries_of` gives them.
            k: most labels of a row.
            num_threads: threads; None for the default.
            leave_out: a training row for each query, (M,), or None.
            constraint: which labels are let through; None: all.

        Returns:
            The scores, csr_array.
        """
        k = check_count(k, "k")
        neighbours = self.nearest(queries, num_threads, leave_out)
        return self._best_votes(neighbours, k, num_threads, constraint)

    def _best_votes(
        self,
        neighbours: Neighbours,
        k: int,
        num_threads: int | None,
        constraint: Constraint | None,
    ) -> sp.csr_array:
        if constraint is None:
            return self._votes(neighbours, k, num_threads)
        return top_k_rows(constraint.keep(self._all_votes(neighbours, num_threads)), k)

    def _all_votes(self, neighbours: Neighbours, num_threads: int | None) -> sp.csr_array:
        """The scores of all labels that get a vote: (M, L)."""
        of_one_row = int(np.diff(self.Y_NL.indptr).max(initial=1))
        most = max(1, self.params.num_neighbours * of_one_row)
        return self._votes(neighbours, most, num_threads)

    def _votes(self, neighbours: Neighbours, k: int, num_threads: int | None) -> sp.csr_array:
        return vote_labels(
            neighbours, self.Y_NL, k, self.temperature, num_threads, self.confident,
            self.weights_N,
        )  # fmt: skip

    def _keep_labels(self, num_rows: int, Y_NL: Any, weights: Any, num_texts: int | None) -> None:
        """Take labels and weights of the rows. Raises DataError where they do not fit them."""
        self.Y_NL = labels_of(num_rows, Y_NL)
        self.confident = bool((self.Y_NL.data == 1).all())
        self.weights_N = as_row_weights(weights, num_rows)
        self.num_texts = num_rows if num_texts is None else num_texts

    def save(self, folder: Path) -> dict[str, Any]:
        """Write rows, labels and parameters; see `Source.save`.

        Args:
            folder: the source's own folder; it is made where it does not exist.

        Returns:
            No settings: an empty mapping.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._save_rows(folder)
        save_csr(folder, "labels", self.Y_NL)
        doubts = {} if self.confident else {"confident": False}
        if self.weights_N is not None:
            save_array(folder / "weights.npy", self.weights_N)
            doubts["weighted"] = True
        content = {
            "num_texts": self.num_texts,
            **asdict(self.params),
            "temperature": self.temperature,
            **doubts,
        }
        write_json(folder / "neighbours.json", content)
        return {}

    @classmethod
    def load(cls, folder: Path, settings: SavedValues | None = None, mmap: bool = True) -> Self:
        """See `Source.load`; what `save` gave is not needed.

        Args:
            folder: the source's own folder, in the model's.
            settings: not used.
            mmap: whether arrays are memory-mapped.

        Returns:
            The source.

        Raises:
            ArtifactError: a part is damaged or the parts do not fit together.
        """
        source = cls.__new__(cls)
        settings = SavedValues.read(folder / "neighbours.json")
        source.num_texts = settings.whole("num_texts")
        source.confident = settings.flag("confident", True)
        weighted = settings.flag("weighted", False)
        source.params = NeighbourParams(
            num_neighbours=settings.whole("num_neighbours", 1),
        )
        source.temperature = settings.number("temperature", 1e-4, 1e4)
        source.Y_NL = load_csr(folder, "labels", mmap)
        source._load_rows(folder, mmap)
        data = source.Y_NL.data
        if not source.confident and not (data.min(initial=1) > 0 and data.max(initial=1) <= 1):
            raise ArtifactError(
                f"{folder}: a confidence outside of 0 to 1; restore or train it anew"
            )
        source.weights_N = None
        if weighted:
            source.weights_N = _load_weights(folder / "weights.npy", source.num_rows, mmap)
        if not source.num_texts <= source.num_rows == source.Y_NL.shape[0] > 0:
            raise ArtifactError(
                f"{folder}: {source.num_rows} rows, but labels of {source.Y_NL.shape[0]} and "
                f"{source.num_texts} texts; restore or train it anew"
            )
        return source

    @abstractmethod
    def _save_rows(self, folder: Path) -> None: ...

    @abstractmethod
    def _load_rows(self, folder: Path, mmap: bool) -> None: ...


class SparseNeighbours(NeighbourSource):
    """Votes of training rows with near TF-IDF rows (N, F), kept as an inverted index (F, N)."""

    name: ClassVar[str] = "neighbours"
    title: ClassVar[str] = "votes of rows with like words"
    likeness: ClassVar[str] = "by words"
    uses_embeddings: ClassVar[bool] = False

    def __init__(
        self,
        X_NF: Any,
        Y_NL: Any,
        params: NeighbourParams | None = None,
        num_texts: int | None = None,
        weights: Any = None,
        temperature: float = TEMPERATURE,
    ) -> None:
        """Keep the rows and their labels: an entry of `Y_NL` other than 0 is a label, below 1 the
        confidence in it. The first `num_texts` rows are training texts; all, where it is not given.
        `weights` (N,) is how much each row counts.

        Raises DataError when they differ in rows or there is no row.
        """
        X_NF = normalize_rows(as_csr(X_NF, "X"))
        self.params, self.temperature = params or NeighbourParams(), temperature
        self._keep_labels(X_NF.shape[0], Y_NL, weights, num_texts)
        self.postings_FN = as_csr(X_NF.T, "X")

    @classmethod
    def fit(cls, training: Training) -> Self | None:
        """Keep the training rows, and the names of labels that have a known word; a name counts 1.
        None where no row is to vote. See `Source.fit`.

        Args:
            training: what to fit on, and the settings.

        Returns:
            The source, or None.
        """
        params = training.settings.neighbours
        if not params.num_neighbours:
            return None
        X, Y_NL = training.rows.X, training.Y_NL
        num_texts = X.num_rows
        rows = HybridMatrix(X.sparse, np.zeros((num_texts, 0), np.float32), X.weights_N)
        if training.names is not None:
            rows, Y_NL = training.names.join(rows, Y_NL)
        return cls(rows.sparse, Y_NL, params, num_texts, rows.weights_N)

    def queries_of(self, rows: SourceRows) -> sp.csr_array:
        """The TF-IDF rows.

        Args:
            rows: M rows.

        Returns:
            TF-IDF rows, csr_array (M, F).
        """
        return rows.X.sparse

    @property
    def num_columns(self) -> int:
        """TF-IDF columns, F."""
        return int(self.postings_FN.shape[0])

    def check(self, num_threads: int | None = None) -> None:
        """See `Source.check`; `load` has looked at all of it.

        Args:
            num_threads: not used.
        """

    @property
    def num_rows(self) -> int:
        """Number of training rows, N."""
        return int(self.postings_FN.shape[1])

    def nearest(
        self, queries: Any, num_threads: int | None = None, leave_out: np.ndarray | None = None
    ) -> Neighbours:
        """The training rows most similar to each query (M, F); see `NeighbourSource.nearest`.

        Args:
            queries: TF-IDF rows, (M, F); they are brought to length 1.
            num_threads: threads; None for the default.
            leave_out: the training row that is no neighbour of each query, (M,), -1 for none; None:
                none.

        Returns:
            Rows and similarities, (M, W).

        Raises:
            DataError: queries have other columns than the training rows, or `leave_out` another
                length.
        """
        queries_MF = normalize_rows(as_csr(queries, "queries"))
        check_columns(queries_MF.shape[1], self.postings_FN.shape[0])
        num_queries = queries_MF.shape[0]
        leave_out_M = left_out(leave_out, num_queries)
        neighbours = empty_neighbours(num_queries, min(self.params.num_neighbours, self.num_rows))
        bounds = block_bounds(num_queries)
        scratch = threading.local()

        def search_block(block: int) -> None:
            if not hasattr(scratch, "similarity_N"):
                scratch.similarity_N = np.zeros(self.num_rows, np.float32)
            nearest_by_postings(
                queries_MF.indptr, queries_MF.indices, queries_MF.data,
                bounds[block], bounds[block + 1],
                self.postings_FN.indptr, self.postings_FN.indices, self.postings_FN.data,
                leave_out_M, scratch.similarity_N, neighbours.rows_MW, neighbours.similarities_MW,
            )  # fmt: skip

        run_blocks(search_block, len(bounds) - 1, num_threads)
        return neighbours

    def _save_rows(self, folder: Path) -> None:
        save_csr(folder, "postings", self.postings_FN)

    def _load_rows(self, folder: Path, mmap: bool) -> None:
        self.postings_FN = load_csr(folder, "postings", mmap)


def labels_of(num_rows: int, Y_NL: Any) -> sp.csr_array:
    """The labels of the rows with confidences, at most 1 each, and no stored zeros.

    Args:
        num_rows: rows of features, N.
        Y_NL: labels, a matrix (N, L); a value is a confidence.

    Returns:
        Confidences, csr_array (N, L).

    Raises:
        DataError: there are no rows of features, or not as many rows of labels.
    """
    weighted_NL = as_csr(Y_NL, "Y")
    Y_NL = binarize(weighted_NL)
    Y_NL.data = np.minimum(weighted_NL.data[weighted_NL.data != 0], np.float32(1))
    if Y_NL.shape[0] != num_rows:
        raise DataError(f"{num_rows} rows of features, but {Y_NL.shape[0]} rows of labels")
    if not num_rows:
        raise DataError("no training rows: neighbours need at least 1")
    return Y_NL


def left_out(leave_out: np.ndarray | None, num_queries: int) -> np.ndarray:
    """The row that is no neighbour of each query, -1 for none: int64 (M,).

    Args:
        leave_out: a training row for each query, (M,), or None.
        num_queries: queries, M.

    Returns:
        Row numbers; all -1 for None.

    Raises:
        DataError: there are not as many rows as queries.
    """
    if leave_out is None:
        return np.full(num_queries, -1, np.int64)
    if len(leave_out) != num_queries:
        raise DataError(f"leave_out names {len(leave_out)} rows for {num_queries} queries")
    return np.asarray(leave_out, np.int64)


def empty_neighbours(num_queries: int, width: int) -> Neighbours:
    """Neighbours before any was found.

    Args:
        num_queries: queries, M.
        width: neighbours of a query, W.

    Returns:
        Rows of -1 and similarities of 0, (M, W).
    """
    rows_MW = np.full((num_queries, width), -1, np.int32)
    return Neighbours(rows_MW, np.zeros((num_queries, width), np.float32))


def check_columns(found: int, wanted: int) -> None:
    """Raise DataError for queries of another width than the training rows.

    Args:
        found: columns of the queries.
        wanted: columns of the training rows.

    Raises:
        DataError: the two differ.
    """
    if found != wanted:
        raise DataError(f"queries have {found} columns, the training rows {wanted}")


def _load_weights(path: Path, num_rows: int, mmap: bool) -> np.ndarray:
    weights_N = load_array(path, np.float32, 1, mmap)
    if len(weights_N) != num_rows or not (np.isfinite(weights_N) & (weights_N > 0)).all():
        raise ArtifactError(f"{path}: not {num_rows} weights above 0; restore or train it anew")
    return weights_N
