"""FAISS indexes over the vectors of nodes: which kind, how they are built, searched and kept.

K nodes, M columns of a vector, n queries, W nodes found for each. Nodes are those with the highest
inner products. Whatever is built or found does not depend on the number of threads: FAISS gets one,
and callers search blocks of queries on threads of their own.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from xrt.errors import ArtifactError
from xrt.sources.index_checks import cells_fault, graph_fault
from xrt.storage.atomic import write_bytes
from xrt.storage.reading import read_bytes_bounded
from xrt.storage.saved_values import SavedValues
from xrt.threads import openmp_threads


class IndexKind(str, Enum):
    """How the opening level is searched."""

    none = "none"  # no shortlist: the beam starts at the root
    auto = "auto"  # by the number of nodes
    flat = "flat"  # exact
    hnsw = "hnsw"  # a graph of near vectors, approximate
    ivf_pq = "ivf_pq"  # vectors as short codes in the cells of a k-means, approximate


FLAT_UP_TO = 8_192
"""Nodes that `auto` searches exactly: so many inner products of a block of queries are one product
of matrices, which takes less time than following a graph; for one query alone up to about here.
Measured in bench/records/2026-11-22-shortlist.md."""
HNSW_UP_TO = 131_072
"""Nodes up to which `auto` keeps whole vectors, with the links between them: at 384 columns 0.2 GB.
Codes take an eighth or less, and lose some neighbours."""
HNSW_LINKS = 32
"""Links of a node in the graph."""
EF_CONSTRUCTION = 200
"""Candidates looked at for each new vector of the graph: FAISS's 40 misses more, this is 5 times
slower."""
MIN_EF_SEARCH = 64
"""Candidates of a search of the graph; twice the nodes wanted where that is more."""
COLUMNS_OF_A_CODE = 8
"""Columns that one byte of a code stands for."""
TRAINING_POINTS = 39
"""Vectors for each centroid that FAISS asks for in a k-means; below it warns."""
CODE_BITS = 8
SEED = 1234
BLOCK = 2**16
"""Vectors that are made float32 at a time."""
FILE = "index.faiss"
MAX_BYTES = 2**40
_DESERIALIZING = threading.Lock()  # the limit on what FAISS reads holds for the whole process
_RESTORE = "copy the model again from where it came, or train it anew"


def chosen_kind(kind: IndexKind, num_nodes: int) -> IndexKind:
    """The kind itself, or what `auto` means for so many nodes.

    Args:
        kind: a kind of index, or `auto`.
        num_nodes: nodes to index, K.

    Returns:
        A kind other than `auto`.
    """
    if kind is not IndexKind.auto:
        return kind
    if num_nodes <= FLAT_UP_TO:
        return IndexKind.flat
    return IndexKind.hnsw if num_nodes <= HNSW_UP_TO else IndexKind.ivf_pq


class NodeIndex:
    """An index over vectors (K, M), float32, of a kind that `chosen_kind` gives."""

    def __init__(self, kind: IndexKind, index: Any, num_columns: int) -> None:
        """Wrap a FAISS index; `build` and `load` make one."""
        self.kind, self.num_columns = kind, num_columns
        self._index = index

    @classmethod
    def build(cls, vectors_KM: np.ndarray, kind: IndexKind) -> "NodeIndex":
        """Index the vectors; k-means are seeded.

        Args:
            vectors_KM: a vector for each node, float32 (K, M).
            kind: a kind other than `auto`.

        Returns:
            The index.
        """
        num_columns = vectors_KM.shape[1]
        with faiss_threads(1):
            if kind is IndexKind.ivf_pq:
                index = _ivf_pq(_padded(vectors_KM))
            else:
                index = _plain(kind, num_columns)
                index.add(_padded(vectors_KM, 1))
        return cls(kind, index, num_columns)

    @property
    def num_nodes(self) -> int:
        """Nodes of the index, K."""
        return int(self._index.ntotal)

    def search(self, queries_nM: np.ndarray, width: int) -> np.ndarray:
        """The `width` nodes with the highest inner products with each query: int64 (n, width).

        Where an approximate index finds fewer, -1 stands in the place of the others.

        Args:
            queries_nM: queries, float32 (n, M).
            width: nodes of a query.

        Returns:
            Node numbers.
        """
        import faiss

        step = COLUMNS_OF_A_CODE if self.kind is IndexKind.ivf_pq else 1
        parameters: Any = None
        if self.kind is IndexKind.hnsw:
            parameters = faiss.SearchParametersHNSW(  # type: ignore[attr-defined]
                efSearch=max(MIN_EF_SEARCH, 2 * width)
            )
        elif self.kind is IndexKind.ivf_pq:
            num_cells = self._index.nlist
            parameters = faiss.SearchParametersIVF(  # type: ignore[call-arg]
                nprobe=max(min(8, num_cells), num_cells // 4)
            )
        with faiss_threads(1):
            nodes_nW: np.ndarray = self._index.search(
                _padded(queries_nM, step), width, params=parameters
            )[1]
        return nodes_nW

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the index as FAISS does into the folder; gives what `load` must be told.

        Args:
            folder: a folder that exists.

        Returns:
            Kind, columns, bytes and sha256 of the file.
        """
        import faiss

        data = faiss.serialize_index(self._index).tobytes()
        write_bytes(folder / FILE, data)
        return {
            "kind": self.kind.value,
            "num_columns": self.num_columns,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }

    @classmethod
    def load(cls, folder: Path, saved: Any, num_nodes: int) -> "NodeIndex":
        """Read what `save` wrote. FAISS sees the bytes only when their hash is the one told, gets
        no more memory than they need, and searches the index only when its links are sound.

        Args:
            folder: the folder that `save` wrote to.
            saved: what `save` gave.
            num_nodes: nodes that the index has to have, K.

        Returns:
            The index.

        Raises:
            ArtifactError: the file is missing or altered, or is another index.
        """
        path, values = folder / FILE, SavedValues.of(saved, f"{folder}: file")
        kind, num_columns = values.choice("kind", IndexKind), values.whole("num_columns", 2)
        data = read_bytes_bounded(path, values.whole("bytes", 1, MAX_BYTES))
        if hashlib.sha256(data).hexdigest() != values.text("sha256"):
            raise ArtifactError(f"{path}: has been altered (its sha256 differs); {_RESTORE}")
        step = COLUMNS_OF_A_CODE if kind is IndexKind.ivf_pq else 1
        width = -(-num_columns // step) * step
        table = 4 * num_cells_of(num_nodes) * (width // COLUMNS_OF_A_CODE) * 2**CODE_BITS
        index = _deserialized(data, path, len(data) + 2 * table)
        fits = (index.ntotal, index.d) == (num_nodes, width) and isinstance(index, _class_of(kind))
        if not fits:
            raise ArtifactError(
                f"{path}: a {type(index).__name__} of {index.ntotal} vectors where {kind.value} of "
                f"{num_nodes} is needed; {_RESTORE}"
            )
        if fault := _fault_of(kind, index, num_nodes, width):
            raise ArtifactError(f"{path}: a damaged index ({fault}); {_RESTORE}")
        return cls(kind, index, num_columns)


def _deserialized(data: bytes, path: Path, most: int) -> Any:
    """What FAISS reads from the bytes; no vector of it may have more than `most` of them, and none
    does but a table that it makes of product codes.

    Raises ArtifactError when it is no index.
    """
    import faiss

    with _DESERIALIZING:
        before = faiss.get_deserialization_vector_byte_limit()
        faiss.set_deserialization_vector_byte_limit(most)
        try:
            return faiss.deserialize_index(np.frombuffer(data, np.uint8))
        except (RuntimeError, MemoryError) as err:
            raise ArtifactError(f"{path}: no index that FAISS can read; {_RESTORE}") from err
        finally:
            faiss.set_deserialization_vector_byte_limit(before)


def _fault_of(kind: IndexKind, index: Any, num_nodes: int, num_columns: int) -> str | None:
    import faiss

    if index.metric_type != faiss.METRIC_INNER_PRODUCT or not index.is_trained:
        return "it is not for inner products"
    if kind is IndexKind.hnsw:
        return graph_fault(index, num_nodes, num_columns)
    return cells_fault(index, num_nodes, num_columns) if kind is IndexKind.ivf_pq else None


def half_precision_index(vectors_KM: np.ndarray) -> Any:
    """A FAISS index that goes through all vectors, kept as float16: half the memory to read, and
    about half the time of float32. Vectors that were float16 before are exact in it.

    Args:
        vectors_KM: vectors, (K, M).

    Returns:
        The index, by inner product.
    """
    import faiss

    index = faiss.IndexScalarQuantizer(
        vectors_KM.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    for first in range(0, len(vectors_KM), BLOCK):
        block_BM = np.ascontiguousarray(vectors_KM[first : first + BLOCK], np.float32)
        if first == 0:
            index.train(block_BM)
        index.add(block_BM)
    return index


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


def _class_of(kind: IndexKind) -> Any:
    import faiss

    classes = {IndexKind.hnsw: faiss.IndexHNSW, IndexKind.ivf_pq: faiss.IndexIVFPQ}
    return classes.get(kind, ())  # of the others FAISS keeps nothing on disk


def num_cells_of(num_nodes: int) -> int:
    """Cells of an index of product codes: about the square root of K.

    Args:
        num_nodes: nodes, K.

    Returns:
        At least 1.
    """
    num_cells: int = max(1, round(num_nodes**0.5))
    return num_cells


def _plain(kind: IndexKind, num_columns: int) -> Any:
    import faiss

    if kind is IndexKind.flat:
        return faiss.IndexFlatIP(num_columns)
    index = faiss.IndexHNSWFlat(num_columns, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    return index


def _ivf_pq(vectors_KM: np.ndarray) -> Any:
    """Product codes in cells. Few vectors are repeated until FAISS has enough."""
    import faiss

    num_nodes, num_columns = vectors_KM.shape
    num_cells = num_cells_of(num_nodes)
    quantizer = faiss.IndexFlatIP(num_columns)
    num_codes = num_columns // COLUMNS_OF_A_CODE
    index = faiss.IndexIVFPQ(
        quantizer, num_columns, num_cells, num_codes, CODE_BITS, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.seed = index.pq.cp.seed = SEED
    num_points = TRAINING_POINTS * max(num_cells, 2**CODE_BITS)
    repeats = -(-num_points // num_nodes)
    index.train(np.tile(vectors_KM, (repeats, 1)))
    index.add(vectors_KM)
    return index


def _padded(vectors: np.ndarray, step: int = COLUMNS_OF_A_CODE) -> np.ndarray:
    """Float32 vectors with columns of 0 up to a multiple of `step`."""
    missing = -vectors.shape[1] % step
    return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, missing))), np.float32)
