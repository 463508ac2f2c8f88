"""How pages look: the head with its style sheet, and the script that sorts tables.

Colours of text have a contrast of at least 4.5 to their background in both modes, those of marks at
least 3 (WCAG AA); `tests/report/test_look.py` computes it.
"""

import base64
import hashlib

SCRIPT = """
document.querySelectorAll("table").forEach(table => {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  if (body.rows.length < 2) return;
  const key = (row, i) => {
    const cell = row.cells[i];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const text = cell.textContent.trim();
    if (text === "") return null;
    const number = Number(text.replace(/[,%]/g, "").trim());
    return cell.className.includes("number") && !Number.isNaN(number) ? number : text;
  };
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      const sign = down ? -1 : 1;
      heads.forEach(each => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...[...body.rows].sort((a, b) => {
        const x = key(a, i), y = key(b, i);
        if (x === null || y === null) return (x === null) - (y === null);
        if (typeof x === "number" && typeof y === "number") return sign * (x - y);
        return sign * String(x).localeCompare(String(y), undefined, {numeric: true});
      }));
    });
  });
});
document.querySelectorAll("nav a").forEach(link => link.addEventListener("click", () => {
  const part = document.querySelector(link.hash + " > details");
  if (part) part.open = true;
}));
addEventListener("beforeprint", () =>
  document.querySelectorAll("details").forEach(part => part.open = true));
"""

LIGHT = {
    "paper": "#f6f7f9", "card": "#ffffff", "text": "#16202c", "soft": "#4c5a6b", "line": "#d8dee6",
    "hover": "#eef2f7", "link": "#1d4ed8", "good": "#0a6b3d", "good-back": "#e3f5ea",
    "bad": "#a4262c", "bad-back": "#fdeaea", "note-back": "#fff6dd", "track": "#e4e9f0",
    "c0": "#2563eb", "c1": "#b4530a", "c2": "#0a7d55", "c3": "#9333ea", "c4": "#8a5a3c",
    "c5": "#0e7490",
}  # fmt: skip
DARK = {
    "paper": "#10151b", "card": "#19212a", "text": "#e6ebf1", "soft": "#a5b2c1", "line": "#2f3a46",
    "hover": "#222c37", "link": "#8db4ff", "good": "#6fdba0", "good-back": "#15392a",
    "bad": "#ff9a9a", "bad-back": "#462024", "note-back": "#3a3016", "track": "#2a3541",
    "c0": "#6ea2ff", "c1": "#f0934b", "c2": "#45c494", "c3": "#c592ff", "c4": "#cfa283",
    "c5": "#56bfd6",
}  # fmt: skip
"""Colours by name, for a light and for a dark screen."""

