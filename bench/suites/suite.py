"""xrt at its defaults beside peers at theirs on every set: what judges a default.

    python -m venv PEERS
    PEERS/bin/pip install "numpy<2" "libpecos==1.2.8" "omikuji==0.5.2" "scikit-learn>=1.6"
    python -m bench suite --peer-python PEERS/bin/python --data DATA --output suite.jsonl \
        --record RECORD.md
    python -m bench suite --short ...            # at most 30 minutes on two quiet cores
    python -m bench suite --sets depends yso --systems xrt-linear --set num_trees=3 ...
    python -m bench suite --deep encoder=minilm budget=10m ...
    python -m bench suite --compare BEFORE.jsonl AFTER.jsonl

Sets are those of `bench/corpora/registry.py`: real ones of --data (or XRT_DATA), and seeded ones
that are made up. `--short` keeps seeded samples of the rows. Each set of texts is run in two views
(`bench/corpora/views.py`): `own`, where xrt makes its features of the texts and peers get TF-IDF
rows of scikit-learn, and `equal`, where all get the same rows.

`--deep` adds `xrt train` with an encoder where there are texts. Peers are omikuji's Bonsai and
Parabel, libpecos's XR-Linear, LinearSVC for each label (where labels x training rows are at most 10
million) and the votes of the ten nearest training rows.

Every run is a process of its own and one JSON line in --output; what its rows gained lies beside,
in OUTPUT.rows, for errors of differences are paired. Runs whose line is there are not done again,
so that a suite that was stopped goes on; lines of xrt count only for the code and the settings they
were made with, and peers' lines of `equal` for the code of the features. Nothing is to be tuned
here: test rows judge, they do not choose.

`--compare` judges a change of a default, by lines of `xrt-linear` before and after it: better on
average, and worse nowhere beyond the standard error. Exit status 0 for yes, 1 for no.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.corpora.made_up import TextShape, made_texts
from bench.corpora.registry import GROUPS, SETS, SuiteSet
from bench.corpora.views import VIEWS, write_view
from bench.judge import Truth
from bench.paired import RowFigures
from bench.peers import add_interpreters, interpreters
from bench.record import (
    Line,
    append_line,
    circumstances,
    output_of,
    publish,
    read_lines,
    shown_command,
)
from bench.runs import ROOT, run_child
from bench.suite_comparison import compared
from bench.suite_record import document_of, rows_folder

LINEAR, DEEP = "xrt-linear", "xrt-deep"
MODULES = {LINEAR: "bench.own.suite", DEEP: "bench.own.suite_deep"}
"""xrt's systems, and what runs them."""
DEEP_WORDS = ["encoder=minilm"]
PEER_OF = {
    "bonsai": "omikuji", "parabel": "omikuji", "pecos": "libpecos",
    "linear_svc": "linear_svc", "neighbour_vote": "neighbour_vote",
}  # fmt: skip
"""The module of each peer's system."""
LIMITS = {"linear_svc": 10_000_000, "neighbour_vote": 20_000 * 200_000}
"""Peers without a tree or an index are run where their work is at most this: labels x training rows
of one-vs-rest, test x training rows of neighbours."""
SHOWN = (
    "short", "sets", "views", "systems", "set", "deep", "peer_python", "data", "seeds", "threads",
)  # fmt: skip
WARM_UP = TextShape(num_labels=300, num_train=3_000, num_test=50, num_words=2_000)
START_COST = 4.0
ROWS_A_UNIT = 1000
"""A run is expected to take a time that grows as START_COST + training rows / ROWS_A_UNIT."""


