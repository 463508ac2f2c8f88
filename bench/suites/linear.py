"""Linear tree systems on the same rows: xrt's presets, libpecos, omikuji, napkinXC.

    python -m venv PEERS
    PEERS/bin/pip install "numpy<2" "libpecos==1.2.8" "omikuji==0.5.2"
    python -m venv NAPKINXC
    NAPKINXC/bin/pip install "napkinxc==0.7.2"
    python -m bench linear --peers libpecos omikuji napkinxc \
        --peer-python PEERS/bin/python napkinxc=NAPKINXC/bin/python \
        --data DATA --rows tibkat yso hybrid --output linear.jsonl --record RECORD.md

Row sets: `tibkat` and `yso` (TF-IDF rows of DATA/tibkat and DATA/yso, each with trn.jsonl and
tst.jsonl, .gz and .xz too; DATA may also be XRT_DATA), `hybrid` (those of tibkat with 384 dense
columns, of --embeddings or random projections), `synthetic-10k`, `synthetic-100k`, `synthetic-1m`
or any other number (labels; nothing is read).

Each run of a system is a process of its own. Its figures go to --output as one JSON line; at the
end the record is printed, and written to --record. `--growth FILE.svg` also draws how the figures
of the synthetic sets grow with size (`python -m bench growth` draws lines of earlier runs). A
system that fails on a row set is not tried on it again; the others go on, the record names it, and
the exit status is 1.

Speeds are compared round by round: the ratio of two systems is taken within a round, where the
machine was in the same mood, and the record has the median of the ratios.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.judge import Truth
from bench.peers import add_interpreters, interpreters
from bench.record import (
    Line,
    append_line,
    circumstances,
    document,
    failures,
    head,
    medians,
    number,
    publish,
    shown_command,
    spread,
    table,
)
from bench.rows import make_rows, row_set_name
from bench.runs import rounds, run_child
from bench.suites.growth import draw_growth
from xrt.estimators import PRESETS

OWN = tuple(f"xrt-{preset}" for preset in PRESETS)
SYSTEMS_OF = {"libpecos": ("pecos",), "omikuji": ("parabel", "bonsai"), "napkinxc": ("napkinxc",)}
"""Systems of each peer."""
PEER_OF = {system: peer for peer, systems in SYSTEMS_OF.items() for system in systems}
SHOWN = (
    "peers", "peer_python", "data", "embeddings", "rows", "systems", "repeats", "threads", "seed",
    "max_train_rows", "max_test_rows",
)  # fmt: skip

COLUMNS: dict[str, Callable[[Line], str]] = {
    "train s": lambda line: number(line["train_seconds"]),
    "of it tree": lambda line: number(line.get("index_seconds")),
    "CPU s": lambda line: number(line["train_cpu_seconds"]),
    "rows/s": lambda line: f"{line['predict_rows_per_second']:,.0f}",
    "one row p50 / p99 ms": lambda line: (
        f"{number(line['single_row_p50_ms'])} / {number(line['single_row_p99_ms'])}"
    ),
    "peak MB (rise)": lambda line: f"{line['peak_memory_mb']:.0f} ({line['memory_rise_mb']:.0f})",
    "model MB": lambda line: f"{line['model_mb']:.0f}",
    "load ms": lambda line: f"{line['load_ms']:.0f}",
    "P@1 / 3 / 5": lambda line: " / ".join(f"{100 * line[f'P@{k}']:.2f}" for k in (1, 3, 5)),
    "R@10": lambda line: f"{100 * line['R@10']:.2f}",
    "PSP@5": lambda line: f"{100 * line['PSP@5']:.2f}",
}
RATIOS = {
    "training": "train_seconds",
    "batch prediction": "predict_seconds",
    "one row (p50)": "single_row_p50_ms",
    "peak memory": "peak_memory_mb",
    "its rise": "memory_rise_mb",
}
EXPLANATION = """\
Medians over the rounds; within a round the systems follow each other, in the opposite order in the
next. Each run is a process of its own with the same rows and threads. Training includes label
features and the tree; reading rows, importing and compiling are off the clock. Models are saved,
opened again, and predict all test rows (top 10), then 200 rows one by one. Peak is the resident
memory while training, in brackets its rise over what was held before (libraries and rows). omikuji
reads a text file, off the clock, and its Python binding predicts row by row. P, R and PSP (A 0.55,
B 1.5) by xrt's metrics; labels that training never saw count as misses."""


