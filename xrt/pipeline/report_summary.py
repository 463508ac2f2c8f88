"""The upper part of a run's page: what a person wants to know before any table."""

from collections.abc import Mapping, Sequence
from typing import Any

from xrt.metrics.standard_errors import SHOWN
from xrt.pipeline.report_content import HELD_OUT, TEST, RunReport, stage_title
from xrt.pipeline.report_words import (
    MEANINGS,
    expected_error,
    facts,
    figures,
    headline,
    label_text,
    missed_where,
    reason,
    right_and_wrong,
    stage_cells,
    trust,
)
from xrt.report.charts import line_chart
from xrt.report.page import Cell, Chart, Markup, Section, Table, escape
from xrt.report.text import duration, percent, size

OPEN_EXAMPLES = 5
_TEXT, _LABEL = 420, 60
"""Characters of a text, and of a label, on the page."""
_SHORT_TEXT, _SHORT_LABEL = 120, 30
"""The same on a page that would be too large otherwise."""
_ON = {HELD_OUT: "Held-out training rows", TEST: "Test rows"}
_WHAT = {
    HELD_OUT: "The choices of the run were made on them; figures are cross-fitted.",
    TEST: "Nothing was chosen on them.",
}


def summary_sections(report: RunReport) -> list[Section]:
    """The verdict and the bars.

    Args:
        report: the report.

    Returns:
        The verdict; then the bars, and what is missing, where there are any.
    """
    known = facts(report)
    told = "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(v)}</dd></div>" for n, v in known)
    verdict = Markup(
        f'<p class="verdict">{escape(headline(report))}</p>'
        f'<p class="lead">{escape(reason(report), 2000)}</p>'
        + (f'<dl class="facts">{told}</dl>' if told else "")
    )
    sections = [Section(title="", blocks=[verdict])]
    if bars := _bars(report):
        sections.append(bars)
    if report.missing:
        lines = "".join(f"<li>{escape(line, 1000)}</li>" for line in report.missing)
        sections.append(
            Section(title="Not in this report", blocks=[Markup(f"<ul>{lines}</ul>")], is_note=True)
        )
    return sections


def _bars(report: RunReport) -> Section | None:
    """SHOWN of each model, on held-out and on test rows apart."""
    sides = []
    with_errors = False
    for key in (HELD_OUT, TEST):
        models = figures(report, key)
        if not models:
            continue
        measures = []
        for name in SHOWN:
            lines = [
                _bar(model, *values[name], is_first=model == report.shipped)
                for model, values in models.items()
                if name in values
            ]
            with_errors |= any(
                each[name][1] is not None for each in models.values() if name in each
            )
            measures.append(
                f'<div class="measure"><p><span class="name">{name}</span> '
                f'<span class="what">{MEANINGS[name]}</span></p>{"".join(lines)}</div>'
            )
        rows = report.rows(key)
        number = f", {rows['num_rows']:,}" if rows else ""
        sides.append(
            f"<div><h3>{_ON[key]}{number}</h3>{''.join(measures)}"
            f'<p class="note">{_WHAT[key]}</p></div>'
        )
    if not sides:
        return None
    note = "± is one standard error over rows." if with_errors else ""
    markup = Markup(
        f'<div class="bars">{"".join(sides)}</div>'
        + (f'<p class="note">{note}</p>' if note else "")
    )
    return Section(title="How good it is", blocks=[markup])


def _bar(model: str, value: float, error: float | None, *, is_first: bool) -> str:
    """A model's bar: share of the width, with a line for the standard error."""
    width = 100 * min(1.0, max(0.0, value))
    color = "f0" if model == "deep" else "f1"
    whisker = ""
    if error is not None:
        low, high = (100 * min(1.0, max(0.0, value + side * error)) for side in (-1, 1))
        whisker = (
            f'<line class="whisker" x1="{low:.2f}%" x2="{high:.2f}%" y1="7" y2="7"/>'
            f'<line class="whisker" x1="{low:.2f}%" x2="{low:.2f}%" y1="3" y2="11"/>'
            f'<line class="whisker" x1="{high:.2f}%" x2="{high:.2f}%" y1="3" y2="11"/>'
        )
    return (
        f'<div class="model{"" if is_first else " other"}"><span>{escape(model)}</span>'
        '<svg aria-hidden="true" width="100%" height="14">'
        '<rect class="track" width="100%" height="14" rx="3"/>'
        f'<rect class="{color}" width="{width:.2f}%" height="14" rx="3"/>{whisker}</svg>'
        f"<b>{escape(percent(value, error))}</b></div>"
    )


