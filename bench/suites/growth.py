"""A plot of how the linear suite's figures grow with the size of the synthetic row sets.

    python -m bench growth LINES.jsonl FILE.svg

LINES.jsonl comes from `python -m bench linear` with several `synthetic-...` row sets. The time of a
query is drawn against the number of labels, with the line `a + b log10(labels)`; training seconds
against the nonzeros of the training rows, with the power `c nonzeros^p`. Each point is the median
of its runs.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bench.record import Line, read_lines, table


class Fit(NamedTuple):
    """A straight line by least squares, and the share of the variance it explains."""

    intercept: float
    slope: float
    r_squared: float


class Panel(NamedTuple):
    """What is drawn against what; with `power` both axes are logarithmic and so is the fit."""

    title: str
    across: str
    across_name: str
    up: str
    power: bool


PANELS = (
    Panel("one row, median, ms", "num_labels", "labels", "single_row_p50_ms", False),
    Panel("a row in a batch, ms", "num_labels", "labels", "batch_ms_per_row", False),
    Panel("training, s", "nonzeros", "nonzeros", "train_seconds", True),
    Panel("opening the model, ms", "num_labels", "labels", "load_ms", True),
    Panel("peak memory of training, MB", "num_labels", "labels", "peak_memory_mb", True),
)


def main(arguments: Sequence[str]) -> int:
    """Draw the lines of a file, print the fits. Returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lines", type=Path, help="JSONL of the linear suite")
    parser.add_argument("plot", type=Path, help="svg or png file to draw")
    args = parser.parse_args(arguments)
    print("\n".join(draw_growth(read_lines(args.lines), args.plot)))
    return 0


def growth_points(lines: Sequence[Line], panel: Panel) -> dict[str, list[tuple[float, float]]]:
    """Points of each system, ascending; the median where a size was run several times."""
    runs: dict[str, dict[float, list[float]]] = {}
    for line in lines:
        if "error" in line or not line["row_set"].startswith("synthetic-"):
            continue
        figures = {**line, "batch_ms_per_row": 1e3 / line["predict_rows_per_second"]}
        sizes = runs.setdefault(line["system"], {})
        sizes.setdefault(figures[panel.across], []).append(figures[panel.up])
    return {
        system: [(size, median(values)) for size, values in sorted(sizes.items())]
        for system, sizes in runs.items()
    }


def fit_line(points: Sequence[tuple[float, float]], power: bool) -> Fit:
    """`y = a + b log10(x)`, or with `power` `log10(y) = a + b log10(x)`."""
    x = np.log10([x for x, _ in points])
    y = np.array([math.log10(y) if power else y for _, y in points])
    slope, intercept = np.polyfit(x, y, 1)
    spread = float(((y - y.mean()) ** 2).sum())
    residual = float(((y - intercept - slope * x) ** 2).sum())
    return Fit(float(intercept), float(slope), 1 - residual / spread if spread > 0 else 1.0)


def fit_text(fit: Fit, num_points: int, power: bool) -> str:
    """The fit in words; two points say nothing about how well it fits."""
    line = f"x^{fit.slope:.2f}" if power else f"{fit.slope:+.3g} per decade"
    return f"{line}, R² {fit.r_squared:.3f}" if num_points > 2 else line


def draw_growth(lines: Sequence[Line], path: Path) -> list[str]:
    """Draw all panels into the file; what the record says of them, in markdown.

    Nothing is drawn where no system was run on two sizes.
    """
    points = {
        panel: {system: at for system, at in growth_points(lines, panel).items() if len(at) > 1}
        for panel in PANELS
    }
    systems = list(points[PANELS[0]])
    if not systems:
        return []
    fits = {
        panel: {system: fit_line(at, panel.power) for system, at in by_system.items()}
        for panel, by_system in points.items()
    }
    draw_panels(points, fits, path)
    cells = {
        system: [fit_text(fits[p][system], len(points[p][system]), p.power) for p in PANELS]
        for system in systems
    }
    columns = ["", *(f"{panel.title}, by {panel.across_name}" for panel in PANELS)]
    return [
        "## Growth",
        f"![Growth with the number of labels]({path.name})",
        table(columns, [[name, *row] for name, row in cells.items()]),
    ]


def draw_panels(
    points: dict[Panel, dict[str, list[tuple[float, float]]]],
    fits: dict[Panel, dict[str, Fit]],
    path: Path,
) -> None:
    """Two rows of panels, the legend in the place that is left."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "xrt"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(12, 7))
    for axis, panel in zip(axes.flat, PANELS, strict=False):
        draw_panel(axis, panel, points[panel], fits[panel])
    axes.flat[-1].axis("off")
    axes.flat[-1].legend(*axes.flat[0].get_legend_handles_labels(), loc="center", frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def draw_panel(
    axis: Any, panel: Panel, systems: dict[str, list[tuple[float, float]]], fits: dict[str, Fit]
) -> None:
    """Points and fitted lines of every system."""
    for number, (system, points) in enumerate(systems.items()):
        x, y = (np.array(values) for values in zip(*points, strict=True))
        axis.plot(x, y, "o", color=f"C{number}", label=system)
        fitted = fits[system].intercept + fits[system].slope * np.log10(x)
        axis.plot(x, 10**fitted if panel.power else fitted, color=f"C{number}", linewidth=1)
    axis.set_xscale("log")
    axis.set_yscale("log" if panel.power else "linear")
    if not panel.power:
        axis.set_ylim(bottom=0)
    axis.set_xlabel(panel.across_name)
    axis.set_title(panel.title)
