"""One step down the tree against its slow twin: every way to find columns and to keep the best."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from numba import njit

from tests.reference.slow_linear import expanded, sparse_weights
from xrt.errors import ArtifactError, DataError
from xrt.hybrid import HybridMatrix
from xrt.linear import scoring
from xrt.linear.kernels.beam_step import as_float
from xrt.linear.scoring import RowBlock, index_type, root_beam, step
from xrt.linear.sink import MemorySink
from xrt.linear.weights import LevelWeights, SolvedBlock, child_type_of
from xrt.sparse import as_csr
from xrt.tree.label_tree import LabelTree

FEATURES, DENSE = 60, 7


def random_level(tree, t, seed=0, density=0.2, num_dense=DENSE):
    """Weights rounded to quarters, so that scores are often equal; every fifth node has none."""
    rng = np.random.default_rng(seed)
    sink = MemorySink(tree, t, FEATURES)
    child_ptr, _ = tree.children(t)
    for first in range(tree.num_nodes(t)):
        cluster = int(np.searchsorted(child_ptr, first, side="right")) - 1
        columns = np.flatnonzero(rng.random(FEATURES) < density * (first % 5 > 0))
        values = np.round(4 * rng.normal(size=len(columns))) / 4
        dense = np.round(4 * rng.normal(size=(1, num_dense))) / 4
        ptr = np.array([0, len(columns)])
        arrays = (columns.astype(np.int32), values.astype(np.float32), dense.astype(np.float32))
        sink.add(SolvedBlock(cluster, first, ptr, *arrays, np.zeros(1, np.float32)))
    return sink.finish()


@pytest.fixture(scope="module")
def two_levels():
    rng = np.random.default_rng(3)
    leaf = rng.integers(0, 9, 300).astype(np.int32)
    leaf[leaf == 4] = 5  # a cluster without children
    tree = LabelTree.from_clusters(leaf, [np.zeros(9, np.int32)])
    return tree, random_level(tree, 0), random_level(tree, 1, 1)


def random_rows(num_rows, seed=2, density=0.3):
    rng = np.random.default_rng(seed)
    sparse = np.round(4 * rng.random((num_rows, FEATURES))) / 4
    sparse *= rng.random((num_rows, FEATURES)) < density
    sparse[0] = 0
    return HybridMatrix.of(sp.csr_array(sparse), np.round(4 * rng.normal(size=(num_rows, DENSE))))


@pytest.mark.parametrize("keep", [1, 7, 40, 129, 200, 10**9])
@pytest.mark.parametrize("num_rows", [1, 2, 60])
def test_a_step_equals_its_slow_twin(two_levels, keep, num_rows):
    tree, top, bottom = two_levels
    X = random_rows(num_rows)
    beam = step(top, X, root_beam(num_rows), 6)
    result = step(bottom, X, beam, keep, path_weight=0.5)
    expected = expanded(bottom, tree, 1, X, beam, keep, 0.5)
    for row, best in enumerate(expected):
        here = slice(result.indptr[row], result.indptr[row + 1])
        assert result.indices[here].tolist() == sorted(best)
        np.testing.assert_allclose(
            result.data[here], [best[node] for node in sorted(best)], rtol=1e-5, atol=1e-6
        )


def test_rows_get_the_same_bits_alone_and_in_parts_and_on_several_threads(two_levels, monkeypatch):
    _, top, bottom = two_levels
    X = random_rows(300)
    beam = step(top, X, root_beam(300), 6, 1)
    together = step(bottom, X, beam, 9, 1)
    for row in range(0, 300, 37):
        alone = step(bottom, X.take(np.array([row])), beam[[row]], 9)
        np.testing.assert_array_equal(alone.indices, together[[row]].indices)
        np.testing.assert_array_equal(alone.data, together[[row]].data)
    for name, value in (("MAX_SCORES_AT_ONCE", 500), ("ROWS_PER_BLOCK", 128)):
        monkeypatch.setattr(scoring, name, value)
        result = step(bottom, X, beam, 9, 3)
        np.testing.assert_array_equal(result.indices, together.indices)
        np.testing.assert_array_equal(result.data, together.data)


def test_int64_indices_give_the_same(two_levels):
    _, top, _ = two_levels
    X = random_rows(20)
    wide = sp.csr_array(X.sparse)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    a = step(top, X, root_beam(20), 3)
    b = step(top, HybridMatrix(wide, X.dense), root_beam(20), 3)
    np.testing.assert_array_equal(a.toarray(), b.toarray())
    assert as_csr(wide).indices.dtype == np.int32
    block = RowBlock.of(HybridMatrix(wide, X.dense), 5, 9)
    assert (block.indptr.dtype, block.columns.dtype) == (np.int64, np.int32)
    np.testing.assert_array_equal(block.values, X.sparse[5:9].data)


def test_entries_are_counted_in_int64_from_two_to_the_31_on():
    assert index_type(2**31 - 1) is np.int32
    assert index_type(2**31) is np.int64


@pytest.mark.parametrize("num_rows", [1, 50])
def test_float16_weights_score_as_the_float32_they_stand_for(two_levels, num_rows):
    _, _, bottom = two_levels
    X = random_rows(num_rows)
    beam = step(two_levels[1], X, root_beam(num_rows), 6)
    half = bottom.astype(np.float16)  # quarters are exact in float16
    assert half.dtype == np.float16
    a = step(bottom, X, beam, 9)
    b = step(half, X, beam, 9)
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_array_equal(a.data, b.data)


def test_every_finite_float16_is_read_exactly():
    bits = np.arange(2**16, dtype=np.uint16)
    finite = bits[np.isfinite(bits.view(np.float16))]

    @njit
    def all_of(raw):
        return [as_float(bits) for bits in raw]

    np.testing.assert_array_equal(all_of(finite), finite.view(np.float16).astype(np.float32))


def test_weights_too_large_for_float16_are_refused(two_levels):
    bottom = two_levels[2]
    huge = replace(bottom, entry_values=bottom.entry_values * np.float32(1e6))
    with pytest.raises(DataError, match="does not fit in float16"):
        huge.astype(np.float16)
    with pytest.raises(DataError, match="float32 or float16, not float64"):
        bottom.astype(np.float64)


def test_float16_is_half_as_large_on_disk_and_said_there(two_levels, tmp_path):
    tree, _, bottom = two_levels
    bottom.astype(np.float16).save(tmp_path)
    loaded = LevelWeights.load(tmp_path, tree, 1)
    assert loaded.dtype == loaded.dense.dtype == np.float16
    assert loaded.entry_values.nbytes == bottom.entry_values.nbytes // 2
    assert json.loads((tmp_path / "weights.json").read_text())["dtype"] == "float16"
    np.testing.assert_array_equal(
        sparse_weights(loaded).toarray(), sparse_weights(bottom).toarray()
    )
    np.testing.assert_array_equal(loaded.dense_weights, bottom.dense_weights)
    for wrong in ({"dtype": "int8"}, {"dtype": "float16", "children": "float32"}, {"dtype": "O"}):
        (tmp_path / "weights.json").write_text(json.dumps({"num_features": 60, **wrong}))
        with pytest.raises(ArtifactError, match=r"(dtype|children) = .*is needed"):
            LevelWeights.load(tmp_path, tree, 1)


@pytest.mark.parametrize(
    ("largest", "kind"), [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65_537, "int32")]
)
def test_children_are_kept_in_the_narrowest_type(largest, kind):
    assert child_type_of(np.array([0, 0, largest, largest + 1])) == np.dtype(kind)


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_search_does_not_depend_on_the_type_of_children(two_levels, kind, tmp_path):
    tree, top, bottom = two_levels
    X = random_rows(30)
    beam = step(top, X, root_beam(30), 6)
    assert bottom.entry_children.dtype == np.uint8
    replace(bottom, entry_children=bottom.entry_children.astype(kind)).save(tmp_path)
    if kind is np.int32:  # as weights were kept before
        (tmp_path / "weights.json").write_text(json.dumps({"num_features": FEATURES}))
    wide = LevelWeights.load(tmp_path, tree, 1)
    assert wide.entry_children.dtype == kind
    np.testing.assert_array_equal(sparse_weights(wide).toarray(), sparse_weights(bottom).toarray())
    a = step(bottom, X, beam, 9)
    b = step(wide, X, beam, 9)
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_array_equal(a.data, b.data)
