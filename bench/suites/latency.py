"""How long one text takes: a saved model asked text by text, end to end and by part, beside PECOS's
XR-Transformer.

    xrt train experiment=tibkat paths.data=DATA
    python -m bench latency --model runs/tibkat/model --data DATA \
        --output latency.jsonl --record RECORD.md

    python -m venv PEERS
    PEERS/bin/pip install "libpecos==1.2.8" "transformers<4.50" "numpy<2" "torch==2.13.0"
    ... --peer-python PEERS/bin/python --peer-model FOLDER

Each system is a process of its own with as many threads, which opens its model once and answers the
titles of tibkat's test split (or --texts) one by one; systems follow each other in an order that
turns round from round to round. `xrt-fp32`, `xrt-bf16` and so on are kinds of `compute`. First the
answers are timed whole, then all once more with a clock on each part.

PECOS's model is made where FOLDER does not hold one, which takes minutes: MiniLM as it is, without
fine-tuning, and PECOS's own TF-IDF, tree and rankers over all labels, from --peer-rows training
rows in which every label has one. Latency depends on the sizes of encoder, tree and weights, not on
how right they are; fewer rows make fewer weights, which favours PECOS. It answers with one tree,
xrt with all the sources its model has.

Each run's figures go to --output as one JSON line; the record is printed, and written to --record;
`latency_record.py` makes it from the lines alone. The exit status is 1 where a run failed.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.children import run_child
from bench.latency_rows import write_asked, write_peer_rows
from bench.machine import commit, machine
from bench.rows import find_data, split_file
from bench.suites.encoder import packaged_minilm, require_peer
from bench.suites.latency_record import failure, render
from bench.suites.linear_record import Line

KINDS = ("auto", "fp32", "bf16", "int8", "onnx")
SYSTEMS = (*(f"xrt-{kind}" for kind in KINDS), "pecos")
BEAM_SIZE = 10
"""PECOS's beam: its default, and that of xrt's presets."""


def main() -> int:
    """Run the rounds and tell what came out."""
    args = parse_arguments()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-latency-") as scratch:
        folder = Path(scratch)
        told = write_asked(asked_file(args), args.text_columns, args.num_texts, folder)
        if "pecos" in args.systems:
            require_peer(args.peer_python)
            make_peer(folder, args)
        about = {
            "date": datetime.now(UTC).date().isoformat(), "commit": commit(), "machine": machine(),
            "command": shown_command(args), "threads": args.threads, "k": args.k,
            "warm_up": args.warm_up, "max_length": args.max_length, **told,
        }  # fmt: skip
        for number in range(1, args.repeats + 1):
            for system in args.systems if number % 2 else args.systems[::-1]:
                line = {**about, "system": system, "round": number}
                line["load_average"] = round(os.getloadavg()[0], 2)
                line |= run_system(system, folder, args)
                lines.append(line)
                with args.output.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(summary(line), file=sys.stderr, flush=True)
    record = render(lines)
    if args.record is not None:
        args.record.write_text(record)
    print(record, end="")
    return 1 if any("error" in line for line in lines) else 0


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Latency of one text, end to end and by part.")
    parser.add_argument("--model", type=Path, help="folder of a saved xrt model")
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: XRT_DATA)")
    parser.add_argument("--texts", type=Path, help="labelled file (default: tibkat's test split)")
    parser.add_argument("--text-columns", nargs="+", help="default: title")
    parser.add_argument("--num-texts", type=int, default=1000, help="spread over the file")
    parser.add_argument("--warm-up", type=int, default=100, help="texts before the clock runs")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, help="default: all but xrt-onnx")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-k", type=int, default=5, help="labels asked for")
    parser.add_argument("--peer-python", help="interpreter that has libpecos, transformers < 4.50")
    parser.add_argument("--peer-model", type=Path, help="folder of PECOS's model; made if missing")
    parser.add_argument("--peer-rows", type=int, default=20_000, help="rows it is made of")
    parser.add_argument("--max-length", type=int, default=64, help="tokens that PECOS reads")
    parser.add_argument("--timeout", type=float, default=20_000, help="seconds a run may take")
    parser.add_argument("--output", type=Path, default=Path("latency.jsonl"), help="appended to")
    parser.add_argument("--record", type=Path, help="markdown file to write")
    args = parser.parse_args(arguments)
    args.text_columns = args.text_columns or ["title"]
    without = {"xrt-onnx"} if args.peer_python else {"xrt-onnx", "pecos"}
    args.systems = args.systems or [name for name in SYSTEMS if name not in without]
    if args.model is None and args.systems != ["pecos"]:
        parser.error("--model is needed: the folder of a saved xrt model")
    if "pecos" in args.systems and not (args.peer_python and args.peer_model):
        parser.error("pecos needs --peer-python and --peer-model; or leave it out with --systems")
    return args


def asked_file(args: argparse.Namespace) -> Path:
    """The file whose texts are asked."""
    given: Path | None = args.texts
    return given or split_file(find_data(args.data) / "tibkat", "tst")


def make_peer(folder: Path, args: argparse.Namespace) -> None:
    """Make PECOS's model unless it is there. Leaves with the error where that fails."""
    if (args.peer_model / "xrt" / "param.json").is_file():
        return
    trn = split_file(find_data(args.data) / "tibkat", "trn")
    told = write_peer_rows(trn, args.peer_rows, 0, folder)
    print(f"PECOS's model: {told['num_train']:,} rows, {told['num_labels']:,} labels ...",
          file=sys.stderr, flush=True)  # fmt: skip
    made = run_system("pecos", folder, args, what="make")
    if "error" in made:
        raise SystemExit(f"PECOS's model could not be made: {made['error']}")


def run_system(system: str, folder: Path, args: argparse.Namespace, what: str = "ask") -> Line:
    """Figures of one system in a process of its own; or its error."""
    kind = system.removeprefix("xrt-")
    settings = {
        "model": str(args.model), "compute": kind, "threads": args.threads, "k": args.k,
        "warm_up": args.warm_up, "max_length": args.max_length, "beam_size": BEAM_SIZE,
    }  # fmt: skip
    python, module, command = sys.executable, "bench.own.latency", [str(folder)]
    if system == "pecos":
        settings["encoder"] = str(packaged_minilm())
        python, module = args.peer_python, "bench.peers.pecos_latency"
        command = [what, str(folder), str(args.peer_model)]
    with tempfile.TemporaryDirectory(prefix="benchmark-system-") as name:
        command += [name, json.dumps(settings)]
        return run_child(python, module, command, Path(name), args.threads, args.timeout)


def shown_command(args: argparse.Namespace) -> str:
    """The command line that does it again, with names in the place of this machine's paths."""
    words = ["python", "-m", "bench", "latency", "--model", "MODEL"]
    words += ["--texts", args.texts.name] if args.texts else ["--data", "DATA"]
    if "pecos" in args.systems:
        words += ["--peer-python", "PEERS/bin/python", "--peer-model", "FOLDER"]
        words += ["--peer-rows", str(args.peer_rows), "--max-length", str(args.max_length)]
    words += ["--systems", *args.systems, "--text-columns", *args.text_columns]
    for name in ("num_texts", "warm_up", "repeats", "threads"):
        words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    return " ".join([*words, "-k", str(args.k)])


def summary(line: Line) -> str:
    """A line for whoever waits."""
    if "error" in line:
        return f"FAILED {failure(line)}"
    told = ", ".join(f"{name} {ms:.2f} ms" for name, ms in line["ms"].items())
    return f"round {line['round']}, {line['system']}: {told}"


if __name__ == "__main__":
    sys.exit(main())
