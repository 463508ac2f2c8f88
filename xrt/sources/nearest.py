"""The compiled search for the training rows nearest to a query.

N training rows, M queries, W neighbours wanted a query, H dense columns. Results are written to
`rows_MW`, int32, all -1 before, and `similarities_MW`, float32, all 0 before: most similar first,
among equals the lower row, and only similarities above 0.
"""

import numpy as np

from xrt.jit import njit
from xrt.sources.products import dot

PAGE_BITS = 10
"""A page of the similarities is 2^10 rows: 4 KiB, which is cheap to skip and cheap to sweep."""


@njit(nogil=True, cache=True)
def nearest_by_postings(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    low: int,
    high: int,
    post_ptr: np.ndarray,
    post_rows: np.ndarray,
    post_values: np.ndarray,
    leave_out_M: np.ndarray,
    similarity_N: np.ndarray,
    rows_MW: np.ndarray,
    similarities_MW: np.ndarray,
) -> None:
    """Queries low .. high - 1 (CSR) against an inverted index (for each column its rows).

    Similarities are summed in the order of the columns. `similarity_N` is all zeros before and
    after; only its pages that a posting fell into are swept.

    Args:
        indptr: where each query's entries begin, (M + 1,).
        indices: columns of the entries.
        data: values of the entries.
        low: first query.
        high: the query behind the last.
        post_ptr: where the postings of each column begin.
        post_rows: training rows of the postings.
        post_values: values of the postings.
        leave_out_M: the training row that is no neighbour of each query, -1 for none.
        similarity_N: scratch, float32 (N,).
        rows_MW: receives the rows, int32 (M, W).
        similarities_MW: receives the similarities, float32 (M, W).
    """
    num_rows = len(similarity_N)
    touched = np.zeros((num_rows >> PAGE_BITS) + 1, np.bool_)
    for query in range(low, high):
        rows_W, similarities_W = rows_MW[query], similarities_MW[query]
        for j in range(indptr[query], indptr[query + 1]):
            value = data[j]
            for p in range(post_ptr[indices[j]], post_ptr[indices[j] + 1]):
                row = post_rows[p]
                similarity_N[row] += value * post_values[p]
                touched[row >> PAGE_BITS] = True
        held = 0
        for page in range(len(touched)):
            if touched[page]:
                touched[page] = False
                for row in range(page << PAGE_BITS, min((page + 1) << PAGE_BITS, num_rows)):
                    similarity = similarity_N[row]
                    similarity_N[row] = 0.0
                    if similarity > 0.0 and row != leave_out_M[query]:
                        held = _insert(row, similarity, held, rows_W, similarities_W)


@njit(nogil=True, cache=True)
def nearest_of_close(
    queries_MH: np.ndarray,
    close_MC: np.ndarray,
    close_MCH: np.ndarray,
    leave_out_M: np.ndarray,
    rows_MW: np.ndarray,
    similarities_MW: np.ndarray,
) -> None:
    """Queries against C rows each, whose numbers `close_MC` ascend (-1: none), by inner product.

    Args:
        queries_MH: queries, float32 (M, H).
        close_MC: rows to compare each query with, ascending.
        close_MCH: the vectors of those rows, float32.
        leave_out_M: the training row that is no neighbour of each query, -1 for none.
        rows_MW: receives the rows, int32 (M, W).
        similarities_MW: receives the similarities, float32 (M, W).
    """
    for query in range(len(queries_MH)):
        held = 0
        for c in range(close_MC.shape[1]):
            row = close_MC[query, c]
            if row < 0 or row == leave_out_M[query]:
                continue
            similarity = dot(queries_MH[query], close_MCH[query, c])
            if similarity > 0.0:
                held = _insert(row, similarity, held, rows_MW[query], similarities_MW[query])


@njit(nogil=True, cache=True, inline="always")
def _insert(
    row: np.int32,
    similarity: np.float32,
    held: int,
    rows_W: np.ndarray,
    similarities_W: np.ndarray,
) -> int:
    """Put a row among the best ones so far, behind its equals; how many are held then."""
    width = len(rows_W)
    if held == width and similarity <= similarities_W[width - 1]:
        return held
    place = min(held, width - 1)
    while place > 0 and similarities_W[place - 1] < similarity:
        rows_W[place], similarities_W[place] = rows_W[place - 1], similarities_W[place - 1]
        place -= 1
    rows_W[place], similarities_W[place] = row, similarity
    return min(held + 1, width)
