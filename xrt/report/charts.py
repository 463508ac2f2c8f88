"""Charts as inline SVG of the page: text stays text, colours come from the page's style sheet.

A chart takes the width that it is given; its viewBox is small, so that text stays readable on a
narrow screen. Every mark has a tooltip with its value.
"""

import html
import math
from collections.abc import Mapping, Sequence

from xrt.report.text import clean_text

NUM_COLORS = 6
_MAX_POINTS = 200
_WIDTH, _LEFT, _RIGHT, _TOP, _HEIGHT, _BOTTOM = 520, 52, 22, 12, 190, 44
_LEGEND_COLUMNS, _LEGEND_ROW = 3, 18
_MAX_NAME = 30
_CHARACTER = 7.0
"""Width of a character, about."""


def bar_chart(
    title: str,
    categories: Sequence[str],
    series: Mapping[str, Sequence[float]],
    y_label: str = "",
    x_label: str = "",
) -> str:
    """Groups of bars, one group a category and one bar a series; NaN leaves its bar out.

    Args:
        title: above the chart.
        categories: names of the groups.
        series: a value for each category, by name of the series.
        y_label: beside the vertical axis.
        x_label: below the horizontal axis.

    Returns:
        The chart as SVG.

    Raises:
        ValueError: a series has more or fewer values than there are categories.
    """
    for name, values in series.items():
        if len(values) != len(categories):
            raise ValueError(f"{name}: {len(values)} values for {len(categories)} categories")
    known = [float(v) for values in series.values() for v in values if math.isfinite(v)]
    ticks = _ticks(min([0.0, *known]), max([0.0, *known]))
    axes = _Axes((0.0, float(max(1, len(categories)))), (ticks[0], ticks[-1]))
    group = axes.x(1.0) - axes.x(0.0)
    width = 0.8 * group / max(1, len(series))
    marks = []
    for i, (name, values) in enumerate(series.items()):
        for j, value in enumerate(values):
            if math.isfinite(value):
                left = axes.x(j) + 0.1 * group + i * width
                top, bottom = sorted((axes.y(value), axes.y(0.0)))
                marks.append(
                    f'<rect class="f{i % NUM_COLORS}" x="{_n(left)}" y="{_n(top)}" '
                    f'width="{_n(width * 0.92)}" height="{_n(bottom - top)}">'
                    f"<title>{_escape(f'{name}, {categories[j]}: {_shown(value)}')}</title></rect>"
                )
    every = max(1, math.ceil(max([0, *map(len, categories)]) * _CHARACTER / max(group, 1.0)))
    labels = [
        _text(axes.x(j + 0.5), _TOP + _HEIGHT + 16, category, "middle")
        for j, category in enumerate(categories)
        if j % every == 0
    ]
    return _drawn(title, axes, ticks, [*labels, *marks], list(series), x_label, y_label, "f")


def line_chart(
    title: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str = "",
    y_label: str = "",
) -> str:
    """One line a series; long series are thinned evenly.

    Args:
        title: above the chart.
        series: x values and y values, by name of the series.
        x_label: below the horizontal axis.
        y_label: beside the vertical axis.

    Returns:
        The chart as SVG.

    Raises:
        ValueError: a series has more or fewer x values than y values.
    """
    lines = {name: _thinned(name, x, y) for name, (x, y) in series.items()}
    points = [point for line in lines.values() for point in line]
    x_ticks = _ticks(*_range([x for x, _ in points]))
    ticks = _ticks(*_range([y for _, y in points]))
    axes = _Axes((x_ticks[0], x_ticks[-1]), (ticks[0], ticks[-1]))
    marks = [
        _text(axes.x(tick), _TOP + _HEIGHT + 16, _tick_text(tick, x_ticks), "middle")
        for tick in x_ticks
    ]
    for i, (name, line) in enumerate(lines.items()):
        places = [(axes.x(x), axes.y(y)) for x, y in line]
        color = i % NUM_COLORS
        if len(places) > 1:
            path = " ".join(f"{_n(x)},{_n(y)}" for x, y in places)
            marks.append(
                f'<polyline class="l l{color}" points="{path}">'
                f"<title>{_escape(name)}</title></polyline>"
            )
        if len(places) <= 20:
            marks += [
                f'<circle class="f{color}" cx="{_n(at_x)}" cy="{_n(at_y)}" r="3">'
                f"<title>{_escape(f'{name}: {_shown(x)}, {_shown(y)}')}</title></circle>"
                for (at_x, at_y), (x, y) in zip(places, line, strict=True)
            ]
    return _drawn(title, axes, ticks, marks, list(series), x_label, y_label, "l")


