"""Turns weights that were solved node by node into the rows of chunks, which search reads."""

import numpy as np

from xrt.jit import njit


@njit(nogil=True, cache=True)
def into_chunks(
    child_ptr: np.ndarray, node_ptr: np.ndarray, columns: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Turn node-by-node weights (columns ascending in a node) into rows by column within each
    chunk: chunk_ptr, row_columns, row_ptr, entry_children, entry_values of LevelWeights.
    """
    num_chunks, num_entries = len(child_ptr) - 1, len(columns)
    chunk_ptr = np.zeros(num_chunks + 1, np.int64)
    row_columns, row_sizes = np.empty(num_entries, np.int32), np.zeros(num_entries, np.int64)
    entry_children = np.empty(num_entries, np.int32)
    entry_values = np.empty(num_entries, np.float32)
    longest = 0
    for chunk in range(num_chunks):
        first, last = child_ptr[chunk], child_ptr[chunk + 1]
        longest = max(longest, node_ptr[last] - node_ptr[first])
    child_of_entry = np.empty(longest, np.int32)
    order, spare = np.empty(longest, np.int64), np.empty(longest, np.int64)
    num_rows = 0
    for chunk in range(num_chunks):
        first, last = child_ptr[chunk], child_ptr[chunk + 1]
        start, end = node_ptr[first], node_ptr[last]
        for node in range(first, last):
            child_of_entry[node_ptr[node] - start : node_ptr[node + 1] - start] = node - first
        by_column = sorted_order(columns[start:end], order, spare)
        for position in range(end - start):
            entry = start + by_column[position]
            new_row = position == 0 or columns[entry] != row_columns[num_rows - 1]
            if new_row:
                row_columns[num_rows] = columns[entry]
                num_rows += 1
            row_sizes[num_rows - 1] += 1
            entry_children[start + position] = child_of_entry[by_column[position]]
            entry_values[start + position] = values[entry]
        chunk_ptr[chunk + 1] = num_rows
    row_ptr = np.zeros(num_rows + 1, np.int64)
    row_ptr[1:] = np.cumsum(row_sizes[:num_rows])
    return chunk_ptr, row_columns[:num_rows].copy(), row_ptr, entry_children, entry_values


@njit(nogil=True, cache=True)
def sorted_order(columns: np.ndarray, order: np.ndarray, spare: np.ndarray) -> np.ndarray:
    """Positions of the columns, none below 0, in ascending order; equal ones stay as they are.

    A radix sort, eight bits at a time. Needs two arrays at least as long; gives back one of them.
    """
    largest = np.uint32(0)
    for i in range(len(columns)):
        largest = max(largest, np.uint32(columns[i]))
        order[i] = i
    ends = np.empty(257, np.int64)
    shift = np.uint64(0)
    while np.uint64(largest) >> shift > np.uint64(0):
        ends[:] = 0
        for i in range(len(columns)):
            ends[((np.uint64(np.uint32(columns[i])) >> shift) & np.uint64(255)) + np.uint64(1)] += 1
        for digit in range(256):
            ends[digit + 1] += ends[digit]
        for i in range(len(columns)):
            at = np.uint64(order[i])
            digit_of = (np.uint64(np.uint32(columns[at])) >> shift) & np.uint64(255)
            spare[ends[digit_of]] = order[i]
            ends[digit_of] += 1
        order, spare = spare, order
        shift += np.uint64(8)
    return order
