"""Calibration as its definitions read: pairs of Python numbers, no arrays."""

from collections.abc import Sequence


def slow_isotonic(points: Sequence[tuple[float, float]]) -> dict[float, float]:
    """Pool adjacent violators: for each score the value of the rising step it lies on."""
    scores = sorted({score for score, _ in points})
    blocks: list[tuple[list[float], list[float]]] = []
    for score in scores:
        blocks.append(([score], [hit for other, hit in points if other == score]))
        while len(blocks) > 1 and mean(blocks[-2][1]) >= mean(blocks[-1][1]):
            later, earlier = blocks.pop(), blocks.pop()
            blocks.append((earlier[0] + later[0], earlier[1] + later[1]))
    return {score: mean(hits) for members, hits in blocks for score in members}


def mean(values: Sequence[float]) -> float:
    """The mean of a list."""
    return sum(values) / len(values)


def slow_ece(rows: Sequence[Sequence[tuple[float, bool]]], k: int, num_bins: int) -> float:
    """ECE@k of rows of (score, is true), each with distinct scores."""
    first = [pair for row in rows for pair in sorted(row, reverse=True)[:k]]
    total = 0.0
    for bin in range(num_bins):
        here = [
            (score, true)
            for score, true in first
            if min(int(score * num_bins), num_bins - 1) == bin
        ]
        if here:
            gap = mean([float(true) for _, true in here]) - mean([score for score, _ in here])
            total += abs(gap) * len(here)
    return total / len(first)


def slow_micro_f1(pairs: Sequence[tuple[float, bool]], num_true: int, threshold: float) -> float:
    """Micro-F1 of what scores at least the threshold."""
    chosen = [true for score, true in pairs if score >= threshold]
    return 2 * sum(chosen) / (len(chosen) + num_true)


Node = tuple[int, float, int, int, float]


def slow_walk(
    features: Sequence[float], bias: float, starts: Sequence[int], nodes: Sequence[Node]
) -> float:
    """Log odds of one candidate: nodes are (feature, threshold, left, right, value)."""
    total = bias
    for start in starts[:-1]:
        node = start
        while nodes[node][0] >= 0:
            feature, threshold, left, right, _ = nodes[node]
            node = left if features[feature] <= threshold else right
        total += nodes[node][4]
    return total
