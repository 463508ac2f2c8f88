"""Lines and records of benchmarks.

A line is one run of one system as JSON: what ran where (`circumstances`), then figures or `error`.
A record is markdown made of lines alone, so that `python -m bench SUITE --render LINES.jsonl` makes
it again.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

Line = dict[str, Any]

SHOWN_PATHS = {
    "data": "DATA", "model": "MODEL", "run": "RUN", "peer_model": "FOLDER", "folder": "FOLDER",
}  # fmt: skip
"""What a record's command has in the place of a path of the machine; others keep their name."""


def circumstances(command: str, libraries: Sequence[str] = ("numpy", "scipy")) -> Line:
    """What figures depend on besides the systems.

    Args:
        command: The command line that does it again.
        libraries: Distributions whose versions count, besides xrt's.

    Returns:
        Date (UTC), commit, machine, versions, command and the load average of the last minute.
    """
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(libraries),
        "command": command,
        "load_average": round(os.getloadavg()[0], 2),
    }


def machine() -> Line:
    """Processor, number of processors, memory in GB, version of Python."""
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "python": platform.python_version(),
    }


def processor() -> str:
    """The processor's name as Linux has it, or else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """The version of each distribution that is installed."""
    installed = {}
    for name in libraries:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def commit() -> str:
    """The commit of this checkout, with a plus where files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    head = output_of([*git, "rev-parse", "--short", "HEAD"])
    changes = output_of([*git, "status", "--porcelain", "--untracked-files=no"])
    return (head or "unknown") + ("+" if changes else "")


def output_of(command: Sequence[str]) -> str:
    """What a command prints, nothing where it fails."""
    try:
        process = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return process.stdout.strip() if process.returncode == 0 else ""


def shown_command(suite: str, args: argparse.Namespace, options: Sequence[str]) -> str:
    """The command line that does it again, without paths of this machine.

    Args:
        suite: The suite's name.
        args: Its arguments.
        options: Names of the arguments to show, in order. Those that are None, False or empty are
            left out, so are positional ones.

    Returns:
        The command, with SHOWN_PATHS or the file's name in the place of a path.
    """
    words = ["python", "-m", "bench", suite]
    for option in options:
        value = getattr(args, option)
        if value is None or value is False or value == [] or value == {}:
            continue
        words.append(f"-{'' if len(option) == 1 else '-'}{option.replace('_', '-')}")
        if value is not True:
            words += shown_value(option, value)
    return shlex.join(words)


def shown_value(option: str, value: Any) -> list[str]:
    """An argument's value as words."""
    if option == "peer_python":
        return [shown_interpreter(word) for word in value]
    if isinstance(value, list | tuple):
        return [word for each in value for word in shown_value(option, each)]
    if isinstance(value, Path):
        return [SHOWN_PATHS.get(option, value.name)]
    return [json.dumps(value) if isinstance(value, Mapping) else str(value)]


def shown_interpreter(word: str) -> str:
    """`NAME=PYTHON` or `PYTHON` without the machine's path."""
    name, separator, _ = word.rpartition("=")
    return f"{name}{separator}{name.upper() or 'PEERS'}/bin/python"


def append_line(path: Path | None, line: Line) -> None:
    """Append a line to a JSONL file, where one is given."""
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_lines(path: Path) -> list[Line]:
    """The lines of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def publish(text: str, path: Path | None) -> None:
    """Print a record, and write it where a file is given."""
    if path is not None:
        path.write_text(text, encoding="utf-8")
    print(text, end="")


def document(parts: Sequence[str]) -> str:
    """Parts of a record with an empty line between them; empty parts are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"


def head(title: str, lines: Sequence[Line]) -> list[str]:
    """Title with the date, commands, and what ran where.

    Args:
        title: The record's title.
        lines: All lines, at least one.

    Returns:
        Parts for `document`.
    """
    first = lines[0]
    where = first["machine"]
    counts = [f"threads: {first['threads']}"] if "threads" in first else []
    counts += [f"rounds: {max(line['round'] for line in lines)}"] if "round" in first else []
    load = max(line["load_average"] for line in lines)
    commands = dict.fromkeys(line["command"] for line in lines if line.get("command"))
    return [
        f"# {title} · {first['date']}",
        "\n".join(f"    {command}" for command in commands),
        f"{where['processor']}, {where['processors']} processors, {where['memory_gb']} GB; "
        + "".join(f"{count}, " for count in counts)
        + f"load average before a run: at most {load:.1f}. xrt at commit {first['commit']}, "
        f"Python {where['python']}.",
    ]


def failures(lines: Sequence[Line], sentence: Callable[[Line], str]) -> list[str]:
    """The last parts of a record: runs that failed, a sentence each."""
    failed = [line for line in lines if "error" in line]
    return ["## Failed", "\n".join(f"- {sentence(line)}" for line in failed)] if failed else []


def library_list(line: Line) -> str:
    """The versions of a line in brackets."""
    return "(" + ", ".join(f"{name} {text}" for name, text in line["versions"].items()) + ")"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None) -> str:
    """Three digits; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """Median, and the range where there are several; a dash where there is none."""
    if not values:
        return "-"
    middle = number(median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))} to {number(max(values))})"


def medians(runs: Sequence[Line]) -> Line:
    """The median of each number over the runs of one system; other values of the last run."""
    return {
        key: median(run[key] for run in runs) if is_number(value) else value
        for key, value in runs[-1].items()
    }


def is_number(value: Any) -> bool:
    """Whether a median makes sense."""
    return isinstance(value, int | float) and not isinstance(value, bool)