def example_sections(report: RunReport) -> list[Section]:
    """What the model gets right and wrong: rows, then labels.

    Args:
        report: the report.

    Returns:
        At most two sections.
    """
    sections = []
    examples = report.examples
    if examples is not None and (examples["right"] or examples["wrong"]):
        chips = "A tick marks a true label, a cross a wrong suggestion."
        sections.append(
            Section(
                title="What it gets right and wrong",
                lead=f"{right_and_wrong(examples)} {chips}",
                blocks=[
                    Markup(
                        _examples(examples, _TEXT, _LABEL),
                        _examples(examples, _SHORT_TEXT, _SHORT_LABEL),
                    )
                ],
            )
        )
    told = report.shown_rows
    if told is not None and told["missed"]:
        sections.append(_missed(told))
    return sections


def _examples(examples: Mapping[str, Any], text: int, label: int) -> str:
    parts = []
    for name, title, why in (
        ("wrong", "Wrong", "the surest wrong suggestions first"),
        ("right", "Right", "from the surest to the least sure"),
    ):
        rows = examples[name]
        items = [_example(row, text, label) for row in rows]
        body = f'<ul class="examples">{"".join(items[:OPEN_EXAMPLES])}</ul>'
        if len(items) > OPEN_EXAMPLES:
            body += (
                f"<details><summary>{len(items) - OPEN_EXAMPLES} more</summary>"
                f'<ul class="examples">{"".join(items[OPEN_EXAMPLES:])}</ul></details>'
            )
        if not items:
            body = '<p class="note">None.</p>'
        number = examples[f"num_{name}"]
        parts.append(
            f'<div><h3>{title}: {number:,} <span class="soft">rows, {why}</span></h3>{body}</div>'
        )
    return f'<div class="two">{"".join(parts)}</div>'


def _example(row: Mapping[str, Any], text: int, label: int) -> str:
    name = f"row {row['row'] + 1:,}" + (f", {escape(row['id'], 60)}" if row["id"] else "")
    shown = escape(row["text"] + ("…" if row["is_cut"] else ""), text)
    true = "".join(_true_chip(each, row, label) for each in row["true"])
    if row["num_true"] > len(row["true"]):
        true += f'<span class="soft">and {row["num_true"] - len(row["true"])} more</span>'
    suggested = "".join(_suggested_chip(each, label) for each in row["suggested"])
    return (
        f'<li><p class="text">{shown or "(no text)"}</p>'
        f'<div class="labels"><span>true</span>{true}</div>'
        f'<div class="labels"><span>suggested</span>{suggested or "nothing"}</div>'
        f'<p class="row">{name}</p></li>'
    )


def _true_chip(label: Mapping[str, Any], row: Mapping[str, Any], length: int) -> str:
    """A true label: green where it is among the first t suggestions, else with its rank."""
    rank = label["rank"]
    if rank is not None and rank <= row["num_true"]:
        return f'<span class="chip good">✓ {escape(label_text(label), length)}</span>'
    place = "not suggested" if rank is None else f"rank {rank}"
    return f'<span class="chip">{escape(label_text(label), length)} <small>{place}</small></span>'


def _suggested_chip(label: Mapping[str, Any], length: int) -> str:
    css, sign, word = ("good", "✓", "true") if label["true"] else ("bad", "✗", "wrong")
    return (
        f'<span class="chip {css}">{sign}<span class="hidden"> {word}:</span> '
        f"{escape(label_text(label), length)} <small>{label['score']:.2f}</small></span>"
    )


def _missed(told: Mapping[str, Any]) -> Section:
    rows = []
    for label in told["missed"]:
        instead = ", ".join(
            _cut(label_text(other)) + (f" ×{other['rows']:,}" if other["rows"] > 1 else "")
            for other in label["instead"]
        )
        share = label["missed"] / label["rows"]
        rows.append(
            [
                _cut(label_text(label)), label["in_training"], label["rows"],
                Cell(f"{label['missed']:,}", label["missed"]),
                Cell(percent(share), share, share), label["late"], instead or "nothing",
            ]
        )  # fmt: skip
    columns = [
        "label", "rows in training", "rows here", "missed", "share missed",
        "of these in the first 10", "suggested in its place",
    ]  # fmt: skip
    table = Table(
        title="Labels that are missed most", columns=columns, rows=rows,
        note=(
            "A label of a row with t true labels is missed where it is not among the first t "
            "suggestions; wrong labels among these stand in its place. Ordered by the lower end of "
            "the 95 % interval of the share."
        ),
    )  # fmt: skip
    return Section(title=table.title, blocks=[table], lead=missed_where(told))


