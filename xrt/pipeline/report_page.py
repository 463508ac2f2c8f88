"""The report of a run: models side by side, what the encoder added, training losses, settings.

As a page for people, `report.html`, and for programs, `report.json`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from xrt.fusion.candidate_recall import COLUMNS as RECALL
from xrt.fusion.candidate_recall import NOTE as RECALL_NOTE
from xrt.fusion.candidate_recall import TITLE, CandidateRecall
from xrt.metrics.comparison import BINS_NOTE, SHOWN, Comparison
from xrt.metrics.judgement import COLUMNS, JUDGED, NOTE, Judgement
from xrt.metrics.report import RankingReport
from xrt.pipeline.budget.report import BudgetReport
from xrt.pipeline.choosing.choices import COLUMNS as TRIED
from xrt.pipeline.choosing.choices import Choices
from xrt.pipeline.hooks import ApplicationReport
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.slices import Slices, slices_table
from xrt.pipeline.verdict import Verdict
from xrt.report import Table, bar_chart, line_chart, metrics_table, write_report
from xrt.sources.faiss_index import MEASURED_BEST
from xrt.storage.atomic import write_json
from xrt.storage.hashing import plain
from xrt.storage.reading import read_json_bounded

LOSS_POINTS = 100


def write_run_report(
    folder: Path,
    params: PipelineParams,
    reports: Mapping[str, RankingReport],
    verdict: Verdict | None = None,
    tested: Comparison | None = None,
    application: ApplicationReport | None = None,
    choices: Choices | None = None,
    judgements: Sequence[Judgement] = (),
    recalls: Mapping[str, CandidateRecall] | None = None,
    budget: BudgetReport | None = None,
    slices: Slices = MappingProxyType({}),
    indexes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write `report.html` and `report.json` into the run folder.

    What an application reports comes first.

    Args:
        folder: the run folder.
        params: settings of the run.
        reports: figures of each model on the test file, by the model's name.
        verdict: what the encoder added on held-out rows; None without an encoder.
        tested: the same on the test file; None without one.
        application: what an application reports; None without one.
        choices: the settings that were chosen; None where nothing was open to choice.
        judgements: learnt steps beside their plain alternatives.
        recalls: recall of the true labels among the candidates, by a description of the rows.
        budget: what a budget was spent on; None without one.
        slices: the newest held-out rows beside rows drawn at random; empty where no time is known.
        indexes: what FAISS indexes the model has, by source; None for none.

    Returns:
        The path of the page.
    """
    application = ApplicationReport() if application is None else application
    recalls = recalls or {}
    content = {
        "models": {name: report.to_dict() for name, report in reports.items()},
        "verdict": None if verdict is None else verdict.to_dict(),
        "tested": None if tested is None else tested.to_dict(),
        "judgements": [judgement.to_dict() for judgement in judgements],
        "candidates": {rows: recall.to_dict() for rows, recall in recalls.items()},
        **({} if choices is None else {"choices": choices.to_dict()}),
        **({} if budget is None else {"budget": budget.to_dict()}),
        **({"slices": dict(slices)} if slices else {}),
        **({"indexes": indexes} if indexes else {}),
        **application.content,
    }
    write_json(folder / "report.json", plain(content))
    tables: list[Table] = list(application.tables)
    plots: list[str] = list(application.plots)
    if reports:
        flat = {name: report.to_dict()["metrics"] for name, report in reports.items()}
        tables.append(metrics_table(flat))
        plots += _bins(reports) + _reliability(reports)
    if recalls:
        cells = [line for rows, recall in recalls.items() for line in recall.cells(rows)]
        tables.append(Table(title=TITLE, columns=list(RECALL), rows=cells, note=RECALL_NOTE))
    if choices is not None and choices.tried:
        tables.append(_tried(choices))
    if judgements:
        lines = [judgement.cells for judgement in judgements]
        tables.append(Table(title=JUDGED, columns=list(COLUMNS), rows=lines, note=NOTE))
    later = slices_table(slices)
    if later is not None:
        tables.append(later)
    if budget is not None:
        tables.append(_spent(budget))
    if indexes:
        tables.append(_indexes(indexes))
    if verdict is not None:
        tables += _added(verdict, tested)
    losses_path = folder / "stages" / "matcher" / "losses.json"
    if params.encoder is not None and losses_path.is_file():
        plots.append(_losses(read_json_bounded(losses_path)))
        plots += _validations(read_json_bounded(losses_path.with_name("validations.json")))
    page = folder / "report.html"
    write_report(page, params.dataset.name, tables, plots, plain(asdict(params)))
    return page


