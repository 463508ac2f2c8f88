"""The record of the suite: one table of all sets, then the figures of every system.

Differences are xrt's minus those of the best peer, metric by metric and set by set: the best of
several peers has luck on its side, so that they lean against xrt. N rows, M metrics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.corpora.registry import SETS
from bench.paired import METRICS, RowFigures
from bench.record import Line, document, failures, head, medians, number, table

OWN_SYSTEM, DEEP_SYSTEM = "xrt-linear", "xrt-deep"
TIMED_PEER = "bonsai"
"""Whose time, speed and memory stand beside xrt's."""
BELOW, ABOVE = "▼", "▲"
EXPLANATION = f"""\
Each cell: xrt, and in brackets xrt minus the best peer in that metric with the standard error of
the row-wise difference; {BELOW} below and {ABOVE} above it by more than that. `own`: xrt gets the
texts, peers get rows of scikit-learn's TfidfVectorizer (sublinear_tf, min_df 2, else its defaults;
n-grams of 1 to 3 characters where no blanks stand between words). `equal`: all get the rows of
xrt's default TF-IDF. `given`: the set is made of rows. Training of `own` begins with texts for all.
P, R and nDCG by xrt's metrics, PSP with A 0.55 and B 1.5; labels that training never saw are
misses. Memory is the highest of the training process. Peers are at their defaults."""

Place = tuple[str, str]
"""A set and a view."""


@dataclass(frozen=True, eq=False)
class Result:
    """A system on a set in a view: rows' figures, mean over its seeds, and a line of medians."""

    rows: RowFigures
    line: Line


Results = Mapping[Place, Mapping[str, Result]]


def rows_folder(output: Path) -> Path:
    """Where the figures of the rows of a file of lines lie."""
    return output.with_suffix(".rows")


def results_of(lines: Sequence[Line], folder: Path) -> Results:
    """The last run of each system and seed at each place, those of the last size alone.

    Args:
        lines: Of the suite's output.
        folder: With the figures of their rows.

    Returns:
        By place in the order of the sets, then by system.
    """
    last: dict[tuple[str, str, str, int], Line] = {}
    for line in lines:
        if "error" not in line and line["short"] == lines[-1]["short"]:
            last[line["set"], line["view"], line["system"], line["seed"]] = line
    grouped: dict[Place, dict[str, list[Line]]] = {}
    for (name, view, system, _), line in last.items():
        grouped.setdefault((name, view), {}).setdefault(system, []).append(line)
    order = {name: rank for rank, name in enumerate(SETS)}
    return {
        place: {system: result_of(runs, folder) for system, runs in grouped[place].items()}
        for place in sorted(grouped, key=lambda place: (order.get(place[0], len(order)), place[0]))
    }


def result_of(runs: list[Line], folder: Path) -> Result:
    """One system at one place, over its seeds."""
    rows = RowFigures.mean_of([RowFigures.load(folder / run["rows_file"]) for run in runs])
    return Result(rows, medians(runs) | rows.figures())


@dataclass(frozen=True, eq=False)
class Beside:
    """xrt at one place beside the best peer in each metric: differences and errors (M,)."""

    place: Place
    difference_M: np.ndarray
    error_M: np.ndarray
    best: tuple[str, ...]

    @classmethod
    def of(cls, place: Place, systems: Mapping[str, Result]) -> "Beside | None":
        """None without xrt or without a peer."""
        peers = [name for name in systems if not name.startswith("xrt-")]
        return cls.between(place, systems, OWN_SYSTEM, peers)

    @classmethod
    def between(
        cls, place: Place, systems: Mapping[str, Result], own: str, peers: Sequence[str]
    ) -> "Beside | None":
        """A system beside the best of others."""
        peers = [name for name in peers if name in systems]
        if own not in systems or not peers:
            return None
        pairs = [systems[own].rows.minus(systems[peer].rows) for peer in peers]
        differences = np.stack([difference for difference, _ in pairs])
        errors = np.stack([error for _, error in pairs])
        lowest_M, columns = differences.argmin(axis=0), np.arange(len(METRICS))
        best = tuple(peers[peer] for peer in lowest_M)
        return cls(place, differences[lowest_M, columns], errors[lowest_M, columns], best)

    def cell(self, place: int) -> str:
        """The difference with its error, in percent."""
        difference, error = self.difference_M[place], self.error_M[place]
        mark = BELOW if difference < -error else ABOVE if difference > error else ""
        return f"{100 * difference:+.2f} ± {100 * error:.2f}{mark}"


def document_of(lines: Sequence[Line], folder: Path) -> str:
    """The record as markdown."""
    if not lines:
        return "no runs\n"
    results = results_of(lines, folder)
    beside = [found for place in results if (found := Beside.of(place, results[place]))]
    parts = [
        *head("xrt's defaults beside peers", lines),
        sizes_note(lines),
        about_systems(results),
        EXPLANATION,
        main_table(results, beside),
        below_note(beside),
        *deep_parts(results),
        "## Every system",
        system_table(results),
    ]
    return document([*parts, *failures(failed_lines(lines), failure)])


def sizes_note(lines: Sequence[Line]) -> str:
    """Which sizes and seeds, and the load."""
    own = [line for line in lines if line["system"].startswith("xrt-")]
    seeds = sorted({line["seed"] for line in own})
    loads = [line["load_average"] for line in lines]
    commits = list(dict.fromkeys(line["commit"] for line in own))
    size = "Seeded samples of the rows (`--short`)" if lines[-1]["short"] else "All rows"
    spread = f"load average before runs {min(loads):.1f} to {max(loads):.1f}"
    minutes = sum(line.get("run_seconds", 0.0) for line in lines) / 60
    told = f"xrt with seeds {', '.join(map(str, seeds))}, at commit {', '.join(commits)}; "
    return f"{size}; {told if own else ''}{spread}; {minutes:.0f} minutes in all runs."


