"""Groups of near-duplicate rows: as the slow twin finds them, small, and the same on threads."""

import numpy as np
import pytest
import scipy.sparse as sp

from tests.reference import slow_splits
from xrt.data.near_rows import (
    NEAR,
    Pairs,
    join_pairs,
    most_rows,
    near_groups,
    near_pairs,
    numbered,
    rarity_weighted,
)
from xrt.sparse import as_csr, normalize_rows


def families(rng, num_families=40, siblings=3, words=300, length=12, changed=1):
    """Rows of words in families: each sibling has some other words."""
    rows = []
    for _ in range(num_families):
        parent = rng.choice(words, length, replace=False)
        for _ in range(siblings):
            row = np.zeros(words, np.float32)
            row[
                np.where(rng.random(length) < changed / length, rng.choice(words, length), parent)
            ] = 1
            rows.append(row * rng.uniform(0.5, 2, words).astype(np.float32))
    return normalize_rows(as_csr(np.array(rows)))


@pytest.mark.parametrize("seed", range(5))
def test_as_the_slow_twin(seed):
    rng = np.random.default_rng(seed)
    X = families(rng)
    X = as_csr(sp.vstack([X, X[::7], sp.csr_array((3, X.shape[1]), dtype=np.float32)]))
    num = X.shape[0]
    dense = X.toarray()
    keys = [row.tobytes() for row in dense]
    equal = numbered(np.unique(np.array([hash(key) for key in keys]), return_inverse=True)[1])
    slow = slow_splits.near_groups(dense, equal.tolist(), NEAR, most_rows(num))
    assert near_groups(X, equal).tolist() == slow
    assert near_groups(X, equal, num_threads=3).tolist() == slow
    assert len(set(slow)) < len(set(equal.tolist()))


def test_nearly_all_near_pairs_are_found():
    rng = np.random.default_rng(0)
    X = families(rng, num_families=200, changed=1)
    cosines = np.triu((X @ X.T).toarray(), 1)
    pairs = near_pairs(X)
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    near = set(zip(*(places.tolist() for places in np.nonzero(cosines >= NEAR)), strict=True))
    nearly = (places.tolist() for places in np.nonzero(cosines >= NEAR - 1e-5))
    assert found <= set(zip(*nearly, strict=True))
    assert len(near) > 100
    assert len(found & near) > 0.97 * len(near)


def test_a_chain_does_not_swallow_the_corpus():
    """A thousand rows, each like the next: strong links hold, weak ones give way."""
    num = 1000
    links = np.arange(num - 1)
    cosine = np.where(links % 5 == 4, 0.7, 0.9).astype(np.float32)
    groups = join_pairs(Pairs(links, links + 1, cosine), np.ones(num, int), most_rows(num))
    sizes = np.bincount(numbered(groups))
    assert sizes.max() <= 5
    assert all(len(set(groups[five : five + 5])) == 1 for five in range(0, num, 5))


def test_equal_rows_stay_together_however_many():
    X = as_csr(np.tile(np.eye(4, dtype=np.float32)[0], (100, 1)))
    assert near_groups(X, np.zeros(100, int)).tolist() == [0] * 100


def test_columns_of_all_rows_say_nothing_of_two():
    X = as_csr(np.array([[5, 1, 0], [5, 0, 0], [5, 0, 2]], np.float32))
    weighted = rarity_weighted(X).toarray()
    np.testing.assert_array_equal(weighted, [[0, 1, 0], [0, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(("num_rows", "most"), [(2, 1), (8, 4), (50, 5), (1000, 5), (10_000, 50)])
def test_most_rows(num_rows, most):
    assert most_rows(num_rows) == most
