"""What a report page says of an attribute model: its figures, rare values, trust, confusions.

N rows, A attributes, L labels.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.metrics.confusions import SiblingConfusions, sibling_confusions
from xrt.applications.attributes.metrics.figures import TAIL_COUNTS, AttributeFigures
from xrt.applications.attributes.metrics.table import (
    AVERAGES,
    FILLS,
    FILLS_NOTE,
    AttributeReport,
    format_fill_rows,
)
from xrt.data.labels import LabelTable
from xrt.metrics.calibration import Reliability
from xrt.report import Table, bar_chart, line_chart

TOP_CONFUSIONS = 20


def build_report_tables(
    report: AttributeReport,
    true_NA: np.ndarray | None = None,
    predicted_NA: np.ndarray | None = None,
    space: AttributeSpace | None = None,
    parents_L: np.ndarray | None = None,
    *,
    where: str = "",
    num_impossible_paths: int | None = None,
) -> tuple[list[Table], list[str]]:
    """The tables and charts of a report, for a page of their own or as part of another.

    With the cells behind it, and `parents_L`, the parent of each label column (as
    `sibling_confusions` takes it), there is a table of confusions between siblings. `where` names
    the rows.

    Args:
        report: The figures.
        true_NA: The label columns that rows give, int (N, A), or None.
        predicted_NA: Those that were predicted, int (N, A), or None.
        space: The attributes and labels, or None.
        parents_L: int (L,), or None.
        where: Which rows were judged.
        num_impossible_paths: Rows whose path training never saw, or None.

    Returns:
        The tables, and the charts.
    """
    tables = [_attributes(report, where), _items(report, num_impossible_paths)]
    if fills := format_fill_rows(report.attributes):
        tables.append(Table(title="What a fill writes", columns=FILLS, rows=fills, note=FILLS_NOTE))
    if true_NA is not None and predicted_NA is not None and space and parents_L is not None:
        confusions = sibling_confusions(true_NA, predicted_NA, parents_L, TOP_CONFUSIONS)
        if confusions.num_among_siblings:
            tables.append(_confusions(confusions, space.labels))
    return tables, [*_recall_by_frequency(report), *_reliability(report)]


def _attributes(report: AttributeReport, where: str) -> Table:
    with_tails = any(figures.tails for figures in report.attributes)
    with_ece = any(figures.reliability for figures in report.attributes)
    columns = ["attribute", "accuracy", *AVERAGES, "support", "values"]
    columns += ["unseen values", "unseen rows"]
    columns += [f"recall, seen 1-{count} times" for count in TAIL_COUNTS] if with_tails else []
    columns += ["ECE"] if with_ece else []
    rows = []
    for figures in report.attributes:
        scores = {} if figures.scores is None else asdict(figures.scores)
        row: list[Any] = [figures.name, scores.get("accuracy")]
        row += [scores.get(name) for name in AVERAGES.values()]
        row += [figures.support, figures.num_values]
        row += [figures.num_unseen_values, figures.num_unseen_rows]
        row += [tail.recall for tail in figures.tails] if with_tails else []
        rows.append(row + ([_ece(figures.reliability)] if with_ece else []))
    note = "Judged where a row gives a value; values never seen in training count as wrong."
    title = f"Attributes, {where}" if where else "Attributes"
    return Table(title=title, columns=columns, rows=rows, note=note)


def _items(report: AttributeReport, num_impossible_paths: int | None) -> Table:
    rows: list[list[Any]] = [
        ["item accuracy (all given values right)", report.item_accuracy, report.num_judged],
        ["item accuracy, all values seen in training", report.item_accuracy_seen, report.num_seen],
    ]
    if report.row_reliability is not None:
        num_full = sum(report.row_reliability.num_predicted)
        rows.append(
            ["ECE of rows that give every attribute", _ece(report.row_reliability), num_full]
        )
    if num_impossible_paths is not None:
        rows.append(["paths never seen in training", num_impossible_paths, report.num_rows])
    return Table(title="Items", columns=["", "value", "rows"], rows=rows)


def _confusions(confusions: SiblingConfusions, labels: LabelTable) -> Table:
    def name(column: int) -> str:
        return labels.ids[column] if column < len(labels) else "(top)"

    rows = [
        [
            name(pair.true),
            name(pair.predicted),
            name(pair.parent),
            pair.count,
            pair.share_of_true,
            pair.share_of_errors,
        ]
        for pair in confusions.pairs
    ]
    share = confusions.num_among_siblings / confusions.num_errors
    return Table(
        title="Confusions between siblings",
        columns=["true", "predicted", "parent", "rows", "of the true value", "of all errors"],
        rows=rows,
        note=f"Of {confusions.num_errors:,} wrong cells {100 * share:.1f} % hit a value with the "
        "same parent.",
    )


def _recall_by_frequency(report: AttributeReport) -> list[str]:
    """Recall by how often the true value was seen in training."""
    binned = [figures for figures in report.attributes if figures.bins and figures.support]
    if not binned:
        return []
    names = [bin.name for bin in binned[0].bins]
    series = {figures.name: _recalls(figures) for figures in binned}
    title = "Recall by training frequency of the value"
    return [bar_chart(title, names, series, x_label="rows in training", y_label="recall")]


def _recalls(figures: AttributeFigures) -> list[float]:
    return [float("nan") if bin.recall is None else bin.recall for bin in figures.bins]


def _reliability(report: AttributeReport) -> list[str]:
    """How often values are right by their probability; on the diagonal, as often as it says."""
    reliabilities = {figures.name: figures.reliability for figures in report.attributes}
    reliabilities["whole rows"] = report.row_reliability
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for name, reliability in reliabilities.items():
        if reliability is None:
            continue
        places = [b for b, number in enumerate(reliability.num_predicted) if number]
        title = f"{name}, ECE {reliability.expected_error:.3f}"
        means = [reliability.mean_score[b] for b in places]
        series[title] = (means, [reliability.precision[b] for b in places])
    if not series:
        return []
    series["kept"] = ([0.0, 1.0], [0.0, 1.0])
    title = "Reliability of probabilities"
    return [line_chart(title, series, x_label="probability", y_label="share that is right")]


def _ece(reliability: Reliability | None) -> float | None:
    return None if reliability is None else reliability.expected_error
