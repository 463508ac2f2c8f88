"""The markdown record of the JSON lines of attributes.py.

python attributes_record.py LINES.jsonl
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def render(lines: Sequence[Line]) -> str:
    """The record: item accuracy and two figures an attribute beside each other, then each table."""
    first = lines[0]
    machine = first["machine"]
    parts = [
        f"# Attribute values beside peers · {first['date']}",
        f"{machine['processor']}, {machine['processors']} processors, {machine['memory_gb']} GB, "
        f"Python {machine['python']}; {first['threads']} threads, load average at most "
        f"{max(line['load_average'] for line in lines):.1f}; xrt at commit {first['commit']}. "
        f"{first['num_train']:,} training rows, {first['num_test']:,} test rows, "
        f"{first['num_features']:,} TF-IDF columns, {first['num_labels']:,} labels. Fractions of 1 "
        "on the test rows.",
        summary(lines),
    ]
    for line in lines:
        notes = [f"`{line['system']}` ({line['version']})"]
        if "chosen" in line:
            names = [each["name"] for each in line["report"]["attributes"]]
            notes += [
                f"{name}: C = {each['C']:g}" + told_accuracy(each["held_out_accuracy"])
                for name, each in zip(names, line["chosen"], strict=True)
            ]
        parts += ["; ".join(notes), f"```\n{line['table']}\n```"]
    return "\n\n".join(parts) + "\n"


def summary(lines: Sequence[Line]) -> str:
    """A line for each system: item accuracy, then accuracy / macro F1 of each attribute."""
    names = [each["name"] for each in lines[0]["report"]["attributes"]]
    table = [["", "item accuracy", *(f"{name}: accuracy / macro F1" for name in names)]]
    table.append(["---"] * len(table[0]))
    for line in lines:
        scores = [each["scores"] for each in line["report"]["attributes"]]
        cells = [
            "-" if s is None else f"{number(s['accuracy'])} / {number(s['macro_f1'])}"
            for s in scores
        ]
        table.append([line["system"], number(line["report"]["item_accuracy"]), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in table)


def told_accuracy(held_out: dict[str, float]) -> str:
    """Held-out accuracy of each C that was tried."""
    if not held_out:
        return ""
    return f" (held out: {', '.join(f'{c}: {value:.4f}' for c, value in held_out.items())})"


def number(value: float | None) -> str:
    """Four decimals, or a dash."""
    return "-" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    given = Path(sys.argv[1]).read_text().splitlines()
    print(render([json.loads(line) for line in given]), end="")