class _Axes:
    """Places of values in the chart."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self._x, self._y = x_range, y_range

    def x(self, value: float) -> float:
        """From the left."""
        low, high = self._x
        return _LEFT + (value - low) / (high - low or 1.0) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """From the top."""
        low, high = self._y
        return _TOP + _HEIGHT - (value - low) / (high - low or 1.0) * _HEIGHT


def _drawn(
    title: str,
    axes: _Axes,
    ticks: Sequence[float],
    marks: Sequence[str],
    names: Sequence[str],
    x_label: str,
    y_label: str,
    kind: str,
) -> str:
    """The chart with its title, grid, axis labels and, of several series, a legend."""
    parts = []
    for tick in ticks:
        y = axes.y(tick)
        parts.append(
            f'<path class="g" d="M{_LEFT} {_n(y)}H{_WIDTH - _RIGHT}"/>'
            + _text(_LEFT - 6, y + 4, _tick_text(tick, ticks), "end")
        )
    parts += marks
    bottom = float(_TOP + _HEIGHT + _BOTTOM)
    if x_label:
        parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, bottom - 8, x_label, "middle"))
    if y_label:
        middle = _TOP + _HEIGHT / 2
        parts.append(
            f'<text x="12" y="{_n(middle)}" text-anchor="middle" '
            f'transform="rotate(-90 12 {_n(middle)})">{_escape(y_label)}</text>'
        )
    if len(names) > 1:
        legend, bottom = _legend(names, bottom, kind)
        parts.append(legend)
    body = "\n".join(parts)
    return (
        f"<figcaption>{_escape(title, 200)}</figcaption>"
        f'<svg role="img" aria-label="{_escape(title, 200)}" viewBox="0 0 {_WIDTH} {_n(bottom)}">'
        f'{body}<path class="a" d="M{_LEFT} {_TOP + _HEIGHT}H{_WIDTH - _RIGHT}"/></svg>'
    )


def _legend(names: Sequence[str], top: float, kind: str) -> tuple[str, float]:
    """Names of the series below the axes, where they lie over nothing; and where they end."""
    longest = max(len(name[:_MAX_NAME]) for name in names) * _CHARACTER + 30
    columns = max(1, min(_LEGEND_COLUMNS, int((_WIDTH - 20) / longest), len(names)))
    parts = []
    for i, name in enumerate(names):
        x = 20 + (i % columns) * (_WIDTH - 20) / columns
        y = top + 12 + (i // columns) * _LEGEND_ROW
        color = i % NUM_COLORS
        sign = (
            f'<path class="l l{color}" d="M{_n(x)} {_n(y - 4)}h18"/>'
            if kind == "l"
            else f'<rect class="f{color}" x="{_n(x + 4)}" y="{_n(y - 10)}" width="12" height="12"/>'
        )
        parts.append(sign + _text(x + 24, y, name, "start"))
    rows = math.ceil(len(names) / columns)
    return f'<g class="legend">{"".join(parts)}</g>', top + 6 + rows * _LEGEND_ROW


def _thinned(
    name: str, x_values: Sequence[float], y_values: Sequence[float]
) -> list[tuple[float, float]]:
    """At most _MAX_POINTS points of a series, its ends among them; those that are not finite left
    out.
    """
    if len(x_values) != len(y_values):
        raise ValueError(f"{name}: {len(x_values)} x values, {len(y_values)} y values")
    size = len(x_values)
    number = min(size, _MAX_POINTS)
    places = [round(i * (size - 1) / max(1, number - 1)) for i in range(number)]
    points = [(float(x_values[i]), float(y_values[i])) for i in places]
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers about five steps apart, from at most `low` to at least `high`."""
    if not high > low:
        high = low + 1.0
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= 0.999 * rough)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _tick_text(tick: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0]
    if max(map(abs, ticks)) >= 10_000:
        return f"{tick / 1000:,.10g}k"
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if digits and round(step * 10**digits, 6) % 1:
        digits += 1
    return f"{tick:.{digits}f}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{_n(x)}" y="{_n(y)}"{where}>{_escape(text)}</text>'


def _n(value: float) -> str:
    """A place with one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def _shown(value: float) -> str:
    return f"{value:.4g}"


def _escape(text: str, length: int = _MAX_NAME + 20) -> str:
    """Text that can stand in the chart."""
    return html.escape(clean_text(text, length), quote=True)
