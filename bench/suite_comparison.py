"""A change of xrt's defaults, judged by lines of the suite before and after it.

Better on average, and worse nowhere beyond the standard error: then it is a better default. N test
rows, M metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from bench.paired import METRICS
from bench.record import document, read_lines, table
from bench.suite_record import OWN_SYSTEM, Place, Results, results_of, rows_folder


@dataclass(frozen=True, eq=False)
class Change:
    """After minus before at one place: differences and errors (M,), and the ratio of the training
    times.
    """

    place: Place
    difference_M: np.ndarray
    error_M: np.ndarray
    times_as_long: float


def compared(before: Path, after: Path) -> tuple[str, bool]:
    """Judge a change.

    Args:
        before: Lines of the suite, with `xrt-linear`.
        after: The same of the change.

    Returns:
        The judgement as markdown, and whether the change is better on average and worse nowhere
        beyond the standard error.

    Raises:
        SystemExit: A file is not there, or the two share no set.
    """
    results = []
    for path in (before, after):
        if not path.is_file():
            raise SystemExit(f"{path}: not found; give the --output of two suites")
        results.append(results_of(read_lines(path), rows_folder(path)))
    changes = changes_of(*results)
    if not changes:
        raise SystemExit(
            f"{before} and {after}: no set and view with {OWN_SYSTEM} on the same test rows in "
            "both; run the suite with the same --sets and sizes"
        )
    return document(judgement(changes, *results)), is_better(changes)


def changes_of(before: Results, after: Results) -> list[Change]:
    """The changes at all places that both have, on the same test rows."""
    changes = []
    for place, systems in after.items():
        earlier = before.get(place, {}).get(OWN_SYSTEM)
        later = systems.get(OWN_SYSTEM)
        if earlier is None or later is None or earlier.rows.truth != later.rows.truth:
            continue
        difference_M, error_M = later.rows.minus(earlier.rows)
        ratio = later.line["train_seconds"] / max(earlier.line["train_seconds"], 1e-9)
        changes.append(Change(place, difference_M, error_M, ratio))
    return changes


def is_better(changes: Sequence[Change]) -> bool:
    """Whether the mean of all differences is above 0 and none is below its error."""
    mean = np.mean([change.difference_M for change in changes])
    return bool(mean > 0) and not any(worse_columns(change) for change in changes)


def worse_columns(change: Change, errors: float = 1.0) -> list[int]:
    """Metrics that fell by more than so many standard errors."""
    return [int(m) for m in np.flatnonzero(change.difference_M < -errors * change.error_M)]


def judgement(changes: Sequence[Change], before: Results, after: Results) -> list[str]:
    """Yes or no, where not, and all differences."""
    mean_M = np.mean([change.difference_M for change in changes], axis=0)
    worst_M = np.min([change.difference_M for change in changes], axis=0)
    worse = [(change, m) for change in changes for m in worse_columns(change)]
    far = sum(len(worse_columns(change, 2.0)) for change in changes)
    num_cells = sum(int((change.error_M > 0).sum()) for change in changes)
    answer = "Yes" if is_better(changes) else "No"
    rows = [
        [", ".join(change.place), *(shown(change, m) for m in range(len(METRICS))),
         f"{change.times_as_long:.2f}"]
        for change in changes
    ]  # fmt: skip
    ratio = median(change.times_as_long for change in changes)
    rows.append(["**worst**", *(f"{100 * value:+.2f}" for value in worst_M), ""])
    rows.append(["**mean**", *(f"{100 * value:+.2f}" for value in mean_M), f"{ratio:.2f} (median)"])
    lacking = [", ".join(place) for place in before if place not in {c.place for c in changes}]
    return [
        f"{answer}: {100 * mean_M.mean():+.3f} on average of all sets and metrics; worse beyond "
        f"the standard error in {len(worse)} of {num_cells} figures that changed, beyond two in "
        f"{far} (by chance alone, about one in six, and one in forty).",
        f"Before: {settings_of(before)}. After: {settings_of(after)}.",
        "\n".join(
            f"- {', '.join(change.place)}: {METRICS[m]} {shown(change, m)}"
            for change, m in sorted(worse, key=lambda pair: pair[0].difference_M[pair[1]])
        ),
        table(["set, view", *METRICS, "training, times as long"], rows),
        f"Not in both, or on other test rows: {'; '.join(lacking)}." if lacking else "",
    ]


def shown(change: Change, column: int) -> str:
    """A difference with its error, in percent."""
    return f"{100 * change.difference_M[column]:+.2f} ± {100 * change.error_M[column]:.2f}"


def settings_of(results: Results) -> str:
    """Commit and settings of xrt's lines."""
    lines = [of[OWN_SYSTEM].line for of in results.values() if OWN_SYSTEM in of]
    return "; ".join(dict.fromkeys(f"{line['commit']}, {line['settings']}" for line in lines))
