"""Compares xrt's linear tree with libpecos, omikuji and napkinXC on the same rows.

    python -m venv PEERS
    PEERS/bin/pip install "numpy<2" "libpecos==1.2.8" "omikuji==0.5.2"
    python -m venv NAPKIN
    NAPKIN/bin/pip install "napkinxc==0.7.2"
    python -m bench linear --peer-python PEERS/bin/python \
        --napkinxc-python NAPKIN/bin/python --data DATA --rows tibkat yso hybrid \
        --output linear.jsonl --record RECORD.md

Row sets: `tibkat` and `yso` (TF-IDF rows of DATA/tibkat and DATA/yso, each with trn.jsonl and
tst.jsonl, .gz and .xz too; DATA may also be XRT_DATA), `hybrid` (those of tibkat with 384 dense
columns, of --embeddings or random projections), `synthetic-10k`, `synthetic-100k`, `synthetic-1m`
or any other number (labels; nothing is read). A peer whose interpreter is not given is left out.

Each run of a system is a process of its own. Its figures go to --output as one JSON line; at the
end the record is printed, and written to --record. `--growth FILE.svg` also draws how the figures
of the synthetic sets grow with size. A system that fails on a row set is not tried on it again; the
others go on, the record names it, and the exit status is 1. `linear_record.py` and `plot_growth.py`
make record and plot from the lines alone.
"""

import argparse
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench.children import run_child
from bench.judge import Truth
from bench.machine import commit, machine, shown_command
from bench.rows import make_rows, row_set_name
from bench.suites.growth import draw_growth
from bench.suites.linear_record import Line, failure, render
from xrt.estimators import PRESETS

OWN = tuple(f"xrt-{preset}" for preset in PRESETS)
PEERS = {"pecos": "peer", "parabel": "peer", "bonsai": "peer", "napkinxc": "napkinxc"}
"""Each peer, and the interpreter that has it."""
CHILD = "bench.linear_system"


def main() -> int:
    """Make all rows, run the systems in rounds, tell what came out."""
    args = parse_arguments()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-linear-") as scratch:
        homes = {name: (args.keep_rows or Path(scratch)) / name for name in args.rows}
        for name, home in homes.items():
            print(f"rows of {name} ...", file=sys.stderr, flush=True)
            make_rows(
                name, home, args.data, max_train_rows=args.max_train_rows,
                max_test_rows=args.max_test_rows, embeddings=args.embeddings, seed=args.seed,
            )  # fmt: skip
        for name, home in homes.items():
            run_rounds(name, home, args, lines)
    notes = []
    if args.growth is not None:
        notes = draw_growth(lines, args.growth)
    record = render(lines, notes)
    if args.record is not None:
        args.record.write_text(record)
    print(record, end="")
    failed = [line for line in lines if "error" in line]
    for line in failed:
        print(f"failed: {failure(line)}", file=sys.stderr)
    return 1 if failed else 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", nargs="+", default=["tibkat"], type=row_set_name)
    parser.add_argument("--systems", nargs="+", choices=[*OWN, *PEERS], help="default: all known")
    parser.add_argument("--peer-python", help="interpreter that has libpecos and omikuji")
    parser.add_argument("--napkinxc-python", help="interpreter that has napkinxc")
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
    args = parser.parse_args()
    args.python = {"peer": args.peer_python, "napkinxc": args.napkinxc_python}
    if args.systems is None:
        args.systems = [*OWN, *(peer for peer, which in PEERS.items() if args.python[which])]
    for peer in args.systems:
        if peer in PEERS and not args.python[PEERS[peer]]:
            parser.error(f"{peer} needs --{PEERS[peer]}-python (see the head of this script)")
    return args


def run_rounds(row_set: str, rows: Path, args: argparse.Namespace, lines: list[Line]) -> None:
    """Run every system in every round on one row set; lines go to the list and the file."""
    truth = Truth.load(rows)
    failed: set[str] = set()
    for number in range(1, args.repeats + 1):
        order = args.systems if number % 2 else args.systems[::-1]
        for system in (name for name in order if name not in failed):
            line = {
                "row_set": row_set, "round": number, "system": system, "threads": args.threads,
                "date": datetime.now(UTC).strftime("%Y-%m-%d"),
                "load_average": os.getloadavg()[0], "commit": commit(), "machine": machine(),
                "command": shown_command(args), **truth.sizes,
            }  # fmt: skip
            with tempfile.TemporaryDirectory(prefix="benchmark-system-") as out:
                line |= run_system(system, rows, Path(out), truth, args)
            if "error" in line:
                failed.add(system)
            lines.append(line)
            with args.output.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(summary(line, args.repeats), file=sys.stderr, flush=True)


def run_system(system: str, rows: Path, out: Path, truth: Truth, args: argparse.Namespace) -> Line:
    """Figures of one run in a child process, with its predictions judged; or its error."""
    python = args.python[PEERS[system]] if system in PEERS else sys.executable
    command = [system, str(rows), str(out), str(args.threads)]
    figures = run_child(python, CHILD, command, out, args.threads, args.timeout)
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


if __name__ == "__main__":
    sys.exit(main())
