"""The record of the encoder benchmark's JSON lines, as markdown.

    python encoder_record.py LINES.jsonl

A line is one run of one system: `what` (`pace` or `full`), `system`, `round`, `max_length`, and
either figures or `error`. Ratios are taken within a round, and the median of the ratios is told.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.suites.linear_record import Line, number, read_lines, spread, table

PACE_EXPLANATION = """\
Documents a second of fine-tuning on the finest clusters of labels in xrt's tree. Each run
is a process of its own; within a round the systems follow each other, in the opposite order in the
next. PECOS's step is timed from one clipping of gradients to the next, xrt's from the end of one
step to the end of the next: forward and backward pass, both optimisers and the making of the batch
are in it, loading, clustering, tokenising, saving and the first {warm_up} steps are not. `xrt` has
its own batches (a budget of tokens, rows of like length), `xrt-32` the 32 rows a step of PECOS's
recipes, `xrt-upper` trains the upper layers alone. PECOS computes in float32 and pads to the length
limit, xrt in bfloat16 where the processor has it, and pads to the longest row of a batch."""
FULL_EXPLANATION = """\
Whole runs on the same training and test rows; P, R and PSP (A 0.55, B 1.5) by xrt's metrics. PECOS:
the recipe published for wiki10-31k, the set with the nearest number of labels, with other steps,
length limit and learning rate (see `settings`); TF-IDF rows are given, off the clock. xrt:
presets; TF-IDF, the linear model and the choice of fusion weights are on the clock. PECOS is not
told the labels' names, which xrt's presets read."""
METRICS = ("P@1", "P@3", "P@5", "R@10", "PSP@1", "PSP@3", "PSP@5")


def render(lines: Sequence[Line]) -> str:
    """The record: what ran where, tables, failures."""
    first = lines[0]
    told = first["machine"]
    load = max(line["load_average"] for line in lines)
    good = [line for line in lines if "error" not in line]
    parts = [
        f"# Fine-tuning beside PECOS's XR-Transformer · {first['date']}",
        "\n".join(f"    {command}" for command in dict.fromkeys(f["command"] for f in lines)),
        f"{told['processor']}, {told['processors']} processors, {told['memory_gb']} GB; threads: "
        f"{first['threads']}, load average before a run: at most {load:.1f}. xrt at commit "
        f"{first['commit']}, Python {told['python']}.",
        "\n".join(systems(good)),
        *pace_parts([line for line in good if line["what"] == "pace"]),
        *full_parts([line for line in good if line["what"] == "full"]),
    ]
    failed = [failure(line) for line in lines if "error" in line]
    if failed:
        parts += ["## Failed", "\n".join(f"- {told}" for told in failed)]
    return "\n\n".join(part for part in parts if part) + "\n"


def systems(lines: Sequence[Line]) -> list[str]:
    """Versions and settings of each system that finished a run."""
    last = {(line["what"], line["system"]): line for line in lines}
    return [
        f"- {system}, {what}: {line['settings']} ("
        + ", ".join(f"{name} {found}" for name, found in line["versions"].items())
        + ")"
        for (what, system), line in last.items()
    ]


def pace_parts(lines: Sequence[Line]) -> list[str]:
    """Heading, table and explanation of the steps' pace."""
    if not lines:
        return []
    rounds, first = max(line["round"] for line in lines), lines[0]
    head = ["tokens", "system", "rows a step", "documents/s", "times PECOS's", "peak GB"]
    rows = [
        pace_row(lines, max_length, system)
        for max_length in dict.fromkeys(line["max_length"] for line in lines)
        for system in dict.fromkeys(line["system"] for line in lines)
    ]
    return [
        "## Steps",
        f"{first['num_rows']:,} texts, {first['num_clusters']:,} clusters, rounds: {rounds}, "
        f"timed steps of a run: {first['steps']}. Medians over the rounds (lowest to highest).",
        table(head, [row for row in rows if row]),
        PACE_EXPLANATION.format(warm_up=first["warm_up"]),
    ]


def pace_row(lines: Sequence[Line], max_length: int, system: str) -> list[str]:
    """The median of a system's rounds, and of its ratios to PECOS within rounds; empty where it
    did not finish one.
    """
    own, peer = (
        {
            line["round"]: line
            for line in lines
            if line["max_length"] == max_length and line["system"] == name
        }
        for name in (system, "pecos")
    )
    if not own:
        return []
    paces = [line["documents_per_second"] for line in own.values()]
    ratios = [
        line["documents_per_second"] / peer[r]["documents_per_second"]
        for r, line in own.items()
        if r in peer
    ]
    return [
        str(max_length), system, number(median(line["rows_of_step"] for line in own.values())),
        spread(paces), spread(ratios), number(max(line["peak_gb"] for line in own.values())),
    ]  # fmt: skip


def full_parts(lines: Sequence[Line]) -> list[str]:
    """Heading, table and explanation of whole runs."""
    if not lines:
        return []
    peer = {(line["max_length"], line["round"]): line["train_seconds"]
            for line in lines if line["system"] == "pecos"}  # fmt: skip
    rows = [
        [
            str(line["max_length"]), line["system"], f"{line['train_seconds']:.0f}",
            share(line["train_seconds"], peer.get((line["max_length"], line["round"]))),
            f"{line['predict_seconds']:.0f}",
            *(f"{100 * line[metric]:.2f}" for metric in METRICS), number(line["peak_gb"]),
        ]
        for line in lines
    ]  # fmt: skip
    head = ["tokens", "system", "train s", "of PECOS's", "predict s", *METRICS, "peak GB"]
    return ["## Whole runs", table(head, rows), FULL_EXPLANATION]


def share(seconds: float, peers: float | None) -> str:
    """Seconds as a share of the peer's in the same round; a dash where it did not finish one."""
    return "-" if peers is None else f"{seconds / peers:.2f}"


def failure(line: Line) -> str:
    """One sentence on a run that failed."""
    return (
        f"{line['what']}, {line['max_length']} tokens, round {line['round']}, {line['system']}: "
        f"{line['error']}"
    )


if __name__ == "__main__":
    print(render(read_lines(Path(sys.argv[1]))), end="")