def _indexes(indexes: Mapping[str, Mapping[str, Any]]) -> Table:
    names = ("kind", "vectors", "cells", "recall", "rows")
    return Table(
        title="FAISS indexes",
        columns=["source", "kind", "vectors", "cells gone through", "recall", "measured on"],
        rows=[[source, *(about.get(name) for name in names)] for source, about in indexes.items()],
        note=f"Recall: share of the exact best {MEASURED_BEST} that are found.",
    )


def _spent(budget: BudgetReport) -> Table:
    """What a budget was spent on, what was decided, and what more time would bring."""
    spent = [
        [part, f"{took:.1f} s, {took / max(budget.seconds, 1e-9):.0%}"]
        for part, took in budget.spent.items()
    ]
    rows = [
        ["budget", budget.budget],
        *spent,
        ["all", f"{budget.seconds:.1f} s"],
        ["decided", budget.plan.message],
        *([["the same without a budget", budget.repeat]] if budget.repeat else []),
        ["more time", budget.more_time],
    ]
    note = "Seconds of this machine, until the report was written."
    return Table(title="What the budget was spent on", columns=["part", "spent"], rows=rows,
                 note=note)  # fmt: skip


def _tried(choices: Choices) -> Table:
    """All settings that were tried; the sentence below says which were taken."""
    words = " ".join(choices.as_words())
    note = f"{choices.message}{': ' + words if words else ''}."
    return Table(
        title="Settings tried on held-out rows",
        columns=list(TRIED),
        rows=choices.rows(),
        note=note,
    )


def _added(verdict: Verdict, tested: Comparison | None) -> list[Table]:
    """For each set of rows a table and a chart of SHOWN by how often a label was seen in training;
    the first with the verdict and all figures of all labels above it.
    """
    held_out = verdict.held_out
    figures = [
        [name, linear, held_out.deep[name], held_out.deep[name] - linear]
        for name, linear in held_out.linear.items()
    ]
    columns = ["metric", "linear", "deep", "difference"]
    title, note = "What the encoder added", f"{verdict.message}."
    tables = [Table(title=title, columns=columns, rows=figures, note=note)]
    columns = ["seen in training", "labels", "pairs", *columns[1:]]
    for where, added in verdict.added_on(tested).items():
        title = f"{SHOWN} on {where}, by training frequency of the label"
        rows = added.rows()
        bars = {"linear": [row[3] for row in rows], "deep": [row[4] for row in rows]}
        names = [row[0] for row in rows]
        chart = bar_chart(title, names, bars, x_label="rows in training", y_label=SHOWN)
        tables.append(Table(title=title, columns=columns, rows=rows, note=BINS_NOTE, chart=chart))
    return tables


def _bins(reports: Mapping[str, RankingReport]) -> list[str]:
    """Recall by how often a label was seen in training: what each model does for rare labels."""
    first = next(iter(reports.values()))
    if not first.bins:
        return []
    names = [bin.name for bin in first.bins]
    recall = {name: [bin.recall for bin in report.bins] for name, report in reports.items()}
    title = f"R@{first.bins_k} by training frequency of the label"
    return [bar_chart(title, names, recall, x_label="rows in training", y_label="recall")]


def _reliability(reports: Mapping[str, RankingReport]) -> list[str]:
    """How often labels are true by the score they were suggested with; on the diagonal, scores are
    probabilities.
    """
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for name, report in reports.items():
        found = report.reliability
        if found is not None:
            bins = list(zip(found.num_predicted, found.mean_score, found.precision, strict=True))
            filled = [(score, precision) for number, score, precision in bins if number]
            title = f"{name}, ECE@{found.k} {found.expected_error:.3f}"
            series[title] = ([score for score, _ in filled], [share for _, share in filled])
    if not series:
        return []
    series["probabilities"] = ([0.0, 1.0], [0.0, 1.0])
    return [line_chart("Reliability of scores", series, x_label="score", y_label="precision")]


def _validations(stages: list[list[dict[str, float]]]) -> list[str]:
    """What the matcher's own head found on held-out rows as training went on, stage after stage."""
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for number, stage in enumerate(stages, 1):
        steps = [found["step"] for found in stage]
        for figure, title in (("p@1", "P@1"), ("ndcg@5", "nDCG@5")):
            name = title if len(stages) == 1 else f"{title}, stage {number}"
            if steps:
                series[name] = (steps, [found[figure] for found in stage])
    title = "Matcher on held-out rows"
    return [line_chart(title, series, x_label="step", y_label="share")] if series else []


def _losses(levels: list[list[float]]) -> str:
    """Loss of each level, averaged over LOSS_POINTS spans of its steps."""
    series = {}
    for t, losses in enumerate(levels):
        spans = np.array_split(np.asarray(losses), min(LOSS_POINTS, max(1, len(losses))))
        ends = np.cumsum([len(span) for span in spans])
        series[f"level {t + 1}"] = (ends.tolist(), [float(span.mean()) for span in spans])
    return line_chart("Matcher's loss", series, x_label="step", y_label="loss")
