"""FAISS indexes from disk: FAISS searches none whose links, cells or vectors lead astray."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from xrt.errors import ArtifactError
from xrt.sources.faiss_index import FILE, IndexKind, NodeIndex

NUM_NODES, NUM_COLUMNS = 300, 16


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(NUM_NODES, NUM_COLUMNS)).astype(np.float32)


def put(vector: Any, place: int, value: float) -> None:
    array = faiss.vector_to_array(vector).copy()
    array[place] = value
    faiss.copy_array_to_vector(array, vector)


def lowest(index: Any) -> int:
    return int(np.argmin(faiss.vector_to_array(index.hnsw.levels)))


def lift_low_link(index: Any) -> None:
    """A link of a higher level that leads to a node of the lowest."""
    graph = index.hnsw
    levels = faiss.vector_to_array(graph.levels)
    high, low = int(np.argmax(levels)), int(np.argmin(levels))
    offset = int(faiss.vector_to_array(graph.offsets)[high])
    put(graph.neighbors, offset + int(graph.cum_nb_neighbors(1)), low)


def set_entry(index: Any, node: int) -> None:
    index.hnsw.entry_point = node


def set_height(index: Any, height: int) -> None:
    index.hnsw.max_level = height


GRAPHS: dict[str, Callable[[Any], None]] = {
    "a link leads to no node": lambda index: put(index.hnsw.neighbors, 3, NUM_NODES),
    "a link leads to no node ": lambda index: put(index.hnsw.neighbors, 3, 2**31 - 1),
    "a link leads to no node  ": lambda index: put(index.hnsw.neighbors, 3, -2),
    "does not reach so high": lift_low_link,
    "it has no entry": lambda index: set_entry(index, NUM_NODES + 5),
    "it has no entry ": lambda index: set_entry(index, -1),
    "another height": lambda index: set_height(index, 7),
    "do not rise": lambda index: put(index.hnsw.offsets, 5, 2**40),
    "other links than": lambda index: put(index.hnsw.levels, lowest(index), 2),
    "its levels": lambda index: put(index.hnsw.levels, 0, 99),
    "no room|other links": lambda index: put(index.hnsw.cum_nneighbor_per_level, 1, 2**30),
    "its vectors": lambda index: put(faiss.downcast_index(index.storage).codes, 3, 0xFF),
}


@pytest.fixture(autouse=True)
def few_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph of several levels."""
    monkeypatch.setattr("xrt.sources.faiss_index.HNSW_LINKS", 8)


def saved(index: NodeIndex, folder: Path, change: Callable[[Any], None]) -> Any:
    """Save an index after a change that its hash vouches for."""
    change(index._index)
    return index.save(folder)


@pytest.mark.parametrize("fault", [fault for fault in GRAPHS if fault != "its vectors"])
def test_a_graph_that_leads_astray_is_refused(
    vectors: np.ndarray, tmp_path: Path, fault: str
) -> None:
    index = NodeIndex.build(vectors, IndexKind.hnsw)
    sound = index.search(vectors[:5], 4)
    told = index.save(tmp_path)
    loaded = NodeIndex.load(tmp_path, told, NUM_NODES)
    np.testing.assert_array_equal(loaded.search(vectors[:5], 4), sound)
    told = saved(index, tmp_path, GRAPHS[fault])
    wanted = rf"damaged index \(.*({fault.strip()})|no index that FAISS can read"
    with pytest.raises(ArtifactError, match=wanted):
        NodeIndex.load(tmp_path, told, NUM_NODES)


def fill_with_nan(index: Any) -> None:
    codes = faiss.downcast_index(index.storage).codes
    array = faiss.vector_to_array(codes).copy()
    array[:4] = np.frombuffer(np.float32(np.nan).tobytes(), np.uint8)
    faiss.copy_array_to_vector(array, codes)


def test_a_graph_over_vectors_that_are_not_finite_is_refused(
    vectors: np.ndarray, tmp_path: Path
) -> None:
    told = saved(NodeIndex.build(vectors, IndexKind.hnsw), tmp_path, fill_with_nan)
    with pytest.raises(ArtifactError, match="its vectors are not those of the nodes"):
        NodeIndex.load(tmp_path, told, NUM_NODES)


def swap_node(index: Any) -> None:
    lists = faiss.downcast_InvertedLists(index.invlists)
    cell = next(cell for cell in range(index.nlist) if lists.list_size(cell) > 1)
    faiss.rev_swig_ptr(lists.get_ids(cell), lists.list_size(cell))[0] = NUM_NODES + 7


def double_node(index: Any) -> None:
    lists = faiss.downcast_InvertedLists(index.invlists)
    cell = next(cell for cell in range(index.nlist) if lists.list_size(cell) > 1)
    ids = faiss.rev_swig_ptr(lists.get_ids(cell), lists.list_size(cell))
    ids[0] = ids[1]


CELLS: dict[str, Callable[[Any], None]] = {
    "each node once": swap_node,
    "each node once ": double_node,
    "other centroids": lambda index: put(index.pq.centroids, 0, np.nan),
    "settings that xrt does not use": lambda index: setattr(index, "by_residual", False),
}


@pytest.mark.parametrize("fault", CELLS)
def test_cells_that_hold_something_else_are_refused(
    vectors: np.ndarray, tmp_path: Path, fault: str
) -> None:
    index = NodeIndex.build(vectors, IndexKind.ivf_pq)
    sound = index.search(vectors[:5], 4)
    loaded = NodeIndex.load(tmp_path, index.save(tmp_path), NUM_NODES)
    np.testing.assert_array_equal(loaded.search(vectors[:5], 4), sound)
    told = saved(index, tmp_path, CELLS[fault])
    wanted = rf"damaged index \(.*{fault.strip()}|no index that FAISS can read"
    with pytest.raises(ArtifactError, match=wanted):
        NodeIndex.load(tmp_path, told, NUM_NODES)


@pytest.mark.parametrize("kind", [IndexKind.hnsw, IndexKind.ivf_pq])
def test_no_length_in_a_file_asks_for_more_memory_than_it_has_bytes(
    vectors: np.ndarray, tmp_path: Path, kind: IndexKind
) -> None:
    told = NodeIndex.build(vectors, kind).save(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    began, limit = time.perf_counter(), faiss.get_deserialization_vector_byte_limit()
    for place in range(0, min(len(content) - 8, 400), 4):
        data = content[:place] + (2**33).to_bytes(8, "little") + content[place + 8 :]
        (tmp_path / FILE).write_bytes(data)
        told = {**told, "sha256": hashlib.sha256(data).hexdigest()}
        try:
            NodeIndex.load(tmp_path, told, NUM_NODES).search(vectors[:2], 4)
        except ArtifactError:
            continue
    assert time.perf_counter() - began < 10
    assert faiss.get_deserialization_vector_byte_limit() == limit


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "none"}, {"kind": 3}, {"num_columns": -1}, {"num_columns": 2**40}, {"bytes": 0},
        {"bytes": "12"}, {"bytes": 2**62}, {"sha256": None}, {"sha256": ""}, {"num_columns": 17},
    ],
)  # fmt: skip
def test_settings_of_an_index_that_are_none_are_refused(
    vectors: np.ndarray, tmp_path: Path, change: dict[str, Any]
) -> None:
    told = NodeIndex.build(vectors, IndexKind.hnsw).save(tmp_path)
    with pytest.raises(ArtifactError):
        NodeIndex.load(tmp_path, {**told, **change}, NUM_NODES)
