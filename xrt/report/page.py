"""report.html: one file that opens anywhere, offline, dark or light, on screen or on paper.

Every value is escaped; a content security policy forbids scripts and any fetching. The page stays
under MAX_BYTES: long tables are cut (and say so), then charts are left out from the end.
"""

import html
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrt.storage.atomic import write_text

logger = logging.getLogger(__name__)

MAX_BYTES = 300 * 1024
_MAX_CELL = 300
_ROW_LIMITS = (200, 50, 10)

_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8886; --soft: #8882; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; }}
body {{ padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: left; }}
td, th {{ unicode-bidi: isolate; }}
td.number, th.number {{ text-align: right; }}
tbody tr:hover {{ background: var(--soft); }}
svg {{ max-width: 100%; height: auto; }}
.note {{ opacity: .7; font-size: .9em; }}
@media print {{
  body {{ max-width: none; margin: 0; font-size: 11px; }}
  table, svg {{ break-inside: avoid; }}
}}
</style></head><body>
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the page. Numbers are right-aligned: floats with four decimals, None is empty.

    `chart`, an SVG of `bar_chart` or `line_chart`, stands below it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    chart: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title!r}: row {number} has {len(row)} cells "
                    f"for {len(self.columns)} columns"
                )


def metrics_table(models: Mapping[str, Mapping[str, float]], title: str = "Metrics") -> Table:
    """Models side by side: a row per metric, a column per model, empty where one has no value.

    Args:
        models: metrics by name, by name of the model.
        title: above the table.

    Returns:
        The table; metrics stand in the order in which they first come.
    """
    names = list(dict.fromkeys(name for metrics in models.values() for name in metrics))
    rows = [[name, *(metrics.get(name) for metrics in models.values())] for name in names]
    return Table(title=title, columns=["metric", *models], rows=rows)


def write_report(
    path: str | Path,
    title: str,
    tables: Sequence[Table],
    plots: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page: tables, then charts, then settings.

    Tables are cut and charts left out where the page would be larger than MAX_BYTES.

    Args:
        path: the HTML file.
        title: above the page.
        tables: the tables.
        plots: charts in SVG, of `bar_chart` and `line_chart`.
        settings: may be nested; shown as a table of dotted names.

    Returns:
        The path.
    """
    for row_limit in _ROW_LIMITS:
        page = _render(title, tables, plots, settings or {}, row_limit)
        if len(page.encode("utf-8", "replace")) <= MAX_BYTES:
            break
    total = len(plots) + sum(bool(table.chart) for table in tables)
    left_out = 0
    while len(page.encode("utf-8", "replace")) > MAX_BYTES and left_out < total:
        left_out += 1
        page = _render(title, tables, plots, settings or {}, row_limit, left_out)
    if left_out:
        logger.warning("%s: %d chart(s) left out to stay small", path, left_out)
    write_text(path, page.encode("utf-8", "replace").decode("utf-8"))
    return Path(path)


def _render(
    title: str,
    tables: Sequence[Table],
    plots: Sequence[str],
    settings: Mapping[str, Any],
    row_limit: int,
    num_left_out: int = 0,
) -> str:
    """The page without its last `num_left_out` charts; those below tables come before plots."""
    num_kept = sum(bool(table.chart) for table in tables) + len(plots) - num_left_out
    parts = [_HEAD.format(title=_escape(title)), f"<h1>{_escape(title)}</h1>"]
    for table in tables:
        parts.append(_table(table, row_limit))
        if table.chart and num_kept > 0:
            parts.append(f"<figure>{table.chart}</figure>")
            num_kept -= 1
    parts += [f"<figure>{plot}</figure>" for plot in plots[: max(0, num_kept)]]
    if num_left_out:
        parts.append(
            f'<p class="note">{num_left_out} chart(s) left out to keep the page small.</p>'
        )
    if settings:
        rows = list(_flat(settings))
        parts.append(
            _table(Table(title="Settings", columns=["name", "value"], rows=rows), row_limit)
        )
    return "\n".join([*parts, "</body></html>\n"])


def _table(table: Table, row_limit: int) -> str:
    numeric = [any(_is_number(row[i]) for row in table.rows) for i in range(len(table.columns))]
    head = "".join(
        f'<th scope="col"{_css(is_numeric)}>{_escape(name)}</th>'
        for name, is_numeric in zip(table.columns, numeric, strict=True)
    )
    body = "\n".join(
        "<tr>" + "".join(f"<td{_css(_is_number(v))}>{_cell(v)}</td>" for v in row) + "</tr>"
        for row in table.rows[:row_limit]
    )
    notes = [table.note] if table.note else []
    if len(table.rows) > row_limit:
        notes.append(f"The first {row_limit} of {len(table.rows)} rows.")
    note = f'<p class="note">{_escape(" ".join(notes))}</p>' if notes else ""
    return (
        f'<h2>{_escape(table.title)}</h2>\n<div class="scroll"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>{note}"
    )


def _css(is_numeric: bool) -> str:
    return ' class="number"' if is_numeric else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"
    if _is_number(value):
        return f"{value:,}"
    return _escape(value)


_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and signs that turn the direction of the text around them."""


def _escape(value: Any) -> str:
    """A value as text of the page; what would be unseen or turn other text shows as U+FFFD."""
    text = _UNSEEN.sub("\ufffd", str(value))
    return html.escape(text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 1] + "…", quote=True)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", str(value)))
    return rows
