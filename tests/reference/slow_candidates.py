"""The candidates of rows and their scores, with sets and dictionaries."""

from collections.abc import Mapping
from typing import Any

import scipy.sparse as sp


def slow_union(own: Mapping[str, sp.csr_array]) -> list[dict[int, int]]:
    """How many sources name each label of each row; an entry of 0 is named, too."""
    counts: list[dict[int, int]] = []
    for row in range(next(iter(own.values())).shape[0]):
        of_row: dict[int, int] = {}
        for named_NL in own.values():
            for label in named_NL.indices[named_NL.indptr[row] : named_NL.indptr[row + 1]]:
                of_row[int(label)] = of_row.get(int(label), 0) + 1
        counts.append(dict(sorted(of_row.items())))
    return counts


def slow_mean(
    own: Mapping[str, sp.csr_array], dense: Mapping[str, Any], weights: Mapping[str, float]
) -> list[dict[int, float]]:
    """The weighted mean of dense scores (N, L) of what the weighted sources name."""
    used = {name: weight for name, weight in weights.items() if weight > 0}
    total, means = sum(used.values()), []
    for row, labels in enumerate(slow_union({name: own[name] for name in used})):
        means.append(
            {
                label: sum(w * dense[name][row, label] for name, w in used.items()) / total
                for label in labels
            }
        )
    return means


def slow_recall(named: list[dict[int, int]], Y_true: sp.csr_array) -> float:
    """The share of a row's true labels that are named, mean over rows; 0 for one without any."""
    shares = []
    for row, labels in enumerate(named):
        low, high = Y_true.indptr[row], Y_true.indptr[row + 1]
        values = zip(Y_true.indices[low:high], Y_true.data[low:high], strict=True)
        true = {int(label) for label, value in values if value}
        shares.append(len(true & set(labels)) / max(1, len(true)))
    return sum(shares) / len(shares)