_STYLE = """
* { box-sizing: border-box; }
html { color-scheme: light dark; scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
header, main { max-width: 68rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.6rem; }
.kind { margin: 0; color: var(--soft); font-size: .85rem; letter-spacing: .04em; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .3rem; }
h3 { font-size: .98rem; margin: 1.2rem 0 .4rem; }
nav { display: flex; flex-wrap: wrap; gap: .1rem .9rem; font-size: .88rem; margin-bottom: .8rem; }
a { color: var(--link); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem 1.2rem 1.1rem; margin: 0 0 1rem; scroll-margin-top: 1rem; }
summary { cursor: pointer; }
summary h2, summary h3 { display: inline; }
details[open] > summary { margin-bottom: .6rem; }
.lead, .note, .soft { color: var(--soft); }
.lead { margin: 0 0 .8rem; max-width: 50rem; }
.note { font-size: .87rem; margin: .4rem 0 0; max-width: 55rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; unicode-bidi: isolate; overflow-wrap: break-word; max-width: 30rem; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
td.number, th.number { text-align: right; }
td.bar { width: 12rem; }
td.bar div { display: flex; gap: .6rem; align-items: center; min-width: 9rem; }
th:first-child, td:first-child { min-width: 6rem; }
td.bar svg { flex: 1; min-width: 3rem; } td.bar span { min-width: 4.4rem; white-space: nowrap; }
tbody tr:hover { background: var(--hover); }
th button { all: unset; cursor: pointer; }
th button:hover { text-decoration: underline; }
th button:focus-visible, summary:focus-visible, a:focus-visible, .scroll:focus-visible {
  outline: 2px solid var(--link); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr));
  gap: 1rem 1.6rem; }
figure { margin: .6rem 0 0; max-width: 36rem; }
figcaption { font-weight: 600; font-size: .92rem; margin-bottom: .2rem; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text { fill: var(--soft); font: 12.5px system-ui, sans-serif; }
.g { stroke: var(--line); stroke-width: 1; } .a { stroke: var(--soft); stroke-width: 1; }
.l { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
.l1 { stroke-dasharray: 7 3; } .l2 { stroke-dasharray: 2 3; } .l3 { stroke-dasharray: 9 3 2 3; }
.verdict { font-size: 1.3rem; font-weight: 650; line-height: 1.35; margin: 0 0 .4rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr));
  gap: .6rem 1.2rem; margin: .9rem 0 0; }
.facts div { border-left: 3px solid var(--line); padding-left: .6rem; min-width: 0; }
.facts dt { color: var(--soft); font-size: .82rem; } .facts dd { margin: 0; font-weight: 600;
  overflow-wrap: anywhere; }
.bars { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
  gap: 1rem 2.2rem; }
.bars h3 { margin: .2rem 0 .5rem; }
.measure { margin: 0 0 .9rem; } .measure p { margin: 0; }
.measure .name { font-weight: 600; } .measure .what { color: var(--soft); font-size: .85rem; }
.model { display: grid; grid-template-columns: 4.2rem 1fr 7.2rem; gap: .6rem; align-items: center;
  font-variant-numeric: tabular-nums; font-size: .92rem; }
.model b { text-align: right; font-weight: 600; } .model.other b { font-weight: 400; }
.model svg { display: block; } .track { fill: var(--track); }
.whisker { stroke: var(--text); stroke-width: 1.5; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: 0 2rem; }
.two > div { min-width: 0; }
.examples { list-style: none; margin: 0; padding: 0; }
.examples li { border-top: 1px solid var(--line); padding: .65rem 0; }
.examples p { margin: 0 0 .35rem; overflow-wrap: anywhere; unicode-bidi: isolate; }
.examples .text { display: -webkit-box; -webkit-line-clamp: 4; -webkit-box-orient: vertical;
  overflow: hidden; }
.examples .row { color: var(--soft); font-size: .82rem; margin: 0; }
.labels { display: flex; flex-wrap: wrap; gap: .25rem .35rem; font-size: .86rem;
  align-items: baseline; margin: 0 0 .25rem; }
.labels > span:first-child { color: var(--soft); min-width: 4.6rem; }
.chip { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .55rem;
  unicode-bidi: isolate; overflow-wrap: anywhere; max-width: 100%; }
.chip.good { color: var(--good); background: var(--good-back); border-color: transparent; }
.chip.bad { color: var(--bad); background: var(--bad-back); border-color: transparent; }
.chip small { font-variant-numeric: tabular-nums; font-size: .92em; }
.missing { background: var(--note-back); }
.missing ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (max-width: 30rem) {
  header, main { padding: 0 .6rem; } section { padding: .8rem .8rem .9rem; }
  th, td { padding: .28rem .45rem; } h1 { font-size: 1.4rem; } .verdict { font-size: 1.12rem; }
  figure svg text { font-size: 15px; }
}
@media print {
  body { background: none; font-size: 10.5px; } header, main { max-width: none; padding: 0; }
  section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: .6rem 0; }
  nav { display: none; } figure, li, tr, .measure { break-inside: avoid; }
  h2, h3 { break-after: avoid; } .examples .text { -webkit-line-clamp: none; display: block; }
  svg, .chip { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .scroll { overflow: visible; }
}
"""


def _colors(colors: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colors.items())


_MARKS = "".join(
    f".f{i}{{fill:var(--c{i})}}.l{i}{{stroke:var(--c{i})}}\n"
    for i in range(sum(name[1:].isdigit() for name in LIGHT))
)
_ALLOWED = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
HEAD = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'sha256-{_ALLOWED}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{title}}</title>
<style>
:root {{ {_colors(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ @media screen {{ :root {{ {_colors(DARK)} }} }} }}
{_STYLE}{_MARKS}</style></head><body>"""
"""The page up to its body; `{title}` stands for the escaped title."""
