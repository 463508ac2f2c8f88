"""FAISS indexes: what they find, how they are measured and kept, and what FAISS never reads."""

import copy
import hashlib
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from xrt.errors import ArtifactError, DataError
from xrt.sources import faiss_index
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.faiss_index import EXACT, FILE, VectorIndex, Vectors, kind_of
from xrt.sources.label_head import LabelHead
from xrt.storage.saved_values import SavedValues

NUM_VECTORS, WIDTH = 1_200, 16


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells from a few hundred vectors on."""
    monkeypatch.setattr(faiss_index, "EXACT_UP_TO", 300)


@pytest.fixture
def vectors() -> Vectors:
    rng = np.random.default_rng(0)
    rows_KH = rng.normal(size=(NUM_VECTORS, WIDTH)).astype(np.float32)
    rows_KH *= rng.uniform(0.3, 3, (NUM_VECTORS, 1)).astype(np.float32)  # of unequal lengths
    return Vectors(rows_KH, rng.normal(size=NUM_VECTORS).astype(np.float32))


@pytest.fixture
def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(80, WIDTH)).astype(np.float32)


def best_of(vectors: Vectors, query: np.ndarray, k: int) -> set[int]:
    """The readable twin of a search."""
    assert vectors.offsets_K is not None
    products = [
        float(row.astype(np.float64) @ query) + offset
        for row, offset in zip(vectors.matrix_KH, vectors.offsets_K, strict=True)
    ]
    return set(sorted(range(len(products)), key=lambda number: -products[number])[:k])


def test_the_number_of_vectors_decides_the_kind():
    assert kind_of(1) == kind_of(faiss_index.EXACT_UP_TO) == EXACT == "SQfp16"
    assert kind_of(faiss_index.EXACT_UP_TO + 1) == "IVF362,SQ8"
    assert kind_of(1_000_000) == "IVF2000,SQ8"


@pytest.mark.parametrize("is_exact", [True, False])
def test_recall_is_measured_and_reached(
    vectors: Vectors, queries: np.ndarray, is_exact: bool, monkeypatch: pytest.MonkeyPatch
):
    if not is_exact:
        monkeypatch.setattr(faiss_index, "EXACT_UP_TO", 300)
    index = VectorIndex.build(vectors, queries, "held-out")
    assert (index.kind == EXACT) == is_exact == (index.cells is None)
    found = [set(row) for row in index.search(queries, 58)]
    share = np.mean(
        [
            len(best_of(vectors, query, 50) & row) / 50
            for query, row in zip(queries, found, strict=True)
        ]
    )
    assert index.recall == pytest.approx(share, abs=1e-3)
    assert index.describe()["recall"] >= faiss_index.RECALL_TARGET
    assert index.describe()["rows"] == "held-out"


@pytest.mark.parametrize(("width", "columns"), [(15, 16), (16, 32), (31, 32)])
def test_faiss_sees_columns_it_multiplies_at_once(width: int, columns: int):
    rng = np.random.default_rng(0)
    rows_KH, offsets_K = rng.normal(size=(20, width)), rng.normal(size=20)
    offset = Vectors(rows_KH.astype(np.float32), offsets_K.astype(np.float32))
    assert offset.num_columns == columns
    products = offset.queries(rows_KH[:3]) @ offset.take(slice(None)).T
    np.testing.assert_allclose(products, rows_KH[:3] @ rows_KH.T + offsets_K, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(offset.take(np.array([4, 2])), offset.take(slice(0, 5))[[4, 2]])
    assert Vectors(rows_KH).num_columns == -(-width // 16) * 16


@pytest.mark.usefixtures("few")
def test_more_cells_are_gone_through_until_recall_is_reached(
    vectors: Vectors, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    wide = VectorIndex.build(vectors, queries, "training")
    monkeypatch.setattr(faiss_index, "RECALL_TARGET", 0.3)
    narrow = VectorIndex.build(vectors, queries, "training")
    assert narrow.cells == faiss_index.FEWEST_CELLS
    assert wide.describe()["cells"] > narrow.describe()["cells"]
    assert wide.describe()["recall"] > narrow.describe()["recall"]
    monkeypatch.setattr(faiss_index, "RECALL_TARGET", 2.0)
    assert VectorIndex.build(vectors, queries, "training").cells == round(2 * NUM_VECTORS**0.5)
    without = VectorIndex.build(vectors, queries[:0], "training")
    assert (without.cells, without.recall) == (round(2 * NUM_VECTORS**0.5), None)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("mmap", [True, False])
def test_what_was_saved_finds_the_same_one_by_one_and_on_threads(
    vectors: Vectors, queries: np.ndarray, tmp_path: Path, mmap: bool
):
    index = VectorIndex.build(vectors, queries, "training")
    expected = index.search(queries, 20, 1)
    saved = SavedValues.of(index.save(tmp_path), "model.json: index")
    loaded = VectorIndex.load(tmp_path, saved, vectors, mmap)
    assert loaded.describe() == index.describe()
    for one in (
        loaded,
        copy.deepcopy(loaded),
        pickle.loads(pickle.dumps(loaded)),
        copy.copy(index),
    ):
        np.testing.assert_array_equal(one.search(queries, 20, 2), expected)
        alone = [one.search(queries[[row]], 20)[0] for row in range(len(queries))]
        np.testing.assert_array_equal(alone, expected)
    (tmp_path / "again").mkdir()
    again = loaded.save(tmp_path / "again")
    assert again == index.save(tmp_path)


def test_an_exact_index_keeps_nothing_but_its_name(
    vectors: Vectors, queries: np.ndarray, tmp_path: Path
):
    index = VectorIndex.build(vectors, queries, "training")
    saved = SavedValues.of(index.save(tmp_path), "model.json: index")
    assert not list(tmp_path.iterdir())
    loaded = VectorIndex.load(tmp_path, saved, vectors)
    np.testing.assert_array_equal(loaded.search(queries, 9), index.search(queries, 9))


@pytest.mark.usefixtures("few")
def test_equal_vectors_and_single_ones_are_found(queries: np.ndarray):
    same = Vectors(np.repeat(queries[:1], 700, axis=0).astype(np.float16))
    index = VectorIndex.build(same, queries, "training")
    assert index.recall == 1
    found = index.search(queries[:3], 60)
    assert all(len(set(row)) == 60 and row.min() >= 0 for row in found)
    single = VectorIndex.build(Vectors(queries[:1]), queries, "training")
    assert single.search(queries, 50).tolist() == [[0]] * len(queries)
    zeros = VectorIndex.build(Vectors(np.zeros((700, WIDTH), np.float32)), queries, "training")
    assert zeros.recall == 1


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("num_vectors", [200, NUM_VECTORS])
def test_what_is_no_number_is_refused(vectors: Vectors, queries: np.ndarray, num_vectors: int):
    index = VectorIndex.build(Vectors(vectors.matrix_KH[:num_vectors]), queries, "training")
    queries[7, 3] = np.inf
    with pytest.raises(DataError, match="embeddings: row 7 holds a number that is not finite"):
        index.search(queries, 5)
    with pytest.raises(DataError, match="embeddings: row 7 holds a number that is not finite"):
        VectorIndex.build(vectors, queries, "training")
    vectors.matrix_KH[11, 2] = np.nan
    if num_vectors == NUM_VECTORS:
        with pytest.raises(DataError, match=r"vectors to index.*holds a number that is not finite"):
            VectorIndex.build(vectors, queries[:2], "training")


@pytest.mark.usefixtures("few")
def test_sources_search_many_vectors_by_cells(tmp_path: Path, queries: np.ndarray):
    rng = np.random.default_rng(5)
    weight_LH = rng.normal(size=(900, WIDTH)).astype(np.float32)
    bias_L = rng.normal(size=900).astype(np.float32)
    exact = LabelHead(weight_LH, bias_L)
    vectors = Vectors(weight_LH, bias_L)
    head = LabelHead(weight_LH, bias_L, VectorIndex.build(vectors, queries, "held-out"))
    loaded = LabelHead.load(tmp_path, SavedValues.of(head.save(tmp_path), "model.json"))
    assert loaded.index.kind == "IVF60,SQ8"
    ranked, wanted = loaded.top(queries, 20), exact.top(queries, 20)
    assert (ranked.toarray() != wanted.toarray()).mean() < 0.001
    memory = DenseNeighbours(weight_LH, np.eye(900)[rng.integers(0, 30, 900)])
    memory.index = VectorIndex.build(Vectors(memory.unit_NH), queries, "held-out")
    settings = SavedValues.of(memory.save(tmp_path / "memory"), "model.json")
    again = DenseNeighbours.load(tmp_path / "memory", settings)
    assert again.index.kind == "IVF60,SQ8"
    np.testing.assert_array_equal(again.nearest(queries).rows_MW, memory.nearest(queries).rows_MW)


def test_the_head_under_constraints_of_all_sizes(queries: np.ndarray, monkeypatch: Any):
    import scipy.sparse as sp

    from xrt.search.constraints import Constraint
    from xrt.sources import label_head
    from xrt.sparse import binarize

    rng = np.random.default_rng(3)
    head = LabelHead(rng.normal(size=(500, WIDTH)).astype(np.float32), np.zeros(500, np.float32))
    every = head.top(queries, 500).toarray()
    monkeypatch.setattr(label_head, "MOST_PAIRS", 2_000)
    for share, num_rows, allows in (
        (0.02, 80, False),
        (0.9, 80, False),
        (0.3, 1, True),
        (0.3, 80, True),
    ):
        monkeypatch.setattr(label_head, "MOST_FORBIDDEN", 30)
        marked = binarize(sp.csr_array(rng.random((num_rows, 500)) < share, dtype=np.float32))
        constraint = Constraint(marked, allows)
        open_NL = np.broadcast_to((marked.toarray() > 0) == allows, every.shape)
        found = head.top(queries, 7, constraint).toarray()
        for row in range(len(queries)):
            order = np.argsort(-np.where(open_NL[row], every[row], -1), kind="stable")[:7]
            np.testing.assert_array_equal(np.flatnonzero(found[row]), np.sort(order))
            np.testing.assert_array_equal(found[row, order], every[row, order])
    none = Constraint(sp.csr_array((1, 500), dtype=np.float32), allows=True)
    assert head.top(queries, 7, none).nnz == 0


def put(vector: Any, place: int, value: float) -> None:
    array = faiss.vector_to_array(vector).copy()
    array[place] = value
    faiss.copy_array_to_vector(array, vector)


def lists_of(index: Any) -> Any:
    return faiss.downcast_InvertedLists(index.invlists)


def first_cell(index: Any) -> int:
    return next(cell for cell in range(index.nlist) if lists_of(index).list_size(cell) > 1)


def number_of(index: Any, number: int) -> None:
    lists, cell = lists_of(index), first_cell(index)
    faiss.rev_swig_ptr(lists.get_ids(cell), 1)[0] = number


def set_attribute(index: Any, name: str, value: Any) -> None:
    setattr(index, name, value)


CELLS: dict[str, Callable[[Any], None]] = {
    "holds a vector that is none": lambda index: number_of(index, NUM_VECTORS),
    "holds a vector that is none ": lambda index: number_of(index, -1),
    "each vector once": lambda index: lists_of(index).resize(first_cell(index), 1),
    "other centres": lambda index: put(faiss.downcast_index(index.quantizer).codes, 3, 0xFF),
    "other ranges": lambda index: put(index.sq.trained, 2, np.nan),
    "not for inner products": lambda index: set_attribute(index, "metric_type", faiss.METRIC_L2),
    "settings that xrt does not use": lambda index: set_attribute(index, "by_residual", False),
    "vectors of 32 columns, not": lambda index: set_attribute(index, "ntotal", 5),
}


def saved_after(index: VectorIndex, folder: Path, change: Callable[[Any], None]) -> SavedValues:
    """Save an index after a change that its hash vouches for."""
    change(index._made)
    return SavedValues.of(index.save(folder), "model.json: index")


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("fault", CELLS)
@pytest.mark.parametrize("mmap", [True, False])
def test_cells_that_lead_astray_are_refused(
    vectors: Vectors, queries: np.ndarray, tmp_path: Path, fault: str, mmap: bool
):
    index = VectorIndex.build(vectors, queries, "training")
    if fault.startswith("other centres"):  # a byte of 0xFF is not yet a strange number
        codes = faiss.vector_to_array(faiss.downcast_index(index._made.quantizer).codes)
        codes[:4] = 0xFF
        quantizer = faiss.downcast_index(index._made.quantizer)
        faiss.copy_array_to_vector(codes, quantizer.codes)
        saved = saved_after(index, tmp_path, lambda index: None)
    else:
        saved = saved_after(index, tmp_path, CELLS[fault])
    wanted = rf"damaged index \(.*{fault.strip()}|no index that FAISS can read"
    with pytest.raises(ArtifactError, match=wanted):
        VectorIndex.load(tmp_path, saved, vectors, mmap)


@pytest.mark.usefixtures("few")
def test_an_index_of_another_model_or_altered_or_cut_is_never_read(
    vectors: Vectors, queries: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    index = VectorIndex.build(vectors, queries, "training")
    saved = SavedValues.of(index.save(tmp_path), "model.json: index")
    content = (tmp_path / FILE).read_bytes()
    other = Vectors(vectors.matrix_KH[::-1].copy(), vectors.offsets_K)
    (tmp_path / "other").mkdir()
    VectorIndex.build(other, queries, "training").save(tmp_path / "other")
    monkeypatch.setattr(faiss_index, "_read", None)  # FAISS is not asked
    altered = content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]
    of_other = (tmp_path / "other" / FILE).read_bytes()
    for bad in (altered, content[:-10], content + b"x", b"", of_other):
        (tmp_path / FILE).unlink()
        (tmp_path / FILE).write_bytes(bad)
        with pytest.raises(ArtifactError, match=r"index\.faiss: another file than was saved"):
            VectorIndex.load(tmp_path, saved, vectors)
    (tmp_path / FILE).unlink()
    with pytest.raises(ArtifactError, match=r"index\.faiss: cannot be read"):
        VectorIndex.load(tmp_path, saved, vectors)
    fewer = Vectors(vectors.matrix_KH[:900])
    with pytest.raises(ArtifactError, match="an index of 1200 vectors for 900"):
        VectorIndex.load(tmp_path, saved, fewer)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("mmap", [True, False])
def test_no_length_in_a_file_asks_for_more_memory_than_it_has_bytes(
    vectors: Vectors, queries: np.ndarray, tmp_path: Path, mmap: bool
):
    saved = VectorIndex.build(vectors, queries, "training").save(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    began, limit = time.perf_counter(), faiss.get_deserialization_vector_byte_limit()
    for place in range(0, 400, 4):
        data = content[:place] + (2**33).to_bytes(8, "little") + content[place + 8 :]
        (tmp_path / FILE).unlink()  # it may still be mapped
        (tmp_path / FILE).write_bytes(data)
        values = {**saved, "sha256": hashlib.sha256(data).hexdigest()}
        try:
            loaded = VectorIndex.load(tmp_path, SavedValues.of(values, "m"), vectors, mmap)
            loaded.search(queries[:2], 4)
        except ArtifactError:
            continue
    assert time.perf_counter() - began < 20
    assert faiss.get_deserialization_vector_byte_limit() == limit


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    "change",
    [
        {"kind": "IVF9,SQ8"}, {"kind": 3}, {"vectors": -1}, {"cells": 0}, {"cells": 2**40},
        {"sha256": None}, {"sha256": ""}, {"recall": 2}, {"rows": 7},
    ],
)  # fmt: skip
def test_settings_of_an_index_that_are_none_are_refused(
    vectors: Vectors, queries: np.ndarray, tmp_path: Path, change: dict[str, Any]
):
    saved = VectorIndex.build(vectors, queries, "training").save(tmp_path)
    with pytest.raises(ArtifactError):
        VectorIndex.load(tmp_path, SavedValues.of({**saved, **change}, "model.json"), vectors)
