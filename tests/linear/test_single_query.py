"""A single query gets the very bits it gets in a block, with any layout."""

from dataclasses import replace

import numpy as np
import pytest

from tests.linear.test_beam_step import FEATURES, random_level, random_rows
from tests.reference.slow_linear import expanded
from xrt.hybrid import HybridMatrix
from xrt.linear import weights as weights_module
from xrt.linear.kernels.single_query import RowKeys
from xrt.linear.scoring import Beam, RowBlock, block_beam, root_beam, step, step_block
from xrt.linear.single_query import QueryBeam, step_row
from xrt.search.session import SearchSession
from xrt.tree.label_tree import LabelTree

WAYS = {
    "column_major": {},
    "row_keys": {"MAX_CLUSTERS": 0},
    "neither": {"MAX_CLUSTERS": 0, "MAX_KEYS": 0},
}


@pytest.fixture(scope="module")
def tree():
    leaf = np.random.default_rng(3).integers(0, 9, 300).astype(np.int32)
    leaf[leaf == 4] = 5  # a cluster without children
    return LabelTree.from_clusters(leaf, [np.zeros(9, np.int32)])


def laid_out(weights, way, monkeypatch):
    for name, value in WAYS[way].items():
        monkeypatch.setattr(weights_module, name, value)
    fresh = replace(weights)
    assert (fresh.column_major is not None) == (way == "column_major")
    assert (fresh.row_keys is not None) == (way != "neither")
    return fresh


def same(one: Beam, other: Beam):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("num_dense", [0, 7])
@pytest.mark.parametrize("density", [0.2, 0.004])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_all_ways_give_the_bits_of_a_block(tree, way, num_dense, density, dtype, monkeypatch):
    bottom = random_level(tree, 1, 1, density, num_dense).astype(dtype)
    weights = laid_out(bottom, way, monkeypatch)
    X = random_rows(40)
    X = HybridMatrix(X.sparse, X.dense[:, :num_dense])
    everywhere = np.arange(9, dtype=np.int32)
    for row in range(40):
        block = RowBlock.of(X, row, row + 1)
        for nodes in (everywhere, everywhere[1::2], everywhere[4:5], everywhere[:0]):
            scores = -np.linspace(0, 1, len(nodes), dtype=np.float32)
            beam = Beam(np.array([0, len(nodes)]), nodes, scores)
            for keep in (1, 7, 400):
                result = step_row(weights, block, QueryBeam(*beam[1:]), keep, 0.5)
                same(result.as_beam, step_block(bottom, block, beam, keep, 0.5))


@pytest.mark.parametrize("way", list(WAYS))
def test_all_ways_equal_the_slow_twin(tree, way, monkeypatch):
    bottom = laid_out(random_level(tree, 1, 1, 0.05), way, monkeypatch)
    X = random_rows(12)
    beam = step(random_level(tree, 0), X, root_beam(12), 9)
    for row, best in enumerate(expanded(bottom, tree, 1, X, beam, 20, 0.5)):
        block, above = RowBlock.of(X, row, row + 1), block_beam(beam, row, row + 1)
        result = step_row(bottom, block, QueryBeam(*above[1:]), 20, 0.5)
        assert result.nodes.tolist() == sorted(best)
        expected = [best[node] for node in sorted(best)]
        np.testing.assert_allclose(result.scores, expected, rtol=1e-5, atol=1e-6)


def test_a_session_finds_the_same_for_a_row_alone(tree):
    levels = [random_level(tree, 0), random_level(tree, 1, 1, 0.03)]
    X = random_rows(50)
    for beam_size in (3, 9):
        session = SearchSession(levels, beam_size, 0.5)
        together = session.search(X, 10, num_threads=1)
        for row in range(50):
            alone = session.search(X.take(np.array([row])), 10)
            assert alone.shape == (1, 300)
            np.testing.assert_array_equal(alone.indices, together[[row]].indices)
            np.testing.assert_array_equal(alone.data, together[[row]].data)


def test_what_one_row_found_stays_when_the_next_comes(tree):
    session = SearchSession([random_level(tree, 0), random_level(tree, 1, 1)], 3, 0.5)
    X = random_rows(2)
    first = session.search(X.take(np.array([1])), 10)
    selected = first.indices.copy(), first.data.copy()
    session.search(X.take(np.array([0])), 3)
    np.testing.assert_array_equal(first.indices, selected[0])
    np.testing.assert_array_equal(first.data, selected[1])
    assert first.indptr.tolist() == [0, 10]


@pytest.mark.parametrize("density", [0.002, 0.02, 0.5])
def test_buckets_lead_to_every_key_and_to_no_other(tree, density):
    weights = random_level(tree, 1, 5, density)
    keys = RowKeys.of(weights.chunk_ptr, weights.row_columns, weights.row_ptr, FEATURES)
    for chunk in range(9):
        low, high = weights.chunk_ptr[chunk], weights.chunk_ptr[chunk + 1]
        starts = keys.starts[keys.starts_ptr[chunk] : keys.starts_ptr[chunk + 1]]
        assert len(starts) <= 4 * (high - low) + 62 * (high == low) + 2
        for column in range(FEATURES):
            bucket = column >> int(keys.shift[chunk])
            inside = range(low + starts[bucket], low + starts[bucket + 1])
            own = [row for row in range(low, high) if weights.row_columns[row] == column]
            assert [row for row in inside if int(keys.keys[row]) >> 32 == column] == own
