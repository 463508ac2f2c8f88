"""A report as one HTML file that opens anywhere, offline, dark or light, on screen or on paper.

Every value is escaped. A content security policy forbids fetching, and every script but the one
that sorts tables, which is named by its hash. The page stays under MAX_BYTES: long tables are cut
(and say so), then charts are left out from the end, then markup that has a shorter form takes it.
"""

import html
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrt.report.look import HEAD, SCRIPT
from xrt.report.text import clean_text
from xrt.storage.atomic import write_text

logger = logging.getLogger(__name__)

MAX_BYTES = 300 * 1024
_MAX_CELL = 300
_ROW_LIMITS = (200, 50, 10)


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


@dataclass(frozen=True)
class Cell:
    """A cell whose text is not what it is sorted by.

    Attributes:
        text: what is shown.
        value: what it is sorted by; None sorts last.
        share: in [0, 1], the length of a bar behind the text; None for no bar.
    """

    text: str
    value: float | None
    share: float | None = None


@dataclass(frozen=True)
class Chart:
    """A chart, `svg` of `bar_chart` or `line_chart`, with a note below it."""

    svg: str
    note: str = ""


@dataclass(frozen=True)
class Markup:
    """HTML that is inserted as it is: whoever makes it escapes every value with `escape`.

    `shorter` takes its place where the page would be too large.
    """

    html: str
    shorter: str = ""


Block = Table | Chart | Markup


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page under a heading.

    Attributes:
        title: the heading; '' for none.
        blocks: what stands in it.
        lead: a sentence below the heading.
        folded: whether its content is hidden until it is asked for.
        is_note: whether it tells something about the report itself.
    """

    title: str
    blocks: Sequence[Block]
    lead: str = ""
    folded: bool = False
    is_note: bool = False


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
    """Write a page of tables, then charts, then settings, which are folded.

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
    sections = [Section(title=table.title, blocks=[table]) for table in tables]
    if plots:
        sections.append(Section(title="Charts", blocks=[Chart(plot) for plot in plots]))
    if settings:
        sections.append(settings_section(settings))
    return write_page(path, title, sections)


def settings_section(settings: Mapping[str, Any]) -> Section:
    """All settings, folded.

    Args:
        settings: may be nested.

    Returns:
        A table of dotted names and values.
    """
    table = Table(title="Settings", columns=["name", "value"], rows=list(_flat(settings)))
    return Section(title="Settings", blocks=[table], folded=True)


def write_page(path: str | Path, title: str, sections: Sequence[Section], kind: str = "") -> Path:
    """Write a page of sections.

    Args:
        path: the HTML file.
        title: above the page.
        sections: its parts.
        kind: what kind of report it is, above the title.

    Returns:
        The path.
    """
    page, left_out = render_page(title, sections, kind)
    if left_out:
        logger.warning("%s: %d chart(s) left out to stay small", path, left_out)
    write_text(path, page)
    return Path(path)


def render_page(title: str, sections: Sequence[Section], kind: str = "") -> tuple[str, int]:
    """The page, of at most MAX_BYTES where its texts allow it.

    Args:
        title: above the page.
        sections: its parts.
        kind: what kind of report it is, above the title.

    Returns:
        The HTML, and the number of charts that are left out.
    """

    def rendered(row_limit: int, num_charts: int, short: bool = False) -> str:
        return _Renderer(row_limit, num_charts, short).page(title, sections, kind)

    num_charts = sum(_num_charts(block) for section in sections for block in section.blocks)
    for row_limit in _ROW_LIMITS:
        page = rendered(row_limit, num_charts)
        if _size(page) <= MAX_BYTES:
            return page, 0
    kept = num_charts
    while _size(page) > MAX_BYTES and kept:
        kept -= 1
        page = rendered(row_limit, kept)
    if _size(page) > MAX_BYTES:
        page = rendered(row_limit, kept, short=True)
    return page, num_charts - kept


def escape(value: Any, length: int = _MAX_CELL) -> str:
    """A value as text of the page, escaped; what would be unseen shows as U+FFFD.

    Args:
        value: anything.
        length: characters at most.

    Returns:
        Text that can stand between tags and in quoted attributes.
    """
    return html.escape(clean_text(value, length), quote=True)


