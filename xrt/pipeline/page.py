"""The report page of a run: models side by side, frequency bins, training losses, settings."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from xrt.hashing import plain
from xrt.metrics.report import RankingReport
from xrt.pipeline.params import PipelineParams
from xrt.reading import read_json_bounded
from xrt.report import Table, bar_chart, line_chart, metrics_table, write_report

LOSS_POINTS = 100


def write_run_report(
    folder: Path, params: PipelineParams, reports: Mapping[str, RankingReport]
) -> Path:
    """Write `report.html` into the run folder and return its path."""
    tables: list[Table] = []
    plots: list[str] = []
    if reports:
        flat = {name: report.to_dict()["metrics"] for name, report in reports.items()}
        tables.append(metrics_table(flat))
        plots += _bins(reports)
    losses_path = folder / "stages" / "matcher" / "losses.json"
    if params.encoder is not None and losses_path.is_file():
        plots.append(_losses(read_json_bounded(losses_path)))
    page = folder / "report.html"
    write_report(page, params.dataset.name, tables, plots, plain(asdict(params)))
    return page


def _bins(reports: Mapping[str, RankingReport]) -> list[str]:
    """Recall by how often a label was seen in training: what each model does for rare labels."""
    first = next(iter(reports.values()))
    if not first.bins:
        return []
    names = [bin.name for bin in first.bins]
    recall = {name: [bin.recall for bin in report.bins] for name, report in reports.items()}
    title = f"R@{first.bins_k} by training frequency of the label"
    return [bar_chart(title, names, recall, x_label="rows in training", y_label="recall")]


def _losses(levels: list[list[float]]) -> str:
    """Loss of each level, averaged over LOSS_POINTS spans of its steps."""
    series = {}
    for t, losses in enumerate(levels):
        spans = np.array_split(np.asarray(losses), min(LOSS_POINTS, max(1, len(losses))))
        ends = np.cumsum([len(span) for span in spans])
        series[f"level {t + 1}"] = (ends.tolist(), [float(span.mean()) for span in spans])
    return line_chart("Matcher's loss", series, x_label="step", y_label="loss")
