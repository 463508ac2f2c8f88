"""Finished runs side by side: figures, cost, and the settings in which they differ; best first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrt.errors import ArtifactError, DataError
from xrt.metrics.tables import align
from xrt.pipeline.outcome import OUTCOME
from xrt.report import Table, line_chart, write_report
from xrt.storage.reading import read_json_bounded

POINTS = 12
"""Runs that a chart shows, the best ones."""
_OF_THE_MACHINE = ("trainer.lightning.logger", "num_threads", "estimate", "force")
"""Settings that change no figure."""
_COLUMNS = ("run", "model", "held out", "±", "test", "±", "seconds", "MB")


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, as `outcome.json` tells of it.

    Attributes:
        name: the last part of its folder, or more of it where that is not unique.
        content: what the file holds.
    """

    name: str
    content: Mapping[str, Any]

    def figure(self, rows: str) -> tuple[float | None, float | None]:
        """The criterion with its standard error.

        Args:
            rows: `held_out` or `test`.

        Returns:
            Both in [0, 1]; None where they are not known.
        """
        figure = self.content.get(rows)
        if figure is None:
            return None, None
        return figure["value"], figure["standard_error"]

    @property
    def settings(self) -> dict[str, Any]:
        """Settings by their full names."""
        return dict(_flat(self.content["settings"], ""))


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read finished runs, best first: by held-out rows, or by the test file where a run has none.

    Args:
        folders: run folders, or folders of run folders, such as that of a sweep.

    Returns:
        The runs.

    Raises:
        DataError: a folder holds no finished run.
        ArtifactError: a file is damaged.
    """
    found = [run for folder in folders for run in _run_folders(folder)]
    places = list(dict.fromkeys(path.resolve() for path in found))
    depth = 1
    while len({place.parts[-depth:] for place in places}) < len(places):
        depth += 1
    runs = [Run("/".join(place.parts[-depth:]), _content(place / OUTCOME)) for place in places]
    return sorted(runs, key=lambda run: (-_rank(run), run.name))


def _run_folders(folder: Path) -> list[Path]:
    if (folder / OUTCOME).is_file():
        return [folder]
    inner = sorted(path.parent for path in folder.glob(f"*/{OUTCOME}"))
    if not inner:
        raise DataError(
            f"{folder}: no finished run ({OUTCOME} is missing); train first, or, where an earlier "
            "version has trained it, run the same command again"
        )
    return inner


def _content(path: Path) -> Mapping[str, Any]:
    content = read_json_bounded(path)
    needed = {"settings", "held_out", "test", "seconds", "model_bytes", "model"}
    if not isinstance(content, dict) or not needed <= content.keys():
        raise ArtifactError(f"{path}: incomplete; run the same training again")
    return content


def _rank(run: Run) -> float:
    held_out, test = run.figure("held_out")[0], run.figure("test")[0]
    figure = test if held_out is None else held_out
    return -1.0 if figure is None else figure


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def differing(runs: Sequence[Run]) -> list[str]:
    """The settings in which runs differ.

    Args:
        runs: the runs.

    Returns:
        Full names, in the order of the settings.
    """
    settings = [run.settings for run in runs]
    names = dict.fromkeys(name for one in settings for name in one)
    values = {name: {repr(one.get(name)) for one in settings} for name in names}
    return [
        name for name, found in values.items() if name not in _OF_THE_MACHINE and len(found) > 1
    ]


def compare_table(runs: Sequence[Run]) -> str:
    """The runs as a plain table.

    Args:
        runs: the runs, in the order of the rows.

    Returns:
        Lines of text; figures in percent.
    """
    names = differing(runs)
    lines = [[*_COLUMNS, *(_short(name, names) for name in names)]]
    for run in runs:
        settings = run.settings
        figures = [
            "" if value is None else f"{100 * value:.2f}"
            for rows in ("held_out", "test")
            for value in run.figure(rows)
        ]
        cost = [f"{run.content['seconds']:.1f}", f"{run.content['model_bytes'] / 1e6:.1f}"]
        values = ["" if settings.get(name) is None else str(settings[name]) for name in names]
        lines.append([run.name, run.content["model"], *figures, *cost, *values])
    return align(lines)


def _short(name: str, names: Sequence[str]) -> str:
    """The last part of a name where no other setting has it."""
    last = name.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in names) == 1 else name


def write_comparison(runs: Sequence[Run], path: Path) -> Path:
    """Write the comparison as a page.

    Args:
        runs: the runs, best first.
        path: the HTML file.

    Returns:
        The path.
    """
    names = differing(runs)
    rows = []
    for run in runs:
        settings = run.settings
        figures = [value for part in ("held_out", "test") for value in run.figure(part)]
        cost = [run.content["seconds"], run.content["model_bytes"] / 1e6]
        values = [settings.get(name) for name in names]
        rows.append([run.name, run.content["model"], *figures, *cost, *values])
    note = (
        f"{runs[0].content['criterion']}, best first. Held out: training rows on which settings "
        "may be chosen; test: for reporting only. ±: standard error of the rows' mean. Seconds: "
        "what all stages took when they were made. A column for each setting that differs."
    )
    table = Table(title="Runs", columns=[*_COLUMNS, *names], rows=rows, note=note)
    charts = [
        _chart("Criterion and time", runs, "seconds", 1.0, "seconds"),
        _chart("Criterion and size", runs, "model_bytes", 1e6, "MB of the model"),
    ]
    return write_report(path, f"{len(runs)} runs", [table], [chart for chart in charts if chart])


def _chart(title: str, runs: Sequence[Run], name: str, unit: float, label: str) -> str:
    """A point for each of the best runs; '' where no run has a figure."""
    points: dict[str, tuple[list[float], list[float]]] = {}
    for run in runs[:POINTS]:
        held_out, test = run.figure("held_out")[0], run.figure("test")[0]
        figure = test if held_out is None else held_out
        if figure is not None:
            points[run.name] = ([run.content[name] / unit], [figure])
    return line_chart(title, points, x_label=label, y_label="criterion") if points else ""
