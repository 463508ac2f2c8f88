"""Slow twin of `xrt.applications.attributes.decoding.path_beam`: every path, one by one."""


def all_path_worths(evidence, paths, weights_D3, level_worths) -> list[float]:
    """The worth of every path in one row.

    `evidence` maps the labels that have a score to their two numbers; `level_worths[d]` is what a
    path's node of level d is worth in any row. An open level (-1) has the evidence of
    the one above.
    """
    return [
        sum(
            _worth(evidence, path[: d + 1], weights_D3[d]) + level_worths[d][p]
            for d in range(len(path))
        )
        for p, path in enumerate(paths)
    ]


def _worth(evidence, prefix, weights_3) -> float:
    column = _scored(prefix)
    if column not in evidence:
        return float(weights_3[2])
    a, b = evidence[column]
    return float(a) * weights_3[0] + float(b) * weights_3[1]


def _scored(prefix) -> int:
    return next((int(column) for column in reversed(prefix) if column >= 0), -1)


def num_open(evidence, path) -> int:
    """Levels of a path that have no score."""
    return sum(_scored(path[: d + 1]) not in evidence for d in range(len(path)))


def best_paths(evidence, paths, weights_D3, level_worths, num_paths, num_scored, given=None):
    """The numbers of the best paths of one row, the best first.

    Paths that agree with more of the `given` values come first; of equal worth the path with fewer
    open levels, then the lower one. `num_scored` places are for paths without open levels.
    """
    worths = all_path_worths(evidence, paths, weights_D3, level_worths)
    opens = [num_open(evidence, path) for path in paths]
    given = [-1] * len(paths[0]) if given is None else given
    agreed = [sum(g >= 0 and g == c for g, c in zip(given, path, strict=True)) for path in paths]
    order = sorted(range(len(paths)), key=lambda p: (-agreed[p], -worths[p], opens[p], p))
    best = order[:num_paths]
    most = agreed[order[0]]
    sure = [p for p in order if opens[p] == 0 and agreed[p] == most][:num_scored]
    for p in sure:
        spare = [q for q in best if opens[q]]
        if p not in best and spare:
            best.remove(spare[-1])
            best.append(p)
    return best, [worths[p] for p in best]