@dataclass(frozen=True)
class Run:
    """One run of a system."""

    row_set: SuiteSet
    view: str
    system: str
    seed: int

    def key(self, args: argparse.Namespace) -> str:
        """What makes it the same run as one in the output."""
        own = self.system in MODULES
        read = "xrt" if own else "xrt/features" if self.view == "equal" else ""
        return key_of(
            {
                "set": self.row_set.name, "view": self.view, "system": self.system,
                "seed": self.seed, "short": args.short, "threads": args.threads,
                "changes": changes_of(self.system, args), "code": code_of(read) if read else "",
            }
        )  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run what is missing, publish the record; or compare. Returns the exit status."""
    args = parse_arguments(arguments)
    if args.compare:
        text, better = compared(*args.compare)
        publish(text, args.record)
        return 0 if better else 1
    args.set = dict(changed_setting(word) for word in args.set)
    peers = dict.fromkeys(PEER_OF[system] for system in args.systems if system in PEER_OF)
    pythons = interpreters(args.peer_python, peers)
    lines = read_lines(args.output) if args.output.is_file() else []
    todo = missing_runs(args, lines)
    run_all(todo, args, pythons)
    lines = read_lines(args.output) if args.output.is_file() else []
    publish(document_of(lines, rows_folder(args.output)), args.record)
    failed = [line for line in lines if "error" in line]
    return 1 if failed else 0


def render_file(path: Path) -> str:
    """The record of a file of lines."""
    return document_of(read_lines(path), rows_folder(path))


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    systems = [LINEAR, *PEER_OF]
    parser.add_argument("--short", action="store_true", help="samples, 30 minutes on two cores")
    parser.add_argument(
        "--sets", nargs="+", choices=[*SETS, *GROUPS], default=list(SETS), metavar="NAME",
        help=f"of {', '.join(SETS)}; or a group, {', '.join(GROUPS)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=list(VIEWS))
    parser.add_argument("--systems", nargs="+", choices=systems, default=systems)
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE",
        help="arguments of XRLinear in the place of its defaults, values as JSON; "
        "features.NAME=VALUE for those of its TF-IDF",
    )  # fmt: skip
    parser.add_argument(
        "--deep", nargs="*", metavar="WORD",
        help=f"also `xrt train` with these words (none: {' '.join(DEEP_WORDS)}), on texts",
    )  # fmt: skip
    add_interpreters(parser)
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: XRT_DATA)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of xrt; peers run once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=7200, help="seconds a run may take")
    parser.add_argument("--output", type=Path, default=Path("suite.jsonl"), help="appended to")
    parser.add_argument("--record", type=Path, help="markdown file to write")
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("BEFORE", "AFTER"), help="files of lines"
    )
    args = parser.parse_args(arguments)
    if args.deep is not None:
        args.deep = args.deep or DEEP_WORDS
        args.systems = [*args.systems, DEEP]
    args.sets = [
        name for name, each in SETS.items() if name in args.sets or each.group in args.sets
    ]
    return args


def changed_setting(word: str) -> tuple[str, Any]:
    """`NAME=VALUE` as both; a value that is no JSON is taken as it is."""
    name, separator, value = word.partition("=")
    if not separator:
        raise SystemExit(f"--set {word}: NAME=VALUE is needed")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def planned_runs(args: argparse.Namespace) -> Iterator[Run]:
    """All runs that the arguments ask for, in their order."""
    for name in args.sets:
        for view in SETS[name].views:
            if view in args.views:
                for system in args.systems:
                    if system != DEEP or view == "own":
                        for seed in args.seeds if system in MODULES else [0]:
                            yield Run(SETS[name], view, system, seed)


def changes_of(system: str, args: argparse.Namespace) -> Any:
    """What the command line changes of a system of xrt."""
    return {LINEAR: args.set, DEEP: args.deep}.get(system, {})


def missing_runs(args: argparse.Namespace, lines: Sequence[Line]) -> list[Run]:
    """Those without a line; a run that failed is done again."""
    done = {line["key"] for line in lines if "error" not in line}
    return [run for run in planned_runs(args) if run.key(args) not in done]


@cache
def code_of(folder: str) -> str:
    """A digest of a folder as it is in this checkout, with changes that are not committed."""
    git = ["git", "-C", str(ROOT)]
    tree = output_of([*git, "rev-parse", f"HEAD:{folder}"])
    changes = output_of([*git, "diff", "HEAD", "--", folder])
    return tree[:12] + (hashlib.sha256(changes.encode()).hexdigest()[:8] if changes else "")


def key_of(parts: Line) -> str:
    """One text for what a run is."""
    return json.dumps(parts, sort_keys=True)


def run_all(runs: Sequence[Run], args: argparse.Namespace, pythons: dict[str, str]) -> None:
    """Do the runs, a set and a view at a time; lines go to the file."""
    command = shown_command("suite", without_defaults(args), SHOWN)
    costs = [
        START_COST + run.row_set.rows_used(short=args.short) / ROWS_A_UNIT for run in runs
    ]  # fmt: skip
    started, spent = time.perf_counter(), 0.0
    made: tuple[str, str] | None = None
    with tempfile.TemporaryDirectory(prefix="benchmark-suite-") as scratch:
        if any(run.system == LINEAR for run in runs):
            warm_up(Path(scratch) / "warm", args)
        for number, run in enumerate(runs):
            rows = Path(scratch) / f"{run.row_set.name}-{run.view}"
            if made != (run.row_set.name, run.view):
                forget(scratch)
                corpus = run.row_set.corpus(args.data, short=args.short)
                row_seconds = write_view(corpus, run.view, rows)
                about = {"split": corpus.split, **row_seconds}
                truth = Truth.load(rows)
                made = (run.row_set.name, run.view)
            if reason := over_limit(run.system, truth.sizes):
                print(f"{run.row_set.name} {run.view} {run.system}: not run, {reason}")
                spent += costs[number]
                continue
            line = {
                "key": run.key(args), "set": run.row_set.name, "group": run.row_set.group,
                "view": run.view, "system": run.system, "seed": run.seed, "short": args.short,
                "threads": args.threads, "changes": changes_of(run.system, args),
                **circumstances(command), **truth.sizes, **about,
            }  # fmt: skip
            line |= run_one(run, rows, truth, args, pythons)
            append_line(args.output, line)
            spent += costs[number]
            left = (time.perf_counter() - started) / spent * (sum(costs) - spent)
            print(summary(line, number + 1, len(runs), left), file=sys.stderr, flush=True)


def warm_up(folder: Path, args: argparse.Namespace) -> None:
    """Train xrt on a few made-up rows, so that what larger rows alone need is compiled off the
    clock, too.
    """
    corpus = made_texts(WARM_UP)
    for view in ("own", "equal"):
        write_view(corpus, view, folder / view)
        out = folder / f"{view}-out"
        out.mkdir()
        settings = json.dumps({"seed": 0, "settings": args.set})
        words = [LINEAR, str(folder / view), str(out), str(args.threads), settings]
        run_child(sys.executable, MODULES[LINEAR], words, out, args.threads, args.timeout)


def over_limit(system: str, sizes: dict[str, int]) -> str:
    """Why a system is not run on rows of these sizes; nothing where it is."""
    others = {"linear_svc": "num_labels", "neighbour_vote": "num_test"}
    if system not in LIMITS:
        return ""
    work = sizes["num_train"] * sizes[others[system]]
    what = others[system].removeprefix("num_")
    return f"{work:,} rows x {what}, limit {LIMITS[system]:,}" if work > LIMITS[system] else ""


def without_defaults(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments with None for lists that were not given."""
    usual = vars(parse_arguments([]))
    lists = ("sets", "views", "systems", "seeds")
    same = {name: None for name in lists if getattr(args, name) == usual[name]}
    return argparse.Namespace(**{**vars(args), **same})