class _Renderer:
    """Writes sections with at most so many rows of a table and so many charts."""

    def __init__(self, row_limit: int, num_charts: int, short: bool) -> None:
        self._row_limit, self._short = row_limit, short
        self._charts_left, self._left_out = num_charts, 0

    def page(self, title: str, sections: Sequence[Section], kind: str) -> str:
        anchors = _anchors(sections)
        body = [self._section(one, id) for one, id in zip(sections, anchors, strict=True)]
        above = f'<p class="kind">{escape(kind)}</p>' if kind else ""
        links = [
            f'<a href="#{id}">{escape(section.title)}</a>'
            for section, id in zip(sections, anchors, strict=True)
            if section.title and not section.is_note
        ]
        menu = f'<nav aria-label="Sections">{" ".join(links)}</nav>' if len(links) > 2 else ""
        left_out = (
            f'<p class="note">{self._left_out} chart(s) left out to keep the page small.</p>'
            if self._left_out
            else ""
        )
        return "\n".join([
            HEAD.replace("{title}", escape(title)),
            f"<header>{above}<h1>{escape(title)}</h1>{menu}</header>\n<main>",
            *body, left_out, f"</main>\n<script>{SCRIPT}</script>\n</body></html>\n",
        ])  # fmt: skip

    def _section(self, section: Section, id: str) -> str:
        heading = f"<h2>{escape(section.title)}</h2>" if section.title else ""
        lead = f'<p class="lead">{escape(section.lead, 1000)}</p>' if section.lead else ""
        body = "\n".join(part for part in self._blocks(section) if part)
        css = ' class="missing"' if section.is_note else ""
        if section.folded:
            return (
                f'<section id="{id}"><details><summary>{heading}</summary>{lead}{body}</details>'
                "</section>"
            )
        return f'<section id="{id}"{css}>{heading}{lead}{body}</section>'

    def _blocks(self, section: Section) -> Iterator[str]:
        """Charts that follow each other stand side by side where there is room."""
        beside: list[str] = []
        for block in section.blocks:
            if isinstance(block, Chart):
                beside.append(self._chart(block.svg, block.note))
                continue
            yield _side_by_side(beside)
            beside = []
            if isinstance(block, Markup):
                yield block.shorter if self._short and block.shorter else block.html
            else:
                yield self._table(block, with_title=block.title != section.title)
                if block.chart:
                    yield self._chart(block.chart)
        yield _side_by_side(beside)

    def _chart(self, svg: str, note: str = "") -> str:
        if self._charts_left <= 0:
            self._left_out += 1
            return ""
        self._charts_left -= 1
        below = f'<p class="note">{escape(note, 1000)}</p>' if note else ""
        return f"<figure>{svg}{below}</figure>"

    def _table(self, table: Table, with_title: bool) -> str:
        numeric = [any(_is_number(row[i]) for row in table.rows) for i in range(len(table.columns))]
        head = "".join(
            f'<th scope="col"{_css(is_numeric)}>{escape(name)}</th>'
            for name, is_numeric in zip(table.columns, numeric, strict=True)
        )
        body = "\n".join(
            "<tr>" + "".join(map(_cell, row)) + "</tr>" for row in table.rows[: self._row_limit]
        )
        notes = [table.note] if table.note else []
        if len(table.rows) > self._row_limit:
            notes.append(f"The first {self._row_limit} of {len(table.rows)} rows.")
        note = f'<p class="note">{escape(" ".join(notes), 1000)}</p>' if notes else ""
        title = f"<h3>{escape(table.title)}</h3>\n" if with_title and table.title else ""
        label = escape(table.title or "table")
        return (
            f'{title}<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>'
            f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>{note}"
        )


def _side_by_side(charts: Sequence[str]) -> str:
    drawn = [chart for chart in charts if chart]
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def _num_charts(block: Block) -> int:
    return int(isinstance(block, Chart) or (isinstance(block, Table) and bool(block.chart)))


def _size(page: str) -> int:
    return len(page.encode("utf-8", "replace"))


def _anchors(sections: Sequence[Section]) -> list[str]:
    """Names of the sections for links: letters and digits of the title, with a number."""
    return [f"part-{number}" for number, _ in enumerate(sections, 1)]


def _css(is_numeric: bool) -> str:
    return ' class="number"' if is_numeric else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Cell) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if isinstance(value, Cell):
        by = "" if value.value is None else f' data-v="{value.value:.6g}"'
        if value.share is None:
            return f'<td class="number"{by}>{escape(value.text)}</td>'
        width = f"{100 * min(1.0, max(0.0, value.share)):.1f}%"
        return (
            f'<td class="number bar"{by}><div><svg aria-hidden="true" width="100%" height="8">'
            f'<rect class="f0" width="{width}" height="8" rx="2"/></svg>'
            f"<span>{escape(value.text)}</span></div></td>"
        )
    return f"<td{_css(_is_number(value))}>{_shown(value)}</td>"


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"
    if _is_number(value):
        return f"{value:,}"
    return escape(value)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", str(value)))
    return rows
