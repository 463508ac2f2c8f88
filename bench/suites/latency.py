"""Latency of one text, end to end and by part, beside PECOS's XR-Transformer.

    xrt train experiment=tibkat paths.data=DATA
    python -m bench latency --model runs/tibkat/model --data DATA \
        --output latency.jsonl --record RECORD.md

    python -m venv PEERS
    PEERS/bin/pip install "libpecos==1.2.8" "transformers<4.50" "numpy<2" "torch==2.13.0"
    ... --peers pecos_transformer --peer-python PEERS/bin/python --peer-model FOLDER

Each system is a process of its own with as many threads, which opens its model once and answers the
titles of tibkat's test split (or --texts) one by one; systems follow each other in an order that
turns round from round to round. `xrt-fp32`, `xrt-bf16` and so on are kinds of `compute`. First the
answers are timed whole, then all once more with a clock on each part.

PECOS's model is made where FOLDER does not hold one, which takes minutes: MiniLM as it is, without
fine-tuning, and PECOS's own TF-IDF, tree and rankers over all labels, from --peer-rows training
rows in which every label has one. Latency depends on the sizes of encoder, tree and weights, not on
how right they are; fewer rows make fewer weights, which favours PECOS. It answers with one tree,
xrt with all the sources its model has.

Each run's figures go to --output as one JSON line; the record is printed, and written to --record.
The exit status is 1 where a run failed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

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
from bench.rows import find_data, split_file, write_peer_rows, write_queries
from bench.runs import rounds, run_child
from bench.suites.encoder import packaged_minilm

KINDS = ("auto", "fp32", "bf16", "int8", "onnx")
SYSTEMS = (*(f"xrt-{kind}" for kind in KINDS), "pecos")
BEAM_SIZE = 10
"""PECOS's beam: its default, and that of xrt's presets."""
PEER, PEER_SYSTEM = "pecos_transformer", "pecos"

EXPLANATION = """\
Each run is a process of its own, which opens a model and answers the texts one by one after
{warm_up} that do not count: from the text to its {k} best labels. Medians over the rounds (lowest
to highest); within a round the systems follow each other, in the opposite order in the next. `auto`
is xrt's default. The parts are medians (p50) of a second pass over the same
texts, with a clock on each; `rest` is what lies between them."""
PEER_EXPLANATION = """\
PECOS has MiniLM as it is, its own TF-IDF, tree and rankers over all labels, and answers with one
tree; it reads at most {max_length} tokens. Which labels are found is not compared here."""


def main(arguments: Sequence[str]) -> int:
    """Run the rounds and publish the record. Returns the exit status."""
    args = parse_arguments(arguments)
    pythons = interpreters(args.peer_python, args.peers)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-latency-") as scratch:
        folder = Path(scratch)
        sizes = write_queries(query_file(args), args.text_columns, args.num_texts, folder)
        if args.peers:
            make_peer(folder, pythons[PEER], args)
        about = {
            "threads": args.threads, "k": args.k, "warm_up": args.warm_up,
            "max_length": args.max_length, **sizes,
        }  # fmt: skip
        for number_, system in rounds(args.systems, args.repeats):
            line = {**circumstances(command_of(args)), **about, "system": system, "round": number_}
            line |= run_system(system, "ask", pythons, folder, args)
            lines.append(line)
            append_line(args.output, line)
            print(summary(line), file=sys.stderr, flush=True)
    publish(render(lines), args.record)
    return 1 if any("error" in line for line in lines) else 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder of a saved xrt model")
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: XRT_DATA)")
    parser.add_argument("--texts", type=Path, help="labelled file (default: tibkat's test split)")
    parser.add_argument("--text-columns", nargs="+", help="default: title")
    parser.add_argument("--num-texts", type=int, default=1000, help="spread over the file")
    parser.add_argument("--warm-up", type=int, default=100, help="texts before the clock runs")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, help="default: all but xrt-onnx")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-k", type=int, default=5, help="labels of an answer")
    parser.add_argument("--peers", nargs="*", choices=[PEER], default=[])
    add_interpreters(parser)
    parser.add_argument("--peer-model", type=Path, help="folder of PECOS's model; made if missing")
    parser.add_argument("--peer-rows", type=int, default=20_000, help="rows it is made of")
    parser.add_argument("--max-length", type=int, default=64, help="tokens that PECOS reads")
    parser.add_argument("--timeout", type=float, default=20_000, help="seconds a run may take")
    parser.add_argument("--output", type=Path, default=Path("latency.jsonl"), help="appended to")
    parser.add_argument("--record", type=Path, help="markdown file to write")
    args = parser.parse_args(arguments)
    args.text_columns = args.text_columns or ["title"]
    without = {"xrt-onnx"} if args.peers else {"xrt-onnx", PEER_SYSTEM}
    args.systems = args.systems or [name for name in SYSTEMS if name not in without]
    args.peers = [PEER] if PEER_SYSTEM in args.systems else []
    if args.model is None and args.systems != [PEER_SYSTEM]:
        parser.error("--model is missing: give the folder of a saved xrt model")
    if args.peers and not args.peer_model:
        parser.error("--peer-model is missing: give a folder for PECOS's model")
    return args


def query_file(args: argparse.Namespace) -> Path:
    """The file whose texts are asked."""
    texts: Path | None = args.texts
    return texts or split_file(find_data(args.data) / "tibkat", "tst")


def make_peer(folder: Path, python: str, args: argparse.Namespace) -> None:
    """Make PECOS's model unless it is there. Leaves with the error where that fails."""
    if (args.peer_model / "xrt" / "param.json").is_file():
        return
    trn = split_file(find_data(args.data) / "tibkat", "trn")
    sizes = write_peer_rows(trn, args.peer_rows, 0, folder)
    print(f"PECOS's model: {sizes['num_train']:,} rows, {sizes['num_labels']:,} labels ...",
          file=sys.stderr, flush=True)  # fmt: skip
    result = run_system(PEER_SYSTEM, "make", {PEER: python}, folder, args)
    if "error" in result:
        raise SystemExit(f"PECOS's model could not be made: {result['error']}")


