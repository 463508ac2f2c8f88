"""Whether a FAISS index that was read from disk is one that FAISS may walk.

FAISS checks the shape of what it reads, not every number: a link that leads to no node, or a cell
that holds an unknown one, would have it read where it should not. K nodes, M columns.
"""

from typing import Any

import numpy as np

from xrt.storage.array_faults import has_strange_float, rises


def graph_fault(index: Any, num_nodes: int, num_columns: int) -> str | None:
    """What is wrong with an HNSW graph over K vectors of M columns; None for a sound one.

    Args:
        index: an HNSW index of FAISS.
        num_nodes: nodes that it has to have, K.
        num_columns: columns of a vector, M.

    Returns:
        The fault, in words, or None.
    """
    import faiss

    storage, graph = faiss.downcast_index(index.storage), index.hnsw
    if not _is_flat(storage, num_nodes, num_columns):
        return "its vectors are not those of the nodes"
    levels, offsets, links, room = (
        faiss.vector_to_array(part).astype(np.int64)
        for part in (graph.levels, graph.offsets, graph.neighbors, graph.cum_nneighbor_per_level)
    )
    if len(levels) != num_nodes or levels.min(initial=1) < 1 or not len(room):
        return "its levels are not those of the nodes"
    highest = int(levels.max(initial=0))
    if highest >= len(room) or not rises(room, int(room[-1])):
        return "its levels have no room for links"
    sizes = room[levels]
    if len(offsets) != num_nodes + 1 or not rises(offsets, len(links)):
        return "its links do not rise from node to node"
    if (np.diff(offsets) != sizes).any():
        return "its nodes have other links than their levels"
    if links.min(initial=-1) < -1 or links.max(initial=-1) >= num_nodes:
        return "a link leads to no node"
    entry = int(graph.entry_point)
    if num_nodes and not (0 <= entry < num_nodes and levels[entry] == highest):
        return "it has no entry"
    if int(graph.max_level) != highest - 1:
        return "it has another height than its nodes"
    place = np.arange(len(links)) - np.repeat(offsets[:-1], sizes)
    level = np.searchsorted(room, place, side="right") - 1
    linked = links >= 0
    if (levels[links[linked]] <= level[linked]).any():
        return "a link leads to a node that does not reach so high"
    return None


def cells_fault(index: Any, num_nodes: int, num_columns: int) -> str | None:
    """What is wrong with product codes in cells (IVF-PQ) of K vectors of M columns; None for sound
    ones.

    Args:
        index: an IVF-PQ index of FAISS.
        num_nodes: nodes that it has to have, K.
        num_columns: columns of a vector, M.

    Returns:
        The fault, in words, or None.
    """
    import faiss

    codes, lists = index.pq, faiss.downcast_InvertedLists(index.invlists)
    if not _is_flat(faiss.downcast_index(index.quantizer), index.nlist, num_columns):
        return "its cells have other centres"
    if not isinstance(lists, faiss.ArrayInvertedLists) or lists.nlist != index.nlist:
        return "its cells are not kept with it"
    sizes = (codes.d, codes.M * codes.dsub, codes.nbits, codes.ksub)
    if sizes != (num_columns, num_columns, 8, 256):
        return "its codes are of another kind"
    centroids = faiss.vector_to_array(codes.centroids)
    if len(centroids) != codes.ksub * num_columns or has_strange_float(centroids):
        return "its codes have other centroids"
    if not index.code_size == lists.code_size == codes.code_size == codes.M:
        return "its codes have another length"
    if index.direct_map.type or index.polysemous_ht or not index.by_residual:
        return "it has settings that xrt does not use"
    cells = [
        faiss.rev_swig_ptr(lists.get_ids(cell), lists.list_size(cell))
        for cell in range(index.nlist)
    ]
    nodes = np.concatenate([np.zeros(0, np.int64), *(part.copy() for part in cells)])
    if len(nodes) != num_nodes or (np.sort(nodes) != np.arange(num_nodes)).any():
        return "its cells do not hold each node once"
    return None


def _is_flat(index: Any, num_nodes: int, num_columns: int) -> bool:
    """Whether an index is a plain table of finite vectors, for inner products."""
    import faiss

    if not isinstance(index, faiss.IndexFlat) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        return False
    vectors = faiss.vector_to_array(index.codes).view(np.float32)
    shape = (index.ntotal, index.d, index.code_size, len(vectors))
    expected = (num_nodes, num_columns, 4 * num_columns, num_nodes * num_columns)
    return shape == expected and not has_strange_float(vectors)
