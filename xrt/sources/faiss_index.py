"""FAISS finds the vectors with the highest inner products; whoever asks computes these exactly.

K vectors of M columns, n queries, W vectors found for each. One string of `faiss.index_factory`
names the kind, and the number of vectors decides it: few are all gone through in half precision,
many lie in the cells of a k-means, one byte a column, and the nearest cells are gone through. How
many cells that takes is measured when the index is built. What is built and found does not depend
on threads, nor on the other queries: FAISS gets one thread, and cells one query at a time.
"""

import contextlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xrt.errors import ArtifactError, DataError
from xrt.sources.index_checks import cells_fault
from xrt.sparse import best_columns
from xrt.storage.atomic import sha256_of
from xrt.storage.reading import require_hash
from xrt.storage.saved_values import SavedValues
from xrt.threads import openmp_threads, run_blocks

EXACT = "SQfp16"
"""The kind that goes through all vectors."""
EXACT_UP_TO = 32_768
"""Vectors that are all gone through, in about a millisecond at 384 columns; the index is made of
them when it is first asked, and nothing more is kept on disk. Measured in
bench/records/2026-12-01-retrieval.md."""
CELLS_PER_ROOT = 2
"""Cells are this times the square root of the number of vectors."""
FEWEST_CELLS = 8
"""Cells gone through at least; a quarter more until recall is reached, or all are."""
RECALL_TARGET = 0.95
"""Share of the exact best that FAISS should name. On tibkat's rows 0.99 takes four times the
cells: bench/records/2026-12-01-retrieval.md."""
MEASURED_QUERIES = 300
MEASURED_BEST = 50
MEASURED_SPARE = 8
"""Vectors named beyond the best, as every source asks for some more than it needs."""
TRAINED_PER_CELL = 48
"""Vectors of a cell that the k-means looks at; FAISS warns below 39."""
ITERATIONS = 8
"""Of the k-means."""
RANGE_VECTORS = 65_536
"""Vectors that tell the range of each column."""
COLUMNS_STEP = 16
"""FAISS multiplies so many columns at once, and ten times slower where some are left over."""
SEED = 1234
BLOCK = 2**15
"""Vectors that are made float32 at a time."""
QUERIES_PER_BLOCK = 64
TOLERANCE = 1e-5
"""Inner products so near to the last of the best are as good: float32 rounds them."""
FILE = "index.faiss"
_READING = threading.Lock()  # the limit on what FAISS reads holds for the whole process
_RESTORE = "copy the model again from where it came, or train it anew"


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors to index, the rows of a matrix (K, H), float32 or float16, and what is added to the
    products of each, (K,). FAISS sees M columns: an offset is one more, and columns of 0 follow up
    to a multiple of COLUMNS_STEP.
    """

    matrix_KH: np.ndarray
    offsets_K: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.matrix_KH)

    @property
    def num_columns(self) -> int:
        """Columns that FAISS sees, M."""
        used = int(self.matrix_KH.shape[1]) + (self.offsets_K is not None)
        return -(-used // COLUMNS_STEP) * COLUMNS_STEP

    def take(self, numbers: Any) -> np.ndarray:
        """Some of the vectors.

        Args:
            numbers: a slice, or an array of numbers.

        Returns:
            float32 (n, M).
        """
        offsets = None if self.offsets_K is None else self.offsets_K[numbers]
        return self._padded(self.matrix_KH[numbers], offsets)

    def queries(self, rows_nH: np.ndarray) -> np.ndarray:
        """Rows as they are multiplied with the vectors.

        Args:
            rows_nH: rows, (n, H).

        Returns:
            float32 (n, M).
        """
        return self._padded(rows_nH, None if self.offsets_K is None else 1)

    def _padded(self, rows_nH: np.ndarray, last: Any) -> np.ndarray:
        width = self.matrix_KH.shape[1]
        padded_nM = np.zeros((len(rows_nH), self.num_columns), np.float32)
        padded_nM[:, :width] = rows_nH
        if last is not None:
            padded_nM[:, width] = last
        return padded_nM


class VectorIndex:
    """An index over vectors (K, M) by inner product."""

    def __init__(self, vectors: Vectors, kind: str = EXACT) -> None:
        """An index that goes through all vectors; `build` and `load` make the others.

        Args:
            vectors: the vectors.
            kind: the string of `faiss.index_factory`.
        """
        self.vectors, self.kind = vectors, kind
        self.cells: int | None = None
        """Cells gone through; None where all vectors are."""
        self.recall: float | None = None
        """Share of the exact best that was found; None where it was not measured."""
        self.rows = ""
        """What rows it was measured on."""
        self._file: tuple[Path, str] | None = None
        self._made: Any = None

    @classmethod
    def build(cls, vectors: Vectors, queries_nH: np.ndarray, rows: str) -> "VectorIndex":
        """Index vectors, by their number, and measure what is found.

        Args:
            vectors: the vectors.
            queries_nH: rows like those to come, float32 (n, H); MEASURED_QUERIES of them count.
            rows: what rows these are, such as `held-out`.

        Returns:
            The index.

        Raises:
            DataError: a vector or query holds a number that is not finite.
        """
        index = cls(vectors, kind_of(len(vectors)))
        if index.kind != EXACT:
            index._made = _cells(vectors, index.kind)
        if len(queries_nH):
            index._measure(queries_nH, rows)
        elif index.kind != EXACT:
            index._go_through(index._made.nlist)
        return index

    def search(
        self, queries_nH: np.ndarray, width: int, num_threads: int | None = None
    ) -> np.ndarray:
        """The `width` vectors with the highest inner products with each query, in no order.

        Args:
            queries_nH: queries, float32 (n, H).
            width: vectors of a query.
            num_threads: threads; None for the default.

        Returns:
            Numbers, int64 (n, width), the width at most that of all vectors; -1 where fewer are
            found.

        Raises:
            DataError: a query holds a number that is not finite.
        """
        require_finite(queries_nH, "embeddings")
        num_queries, width = len(queries_nH), min(width, len(self.vectors))
        found_nW = np.empty((num_queries, width), np.int64)
        if width == len(self.vectors):
            found_nW[:] = np.arange(width)
            return found_nW
        queries_nM = self.vectors.queries(queries_nH)
        index, step = self._index(), QUERIES_PER_BLOCK
        at_once = step if self.kind == EXACT else 1

        def search_block(block: int) -> None:
            with faiss_threads(1):
                for low in range(block * step, min(num_queries, (block + 1) * step), at_once):
                    rows = slice(low, low + at_once)
                    found_nW[rows] = index.search(queries_nM[rows], width)[1]

        run_blocks(search_block, -(-num_queries // step), num_threads)
        return found_nW

    def describe(self) -> dict[str, Any]:
        """What kind it is and how well it finds, as plain values.

        Returns:
            `kind` and `vectors`; `cells` where not all are gone through; `recall` and the rows that
            it was measured on, where it was.
        """
        about: dict[str, Any] = {"kind": self.kind, "vectors": len(self.vectors)}
        if self.cells is not None:
            about["cells"] = self.cells
        if self.recall is not None:
            about |= {"recall": self.recall, "rows": self.rows}
        return about

    def save(self, folder: Path) -> dict[str, Any]:
        """Write what cannot be made of the vectors in an instant.

        Args:
            folder: a folder that exists.

        Returns:
            JSON values that `load` needs.
        """
        import faiss

        about = self.describe()
        if self.kind != EXACT:
            path = folder / FILE
            if self._file is None:
                faiss.write_index(self._index(), str(path))
            else:
                shutil.copyfile(self._file[0], path)
            about["sha256"] = sha256_of(path)
        return about

    @classmethod
    def load(
        cls, folder: Path, saved: SavedValues, vectors: Vectors, mmap: bool = True
    ) -> "VectorIndex":
        """Read what `save` wrote. FAISS sees a file only when its hash is the saved one, and
        searches it only when its cells are sound. Codes are mapped, not read: processes share them.

        Args:
            folder: the folder that `save` wrote to.
            saved: what `save` gave.
            vectors: the vectors.
            mmap: whether the file is memory-mapped.

        Returns:
            The index.

        Raises:
            ArtifactError: the file is missing, altered, of another model, or damaged.
        """
        kind, num_vectors = saved.text("kind"), saved.whole("vectors")
        if num_vectors != len(vectors):
            raise ArtifactError(
                f"{saved.where}: an index of {num_vectors} vectors for {len(vectors)}; {_RESTORE}"
            )
        index = cls(vectors, kind)
        if saved.has("recall"):
            index.recall, index.rows = saved.number("recall", 0, 1), saved.text("rows")
        if kind == EXACT:
            return index
        path, sha256 = folder / FILE, saved.text("sha256")
        index.cells = saved.whole("cells", 1)
        require_hash(path, sha256)
        index._made = _read(path, vectors, mmap)
        nlist = index._made.nlist
        if kind != f"IVF{nlist},SQ8" or index.cells > nlist:
            raise ArtifactError(
                f"{path}: {nlist} cells, but {kind[:40]!r} with {index.cells} of them gone through "
                f"was saved; {_RESTORE}"
            )
        index._go_through(index.cells)
        if mmap:
            index._file = path, sha256
        return index

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made of the vectors; codes that are mapped from a file are read."""
        state = dict(vars(self))
        if self.kind == EXACT:
            state["_made"] = None
        elif self._file is not None:
            require_hash(self._file[0], self._file[1])
            state["_made"], state["_file"] = _read(self._file[0], self.vectors, mmap=False), None
            state["_made"].nprobe = self.cells
        return state

    def _index(self) -> Any:
        if self._made is None:
            self._made = _half_precision(self.vectors)
        return self._made

    def _go_through(self, cells: int) -> None:
        self.cells = self._made.nprobe = min(cells, self._made.nlist)

    def _measure(self, queries_nH: np.ndarray, rows: str) -> None:
        """Measure recall, and take the fewest cells that reach it."""
        require_finite(queries_nH, "embeddings")
        num_queries = min(MEASURED_QUERIES, len(queries_nH))
        chosen = np.random.default_rng(SEED).permutation(len(queries_nH))[:num_queries]
        queries_nH = queries_nH[np.sort(chosen)]
        queries_nM = self.vectors.queries(queries_nH)
        best = min(MEASURED_BEST, len(self.vectors))
        least_n1 = _least_of_best(self.vectors, queries_nM, best)
        cells = None if self.kind == EXACT else FEWEST_CELLS
        while True:
            if cells is not None:
                self._go_through(cells)
            found_nW = self.search(queries_nH, best + MEASURED_SPARE)
            self.recall, self.rows = self._share(queries_nM, found_nW, least_n1, best), rows
            if cells is None or self.recall >= RECALL_TARGET or cells >= self._made.nlist:
                return
            cells += max(1, cells // 4)

    def _share(
        self, queries_nM: np.ndarray, found_nW: np.ndarray, least_n1: np.ndarray, best: int
    ) -> float:
        """Share of the best that is found; what is as good as the last of them counts for it."""
        num_found = 0
        for query_M, found_W, least in zip(queries_nM, found_nW, least_n1[:, 0], strict=True):
            products_W = self.vectors.take(found_W[found_W >= 0]) @ query_M
            num_found += min(best, int((products_W >= least).sum()))
        return num_found / (best * len(queries_nM))


def kind_of(num_vectors: int) -> str:
    """The kind of index for so many vectors, as `faiss.index_factory` writes it.

    Args:
        num_vectors: vectors to index, K.

    Returns:
        `SQfp16`, or `IVF` with a number of cells and `SQ8`.
    """
    if num_vectors <= EXACT_UP_TO:
        return EXACT
    return f"IVF{max(1, round(CELLS_PER_ROOT * num_vectors**0.5))},SQ8"


def require_finite(rows_NM: np.ndarray, what: str) -> None:
    """Check that all numbers are finite.

    Args:
        rows_NM: rows, (N, M).
        what: what they are, for the message.

    Raises:
        DataError: one is not; the message names the row.
    """
    finite_N = np.isfinite(rows_NM).all(axis=1)
    if not finite_N.all():
        row = int(np.argmin(finite_N))
        raise DataError(
            f"{what}: row {row} holds a number that is not finite; embed the text again"
        )


@contextlib.contextmanager
def faiss_threads(num_threads: int | None = None) -> Iterator[None]:
    """FAISS works on so many threads for the thread that calls; see `openmp_threads`.

    Args:
        num_threads: threads; None: the default of `openmp_threads`.

    Yields:
        Nothing; afterwards FAISS works on as many threads as before.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(openmp_threads(num_threads))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _blocks(vectors: Vectors) -> Iterator[tuple[int, np.ndarray]]:
    """The first number of each block, and its vectors, float32 and finite."""
    for first in range(0, len(vectors), BLOCK):
        block_BM = np.ascontiguousarray(vectors.take(slice(first, first + BLOCK)), np.float32)
        yield first, block_BM


def _half_precision(vectors: Vectors) -> Any:
    """Half the memory to read, and about half the time of float32. Vectors that were float16 before
    are exact in it.
    """
    import faiss

    with faiss_threads(1):
        index = faiss.index_factory(vectors.num_columns, EXACT, faiss.METRIC_INNER_PRODUCT)
        for first, block_BM in _blocks(vectors):
            if first == 0:
                index.train(block_BM)
            index.add(block_BM)
    return index


def _cells(vectors: Vectors, kind: str) -> Any:
    """Codes in cells. The k-means is by distance, so that long vectors do not draw all others into
    their cells; which cells a query enters is decided by inner products, their means' with it.
    """
    import faiss

    num_vectors, num_columns = len(vectors), vectors.num_columns
    index: Any = faiss.index_factory(num_columns, kind, faiss.METRIC_INNER_PRODUCT)
    num_trained = min(num_vectors, max(RANGE_VECTORS, TRAINED_PER_CELL * index.nlist))
    shuffled_K = np.random.default_rng(SEED).permutation(num_vectors)
    with faiss_threads(1):
        sample_SM = vectors.take(np.sort(shuffled_K[:num_trained]))
        require_finite(sample_SM, "vectors to index")
        k_means = faiss.Clustering(num_columns, index.nlist)
        k_means.seed, k_means.niter = SEED, ITERATIONS
        k_means.max_points_per_centroid = TRAINED_PER_CELL
        k_means.min_points_per_centroid = 1  # FAISS warns where a small index has fewer
        nearest = faiss.IndexFlatL2(num_columns)
        k_means.train(sample_SM, nearest)
        centroids = faiss.vector_to_array(k_means.centroids).reshape(-1, num_columns)
        faiss.downcast_index(index.quantizer).add(centroids)
        index.train(sample_SM[:RANGE_VECTORS])
        for first, block_BM in _blocks(vectors):
            require_finite(block_BM, f"vectors to index, from {first} on")
            cells_B = np.ascontiguousarray(nearest.search(block_BM, 1)[1].ravel(), np.int64)
            index.add_core(len(block_BM), faiss.swig_ptr(block_BM), None, faiss.swig_ptr(cells_B))
    return index


def _least_of_best(vectors: Vectors, queries_nM: np.ndarray, best: int) -> np.ndarray:
    """The lowest inner product among the `best` highest of each query, with what rounding takes:
    (n, 1).
    """
    products_nB = np.full((len(queries_nM), best), -np.inf, np.float32)
    for _, block_BM in _blocks(vectors):
        joined_nC = np.hstack([products_nB, queries_nM @ block_BM.T])
        columns_nB = best_columns(joined_nC, best)
        products_nB = np.take_along_axis(joined_nC, columns_nB, axis=1)
    least_n1 = products_nB.min(axis=1, keepdims=True)
    return np.asarray(least_n1 - TOLERANCE * np.maximum(np.abs(least_n1), 1))


def _read(path: Path, vectors: Vectors, mmap: bool) -> Any:
    """An index of codes in cells, mapped or read, that FAISS may walk.

    Raises ArtifactError when it is none.
    """
    import faiss

    try:
        with _READING:
            before = faiss.get_deserialization_vector_byte_limit()
            faiss.set_deserialization_vector_byte_limit(path.stat().st_size)
            try:
                index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP if mmap else 0)
            finally:
                faiss.set_deserialization_vector_byte_limit(before)
    except (RuntimeError, MemoryError) as err:
        raise ArtifactError(f"{path}: no index that FAISS can read; {_RESTORE}") from err
    fault = cells_fault(index, len(vectors), vectors.num_columns)
    if fault is not None:
        raise ArtifactError(f"{path}: a damaged index ({fault}); {_RESTORE}")
    if mmap:
        lists: Any = faiss.downcast_InvertedLists(index.invlists)  # type: ignore[attr-defined]
        lists.prefetch_nthread = 0  # else FAISS starts 32 threads at each search to read ahead
    return index
