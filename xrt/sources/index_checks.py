"""Whether a FAISS index that was read from disk is one that FAISS may walk.

FAISS checks the shape of what it reads, not every number: a cell that holds an unknown vector, or
codes of another length, would have it read where it should not. K vectors, M columns.
"""

from typing import Any

import numpy as np

from xrt.storage.array_faults import has_strange_float


def cells_fault(index: Any, num_vectors: int, num_columns: int) -> str | None:
    """What is wrong with codes of one byte a column in cells, of K vectors of M columns; None for
    sound ones.

    Args:
        index: what FAISS read.
        num_vectors: vectors that it has to have, K.
        num_columns: columns of a vector, M.

    Returns:
        The fault, in words, or None.
    """
    import faiss

    if not isinstance(index, faiss.IndexIVFScalarQuantizer):
        return f"it is a {type(index).__name__}, not codes in cells"
    if (index.ntotal, index.d) != (num_vectors, num_columns):
        found = f"{index.ntotal} vectors of {index.d} columns"
        return f"it has {found}, not {num_vectors} of {num_columns}"
    if index.metric_type != faiss.METRIC_INNER_PRODUCT or not index.is_trained:
        return "it is not for inner products"
    if not _is_flat(faiss.downcast_index(index.quantizer), index.nlist, num_columns):
        return "its cells have other centres"
    if fault := _codes_fault(index, num_columns):
        return fault
    lists: Any = index.invlists and faiss.downcast_InvertedLists(index.invlists)
    if type(lists) not in (faiss.ArrayInvertedLists, faiss.OnDiskInvertedLists):
        return "its cells are not kept with it"
    if lists.nlist != index.nlist or lists.code_size != num_columns:
        return "its cells are of another length"
    return _vectors_fault(lists, num_vectors)


def _codes_fault(index: Any, num_columns: int) -> str | None:
    import faiss

    codes = index.sq
    if (codes.qtype, codes.d) != (faiss.ScalarQuantizer.QT_8bit, num_columns):
        return "its codes are of another kind"
    if not index.code_size == codes.code_size == num_columns:
        return "its codes have another length"
    ranges = faiss.vector_to_array(codes.trained)
    if len(ranges) != 2 * num_columns or has_strange_float(ranges):
        return "its codes have other ranges"
    if index.direct_map.type or not index.by_residual:
        return "it has settings that xrt does not use"
    return None


def _vectors_fault(lists: Any, num_vectors: int) -> str | None:
    """Whether the cells hold each vector once, within the file."""
    import faiss

    sizes = [lists.list_size(cell) for cell in range(lists.nlist)]
    if sum(sizes) != num_vectors:
        return "its cells do not hold each vector once"
    if isinstance(lists, faiss.OnDiskInvertedLists):
        places: Any = lists.lists
        for cell, size in enumerate(sizes):
            place = places.at(cell)
            end = place.offset + place.capacity * (lists.code_size + np.dtype(np.int64).itemsize)
            if place.capacity < size or place.capacity > num_vectors or end > lists.totsize:
                return "a cell lies outside of the file"
    seen_K = np.zeros(num_vectors, bool)
    for cell, size in enumerate(sizes):
        if size:
            numbers = faiss.rev_swig_ptr(lists.get_ids(cell), size)
            if numbers.min() < 0 or numbers.max() >= num_vectors:
                return "a cell holds a vector that is none"
            seen_K[numbers] = True
    return None if seen_K.all() else "its cells do not hold each vector once"


def _is_flat(index: Any, num_vectors: int, num_columns: int) -> bool:
    """Whether an index is a plain table of finite vectors, for inner products."""
    import faiss

    if not isinstance(index, faiss.IndexFlat) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        return False
    vectors = faiss.vector_to_array(index.codes).view(np.float32)
    shape = (index.ntotal, index.d, index.code_size, len(vectors))
    expected = (num_vectors, num_columns, 4 * num_columns, num_vectors * num_columns)
    return shape == expected and not has_strange_float(vectors)