def main(arguments: Sequence[str]) -> int:
    """Make all rows, run the systems in rounds, publish the record. Returns the exit status."""
    args = parse_arguments(arguments)
    pythons = interpreters(args.peer_python, args.peers)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-linear-") as scratch:
        folders = {name: (args.keep_rows or Path(scratch)) / name for name in args.rows}
        for name, folder in folders.items():
            print(f"rows of {name} ...", file=sys.stderr, flush=True)
            make_rows(
                name, folder, args.data, max_train_rows=args.max_train_rows,
                max_test_rows=args.max_test_rows, embeddings=args.embeddings, seed=args.seed,
            )  # fmt: skip
        for name, folder in folders.items():
            run_rounds(name, folder, args, pythons, lines)
    notes = [] if args.growth is None else draw_growth(lines, args.growth)
    publish(render(lines, notes), args.record)
    failed = [line for line in lines if "error" in line]
    for line in failed:
        print(f"failed: {failure(line)}", file=sys.stderr)
    return 1 if failed else 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; a system of a peer stands for the peer, too."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", nargs="+", default=["tibkat"], type=row_set_name)
    parser.add_argument("--peers", nargs="+", choices=list(SYSTEMS_OF), default=[])
    parser.add_argument(
        "--systems", nargs="+", choices=[*OWN, *PEER_OF], help="default: xrt's and the peers'"
    )
    add_interpreters(parser)
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: XRT_DATA)")
    parser.add_argument("--embeddings", type=Path, help="npy (rows of trn, then of tst) for hybrid")
    parser.add_argument("--keep-rows", type=Path, help="folder that keeps row sets for other runs")
    parser.add_argument("--max-train-rows", type=int, help="only the first rows, for a trial")
    parser.add_argument("--max-test-rows", type=int, help="only so many, spread over all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of synthetic rows and projections")
    parser.add_argument("--timeout", type=float, default=7200, help="seconds a run may take")
    parser.add_argument("--output", type=Path, default=Path("linear.jsonl"), help="appended to")
    parser.add_argument("--record", type=Path, help="markdown file to write")
    parser.add_argument("--growth", type=Path, help="svg or png file to draw")
    args = parser.parse_args(arguments)
    if args.systems is None:
        args.systems = [*OWN, *(system for peer in args.peers for system in SYSTEMS_OF[peer])]
    implied = (PEER_OF[system] for system in args.systems if system in PEER_OF)
    args.peers = list(dict.fromkeys([*args.peers, *implied]))
    return args


def run_rounds(
    row_set: str, rows: Path, args: argparse.Namespace, pythons: dict[str, str], lines: list[Line]
) -> None:
    """Run every system in every round on one row set; lines go to the list and the file."""
    truth = Truth.load(rows)
    options = [name for name in SHOWN if name != "data" or needs_data(args.rows)]
    command = shown_command("linear", args, options)
    failed: set[str] = set()
    for number_, system in rounds(args.systems, args.repeats):
        if system in failed:
            continue
        line = {
            "row_set": row_set, "round": number_, "system": system, "threads": args.threads,
            **circumstances(command), **truth.sizes,
        }  # fmt: skip
        python = pythons[PEER_OF[system]] if system in PEER_OF else sys.executable
        with tempfile.TemporaryDirectory(prefix="benchmark-system-") as out:
            line |= run_system(system, python, rows, Path(out), truth, args)
        if "error" in line:
            failed.add(system)
        lines.append(line)
        append_line(args.output, line)
        print(summary(line, args.repeats), file=sys.stderr, flush=True)


def needs_data(rows: Sequence[str]) -> bool:
    """Whether any row set is made of files."""
    return any(not name.startswith("synthetic-") for name in rows)


