"""Chooses the best children of a row's clusters and sorts them in place, without allocating.

A few are kept in order by insertion, many in a heap whose root is the worst.
"""

import numpy as np

from xrt.jit import njit

MAX_INSERTED = 128
"""Nodes to choose, at most, by insertion; more are chosen with a heap."""
_FEW = 24
"""Nodes, at most, that are sorted by insertion."""


@njit(nogil=True, cache=True)
def keep_best(  # type: ignore[no-untyped-def]
    begin, end, first_pair, beam_nodes, child_ptr, children, pairs_ptr, scores, nodes_out,
    scores_out,
):  # fmt: skip
    """The best children of a row's pairs, as many as there is room for, in ascending node order.

    Among equal scores the lower node wins.
    """
    keep = len(nodes_out)
    num_children = pairs_ptr[end - first_pair] - pairs_ptr[begin - first_pair]
    inserted = keep <= MAX_INSERTED and keep < num_children
    num_kept, worst = 0, np.float32(-np.inf)
    for pair in range(begin, end):
        first, score_of = child_ptr[beam_nodes[pair]], pairs_ptr[pair - first_pair]
        for c in range(child_ptr[beam_nodes[pair] + 1] - first):
            score = scores[score_of + c]
            if num_kept == keep and score < worst:
                continue
            node = children[first + c]
            if inserted:
                num_kept = _insert(nodes_out, scores_out, num_kept, node, score)
                worst = scores_out[num_kept - 1]
            elif num_kept < keep:
                nodes_out[num_kept], scores_out[num_kept] = node, score
                num_kept += 1
                if num_kept == keep and keep < num_children:
                    _make_heap(nodes_out, scores_out, True)
                    worst = scores_out[0]
            elif _worse(scores_out[0], nodes_out[0], score, node, True):
                _sift(nodes_out, scores_out, 0, keep, node, score, True)
                worst = scores_out[0]
    sort_by_node(nodes_out, scores_out)


@njit(nogil=True, cache=True)
def best_of_row(  # type: ignore[no-untyped-def]
    keep, beam_nodes, child_ptr, children, pairs_ptr, scores, nodes_out, scores_out
):  # fmt: skip
    """`keep_best` for a single query whose pairs are all in the beam: nodes and log scores, views
    of `nodes_out` and `scores_out`.
    """
    size = min(keep, pairs_ptr[len(beam_nodes)])
    nodes, best_scores = nodes_out[:size], scores_out[:size]
    keep_best(
        0,
        len(beam_nodes),
        0,
        beam_nodes,
        child_ptr,
        children,
        pairs_ptr,
        scores,
        nodes,
        best_scores,
    )
    return nodes, best_scores


@njit(nogil=True, cache=True)
def _insert(nodes, scores, num_kept, node, score):  # type: ignore[no-untyped-def]
    """Insert a node among the best, best first; the worst falls out when all places are used."""
    place = num_kept
    if num_kept == len(nodes):
        if score == scores[num_kept - 1] and node > nodes[num_kept - 1]:
            return num_kept
        place = num_kept - 1
    while place > 0 and (
        scores[place - 1] < score or (scores[place - 1] == score and nodes[place - 1] > node)
    ):
        nodes[place], scores[place] = nodes[place - 1], scores[place - 1]
        place -= 1
    nodes[place], scores[place] = node, score
    return min(num_kept + 1, len(nodes))


@njit(nogil=True, cache=True, inline="always")
def _worse(score, node, other_score, other_node, by_score):  # type: ignore[no-untyped-def]
    """Whether the score is lower, or, where that does not decide, the node higher."""
    return (by_score and score < other_score) or (
        (not by_score or score == other_score) and node > other_node
    )


@njit(nogil=True, cache=True)
def _make_heap(nodes, scores, by_score):  # type: ignore[no-untyped-def]
    """Every node worse than those below it."""
    for place in range(len(nodes) // 2 - 1, -1, -1):
        _sift(nodes, scores, place, len(nodes), nodes[place], scores[place], by_score)


@njit(nogil=True, cache=True)
def _sift(nodes, scores, place, size, node, score, by_score):  # type: ignore[no-untyped-def]
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
def sort_by_node(nodes, scores):  # type: ignore[no-untyped-def]
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
