import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xrt.report import Table, bar_chart, line_chart, metrics_table, write_report
from xrt.report.charts import NUM_COLORS
from xrt.report.look import DARK, LIGHT
from xrt.report.page import Cell, Chart, Markup, Section, write_page

HOSTILE = "<script>alert('x')</script> \"&\" $x^2$ \x00"


class Page(HTMLParser):
    """Collects tags, attributes and text; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def full_report(path: Path) -> str:
    losses = np.exp(-np.arange(5000) / 900)
    charts = [
        bar_chart("P@1 by label frequency", ["1-2", "3-9", "10+"], {"ours": [0.1, 0.3, np.nan],
                  HOSTILE: [0.1, 0.2, 0.5]}, y_label="P@1"),
        line_chart("training loss", {"level 1": (range(5000), losses), "2": ([1], [0.5])}, "step"),
    ]  # fmt: skip
    table = metrics_table({"XR-Transformer": {"P@1": 0.71, "R@10": 0.5}, HOSTILE: {"P@1": 0.69}})
    settings = {"seed": 0, "tree": {"branching": 16, "empty": {}}, "note": HOSTILE}
    write_report(path, f"run {HOSTILE}", [table], charts, settings)
    return path.read_text()


def test_the_page_is_self_contained_and_small(tmp_path: Path) -> None:
    text = full_report(tmp_path / "report.html")
    page = Page(text)
    assert len(text.encode()) < 100_000
    assert "://" not in text
    assert page.tags.count("svg") == 2
    assert page.tags.count("script") == 1
    assert not {"link", "img", "iframe", "object", "metadata", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    references = [value for name, value in page.attributes if name in ("href", "src")]
    assert all(value.startswith("#") for value in references)
    assert "prefers-color-scheme" in text
    assert "@media print" in text


def test_values_appear_escaped_and_whole(tmp_path: Path) -> None:
    text = full_report(tmp_path / "report.html")
    page = Page(text)
    shown = " ".join(page.texts)
    assert (
        shown.count("<script>alert('x')</script>") >= 4
    )  # title, heading, column, legend, setting
    assert "$x^2$" in shown
    assert {"0.7100", "0.6900", "0.5000", "tree.branching", "16"} <= set(page.texts)


def test_the_same_report_has_the_same_bytes(tmp_path: Path) -> None:
    assert full_report(tmp_path / "a.html") == full_report(tmp_path / "b.html")


def test_charts_keep_text_as_text_and_take_the_colour_of_the_page() -> None:
    svg = bar_chart("title", ["rare", "common"], {"a": [1, 2]}, y_label="P@5")
    assert '<svg role="img" aria-label="title"' in svg
    assert re.search(r"<text [^>]*>common</text>", svg)
    assert "<title>a, rare: 1</title>" in svg
    assert not re.search("#[0-9a-f]{3}", svg)


def test_long_series_are_thinned_but_keep_their_ends() -> None:
    steps = np.arange(1_000_000)
    svg = line_chart("loss", {"a": (steps, steps)})
    assert len(svg) < 30_000
    short = line_chart("loss", {"a": ([0, 999_999], [0, 999_999])})
    ticks = r"<text [^>]*>([^<]*)</text>"
    assert re.findall(ticks, svg) == re.findall(ticks, short)
    assert svg.count(",") < 1000


def test_long_tables_are_cut_and_say_so(tmp_path: Path) -> None:
    rows = [[f"label {i}", i] for i in range(1000)]
    table = Table(title="labels", columns=["label", "count"], rows=rows, note="By name.")
    text = write_report(tmp_path / "r.html", "r", [table]).read_text()
    assert "By name. The first 200 of 1000 rows." in text
    assert "label 199<" in text
    assert "label 200<" not in text


def test_a_page_over_the_limit_loses_rows_then_charts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tables = [
        Table(title="t", columns=["a"] * 9, rows=[["x" * 400] * 9 for _ in range(300)]),
        Table(title="u", columns=["a"], rows=[["last"]]),
    ]
    plots = [f"<svg>{i}{'y' * 150_000}</svg>" for i in range(3)]
    text = write_report(tmp_path / "r.html", "r", tables, plots).read_text()
    assert len(text.encode()) <= 300 * 1024
    assert "The first 10 of 300 rows." in text
    assert "x" * 299 + "…" in text
    assert "last" in text
    assert text.count("<svg>") == 1
    assert "2 chart(s) left out" in text
    assert "2 chart(s) left out" in caplog.text


def test_a_chart_stands_below_its_table_and_is_left_out_last(tmp_path: Path) -> None:
    tables = [
        Table(title="first", columns=["a"], rows=[[1]], chart="<svg>own</svg>"),
        Table(title="second", columns=["a"], rows=[[2]]),
    ]
    text = write_report(tmp_path / "r.html", "r", tables, ["<svg>plot</svg>"]).read_text()
    places = [text.index(part) for part in (">first</h2>", ">own<", ">second</h2>", ">plot<")]
    assert places == sorted(places)
    large = f"<svg>plot{'y' * 310_000}</svg>"
    text = write_report(tmp_path / "r.html", "r", tables, [large]).read_text()
    assert ">own<" in text
    assert "1 chart(s) left out" in text
    tables[0] = Table(title="first", columns=["a"], rows=[[1]], chart=large)
    text = write_report(tmp_path / "r.html", "r", tables, ["<svg>plot</svg>"]).read_text()
    assert "<svg>" not in text
    assert "2 chart(s) left out" in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.5, "0.5000"), (12345.6, "12,346"), (12345, "12,345"), (None, ""), (float("nan"), ""),
     (True, "True"), ("0.5", "0.5"), (float("inf"), "inf")],
)  # fmt: skip
def test_cells(tmp_path: Path, value: Any, shown: str) -> None:
    table = Table(title="t", columns=["a"], rows=[[value]])
    text = write_report(tmp_path / "r.html", "r", [table]).read_text()
    assert re.search(r"<td[^>]*>([^<]*)</td>", text)[1] == shown  # type: ignore[index]


def test_rows_must_fit_their_columns_and_values_their_categories() -> None:
    with pytest.raises(ValueError, match="row 1 has 1 cells for 2 columns"):
        Table(title="t", columns=["a", "b"], rows=[[1, 2], [1]])
    with pytest.raises(ValueError, match="a: 1 values for 2 categories"):
        bar_chart("t", ["x", "y"], {"a": [1]})
    with pytest.raises(ValueError, match="a: 2 x values, 1 y values"):
        line_chart("t", {"a": ([1, 2], [1])})


UNSEEN = ("\x00", "\x1b", "\x9f", "\u202e", "\u2066", "\u2069", "\u200e", "\u061c", "\x7f", "\x0b")


@pytest.mark.parametrize("sign", UNSEEN)
def test_signs_that_hide_or_turn_text_are_shown(tmp_path: Path, sign: str) -> None:
    """They neither reach the page nor vanish: a reader sees that something stood there."""
    table = Table(title=f"t{sign}", columns=[f"c{sign}"], rows=[[f"a{sign}b"]], note=f"n{sign}")
    text = write_report(tmp_path / "r.html", f"p{sign}", [table], settings={"s": sign}).read_text()
    assert sign not in text
    assert "a\ufffdb" in text
    assert "p\ufffd" in text


def test_joined_emoji_and_text_from_right_to_left_stay(tmp_path: Path) -> None:
    words = "\U0001f468\u200d\U0001f469 \u0634\u0627\u064a a\tb"
    text = write_report(
        tmp_path / "r.html", "t", [Table(title="t", columns=["c"], rows=[[words]])]
    ).read_text()
    assert words in text
    assert "unicode-bidi: isolate" in text


def test_a_legend_stands_below_the_axes() -> None:
    """Of two series a legend names both; it does not lie over bars."""
    chart = bar_chart("t", ["a", "b"], {"first": [1, 1], "second": [1, 1]})
    bars = re.findall(r'<rect class="f[01]" x="[^"]*" y="([0-9.]+)" .*?height="([0-9.]+)"', chart)
    legend = re.search(r'<g class="legend">(.*?)</g>', chart, re.DOTALL)
    assert legend is not None
    names = re.findall(r'y="([0-9.]+)">(first|second)</text>', legend[1])
    assert [name for _, name in names] == ["first", "second"]
    assert min(float(y) for y, _ in names) > max(float(y) + float(h) for y, h in bars[:4])
    assert 'class="legend"' not in bar_chart("t", ["a"], {"only": [1]})


def heights(svg: str) -> list[float]:
    return [float(h) for h in re.findall(r'<rect class="f0" [^>]*height="([0-9.]+)"', svg)]


def test_bars_are_as_high_as_their_values() -> None:
    low, high, nothing = heights(bar_chart("t", ["a", "b", "c"], {"s": [0.2, 0.4, 0.0]}))
    assert high == pytest.approx(2 * low, abs=0.2)
    assert nothing == 0
    assert len(heights(bar_chart("t", ["a", "b"], {"s": [np.nan, 0.4]}))) == 1


def test_lines_go_through_their_points() -> None:
    svg = line_chart("t", {"s": ([0, 5, 10], [0.0, 1.0, 0.5])})
    points = re.search(r'<polyline class="l l0" points="([^"]+)"', svg)
    assert points is not None
    (x0, y0), (x1, y1), (x2, y2) = (map(float, p.split(",")) for p in points[1].split())
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert (y0 - y2) == pytest.approx((y0 - y1) / 2, abs=0.2)


@pytest.mark.parametrize(
    "values", [[], [1.0], [2.0, 2.0], [-1.0, 1.0], [1e-9, 2e-9], [1e9, 3e9], [float("nan")]]
)
def test_any_values_make_a_chart(values: list[float]) -> None:
    for svg in (
        line_chart("t", {"s": (range(len(values)), values)}),
        bar_chart("t", [str(i) for i in range(len(values))], {"s": values}),
    ):
        assert "nan" not in svg
        assert svg.count("<svg") == 1


def test_the_script_is_the_one_that_the_policy_allows(tmp_path: Path) -> None:
    text = full_report(tmp_path / "r.html")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert policy is not None
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert policy[1] == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    assert len(script[1].splitlines()) < 50


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_contrasts_are_aa(colors: dict[str, str]) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for text, back in (
        *((text, back) for text in ("text", "soft", "link")
          for back in ("card", "paper", "note-back", "hover")),
        ("good", "good-back"), ("bad", "bad-back"),
    ):  # fmt: skip
        assert contrast(colors[text], colors[back]) >= 4.5, (text, back)
    for i in range(NUM_COLORS):
        assert contrast(colors[f"c{i}"], colors["card"]) >= 3, i


def test_sections_fold_and_cells_sort(tmp_path: Path) -> None:
    cell = Cell("2 min 5 s", 125.0, 0.5)
    table = Table(title="t", columns=["name", "time"], rows=[["a", cell], ["b", Cell("", None)]])
    sections = [
        Section(title="Open", blocks=[table], lead=HOSTILE),
        Section(title="Folded", blocks=[Chart("<svg>1</svg>"), Chart("<svg>2</svg>")], folded=True),
        Section(title="", blocks=[Markup("<p>own</p>")]),
    ]
    text = write_page(tmp_path / "p.html", "page", sections, "kind").read_text()
    page = Page(text)
    assert 'data-v="125"' in text
    assert 'width="50.0%"' in text
    assert page.tags.count("details") == 1
    assert text.index("<details>") < text.index("<svg>1") < text.index("<svg>2")
    assert '<div class="charts"><figure><svg>1</svg></figure><figure><svg>2' in text
    assert "<p>own</p>" in text
    assert HOSTILE.replace("\x00", "\ufffd") in " ".join(page.texts)


def test_markup_becomes_shorter_where_the_page_would_be_too_large(tmp_path: Path) -> None:
    sections = [Section(title="s", blocks=[Markup("y" * 310_000, "<p>short</p>")])]
    text = write_page(tmp_path / "p.html", "page", sections).read_text()
    assert "<p>short</p>" in text
    assert len(text) < 20_000