def _cut(text: str) -> str:
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"


def course_sections(report: RunReport) -> list[Section]:
    """How the training went: learning curves, then time and memory.

    Args:
        report: the report.

    Returns:
        At most two sections.
    """
    sections = []
    if charts := learning_charts(report.content.get("learning") or {}):
        lead = (
            "The matcher while it was fine-tuned: its loss on training rows, and what its own head "
            "ranks on held-out rows. The model's figures above come from all sources together."
        )
        sections.append(Section(title="Learning curves", lead=lead, blocks=charts))
    if stages := _stages(report):
        sections.append(stages)
    return sections


def learning_charts(learning: Mapping[str, Any]) -> list[Chart]:
    """Losses and validations of the matcher.

    Args:
        learning: of `learning_of`; may be empty.

    Returns:
        At most two charts.
    """
    charts = []
    losses = {
        f"level {number}": (level["steps"], level["loss"])
        for number, level in enumerate(learning.get("losses") or [], 1)
        if level["steps"]
    }
    if losses:
        charts.append(Chart(line_chart("Matcher's loss", losses, x_label="step", y_label="loss")))
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    stages = learning.get("validations") or []
    for number, stage in enumerate(stages, 1):
        for figure, title in (("p@1", "P@1"), ("ndcg@5", "nDCG@5")):
            name = title if len(stages) == 1 else f"{title}, stage {number}"
            if stage:
                series[name] = [each["step"] for each in stage], [each[figure] for each in stage]
    if series:
        svg = line_chart("Matcher on held-out rows", series, x_label="step", y_label="share")
        charts.append(Chart(svg))
    return charts


def _stages(report: RunReport) -> Section | None:
    lines = list(stage_cells(report))
    if not lines:
        return None
    longest = max(seconds for _, seconds, _ in lines) or 1.0
    most = max([peak for _, _, peak in lines if peak], default=0)
    rows = [
        [
            name, stage_title(name), Cell(duration(seconds), seconds, seconds / longest),
            Cell("", None) if peak is None else Cell(size(peak), peak, peak / most),
        ]
        for name, seconds, peak in lines
    ]  # fmt: skip
    total = sum(seconds for _, seconds, _ in lines)
    table = Table(
        title="Time and memory", columns=["stage", "what it does", "time", "highest memory"],
        rows=rows,
        note=(
            "Of each stage when it was made, which may have been in an earlier run in this folder. "
            "Memory is that of the whole process at its highest during the stage."
        ),
    )  # fmt: skip
    lead = f"All stages took {duration(total)}"
    lead += f"; memory was highest at {size(most)}." if most else "."
    return Section(title=table.title, blocks=[table], lead=lead)


def trust_section(report: RunReport) -> Section | None:
    """Whether scores can be taken as probabilities.

    Args:
        report: the report.

    Returns:
        The section; None where nothing is known.
    """
    lead = trust(report)
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for key, name in ((HELD_OUT, "held-out rows"), (TEST, "test rows")):
        told = (report.rows(key) or {}).get("reliability")
        if told:
            series[f"{name}, ECE@{told['k']} {expected_error(told):.3f}"] = _points(told)
    if not series:
        for name, model in report.content["models"].items():
            told = model.get("reliability")
            if told:
                series[f"{name}, ECE@{told['k']} {expected_error(told):.3f}"] = _points(told)
    if not series:
        return Section(title="Can the scores be trusted", blocks=[], lead=lead) if lead else None
    series["as probabilities should"] = ([0.0, 1.0], [0.0, 1.0])
    svg = line_chart("Reliability of scores", series, x_label="score", y_label="share that is true")
    note = (
        "On the diagonal a label that is suggested with a score of 0.8 is true in 80 of 100 cases."
    )
    return Section(title="Can the scores be trusted", blocks=[Chart(svg, note)], lead=lead)


def _points(told: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    bins = zip(told["num_predicted"], told["mean_score"], told["precision"], strict=True)
    filled = [(score, share) for number, score, share in bins if number]
    return [score for score, _ in filled], [share for _, share in filled]