def run_system(
    system: str, what: str, pythons: dict[str, str], folder: Path, args: argparse.Namespace
) -> Line:
    """Figures of one system in a process of its own; or its error."""
    settings = {
        "model": str(args.model), "compute": system.removeprefix("xrt-"), "threads": args.threads,
        "k": args.k, "warm_up": args.warm_up, "max_length": args.max_length,
        "beam_size": BEAM_SIZE,
    }  # fmt: skip
    python, module = sys.executable, "bench.own.latency"
    if system == PEER_SYSTEM:
        settings["encoder"] = str(packaged_minilm())
        python, module = pythons[PEER], f"bench.peers.{PEER}"
    with tempfile.TemporaryDirectory(prefix="benchmark-system-") as name:
        arguments = [what, str(folder), name, json.dumps(settings), str(args.peer_model)]
        return run_child(python, module, arguments, Path(name), args.threads, args.timeout)


def command_of(args: argparse.Namespace) -> str:
    """The command line that does it again."""
    options = ["model", *(["texts"] if args.texts else ["data"])]
    if args.peers:
        options += ["peers", "peer_python", "peer_model", "peer_rows", "max_length"]
    options += ["systems", "text_columns", "num_texts", "warm_up", "repeats", "threads", "k"]
    return shown_command("latency", args, options)


def summary(line: Line) -> str:
    """A line for whoever waits."""
    if "error" in line:
        return f"FAILED {failure(line)}"
    percentiles = ", ".join(f"{name} {ms:.2f} ms" for name, ms in line["ms"].items())
    return f"round {line['round']}, {line['system']}: {percentiles}"


def render(lines: Sequence[Line]) -> str:
    """The record as markdown: what ran where, tables, failures."""
    first = lines[0]
    finished = [line for line in lines if "error" not in line]
    systems = list(dict.fromkeys(line["system"] for line in finished))
    parts = [
        *head("Latency of one text", lines),
        f"{first['num_texts']:,} texts of {first['words_a_text']:g} words on average.",
        "\n".join(about(finished, system) for system in systems),
    ]
    if finished:
        columns = ["system", "p50 ms", "p90 ms", "p99 ms", "PECOS's p50 / its own", "open s"]
        parts += ["## End to end", table(columns, [row(finished, system) for system in systems])]
        parts += [EXPLANATION.format(**first)]
        parts += [PEER_EXPLANATION.format(**first)] if PEER_SYSTEM in systems else []
        parts += ["## Parts, p50 in ms", *part_tables(finished, systems)]
    return document([*parts, *failures(lines, failure)])


def about(lines: Sequence[Line], system: str) -> str:
    """Model and versions of a system."""
    last = [line for line in lines if line["system"] == system][-1]
    return f"- {system}: {last['num_labels']:,} labels, {last['settings']} {library_list(last)}"


def row(lines: Sequence[Line], system: str) -> list[str]:
    """A system's percentiles, and how many times as long PECOS takes."""
    own = {line["round"]: line for line in lines if line["system"] == system}
    peer = {line["round"]: line for line in lines if line["system"] == PEER_SYSTEM}
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
