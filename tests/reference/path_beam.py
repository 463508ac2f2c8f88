"""Slow, readable twin of `xrt.applications.attributes.path_beam`: every path, one after another."""

import numpy as np


def all_path_worths(scores: dict[int, float], paths, level_worths, absent_D) -> np.ndarray:
    """The worth of every path in one row; `scores` are those of its labels, `level_worths[d]` what
    a path's node of level d is worth in any row.
    """
    totals = []
    for p, path in enumerate(paths):
        total = np.float32(0.0)
        for d, column in enumerate(path):
            worth = scores.get(int(column), absent_D[d])
            total = np.float32(np.float32(total + np.float32(worth)) + level_worths[d][p])
        totals.append(total)
    return np.array(totals, np.float32)
