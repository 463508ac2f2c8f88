"""Statistics of the linear benchmark's JSON lines, and the markdown record of them.

    python linear_record.py LINES.jsonl

A line is one run of one system: `row_set`, `round`, `system`, and either figures or `error`. Speeds
are compared round by round: the ratio of two systems is taken within a round, where the machine was
in the same mood, and the median of the ratios is told.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Line = dict[str, Any]

COLUMNS: dict[str, Callable[[Line], str]] = {
    "train s": lambda f: f"{number(f['train_seconds'])}",
    "of it tree": lambda f: number(f.get("index_seconds")),
    "CPU s": lambda f: number(f["train_cpu_seconds"]),
    "rows/s": lambda f: f"{f['predict_rows_per_second']:,.0f}",
    "one row p50 / p99 ms": lambda f: (
        f"{number(f['single_row_p50_ms'])} / {number(f['single_row_p99_ms'])}"
    ),
    "peak MB (rise)": lambda f: f"{f['peak_memory_mb']:.0f} ({f['memory_rise_mb']:.0f})",
    "model MB": lambda f: f"{f['model_mb']:.0f}",
    "load ms": lambda f: f"{f['load_ms']:.0f}",
    "P@1 / 3 / 5": lambda f: " / ".join(f"{100 * f[f'P@{k}']:.2f}" for k in (1, 3, 5)),
    "R@10": lambda f: f"{100 * f['R@10']:.2f}",
    "PSP@5": lambda f: f"{100 * f['PSP@5']:.2f}",
}
RATIOS = {
    "training": "train_seconds",
    "batch prediction": "predict_seconds",
    "one row (p50)": "single_row_p50_ms",
    "peak memory": "peak_memory_mb",
    "its rise": "memory_rise_mb",
}
EXPLANATION = """\
Medians over the rounds; within a round the systems follow each other, in the opposite order in the
next. Each run is a process of its own with the same rows and threads. Training includes label
features and the tree; reading rows, importing and compiling are off the clock. Models are saved,
opened again, and predict all test rows (top 10), then 200 rows one by one. Peak is the resident
memory while training, in brackets its rise over what was held before (libraries and rows). omikuji
reads a text file, off the clock, and its Python binding predicts row by row. P, R and PSP (A 0.55,
B 1.5) by xrt's metrics; labels that training never saw count as misses."""


def by_system(lines: Sequence[Line], row_set: str) -> dict[str, dict[int, Line]]:
    """Runs of each system on a row set by round, without those that failed."""
    runs: dict[str, dict[int, Line]] = {}
    for line in lines:
        if line["row_set"] == row_set and "error" not in line:
            runs.setdefault(line["system"], {})[line["round"]] = line
    return runs


def medians(runs: Sequence[Line]) -> Line:
    """The median of each number over the runs of one system; other values of the last run."""
    return {
        key: median(run[key] for run in runs) if is_number(value) else value
        for key, value in runs[-1].items()
    }


def ratios(peer: dict[int, Line], own: dict[int, Line], figure: str) -> list[float]:
    """The peer's figure over one's own in each round that both finished: above 1, the peer needs
    more.
    """
    shared = [r for r in sorted(own) if r in peer and own[r][figure] > 0]
    return [peer[r][figure] / own[r][figure] for r in shared]


def render(lines: Sequence[Line], notes: Sequence[str] = ()) -> str:
    """The record as markdown."""
    first = lines[0]
    told = first["machine"]
    rounds = max(line["round"] for line in lines)
    load = max(line["load_average"] for line in lines)
    parts = [
        f"# Linear tree systems on the same rows · {first['date']}",
        f"    {first['command']}",
        f"{told['processor']}, {told['processors']} processors, {told['memory_gb']} GB; threads: "
        f"{first['threads']}, rounds: {rounds}, load average before a run: at most {load:.1f}. "
        f"xrt at commit {first['commit']}, Python {told['python']}.",
        "\n".join(systems(lines)),
        EXPLANATION,
    ]
    for row_set in dict.fromkeys(line["row_set"] for line in lines):
        parts += row_set_parts(lines, row_set)
    failed = [line for line in lines if "error" in line]
    if failed:
        parts += ["## Failed", "\n".join(f"- {failure(line)}" for line in failed)]
    return "\n\n".join([*parts, *notes]) + "\n"


def systems(lines: Sequence[Line]) -> list[str]:
    """Name, version and settings of each system that finished a run."""
    told = {f["system"]: f for f in lines if "error" not in f}
    return [f"- {name}: {f['version']}, {f['settings']}" for name, f in told.items()]


def row_set_parts(lines: Sequence[Line], row_set: str) -> list[str]:
    """Heading, table of medians and table of ratios of a row set."""
    runs = by_system(lines, row_set)
    if not runs:
        return []
    sizes = next(iter(next(iter(runs.values())).values()))
    told = {name: medians(list(of.values())) for name, of in runs.items()}
    rows = [[name, *(cell(f) for cell in COLUMNS.values())] for name, f in told.items()]
    dense = f" and {sizes['num_dense']} dense columns" if sizes["num_dense"] else ""
    parts = [
        f"## {row_set}",
        f"{sizes['num_train']:,} training and {sizes['num_test']:,} test rows, "
        f"{sizes['num_features']:,} features{dense}, {sizes['nonzeros']:,} nonzeros, "
        f"{sizes['num_labels']:,} labels.",
        table(["", *COLUMNS], rows),
    ]
    compared = ratio_rows(runs)
    if compared:
        parts += [
            "Times as fast, or as small, as the peer: median of the rounds (lowest to highest).",
            table(["", *RATIOS], compared),
        ]
    return parts


def ratio_rows(runs: dict[str, dict[int, Line]]) -> list[list[str]]:
    """A row for each of xrt's presets and each peer."""
    own = [name for name in runs if name.startswith("xrt-")]
    rows = []
    for name in own:
        for peer in (peer for peer in runs if peer not in own):
            each = [ratios(runs[peer], runs[name], figure) for figure in RATIOS.values()]
            if each[0]:
                rows.append([f"{name} beside {peer}", *(spread(values) for values in each)])
    return rows


def spread(values: Sequence[float]) -> str:
    """Median, and the range where there are several."""
    if not values:
        return "-"
    middle = number(median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))} to {number(max(values))})"


def failure(line: Line) -> str:
    """One sentence on a run that failed."""
    return f"{line['row_set']}, round {line['round']}, {line['system']}: {line['error']}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None) -> str:
    """Three digits; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def is_number(value: Any) -> bool:
    """Whether a median makes sense."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_lines(path: Path) -> list[Line]:
    """The lines of a file."""
    return [json.loads(line) for line in path.read_text().splitlines() if line]


if __name__ == "__main__":
    print(render(read_lines(Path(sys.argv[1]))), end="")