def about_systems(results: Results) -> str:
    """Name, version and settings of each system."""
    last = {name: of.line for systems in results.values() for name, of in systems.items()}
    return "\n".join(
        f"- {name}: {line['version']}, {line['settings']}" for name, line in last.items()
    )


def main_table(results: Results, beside: Sequence[Beside]) -> str:
    """A row for each set and view, then the worst and the mean of the differences."""
    by_place = {each.place: each for each in beside}
    rows = []
    for place, systems in results.items():
        if OWN_SYSTEM not in systems:
            continue
        own, peer = systems[OWN_SYSTEM].line, systems.get(TIMED_PEER)
        found = by_place.get(place)
        cells = [
            f"{100 * own[metric]:.2f}" + (f" ({found.cell(column)})" if found else "")
            for column, metric in enumerate(METRICS)
        ]
        costs = [
            " / ".join(
                show(line)
                for line in (own, None if peer is None else peer.line)
                if line is not None
            )
            for show in (shown_training, shown_speed, shown_memory)
        ]
        sizes = f"{own['num_train']:,} / {own['num_test']:,} / {own['num_labels']:,}"
        rows.append([f"{place[0]}, {place[1]}", sizes, *cells, *costs])
    if beside:
        rows += [worst_row(beside), mean_row(beside)]
    if not rows:
        return ""
    costs_of = f"xrt / {TIMED_PEER}"
    return table(
        ["set, view", "rows / test / labels", *METRICS,
         f"train s, {costs_of}", f"rows/s, {costs_of}", f"peak MB, {costs_of}"],
        rows,
    )  # fmt: skip


def worst_row(beside: Sequence[Beside]) -> list[str]:
    """The lowest difference of each metric, and where it is."""
    cells = []
    for column in range(len(METRICS)):
        worst = min(beside, key=lambda each: each.difference_M[column])
        cells.append(f"**{worst.cell(column)}** {', '.join(worst.place)}: {worst.best[column]}")
    return ["**worst**", "", *cells, "", "", ""]


def mean_row(beside: Sequence[Beside]) -> list[str]:
    """The mean difference of each metric over sets and views."""
    mean_M = np.mean([each.difference_M for each in beside], axis=0)
    return ["**mean**", "", *(f"{100 * mean:+.2f}" for mean in mean_M), "", "", ""]


def deep_parts(results: Results) -> list[str]:
    """The model with an encoder beside the linear one, where there are both."""
    beside = [
        found
        for place, systems in results.items()
        if (found := Beside.between(place, systems, DEEP_SYSTEM, [OWN_SYSTEM]))
    ]
    if not beside:
        return []
    rows = []
    for each in beside:
        line = results[each.place][DEEP_SYSTEM].line
        cells = [
            f"{100 * line[metric]:.2f} ({each.cell(column)})"
            for column, metric in enumerate(METRICS)
        ]
        rows.append([each.place[0], *cells, shown_training(line)])
    for row in (worst_row(beside), mean_row(beside)):
        rows.append([row[0], *row[2 : 2 + len(METRICS)], ""])
    return [
        "## With an encoder",
        f"{DEEP_SYSTEM}, and in brackets {DEEP_SYSTEM} minus {OWN_SYSTEM}.",
        table(["set", *METRICS, "train s"], rows),
    ]


def below_note(beside: Sequence[Beside]) -> str:
    """Where xrt is below the best peer by more than the standard error, largest first."""
    places = [
        (each.difference_M[column], f"{', '.join(each.place)}: {metric} {each.cell(column)}"
         f" ({each.best[column]})")
        for each in beside
        for column, metric in enumerate(METRICS)
        if each.difference_M[column] < -each.error_M[column]
    ]  # fmt: skip
    if not beside:
        return ""
    if not places:
        return "xrt is nowhere below the best peer by more than the standard error."
    listed = "\n".join(f"- {text}" for _, text in sorted(places))
    return f"Below the best peer by more than the standard error:\n\n{listed}"


def system_table(results: Results) -> str:
    """A row for each system at each place."""
    rows = [
        [f"{place[0]}, {place[1]}", system,
         *(f"{100 * of.line[metric]:.2f}" for metric in METRICS),
         shown_training(of.line), shown_speed(of.line), shown_memory(of.line)]
        for place, systems in results.items()
        for system, of in systems.items()
    ]  # fmt: skip
    return table(["set, view", "system", *METRICS, "train s", "rows/s", "peak MB"], rows)


def shown_training(line: Line) -> str:
    """Seconds of training, with the making of a peer's rows where it began with texts."""
    return number(line["train_seconds"] + rows_seconds(line, "rows_train_seconds"))


def shown_speed(line: Line) -> str:
    """Test rows a second, with the making of a peer's rows."""
    seconds = line["predict_seconds"] + rows_seconds(line, "rows_test_seconds")
    return f"{line['num_test'] / max(seconds, 1e-9):,.0f}"


def shown_memory(line: Line) -> str:
    """Peak of the training process."""
    return f"{line['peak_memory_mb']:.0f}"


def rows_seconds(line: Line, name: str) -> float:
    """What making rows took: xrt's own making is in its figures."""
    return 0.0 if line["system"].startswith("xrt-") else float(line[name])


def failed_lines(lines: Sequence[Line]) -> list[Line]:
    """Runs that failed and were not done again."""
    done: dict[Any, Line] = {line["key"]: line for line in lines}
    return [line for line in done.values() if "error" in line]


def failure(line: Line) -> str:
    """One sentence on a run that failed."""
    return f"{line['set']}, {line['view']}, {line['system']}, seed {line['seed']}: {line['error']}"
