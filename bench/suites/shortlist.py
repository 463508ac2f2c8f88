"""FAISS shortlists beside a beam from the root, both down to the opening level of a tree.

    python -m bench shortlist --run RUNS/tibkat --output shortlist.jsonl
    python -m bench shortlist --labels 1000000 --leaf 200 --output shortlist.jsonl
    python -m bench shortlist --render shortlist.jsonl > RECORD.md

--run is the folder of a deep run of `xrt train`: the rankers of its first tree, the TF-IDF rows and
the embeddings are read from its stages. Its rows are training rows; every tenth is asked, vectors
are fitted to others. --labels makes a tree of that many labels, --leaf below each opening cluster.
Only levels down to the opening clusters exist, since nothing below is timed: synthetic_corpus makes
rows over as many "labels" as there are opening clusters (a hundred share a vocabulary), rankers are
trained on them, and an embedding is the unit-length mean of random vectors of the row's clusters
and of their vocabularies, with noise, at --embedding-weight beside TF-IDF.

Shortlist time is that of finding nodes and scoring them and their siblings along their whole path;
root is the beam search down to the same level. Recall is the share of the best --beam nodes of the
exhaustive opening level; root has one, too. The systems follow each other within a round, in the
opposite order in the next. Times are wall time (with --clock cpu the process's own), in
microseconds a row: of all rows at once, and of 200 rows one by one. One JSON line for each kind and
width, with medians over the rounds.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bench.record import (
    Line,
    append_line,
    circumstances,
    document,
    head,
    number,
    shown_command,
    table,
)
from bench.synthetic import LABELS_PER_CLUSTER, SyntheticSize, synthetic_corpus
from xrt.hybrid import HybridMatrix, unit_rows
from xrt.search.beam import SearchParams, beam_search
from xrt.sources.ranker import RankerParams, TreeRanker, train_ranker
from xrt.sources.shortlist import IndexKind, Shortlist, ShortlistParams
from xrt.sources.shortlist_fit import (
    FITTED_ROWS,
    exhaustive_scores,
    fit_vectors,
    recall,
)
from xrt.sources.trees import TreeEnsemble
from xrt.sparse import as_csr, best_columns, load_csr
from xrt.storage.reading import load_array
from xrt.tree.label_tree import LabelTree

SINGLE_ROWS = 200
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
BRANCHING = 16
SHOWN = (
    "run", "labels", "leaf", "train_rows", "hidden", "embedding_weight", "kinds", "widths", "rows",
    "beam", "repeats", "threads", "clock", "seed",
)  # fmt: skip
COLUMNS = ("", "width", "recall %", "batch µs a row", "of root's", "one row µs", "of root's")
TARGET = 0.99
"""Recall that a shortlist must have to be of use."""


class Case(NamedTuple):
    """Rankers down to `level`, rows to fit vectors to, and rows to ask."""

    name: str
    ranker: TreeRanker
    level: int
    fitted: HybridMatrix
    fitted_NH: np.ndarray
    asked: HybridMatrix
    asked_NH: np.ndarray


def main(arguments: Sequence[str]) -> int:
    """Make the case, time every kind and width, print a line for each. Returns the exit status."""
    args = parse_arguments(arguments)
    os.environ["XRT_NUM_THREADS"] = str(args.threads)
    case = case_of_run(args) if args.run else synthetic_case(args)
    for line in measure(case, args):
        print(json.dumps(line), flush=True)
        append_line(args.output, line)
    return 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    case = parser.add_mutually_exclusive_group(required=True)
    case.add_argument("--run", type=Path, help="folder of a deep run of xrt train")
    case.add_argument("--labels", type=int, help="labels of a synthetic tree")
    parser.add_argument("--leaf", type=int, default=200, help="labels below an opening cluster")
    parser.add_argument("--train-rows", type=int, help="synthetic (default: 20 a cluster)")
    parser.add_argument("--hidden", type=int, default=384, help="synthetic embedding width")
    parser.add_argument("--embedding-weight", type=float, default=0.7)
    parser.add_argument("--kinds", nargs="+", default=["flat", "hnsw", "ivf_pq"])
    parser.add_argument("--widths", nargs="+", type=int, default=[10, 16, 24, 32, 48, 64, 96, 128])
    parser.add_argument("--rows", type=int, default=2_000, help="rows that are asked")
    parser.add_argument("--beam", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--clock", choices=list(CLOCKS), default="wall", help="cpu: on a machine with other work"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSONL file to append to")
    return parser.parse_args(arguments)


def case_of_run(args: argparse.Namespace) -> Case:
    """The rankers and rows of a run."""
    stages = args.run / "stages"
    ranker = TreeEnsemble.load(stages / "ranker" / "ranker").trees[0]
    X_NF = load_csr(stages / "features", "X")
    unit_NH = unit_rows(load_array(stages / "matcher" / "embeddings.npy", np.float32, 2))
    X = HybridMatrix.of(X_NF, np.float32(args.embedding_weight) * unit_NH)
    rows = np.arange(X.num_rows)
    asked = rows[::10][: args.rows]
    fitted = np.random.default_rng(args.seed).permutation(rows[rows % 10 != 0])[:FITTED_ROWS]
    name = f"{args.run.name}, {ranker.tree.num_labels:,} labels"
    parts = X.take(fitted), unit_NH[fitted], X.take(asked), unit_NH[asked]
    return Case(name, ranker, ranker.tree.depth - 2, *parts)


def synthetic_case(args: argparse.Namespace) -> Case:
    """A tree of opening clusters, rankers trained on rows over them, and other rows."""
    num_nodes = -(-args.labels // args.leaf)
    num_train = args.train_rows or 20 * num_nodes
    size = SyntheticSize(
        num_labels=num_nodes, num_train=num_train, num_test=args.rows,
        num_words=SyntheticSize.of(args.labels).num_words,
    )  # fmt: skip
    corpus = synthetic_corpus(size, args.seed)
    rng = np.random.default_rng(args.seed)
    shared = rng.normal(size=(-(-num_nodes // LABELS_PER_CLUSTER), args.hidden))
    own_KH = rng.normal(size=(num_nodes, args.hidden))
    own_KH += shared[np.arange(num_nodes) // LABELS_PER_CLUSTER]

    def embeddings(Y_NK: Any) -> np.ndarray:
        sums_NH = unit_rows(Y_NK @ own_KH)
        noise_NH = rng.normal(size=sums_NH.shape) / args.hidden**0.5
        return unit_rows(sums_NH + 0.5 * noise_NH)

    train_NH, asked_NH = embeddings(corpus.Y_trn), embeddings(corpus.Y_tst)
    weight = np.float32(args.embedding_weight)
    train = HybridMatrix.of(corpus.X_trn, weight * train_NH)
    parents = [np.arange(num_nodes, dtype=np.int32) // BRANCHING]
    while parents[0][-1] >= BRANCHING:
        parents.insert(0, np.arange(parents[0][-1] + 1, dtype=np.int32) // BRANCHING)
    tree = LabelTree((np.arange(parents[0][-1] + 1, dtype=np.int32) * 0, *parents))
    ranker = train_ranker(train, as_csr(corpus.Y_trn), tree, RankerParams(), args.seed)
    fitted = np.sort(rng.permutation(num_train)[:FITTED_ROWS])
    asked = HybridMatrix.of(corpus.X_tst, weight * asked_NH)
    name = f"synthetic, {args.labels:,} labels, {args.leaf} a cluster"
    parts = train.take(fitted), train_NH[fitted], asked, asked_NH
    return Case(name, ranker, tree.depth - 1, *parts)


def measure(case: Case, args: argparse.Namespace) -> list[Line]:
    """A line for each kind and width, and one for the root."""
    search = SearchParams(beam_size=args.beam, path_weight=1.0)
    levels = case.ranker.levels[: case.level + 1]
    params = ShortlistParams(index=IndexKind.flat, width=1)
    first = Shortlist(np.zeros((levels[-1].num_nodes, 1)), params, case.level)
    opening = first.opening_level(case.ranker)
    started = time.perf_counter()
    vectors = fit_vectors(opening, case.fitted, case.fitted_NH)
    fit_seconds = time.perf_counter() - started
    everything = slice(0, case.asked.num_rows)
    best_NB = best_columns(exhaustive_scores(opening, case.asked, everything), args.beam)

    def root(X: HybridMatrix, unit_NH: np.ndarray) -> Any:
        return beam_search(levels, X, args.beam, search)

    systems: dict[tuple[str, int], Callable[[HybridMatrix, np.ndarray], Any]] = {("root", 0): root}
    recalls: dict[tuple[str, int], float] = {}
    recalls["root", 0] = float(shared_nodes(root(case.asked, case.asked_NH), best_NB))
    build_seconds: dict[str, float] = {}
    for kind in args.kinds:
        params = ShortlistParams(index=IndexKind(kind), width=1)
        started = time.perf_counter()
        shortlist = Shortlist(vectors[0], params, case.level, vectors[1])
        build_seconds[kind] = time.perf_counter() - started
        shortlist._opening_level = first._opening_level  # one layout of the weights for all
        for width in args.widths:
            if width > shortlist.num_nodes:
                continue
            systems[kind, width] = opener(shortlist, width, case, search)
            nodes_NW = shortlist.nodes(case.asked_NH, width)
            recalls[kind, width] = recall(nodes_NW, best_NB, opening)
    seconds = timed(systems, case, args.repeats, CLOCKS[args.clock])
    about = {
        **circumstances(shown_command("shortlist", args, SHOWN)), "case": case.name,
        "tree": LabelTree(case.ranker.tree.parents[: case.level + 1]).describe(),
        "rows": case.asked.num_rows, "threads": args.threads, "beam": args.beam,
        "repeats": args.repeats, "clock": args.clock, "fit_seconds": fit_seconds,
    }  # fmt: skip
    return [
        {
            **about, "kind": key[0], "width": key[1], "recall": recalls[key],
            "build_seconds": build_seconds.get(key[0], 0.0),
            **{name: median(values) for name, values in seconds[key].items()},
            **{
                f"{name}_of_root": median(np.divide(values, seconds["root", 0][name]).tolist())
                for name, values in seconds[key].items()
            },
        }
        for key in systems
    ]  # fmt: skip


def opener(
    shortlist: Shortlist, width: int, case: Case, search: SearchParams
) -> Callable[[HybridMatrix, np.ndarray], Any]:
    """Opens the search with so many nodes."""

    def open_search(X: HybridMatrix, unit_NH: np.ndarray) -> Any:
        shortlist.width = width
        return shortlist.open(case.ranker, X, unit_NH, search)

    return open_search


def timed(
    systems: dict[tuple[str, int], Callable[[HybridMatrix, np.ndarray], Any]],
    case: Case,
    repeats: int,
    clock: Callable[[], float],
) -> dict[tuple[str, int], dict[str, list[float]]]:
    """Microseconds a row in each round, of all rows and of single ones."""
    num_single = min(SINGLE_ROWS, case.asked.num_rows)
    singles = [
        (case.asked.take(np.array([row])), case.asked_NH[[row]]) for row in range(num_single)
    ]
    seconds: dict[tuple[str, int], dict[str, list[float]]] = {
        key: {"batch_us": [], "single_us": []} for key in systems
    }
    for round_ in range(repeats + 1):  # the first is to warm up
        for key in list(systems)[:: 1 if round_ % 2 == 0 else -1]:
            started = clock()
            systems[key](case.asked, case.asked_NH)
            between = clock()
            for X, unit_NH in singles:
                systems[key](X, unit_NH)
            ended = clock()
            if round_:
                seconds[key]["batch_us"].append(1e6 * (between - started) / case.asked.num_rows)
                seconds[key]["single_us"].append(1e6 * (ended - between) / num_single)
    return seconds


def shared_nodes(beam_NK: Any, best_NB: np.ndarray) -> float:
    """Share of the best nodes that a beam holds."""
    rows = np.repeat(np.arange(len(best_NB)), best_NB.shape[1])
    pairs = set(stored(beam_NK))
    best = zip(rows.tolist(), best_NB.ravel().tolist(), strict=True)
    return float(np.mean([pair in pairs for pair in best]))


def stored(beam_NK: Any) -> list[tuple[int, int]]:
    """Rows and columns of all entries, zeros too."""
    rows = np.repeat(np.arange(beam_NK.shape[0]), np.diff(beam_NK.indptr))
    return list(zip(rows.tolist(), beam_NK.indices.tolist(), strict=True))


def render(lines: Sequence[Line]) -> str:
    """The record as markdown: a table for each case, and the quickest line that reaches 99 %."""
    parts = [
        *head("FAISS shortlist and root beam down to the opening level", lines),
        "Medians over the rounds; ratios are taken within a round.",
    ]
    for name in dict.fromkeys(line["case"] for line in lines):
        parts += case_parts([line for line in lines if line["case"] == name])
    return document(parts)


def case_parts(lines: Sequence[Line]) -> list[str]:
    """Heading, table and verdict of one case."""
    first = lines[0]
    reached = [line for line in lines if line["recall"] >= TARGET and line["kind"] != "root"]
    best = min(reached, key=lambda line: line["batch_us"], default=None)
    verdict = "No shortlist reaches 99 %."
    if best is not None:
        verdict = (
            f"Quickest at 99 %: {best['kind']} of {best['width']}, {100 * best['recall']:.2f} %, "
            f"{number(best['batch_us_of_root'])} of root's time in a batch, "
            f"{number(best['single_us_of_root'])} row by row."
        )
    return [
        f"## {first['case']}",
        f"Tree down to the opening level {first['tree']}, {first['rows']:,} rows, beam "
        f"{first['beam']}, threads: {first['threads']}, rounds: {first['repeats']}, "
        f"{first['clock']} time. Vectors fitted in {number(first['fit_seconds'])} s.",
        table(COLUMNS, [row(line) for line in lines]),
        verdict,
    ]


def row(line: Line) -> list[str]:
    """The cells of one line."""
    return [
        line["kind"], str(line["width"] or "-"), f"{100 * line['recall']:.2f}",
        number(line["batch_us"]), number(line["batch_us_of_root"]), number(line["single_us"]),
        number(line["single_us_of_root"]),
    ]  # fmt: skip
