"""The best children of a row's clusters, chosen and put in order where they are written.

Nothing is allocated: a few are held in order by insertion, many in a heap whose root is the worst.
"""

import numpy as np

from xrt.jit import njit

MAX_INSERTED = 128
"""Kept nodes of a row that are held in order by insertion; more are held in a heap."""
_FEW = 24
"""Nodes that are put in order by insertion."""


@njit(nogil=True, cache=True)
def keep_best(
    begin: int,
    end: int,
    first_pair: int,
    beam_nodes: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    pairs_ptr: np.ndarray,
    scores: np.ndarray,
    nodes_out: np.ndarray,
    scores_out: np.ndarray,
) -> None:
    """The best children of a row's pairs, as many as there is room for, in ascending node order.

    Among equal scores the lower node wins.
    """
    keep = len(nodes_out)
    num_children = pairs_ptr[end - first_pair] - pairs_ptr[begin - first_pair]
    inserted = keep <= MAX_INSERTED and keep < num_children
    held, worst = 0, np.float32(-np.inf)
    for pair in range(begin, end):
        first, score_of = child_ptr[beam_nodes[pair]], pairs_ptr[pair - first_pair]
        for c in range(child_ptr[beam_nodes[pair] + 1] - first):
            score = scores[score_of + c]
            if held == keep and score < worst:
                continue
            node = children[first + c]
            if inserted:
                held = _insert(nodes_out, scores_out, held, node, score)
                worst = scores_out[held - 1]
            elif held < keep:
                nodes_out[held], scores_out[held] = node, score
                held += 1
                if held == keep and keep < num_children:
                    _make_heap(nodes_out, scores_out, True)
                    worst = scores_out[0]
            elif _worse(scores_out[0], nodes_out[0], score, node, True):
                _sift(nodes_out, scores_out, 0, keep, node, score, True)
                worst = scores_out[0]
    sort_by_node(nodes_out, scores_out)


@njit(nogil=True, cache=True)
def best_of_row(
    keep: int,
    beam_nodes: np.ndarray,
    child_ptr: np.ndarray,
    children: np.ndarray,
    pairs_ptr: np.ndarray,
    scores: np.ndarray,
    nodes_out: np.ndarray,
    scores_out: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """`keep_best` for a lone row whose pairs are all in the beam: nodes and log scores, in the
    memory that is given.
    """
    size = min(keep, pairs_ptr[len(beam_nodes)])
    nodes, kept = nodes_out[:size], scores_out[:size]
    keep_best(
        0, len(beam_nodes), 0, beam_nodes, child_ptr, children, pairs_ptr, scores, nodes, kept
    )
    return nodes, kept


@njit(nogil=True, cache=True)
def _insert(
    nodes: np.ndarray, scores: np.ndarray, held: int, node: np.int32, score: np.float32
) -> int:
    """Put a node in its place among the best, best first; the worst falls out when all is full."""
    place = held
    if held == len(nodes):
        if score == scores[held - 1] and node > nodes[held - 1]:
            return held
        place = held - 1
    while place > 0 and (
        scores[place - 1] < score or (scores[place - 1] == score and nodes[place - 1] > node)
    ):
        nodes[place], scores[place] = nodes[place - 1], scores[place - 1]
        place -= 1
    nodes[place], scores[place] = node, score
    return min(held + 1, len(nodes))


@njit(nogil=True, cache=True, inline="always")
def _worse(
    score: np.float32, node: np.int32, other_score: np.float32, other_node: np.int32, by_score: bool
) -> bool:
    """Whether the score is lower, or, where that does not decide, the node higher."""
    return bool(
        (by_score and score < other_score)
        or ((not by_score or score == other_score) and node > other_node)
    )


@njit(nogil=True, cache=True)
def _make_heap(nodes: np.ndarray, scores: np.ndarray, by_score: bool) -> None:
    """Every node worse than those below it."""
    for place in range(len(nodes) // 2 - 1, -1, -1):
        _sift(nodes, scores, place, len(nodes), nodes[place], scores[place], by_score)


@njit(nogil=True, cache=True)
def _sift(
    nodes: np.ndarray,
    scores: np.ndarray,
    place: int,
    size: int,
    node: np.int32,
    score: np.float32,
    by_score: bool,
) -> None:
    """Put a node where all below are better, from `place` on."""
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        other = below + 1
        if other < size and _worse(
            scores[other], nodes[other], scores[below], nodes[below], by_score
        ):
            below = other
        if not _worse(scores[below], nodes[below], score, node, by_score):
            break
        nodes[place], scores[place] = nodes[below], scores[below]
        place = below
    nodes[place], scores[place] = node, score


@njit(nogil=True, cache=True)
def sort_by_node(nodes: np.ndarray, scores: np.ndarray) -> None:
    """Nodes, which differ, in ascending order, and their scores with them; in place."""
    size = len(nodes)
    if size <= _FEW:
        for i in range(1, size):
            node, score, place = nodes[i], scores[i], i
            while place > 0 and nodes[place - 1] > node:
                nodes[place], scores[place] = nodes[place - 1], scores[place - 1]
                place -= 1
            nodes[place], scores[place] = node, score
        return
    ascend = True
    for i in range(1, size):
        ascend = ascend and nodes[i - 1] < nodes[i]
    if ascend:
        return
    _make_heap(nodes, scores, False)
    for last in range(size - 1, 0, -1):
        node, score = nodes[last], scores[last]
        nodes[last], scores[last] = nodes[0], scores[0]
        _sift(nodes, scores, 0, last, node, score, False)