def run_system(
    system: str, python: str, rows: Path, out: Path, truth: Truth, args: argparse.Namespace
) -> Line:
    """Figures of one run in a child process, with its predictions judged; or its error."""
    module = f"bench.peers.{PEER_OF[system]}" if system in PEER_OF else "bench.own.linear"
    arguments = [system, str(rows), str(out), str(args.threads)]
    figures = run_child(python, module, arguments, out, args.threads, args.timeout)
    return figures if "error" in figures else {**figures, **truth.judged(out / "predicted.npz")}


def summary(line: Line, repeats: int) -> str:
    """A line for whoever waits."""
    if "error" in line:
        return f"FAILED {failure(line)}"
    return (
        f"{line['row_set']} {line['round']}/{repeats} {line['system']:12s} "
        f"train {line['train_seconds']:8.2f} s  {line['predict_rows_per_second']:9,.0f} rows/s  "
        f"one row {line['single_row_p50_ms']:6.2f} ms  P@1 {100 * line['P@1']:.2f}"
    )


def render(lines: Sequence[Line], notes: Sequence[str] = ()) -> str:
    """The record as markdown: a table of medians and one of ratios for each row set."""
    parts = [
        *head("Linear tree systems on the same rows", lines),
        "\n".join(about_systems(lines)),
        EXPLANATION,
    ]
    for row_set in dict.fromkeys(line["row_set"] for line in lines):
        parts += row_set_parts(lines, row_set)
    return document([*parts, *failures(lines, failure), *notes])


def about_systems(lines: Sequence[Line]) -> list[str]:
    """Name, version and settings of each system that finished a run."""
    last = {line["system"]: line for line in lines if "error" not in line}
    return [f"- {name}: {line['version']}, {line['settings']}" for name, line in last.items()]


def row_set_parts(lines: Sequence[Line], row_set: str) -> list[str]:
    """Heading, table of medians and table of ratios of a row set."""
    runs = by_system(lines, row_set)
    if not runs:
        return []
    sizes = next(iter(next(iter(runs.values())).values()))
    middle = {name: medians(list(of.values())) for name, of in runs.items()}
    rows = [[name, *(cell(line) for cell in COLUMNS.values())] for name, line in middle.items()]
    dense = f" and {sizes['num_dense']} dense columns" if sizes["num_dense"] else ""
    parts = [
        f"## {row_set}",
        f"{sizes['num_train']:,} training and {sizes['num_test']:,} test rows, "
        f"{sizes['num_features']:,} features{dense}, {sizes['nonzeros']:,} nonzeros, "
        f"{sizes['num_labels']:,} labels.",
        table(["", *COLUMNS], rows),
    ]
    compared = ratio_rows(runs)
    if compared:
        parts += [
            "Times as fast, or as small, as the peer: median of the rounds (lowest to highest).",
            table(["", *RATIOS], compared),
        ]
    return parts


def by_system(lines: Sequence[Line], row_set: str) -> dict[str, dict[int, Line]]:
    """Runs of each system on a row set by round, without those that failed."""
    runs: dict[str, dict[int, Line]] = {}
    for line in lines:
        if line["row_set"] == row_set and "error" not in line:
            runs.setdefault(line["system"], {})[line["round"]] = line
    return runs


def ratio_rows(runs: dict[str, dict[int, Line]]) -> list[list[str]]:
    """A row for each of xrt's presets and each peer."""
    own = [name for name in runs if name.startswith("xrt-")]
    rows = []
    for name in own:
        for peer in (peer for peer in runs if peer not in own):
            each = [ratios(runs[peer], runs[name], figure) for figure in RATIOS.values()]
            if each[0]:
                rows.append([f"{name} beside {peer}", *(spread(values) for values in each)])
    return rows


def ratios(peer: dict[int, Line], own: dict[int, Line], figure: str) -> list[float]:
    """The peer's figure over one's own in each round that both finished: above 1, the peer needs
    more.
    """
    shared = [r for r in sorted(own) if r in peer and own[r][figure] > 0]
    return [peer[r][figure] / own[r][figure] for r in shared]


def failure(line: Line) -> str:
    """One sentence on a run that failed."""
    return f"{line['row_set']}, round {line['round']}, {line['system']}: {line['error']}"
