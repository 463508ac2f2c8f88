"""The report of a run for the terminal: the summary of its page as text."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from xrt.metrics.standard_errors import SHOWN
from xrt.pipeline.report_content import HELD_OUT, TEST, RunReport, stage_title
from xrt.pipeline.report_words import (
    MEANINGS,
    facts,
    figures,
    headline,
    label_text,
    reason,
    right_and_wrong,
    stage_cells,
    title_of,
    trust,
)
from xrt.report.text import clean_text, duration, percent, size

NUM_EXAMPLES, NUM_LABELS, NUM_STAGES = 3, 5, 6
_BAR = 24
"""Characters of a bar."""


def print_report(report: RunReport, console: Console) -> None:
    """Print the summary.

    Args:
        report: the report.
        console: where it goes; its width is kept.
    """
    console.print(Text(title_of(report), style="dim"))
    console.print(Text(headline(report), style="bold"))
    console.print(_text(reason(report)))
    _print_part(console, "", _pairs(facts(report)))
    with_meanings = True  # once is enough
    for key, title in ((HELD_OUT, "Held-out training rows"), (TEST, "Test rows")):
        if models := figures(report, key):
            _print_part(console, title, _bars(models, with_meanings))
            with_meanings = False
    _print_mistakes(report, console)
    stages = sorted(stage_cells(report), key=lambda line: -line[1])[:NUM_STAGES]
    if stages:
        table = _grid("left", "right", "right", "left")
        for name, seconds, peak in stages:
            memory = "" if peak is None else size(peak)
            table.add_row(*map(_text, (name, duration(seconds), memory, stage_title(name))))
        _print_part(console, "Time and memory, the longest stages", table)
    if told := trust(report):
        _print_part(console, "Scores", _text(told))
    if more := (report.content.get("budget") or {}).get("more_time"):
        _print_part(console, "More time", _text(more))
    if report.missing:
        _print_part(console, "Not in this report", _text("\n".join(report.missing)))


def _print_mistakes(report: RunReport, console: Console) -> None:
    if report.examples is not None:
        _print_part(console, "Right and wrong", _text(right_and_wrong(report.examples)))
        for row in report.examples["wrong"][:NUM_EXAMPLES]:
            console.print(Padding(_example(row), (1, 0, 0, 2)))
    told = report.shown_rows
    if told is not None and told["missed"]:
        table = _grid("left", "right", "right", "left")
        for label in told["missed"][:NUM_LABELS]:
            instead = ", ".join(
                label_text(each) + (f" ×{each['rows']:,}" if each["rows"] > 1 else "")
                for each in label["instead"]
            )
            table.add_row(
                _text(label_text(label), 40), f"{label['missed']:,} of {label['rows']:,}",
                f"{label['in_training']:,} in training",
                _text(f"in its place: {instead or 'nothing'}"),
            )  # fmt: skip
        _print_part(console, "Labels that are missed most", table)


def _example(row: Mapping[str, Any]) -> Text:
    """A wrong row: its text, its true labels, what is suggested."""
    text = _text(row["text"] or f"row {row['row'] + 1}", 200)
    true = ", ".join(label_text(label) for label in row["true"])
    text.append("\n  true       ", style="dim").append(clean_text(true, 300))
    text.append("\n  suggested  ", style="dim")
    for number, label in enumerate(row["suggested"]):
        sign, style = ("✓", "green") if label["true"] else ("✗", "red")
        text.append("  " if number else "")
        text.append(f"{sign} {clean_text(label_text(label), 60)} {label['score']:.2f}", style=style)
    return text


def _bars(
    models: Mapping[str, Mapping[str, tuple[float, float | None]]], with_meanings: bool
) -> Table:
    table = _grid("left", "left", "left", "left", "left")
    for name in SHOWN:
        for place, (model, values) in enumerate(models.items()):
            if name in values:
                value, error = values[name]
                length = round(_BAR * min(1.0, max(0.0, value)))
                bar = Text("█" * length, style="blue" if model == "deep" else "yellow")
                bar.append("░" * (_BAR - length), style="dim")
                meaning = "" if place or not with_meanings else MEANINGS[name]
                first = "" if place else name
                table.add_row(first, model, bar, percent(value, error), Text(meaning, style="dim"))
    return table


def _pairs(pairs: list[tuple[str, str]]) -> Text:
    text = Text()
    for number, (name, value) in enumerate(pairs):
        text.append(" · " if number else "", style="dim")
        text.append(f"{name} ", style="dim").append(clean_text(value, 100))
    return text


def _print_part(console: Console, title: str, body: RenderableType) -> None:
    console.print()
    if title:
        console.print(Text(title, style="bold"))
    console.print(body)


def _grid(*justified: Any) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for justify in justified:
        table.add_column(justify=justify)
    return table


def _text(value: Any, length: int = 2000) -> Text:
    """A value as text without markup."""
    return Text("\n".join(clean_text(line, length) for line in str(value).split("\n")))
