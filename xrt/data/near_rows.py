"""Groups of rows that are nearly the same: near-duplicate texts, which must stand on one side of a
split.

N rows, F columns, H hashes in B bands, P pairs. Every hash draws one column of each row, with
probabilities in proportion to the squared values, such that rows that share most of their weight
draw the same column most of the time (https://arxiv.org/abs/1809.04052). Rows whose columns agree
in a whole band are compared, with a few rows that came before them there; pairs whose cosine is
high enough are joined, the most similar first, as long as a group stays small: chains of rows that
are alike from one to the next must not swallow the corpus. The time is linear in the number of
entries.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from xrt.jit import njit
from xrt.threads import run_blocks

NEAR = 0.8
"""Cosine from which two rows are near-duplicates."""
BANDS, HASHES_OF_BAND = 16, 2
"""Pairs of the least cosine are missed in one case of a hundred, closer ones next to never."""
COMPARED = 8
"""Rows before a row in the same bucket that it is compared with."""
MOST_ROWS = 0.005
"""Share of the rows that near-duplicates may join in one group."""
FEWEST = 5
"""Rows that a group may have however small the corpus is."""


class Pairs(NamedTuple):
    """Pairs of rows (P,), the first before the second, and their cosines, float32 (P,)."""

    first: np.ndarray
    second: np.ndarray
    cosine: np.ndarray


def near_groups(
    X_NF: sp.csr_array,
    equal_N: np.ndarray,
    num_threads: int | None = None,
) -> np.ndarray:
    """Join groups of equal rows that are nearly the same.

    Equal rows always stay together; near ones only while a group has at most `most_rows` rows.

    Args:
        X_NF: rows of length 1, or empty.
        equal_N: the group of equal rows that each row is in, int64 (N,), from 0 in the order of
            first appearance.
        num_threads: threads; None for all processors. The groups do not depend on it.

    Returns:
        The group of each row, int64 (N,), from 0 in the order of first appearance.
    """
    first_G = np.unique(equal_N, return_index=True)[1]
    sizes_G = np.bincount(equal_N, minlength=len(first_G))
    unlike = X_NF[first_G]
    pairs = near_pairs(unlike, num_threads)
    group_G = join_pairs(pairs, sizes_G, most_rows(X_NF.shape[0]))
    return numbered(group_G[equal_N])


def most_rows(num_rows: int) -> int:
    """Rows that near-duplicates may join in one group.

    Args:
        num_rows: of the corpus, N.

    Returns:
        MOST_ROWS of them, at least FEWEST, and never more than half of them.
    """
    return min(max(FEWEST, int(MOST_ROWS * num_rows)), num_rows // 2)


def rarity_weighted(X_NF: sp.csr_array) -> sp.csr_array:
    """Rows of counts with columns weighed by rarity, ln(N / rows that have it), and of length 1.

    A column that every row has says nothing of two rows and weighs nothing.

    Args:
        X_NF: rows of features, not TF-IDF.

    Returns:
        The rows (N, F); one without a telling column is empty.
    """
    num_rows, num_columns = X_NF.shape
    counts_F = np.bincount(X_NF.indices, minlength=num_columns)
    rarity_F = np.log(num_rows / np.maximum(counts_F, 1)).astype(np.float32)
    data = X_NF.data.astype(np.float32) * rarity_F[X_NF.indices]
    weighted_NF = sp.csr_array((data, X_NF.indices, X_NF.indptr), shape=X_NF.shape)
    lengths_N = np.sqrt(np.asarray(weighted_NF.multiply(weighted_NF).sum(axis=1)).ravel())
    scale_N = np.divide(1, lengths_N, out=np.zeros(num_rows), where=lengths_N > 0)
    weighted_NF.data *= np.repeat(scale_N, np.diff(X_NF.indptr)).astype(np.float32)
    return weighted_NF


def near_pairs(X_NF: sp.csr_array, num_threads: int | None = None) -> Pairs:
    """Pairs of rows with a cosine of at least NEAR, most of them.

    Args:
        X_NF: rows of length 1, or empty; an empty row is near nothing.
        num_threads: threads; None for all processors.

    Returns:
        The pairs, each once, by rows.
    """
    num_rows = X_NF.shape[0]

    def pairs_of(band: int) -> Pairs:
        keys_N = np.zeros(num_rows, np.uint64)
        for place in range(HASHES_OF_BAND):
            rng = np.random.default_rng([band, place])
            waits_F = rng.exponential(size=X_NF.shape[1])
            _draw_columns(X_NF.indptr, X_NF.indices, X_NF.data, waits_F, keys_N)
        rows = np.flatnonzero(np.diff(X_NF.indptr) > 0)
        rows = rows[np.argsort(keys_N[rows], kind="stable")]
        first, second, cosine = _compare(
            X_NF.indptr, X_NF.indices, X_NF.data, rows, keys_N[rows], COMPARED, np.float32(NEAR)
        )
        return Pairs(first, second, cosine)

    bands = run_blocks(pairs_of, BANDS, num_threads)
    first, second, cosine = (np.concatenate(parts) for parts in zip(*bands, strict=True))
    places = np.unique(first * num_rows + second, return_index=True)[1]
    return Pairs(first[places], second[places], cosine[places])


def join_pairs(pairs: Pairs, sizes_G: np.ndarray, most: int) -> np.ndarray:
    """Join what pairs connect, the most similar pair first, while groups stay small.

    Args:
        pairs: pairs of G nodes.
        sizes_G: rows of each node.
        most: rows of a group; a pair that would make a larger one is passed over.

    Returns:
        A member of its group for each node, int64 (G,), the same for all members.
    """
    order = np.lexsort((pairs.second, pairs.first, -pairs.cosine))
    member_G: np.ndarray = _join(
        pairs.first[order], pairs.second[order], sizes_G.astype(np.int64), most
    )
    return member_G


def numbered(group_N: np.ndarray) -> np.ndarray:
    """The same groups with numbers from 0 in the order of first appearance.

    Args:
        group_N: any number for each group.

    Returns:
        int64 (N,).
    """
    _, first_G, inverse_N = np.unique(group_N, return_index=True, return_inverse=True)
    rank_G = np.empty(len(first_G), np.int64)
    rank_G[np.argsort(first_G)] = np.arange(len(first_G))
    numbers_N: np.ndarray = rank_G[inverse_N]
    return numbers_N


@njit(nogil=True, cache=True)
def _draw_columns(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    waits_F: np.ndarray,
    keys_N: np.ndarray,
) -> None:
    """Mix the column with the shortest wait, `waits_F` / value^2, into the key of each row."""
    for row in range(len(indptr) - 1):
        shortest, drawn = np.inf, np.uint64(0)
        for j in range(indptr[row], indptr[row + 1]):
            weight = np.float64(data[j]) * np.float64(data[j])
            if weight > 0.0 and waits_F[indices[j]] < shortest * weight:
                shortest = waits_F[indices[j]] / weight
                drawn = np.uint64(indices[j] + 1)
        key = (keys_N[row] ^ drawn) * np.uint64(0x9E3779B97F4A7C15)
        keys_N[row] = key ^ (key >> np.uint64(29))


@njit(nogil=True, cache=True)
def _compare(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    rows: np.ndarray,
    keys: np.ndarray,
    compared: int,
    least: np.float32,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of rows with the same key, and at most `compared` places apart, that are near."""
    first, second, cosine = [np.int64(0)], [np.int64(0)], [np.float32(0)]
    for place in range(len(rows)):
        b = np.int64(rows[place])
        for before in range(place - 1, max(-1, place - 1 - compared), -1):
            if keys[before] != keys[place]:
                break
            a = np.int64(rows[before])
            total = np.float32(0)
            i, j = indptr[a], indptr[b]
            while i < indptr[a + 1] and j < indptr[b + 1]:
                if indices[i] == indices[j]:
                    total += data[i] * data[j]
                    i += 1
                    j += 1
                elif indices[i] < indices[j]:
                    i += 1
                else:
                    j += 1
            if total >= least:
                first.append(min(a, b))
                second.append(max(a, b))
                cosine.append(total)
    return np.array(first)[1:], np.array(second)[1:], np.array(cosine)[1:]


@njit(nogil=True, cache=True)
def _join(first: np.ndarray, second: np.ndarray, sizes: np.ndarray, most: int) -> np.ndarray:
    parent = np.arange(len(sizes))
    sizes = sizes.copy()
    for p in range(len(first)):
        a, b = first[p], second[p]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a != b and sizes[a] + sizes[b] <= most:
            low, high = min(a, b), max(a, b)
            parent[high] = low
            sizes[low] += sizes[high]
    for node in range(len(parent)):  # a parent is never above its child
        parent[node] = parent[parent[node]]
    return parent
