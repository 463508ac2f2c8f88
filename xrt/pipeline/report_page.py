"""The report of a run: a page for people, `report.html`, and for programs `report.json`.

Texts of rows are in `examples.json` and on the page, and nowhere else: the model has none of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xrt import __version__
from xrt.errors import ArtifactError
from xrt.fusion.candidate_recall import COLUMNS as RECALL
from xrt.fusion.candidate_recall import NOTE as RECALL_NOTE
from xrt.fusion.candidate_recall import TITLE, CandidateRecall
from xrt.metrics.comparison import BINS_NOTE, SHOWN, Comparison
from xrt.metrics.judgement import COLUMNS, JUDGED, NOTE, Judgement
from xrt.metrics.report import RankingReport
from xrt.model import XrtModel
from xrt.pipeline.budget.report import BudgetReport
from xrt.pipeline.choosing.choices import COLUMNS as TRIED
from xrt.pipeline.choosing.choices import Choices
from xrt.pipeline.hooks import ApplicationReport
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.report_content import (
    EXAMPLES,
    PAGE,
    REPORT,
    RunReport,
    learning_of,
    stage_lines,
)
from xrt.pipeline.report_summary import (
    course_sections,
    example_sections,
    summary_sections,
    trust_section,
)
from xrt.pipeline.report_words import title_of
from xrt.pipeline.slices import Slices, slices_table
from xrt.pipeline.verdict import Verdict
from xrt.report import Table, bar_chart, metrics_table
from xrt.report.page import Chart, Section, settings_section, write_page
from xrt.report.text import duration
from xrt.sources.faiss_index import MEASURED_BEST
from xrt.storage.artifact import Artifact
from xrt.storage.atomic import write_json
from xrt.storage.hashing import plain
from xrt.storage.stages import StageCost

KIND = "xrt report"


def about_run(
    folder: Path,
    params: PipelineParams,
    model: XrtModel,
    artifact: Artifact,
    shipped: str,
    num_rows: int,
) -> dict[str, Any]:
    """What was trained, in a few values.

    Args:
        folder: the run folder.
        params: settings of the run.
        model: the model that ships.
        artifact: the saved model.
        shipped: its name, `linear` or `deep`.
        num_rows: training rows.

    Returns:
        Plain values.
    """
    calibration = model.calibration
    return {
        "name": params.dataset.name, "run": folder.resolve().name, "shipped": shipped,
        "rows": num_rows, "labels": len(model.labels),
        "encoder": None if params.encoder is None else params.encoder.name,
        "calibrated": calibration is not None,
        "thresholds": {} if calibration is None else dict(calibration.thresholds),
        "digest": artifact.digest, "model_bytes": artifact.num_bytes, "xrt": __version__,
    }  # fmt: skip


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
    about: Mapping[str, Any] = MappingProxyType({}),
    rows: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    examples: Mapping[str, Any] | None = None,
    costs: Mapping[str, StageCost] = MappingProxyType({}),
) -> Path:
    """Write `report.html`, `report.json` and `examples.json` into the run folder.

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
        about: what was trained, of `about_run`.
        rows: what `look_at_rows` told of the held-out rows and of the test rows.
        examples: what the model gets right and wrong; None where no rows are known.
        costs: time and memory of each stage.

    Returns:
        The path of the page.
    """
    application = ApplicationReport() if application is None else application
    learning = None if params.encoder is None else learning_of(folder)
    content = {
        "about": dict(about),
        "models": {name: report.to_dict() for name, report in reports.items()},
        "verdict": None if verdict is None else verdict.to_dict(),
        "tested": None if tested is None else tested.to_dict(),
        "judgements": [judgement.to_dict() for judgement in judgements],
        "candidates": {
            where: recall.to_dict() for where, recall in (recalls or {}).items()
        },
        "rows": dict(rows),
        "stages": stage_lines(costs),
        "learning": learning,
        **({} if choices is None else {"choices": choices.to_dict()}),
        **({} if budget is None else {"budget": budget.to_dict()}),
        **({"slices": dict(slices)} if slices else {}),
        **({"indexes": indexes} if indexes else {}),
        **application.content,
        "application": {
            "tables": [asdict(table) for table in application.tables],
            "plots": list(application.plots),
        },
        "settings": asdict(params),
    }  # fmt: skip
    content = plain(content)
    write_json(folder / REPORT, content)
    if examples is not None:
        write_json(folder / EXAMPLES, plain(examples))
    else:
        (folder / EXAMPLES).unlink(missing_ok=True)  # of an earlier run in this folder
    return write_run_page(RunReport.of_run(content, examples), folder / PAGE)


def write_run_page(report: RunReport, path: str | Path) -> Path:
    """Write the page of a report.

    Args:
        report: the report.
        path: the HTML file.

    Returns:
        The path.

    Raises:
        ArtifactError: the report is damaged.
    """
    try:
        sections = page_sections(report)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as err:
        raise ArtifactError(
            f"{path}: the report that this page is made of is damaged ({err!r}); train again"
        ) from err
    return write_page(path, title_of(report), sections, KIND)


def page_sections(report: RunReport) -> list[Section]:
    """All parts of the page, the summary first and the tables folded at the end.

    Args:
        report: the report.

    Returns:
        The sections.
    """
    content = report.content
    verdict, *further = summary_sections(report)
    sections = [
        verdict,
        *_application(content),
        *further,
        *example_sections(report),
        *course_sections(report),
    ]
    if (trusted := trust_section(report)) is not None:
        sections.append(trusted)
    slices = slices_table(content.get("slices") or {})
    for table in (slices, _spent(content.get("budget")), _tried(content.get("choices"))):
        if table is not None:
            sections.append(Section(title=table.title, blocks=[table]))
    for title, tables in (
        ("What the encoder added", _added(content)),
        ("All metrics", _metrics(content)),
        ("Steps of training", _steps(content)),
    ):
        if tables:
            sections.append(Section(title=title, blocks=tables, folded=True))
    if content.get("settings"):
        sections.append(settings_section(content["settings"]))
    return sections


def _application(content: Mapping[str, Any]) -> list[Section]:
    """What an application reports; its charts follow its last table."""
    own = content.get("application") or {}
    sections = [
        Section(title=table["title"], blocks=[Table(**table)]) for table in own.get("tables") or []
    ]
    if own.get("plots"):
        charts = [Chart(plot) for plot in own["plots"]]
        sections.append(Section(title="By frequency and by probability", blocks=charts))
    return sections


def _metrics(content: Mapping[str, Any]) -> list[Table]:
    models = {name: model["metrics"] for name, model in content["models"].items()}
    if not models:
        return []
    return [metrics_table(models, "On the test file"), *_by_frequency(content["models"])]


def _steps(content: Mapping[str, Any]) -> list[Table]:
    """Steps of training: candidates, what was judged, indexes."""
    tables = []
    if recalls := content.get("candidates"):
        cells = [
            line
            for rows, recall in recalls.items()
            for line in CandidateRecall(**recall).cells(rows)
        ]
        tables.append(Table(title=TITLE, columns=list(RECALL), rows=cells, note=RECALL_NOTE))
    if judgements := content.get("judgements"):
        lines = [Judgement.from_dict(judgement).cells for judgement in judgements]
        tables.append(Table(title=JUDGED, columns=list(COLUMNS), rows=lines, note=NOTE))
    if indexes := content.get("indexes"):
        tables.append(_indexes(indexes))
    return tables


def _indexes(indexes: Mapping[str, Mapping[str, Any]]) -> Table:
    names = ("kind", "vectors", "cells", "recall", "rows")
    return Table(
        title="FAISS indexes",
        columns=["source", "kind", "vectors", "cells gone through", "recall", "measured on"],
        rows=[[source, *(about.get(name) for name in names)] for source, about in indexes.items()],
        note=f"Recall: share of the exact best {MEASURED_BEST} that are found.",
    )


def _spent(budget: Mapping[str, Any] | None) -> Table | None:
    """What a budget was spent on, what was decided, and what more time would bring."""
    if not budget:
        return None
    seconds = sum(budget["spent"].values())
    rows = [
        ["budget", budget["budget"]],
        *(
            [part, f"{duration(took)}, {took / max(seconds, 1e-9):.0%}"]
            for part, took in budget["spent"].items()
        ),
        ["all", duration(seconds)],
        ["decided", budget["plan"]["message"]],
        *([["the same without a budget", budget["repeat"]]] if budget["repeat"] else []),
        ["more time", budget["more_time"]],
    ]
    note = "Time of this machine, until the report was written."
    return Table(title="What the budget was spent on", columns=["part", "spent"], rows=rows,
                 note=note)  # fmt: skip


def _tried(saved: Mapping[str, Any] | None) -> Table | None:
    """All settings that were tried; the sentence below says which were taken."""
    if not saved or not saved["tried"]:
        return None
    choices = Choices.from_dict(saved)
    words = " ".join(choices.as_words())
    note = f"{choices.message}{': ' + words if words else ''}."
    return Table(
        title="Settings tried on held-out rows",
        columns=list(TRIED),
        rows=choices.rows(),
        note=note,
    )


def _added(content: Mapping[str, Any]) -> list[Table]:
    """For each set of rows a table and a chart of SHOWN by how often a label was seen in training;
    the first with the verdict and all figures of all labels above it.
    """
    if not content.get("verdict"):
        return []
    verdict = Verdict.from_dict(content["verdict"])
    tested = content.get("tested")
    held_out = verdict.held_out
    figures = [
        [name, linear, held_out.deep[name], held_out.deep[name] - linear]
        for name, linear in held_out.linear.items()
    ]
    columns = ["metric", "linear", "deep", "difference"]
    title = "What the encoder added"
    note = f"{verdict.message}. Scores of the deep model are cross-fitted, and not yet calibrated."
    tables = [Table(title=title, columns=columns, rows=figures, note=note)]
    columns = ["seen in training", "labels", "pairs", *columns[1:]]
    compared = None if tested is None else Comparison.from_dict(tested)
    for where, added in verdict.added_on(compared).items():
        title = f"{SHOWN} on {where}, by training frequency of the label"
        rows = added.rows()
        bars = {"linear": [row[3] for row in rows], "deep": [row[4] for row in rows]}
        names = [row[0] for row in rows]
        chart = bar_chart(title, names, bars, x_label="rows in training", y_label=SHOWN)
        tables.append(Table(title=title, columns=columns, rows=rows, note=BINS_NOTE, chart=chart))
    return tables


def _by_frequency(models: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Recall by how often the label was seen in training: what each model does for rare labels."""
    binned = {name: model["bins"] for name, model in models.items() if model.get("bins")}
    if not binned:
        return []
    first = next(iter(binned))
    names = [bin["name"] for bin in binned[first]]
    recall = {name: [bin["recall"] for bin in bins] for name, bins in binned.items()}
    title = f"R@{models[first]['bins_k']} by training frequency of the label"
    columns = ["seen in training", "labels", "pairs", *recall]
    rows = [
        [bin["name"], bin["num_labels"], bin["num_pairs"], *(each[i] for each in recall.values())]
        for i, bin in enumerate(binned[first])
    ]
    chart = bar_chart(title, names, recall, x_label="rows in training", y_label="recall")
    return [Table(title=title, columns=columns, rows=rows, chart=chart)]
