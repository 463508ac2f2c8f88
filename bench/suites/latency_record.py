"""The record of the latency benchmark's JSON lines, as markdown.

    python latency_record.py LINES.jsonl

A line is one run of one system: `system`, `round`, and either `ms` and `parts` (percentiles in
milliseconds) or `error`. Medians over the rounds are told, of ratios within a round.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.suites.linear_record import Line, number, read_lines, spread, table

PEER = "pecos"
EXPLANATION = """\
Each run is a process of its own, which opens a model and answers the texts one by one after
{warm_up} that do not count: from the text to its {k} best labels. Medians over the rounds (lowest
to highest); within a round the systems follow each other, in the opposite order in the next. `auto`
is what xrt does unless told otherwise. The parts are medians (p50) of a second pass over the same
texts, with a clock on each; `rest` is what lies between them."""
PEER_EXPLANATION = """\
PECOS has MiniLM as it is, its own TF-IDF, tree and rankers over all labels, and answers with one
tree; it reads at most {max_length} tokens. Which labels are found is not compared here."""


def render(lines: Sequence[Line]) -> str:
    """The record: what ran where, tables, failures."""
    first = lines[0]
    told = first["machine"]
    load = max(line["load_average"] for line in lines)
    good = [line for line in lines if "error" not in line]
    systems = list(dict.fromkeys(line["system"] for line in good))
    parts = [
        f"# Latency of one text · {first['date']}",
        "\n".join(f"    {command}" for command in dict.fromkeys(f["command"] for f in lines)),
        f"{told['processor']}, {told['processors']} processors, {told['memory_gb']} GB; threads: "
        f"{first['threads']}, rounds: {max(line['round'] for line in lines)}, load average before "
        f"a run: at most {load:.1f}. xrt at commit {first['commit']}, Python {told['python']}. "
        f"{first['num_texts']:,} texts of {first['words_a_text']:g} words on average.",
        "\n".join(about(good, system) for system in systems),
    ]
    if good:
        head = ["system", "p50 ms", "p90 ms", "p99 ms", "PECOS's p50 / its own", "open s"]
        parts += ["## End to end", table(head, [row(good, system) for system in systems])]
        parts += [EXPLANATION.format(**first)]
        parts += [PEER_EXPLANATION.format(**first)] if PEER in systems else []
        parts += ["## Parts, p50 in ms", *part_tables(good, systems)]
    failed = [line for line in lines if "error" in line]
    if failed:
        parts += ["## Failed", "\n".join(f"- {failure(line)}" for line in failed)]
    return "\n\n".join(part for part in parts if part) + "\n"


def about(lines: Sequence[Line], system: str) -> str:
    """Model and versions of a system."""
    last = [line for line in lines if line["system"] == system][-1]
    versions = ", ".join(f"{name} {found}" for name, found in last["versions"].items())
    return f"- {system}: {last['num_labels']:,} labels, {last['settings']} ({versions})"


def row(lines: Sequence[Line], system: str) -> list[str]:
    """A system's percentiles, and how many times as long PECOS takes."""
    own = {line["round"]: line for line in lines if line["system"] == system}
    peer = {line["round"]: line for line in lines if line["system"] == PEER}
    ratios = [peer[r]["ms"]["p50"] / line["ms"]["p50"] for r, line in own.items() if r in peer]
    return [
        system,
        *(spread([line["ms"][p] for line in own.values()]) for p in ("p50", "p90", "p99")),
        spread(ratios),
        number(median(line["load_seconds"] for line in own.values())),
    ]


def part_tables(lines: Sequence[Line], systems: Sequence[str]) -> list[str]:
    """A table of the parts' p50 for systems that have the same parts."""
    by_parts: dict[tuple[str, ...], list[str]] = {}
    for system in systems:
        names = next(tuple(line["parts"]) for line in lines if line["system"] == system)
        by_parts.setdefault(names, []).append(system)
    return [
        table(["part", *members], [[name, *(part(lines, of, name) for of in members)]
                                   for name in names])
        for names, members in by_parts.items()
    ]  # fmt: skip


def part(lines: Sequence[Line], system: str, name: str) -> str:
    """The median over the rounds of a part's p50."""
    return number(median(line["parts"][name]["p50"] for line in lines if line["system"] == system))


def failure(line: Line) -> str:
    """One sentence on a run that failed."""
    return f"round {line['round']}, {line['system']}: {line['error']}"


if __name__ == "__main__":
    print(render(read_lines(Path(sys.argv[1]))), end="")
