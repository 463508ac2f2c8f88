"""Held-out rows, and near-duplicates, one by one."""

import math
from collections import defaultdict
from typing import Any

import numpy as np

from xrt.data import near_rows


def take_groups(
    has_label: Any, size: int, seed: int, groups: Any = None, times: Any = None
) -> list[int]:
    """The rows that `validation_split` holds out."""
    members: dict[Any, list[int]] = defaultdict(list)
    for row, labelled in enumerate(has_label):
        if labelled:
            alone = groups is None or groups[row] < 0
            members[(1, row) if alone else (0, int(groups[row]))].append(row)
    by_group = [members[name] for name in sorted(members)]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(by_group)).tolist()
    place = {}
    for kind in sorted({len(rows).bit_length() for rows in by_group}):
        of_kind = [group for group in order if len(by_group[group]).bit_length() == kind]
        begin = rng.random()
        for rank, group in enumerate(of_kind):
            place[group] = (rank + begin) / len(of_kind)
    order.sort(key=lambda group: place[group])
    if times is not None:
        oldest = [
            min(-math.inf if math.isnan(times[row]) else times[row] for row in rows)
            for rows in by_group
        ]
        order.sort(key=lambda group: -oldest[group])
    held: list[int] = []
    num_groups = 0
    for group in order:
        if num_groups + 1 < len(order) and len(held) + len(by_group[group]) <= size:
            held += by_group[group]
            num_groups += 1
    if not held:
        held = by_group[min(order, key=lambda group: len(by_group[group]))]
    return sorted(held)


def near_groups(X: np.ndarray, equal: Any, least: float, most: int) -> list[int]:
    """What `near_groups` finds in dense rows X whose groups of equal rows are given."""
    first = {group: row for row, group in reversed(list(enumerate(equal)))}
    nodes = [first[group] for group in range(max(equal) + 1)]
    pairs = near_pairs(X[nodes], least)
    sizes = {node: list(equal).count(node) for node in range(len(nodes))}
    group = list(range(len(nodes)))
    for (a, b), _ in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0])):
        a, b = group[a], group[b]
        if a != b and sizes[a] + sizes[b] <= most:
            sizes[a] += sizes[b]
            group = [a if member == b else member for member in group]
    numbers: dict[int, int] = {}
    return [numbers.setdefault(group[node], len(numbers)) for node in equal]


def near_pairs(X: np.ndarray, least: float) -> dict[tuple[int, int], float]:
    """Cosines of the pairs of rows that share the columns drawn in a whole band."""
    pairs: dict[tuple[int, int], float] = {}
    for band in range(near_rows.BANDS):
        buckets = defaultdict(list)
        for row in range(len(X)):
            drawn = []
            for place in range(near_rows.HASHES_OF_BAND):
                waits = np.random.default_rng([band, place]).exponential(size=X.shape[1])
                columns = np.flatnonzero(X[row])
                if len(columns):
                    drawn.append(min(columns, key=lambda c: waits[c] / float(X[row, c]) ** 2))
            if drawn:
                buckets[tuple(drawn)].append(row)
        for bucket in buckets.values():
            for place, b in enumerate(bucket):
                for a in bucket[max(0, place - near_rows.COMPARED) : place]:
                    cosine = np.float32(0)
                    for column in range(X.shape[1]):
                        cosine += X[a, column] * X[b, column]
                    if cosine >= np.float32(least):
                        pairs[a, b] = float(cosine)
    return pairs
