"""The markdown record of the shortlist benchmark's JSON lines.

python shortlist_record.py LINES.jsonl
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.suites.linear_record import Line, number, read_lines, table

HEAD = ("", "width", "recall %", "batch µs a row", "of root's", "one row µs", "of root's")
TARGET = 0.99


def render(lines: Sequence[Line]) -> str:
    """The record as markdown: a table for each case, and the quickest line that reaches 99 %."""
    first = lines[0]
    parts = [
        f"# FAISS shortlist and root beam down to the entry level · {first['date']}",
        f"{first['processor']}, {first['processors']} processors, {first['memory_gb']} GB; load "
        f"average after a case: at most {max(line['load_average'] for line in lines):.1f}. xrt at "
        f"commit {first['commit']}, Python {first['python']}. Medians over the rounds; ratios are "
        "taken within a round.",
    ]
    for name in dict.fromkeys(line["case"] for line in lines):
        parts += case_parts([line for line in lines if line["case"] == name])
    return "\n\n".join(parts) + "\n"


def case_parts(lines: Sequence[Line]) -> list[str]:
    """Heading, table and verdict of one case."""
    first = lines[0]
    reached = [line for line in lines if line["recall"] >= TARGET and line["kind"] != "root"]
    best = min(reached, key=lambda line: line["batch_us"], default=None)
    verdict = "No shortlist reaches 99 %."
    if best is not None:
        verdict = (
            f"Quickest at 99 %: {best['kind']} of {best['width']}, {100 * best['recall']:.2f} %, "
            f"{number(best['batch_us_of_root'])} of root's time in a batch, "
            f"{number(best['single_us_of_root'])} row by row."
        )
    return [
        f"## {first['case']}",
        f"    {first['command']}",
        f"Tree down to the entry level {first['tree']}, {first['rows']:,} rows, beam "
        f"{first['beam']}, threads: {first['threads']}, rounds: {first['repeats']}, "
        f"{first['clock']} time. Vectors fitted in {number(first['fit_seconds'])} s.",
        table(HEAD, [row(line) for line in lines]),
        verdict,
    ]


def row(line: Line) -> list[str]:
    """The cells of one line."""
    return [
        line["kind"], str(line["width"] or "-"), f"{100 * line['recall']:.2f}",
        number(line["batch_us"]), number(line["batch_us_of_root"]), number(line["single_us"]),
        number(line["single_us_of_root"]),
    ]  # fmt: skip


if __name__ == "__main__":
    print(render(read_lines(Path(sys.argv[1]))), end="")
