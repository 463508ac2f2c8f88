"""Charts as inline SVG: text stays text, the foreground takes the colour of the page's text.

matplotlib is imported when the first chart is drawn, without pyplot and so without global state.
"""

import hashlib
import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_FOREGROUND = "#010203"  # stands for currentColor until the SVG is written
_COLORS = ("#4c8bf5", "#e8710a", "#1e9e6a", "#c2559d", "#8d6e63", "#8a8d00")
_MAX_POINTS = 400
_LEGEND_COLUMNS = 3


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
    figure, axes = _new_figure(title, x_label, y_label)
    width = 0.8 / max(1, len(series))
    positions = np.arange(len(categories))
    for i, (name, values) in enumerate(series.items()):
        if len(values) != len(categories):
            raise ValueError(f"{name}: {len(values)} values for {len(categories)} categories")
        offset = (i - (len(series) - 1) / 2) * width
        color = _COLORS[i % len(_COLORS)]
        axes.bar(positions + offset, values, width * 0.92, label=_literal(name), color=color)
    axes.set_xticks(positions, [_literal(category) for category in categories])
    return _finish(figure, axes, len(series))


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
    figure, axes = _new_figure(title, x_label, y_label)
    for i, (name, (x_values, y_values)) in enumerate(series.items()):
        if len(x_values) != len(y_values):
            raise ValueError(f"{name}: {len(x_values)} x values, {len(y_values)} y values")
        places = np.linspace(0, len(x_values) - 1, min(len(x_values), _MAX_POINTS)).astype(int)
        x, y = np.asarray(x_values, float)[places], np.asarray(y_values, float)[places]
        marker = "o" if len(places) == 1 else None
        axes.plot(x, y, label=_literal(name), color=_COLORS[i % len(_COLORS)], marker=marker)
    return _finish(figure, axes, len(series))


def _new_figure(title: str, x_label: str, y_label: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(_literal(title), color=_FOREGROUND, fontsize=11)
    axes.set_xlabel(_literal(x_label), color=_FOREGROUND)
    axes.set_ylabel(_literal(y_label), color=_FOREGROUND)
    axes.tick_params(colors=_FOREGROUND)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FOREGROUND)
    axes.grid(axis="y", color="#888888", alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _finish(figure: Any, axes: Any, num_series: int) -> str:
    if num_series > 1:
        figure.legend(  # below the axes: inside them it would lie over bars and lines
            loc="outside lower center", ncols=min(num_series, _LEGEND_COLUMNS), frameon=False,
            labelcolor=_FOREGROUND, fontsize=9,
        )  # fmt: skip
    title = axes.get_title().replace("\\$", "$")
    salt = hashlib.sha256(title.encode("utf-8", "replace")).hexdigest()[:8]
    return _inline_svg(_save_svg(figure, salt), title)


def _save_svg(figure: Any, salt: str) -> str:
    import matplotlib

    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    return buffer.getvalue()


def _inline_svg(svg: str, title: str) -> str:
    """The svg element alone: no XML head, no metadata, no namespace addresses, page's own font."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href").replace(_FOREGROUND, "currentColor")
    svg = re.sub(r"font: ([0-9.]+px) [^;\"]*", r"font: \1 sans-serif", svg)
    label = html.escape(title, quote=True)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return re.sub(r"\n\s*", "\n", svg)


def _literal(text: str) -> str:
    """Text that matplotlib draws as it is: dollar signs start no formula, control signs vanish."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable.replace("$", "\\$")
