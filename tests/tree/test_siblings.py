"""Siblings of found labels against their slow twin."""

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference import slow_siblings
from xrt.errors import DataError
from xrt.sparse import as_csr
from xrt.tree.label_tree import LabelTree
from xrt.tree.siblings import siblings_of

NUM_LABELS, NUM_LEAVES = 200, 30


@pytest.fixture
def tree() -> LabelTree:
    rng = np.random.default_rng(0)
    leaf_of = np.concatenate([np.arange(NUM_LEAVES), rng.integers(0, 12, NUM_LABELS - NUM_LEAVES)])
    return LabelTree((np.zeros(NUM_LEAVES, np.int32), rng.permutation(leaf_of).astype(np.int32)))


@pytest.mark.parametrize("most", [0, 1, 20, 60, 10_000])
def test_siblings_equal_the_slow_twin(tree: LabelTree, most: int):
    rng = np.random.default_rng(1)
    scores = as_csr(rng.random((40, NUM_LABELS)) * (rng.random((40, NUM_LABELS)) < 0.04))
    scores.data[::3] = 0  # found with a score of 0
    scores.data[1::5] = np.float32(0.25)
    found = siblings_of(tree, scores, most)
    assert found.shape == scores.shape
    assert found.has_sorted_indices
    for row in range(40):
        entries = slice(scores.indptr[row], scores.indptr[row + 1])
        named = dict(zip(scores.indices[entries].tolist(), scores.data[entries], strict=True))
        expected = slow_siblings.siblings(tree.parents[-1], named, most)
        got = found.indices[found.indptr[row] : found.indptr[row + 1]]
        assert got.tolist() == expected
    if most == 10_000:
        assert found.nnz > 500


def test_a_leaf_that_does_not_fit_is_passed_over():
    flat = LabelTree((np.zeros(50, np.int32),))
    one = sp.csr_array(([1.0], ([0], [7])), shape=(1, 50))
    assert siblings_of(flat, one, 48).nnz == 0
    assert siblings_of(flat, one, 49).nnz == 49
    assert siblings_of(flat, sp.csr_array((0, 50)), 49).shape == (0, 50)
    assert siblings_of(flat, sp.csr_array((3, 50)), 49).nnz == 0


def test_what_does_not_fit_is_refused(tree: LabelTree):
    with pytest.raises(DataError, match="scores of 7 labels, but the tree has 200"):
        siblings_of(tree, sp.csr_array((1, 7)), 5)
    with pytest.raises(DataError, match="most = -1"):
        siblings_of(tree, sp.csr_array((1, NUM_LABELS)), -1)