def forget(scratch: str) -> None:
    """Remove the row sets of earlier sets."""
    for file in sorted(Path(scratch).rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()


def run_one(
    run: Run, rows: Path, truth: Truth, args: argparse.Namespace, pythons: dict[str, str]
) -> Line:
    """Figures of one run in a child process, with its predictions judged; or its error."""
    own = run.system in MODULES
    module = MODULES[run.system] if own else f"bench.peers.{PEER_OF[run.system]}"
    python = sys.executable if own else pythons[PEER_OF[run.system]]
    with tempfile.TemporaryDirectory(prefix="benchmark-system-") as out:
        arguments = [run.system, str(rows), out, str(args.threads)]
        if own:
            arguments.append(
                json.dumps({"seed": run.seed, "settings": changes_of(run.system, args)})
            )
        started = time.perf_counter()
        line = run_child(python, module, arguments, Path(out), args.threads, args.timeout)
        if "error" in line:
            return line
        figures = RowFigures.of(truth, Path(out) / "predicted.npz")
    name = f"{run.row_set.name}-{run.view}-{run.system}-{run.seed}-{time.time_ns()}.npz"
    figures.save(rows_folder(args.output) / name)
    seconds = round(time.perf_counter() - started, 1)
    return {**line, **figures.figures(), "rows_file": name, "run_seconds": seconds}


def summary(line: Line, number: int, total: int, left: float) -> str:
    """A line for whoever waits."""
    where = f"{number}/{total} {line['set']} {line['view']} {line['system']} seed {line['seed']}"
    if "error" in line:
        return f"{where}: FAILED, {line['error']}"
    return (
        f"{where}: P@1 {100 * line['P@1']:.2f}, P@5 {100 * line['P@5']:.2f}, "
        f"R@10 {100 * line['R@10']:.2f}, train {line['train_seconds']:.1f} s; "
        f"about {left / 60:.0f} min left"
    )
