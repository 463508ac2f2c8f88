"""Latency of label head and memory of embeddings as labels and rows grow, without the encoder.

    python -m bench retrieval --output retrieval.jsonl --record RECORD.md --plot PLOT.svg

Vectors are made up: groups of groups with noise around each, of length 1, from --seed. A query is a
new vector of a group. Each size is answered by the index that xrt chooses for it and, in turn with
it in the same process, by the scan of all vectors in half precision. A row's answer is what a model
asks of a source: the best --k labels (`score`), then the scores of --pairs labels
(`score_given`), of the head; the votes of the nearest rows and those for the pairs, of the memory.
Busy is the processor's time for the same calls: other work on the machine makes a call wait, but
hardly longer busy.

Each size is one JSON line in --output; the record is printed, and written to --record.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from bench.clock import percentiles
from bench.record import (
    Line,
    append_line,
    circumstances,
    document,
    head,
    number,
    publish,
    read_lines,
    shown_command,
    table,
)
from xrt.hybrid import HybridMatrix
from xrt.search.beam import SearchParams
from xrt.sources.base import Source, SourceRows
from xrt.sources.blocks import EmbeddingBlocks
from xrt.sources.dense_neighbours import DenseNeighbours
from xrt.sources.faiss_index import VectorIndex, Vectors
from xrt.sources.label_head import LabelHead

LABELS = (25_000, 100_000, 1_000_000)
ROWS = (40_000, 500_000, 1_000_000)
LABELS_OF_MEMORY = 100_000
LABELS_OF_A_ROW = 4
GROUPS = 200
"""Groups of groups."""
VECTORS_OF_A_GROUP = 50
BLOCK = 2**16
BUSY = """\
`all vectors` goes through all of them in half precision, in turn with the index in one process.
Busy is the processor's time for the same calls; what exceeds it is waiting for a processor."""
PARTS = {"matcher": ("labels", "label head"), "embedding_neighbours": ("rows", "memory")}
COLUMNS = (
    "", "kind", "cells", "recall %", "one row p50 ms", "p99 ms", "busy p50 ms", "busy p99 ms",
    "all vectors: p50 ms", "p99 ms", "busy p50 ms", "busy p99 ms", "batch ms a row",
    "all vectors", "built in s",
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Measure all sizes. Returns the exit status."""
    args = parse_arguments(arguments)
    lines = []
    for name, sizes in (("matcher", args.labels), ("embedding_neighbours", args.rows)):
        for size in sizes:
            line = measure(name, size, args)
            append_line(args.output, line)
            lines.append(line)
            sys.stderr.write(f"{name} {size}: {line['chosen']} beside {line['exhaustive']}\n")
    if args.plot is not None:
        draw(lines, args.plot)
    publish(render(lines, args.plot), args.record)
    return 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of the suite."""
    parser = argparse.ArgumentParser(
        prog="python -m bench retrieval",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--labels", type=int, nargs="*", default=list(LABELS), metavar="N")
    parser.add_argument("--rows", type=int, nargs="*", default=list(ROWS), metavar="N")
    parser.add_argument("--width", type=int, default=384, help="columns of an embedding")
    parser.add_argument("--noise", type=float, default=1.0, help="of a vector around its group")
    parser.add_argument("--queries", type=int, default=1000, help="rows that come alone")
    parser.add_argument("--exhaustive", type=int, default=200, help="those that all vectors answer")
    parser.add_argument("--batch", type=int, default=256, help="rows of the batch")
    parser.add_argument("--k", type=int, default=50, help="labels that a source names")
    parser.add_argument("--pairs", type=int, default=131, help="labels whose scores are asked for")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSONL file to append lines to")
    parser.add_argument("--record", type=Path, help="markdown file to write")
    parser.add_argument("--plot", type=Path, help="svg file to draw")
    return parser.parse_args(arguments)


class Groups:
    """Made-up vectors: centres around centres, and noise around them."""

    def __init__(self, num_vectors: int, width: int, noise: float, seed: int) -> None:
        """Make the centres."""
        rng = np.random.default_rng([seed, num_vectors])
        self.noise, self.seed = noise, seed
        num_groups = max(1, num_vectors // VECTORS_OF_A_GROUP)
        self.centres_GH = rng.normal(size=(num_groups, width)).astype(np.float32)
        above_AH = rng.normal(size=(GROUPS, width)).astype(np.float32)
        self.centres_GH += above_AH[rng.integers(0, GROUPS, num_groups)]

    def vectors(self, num_vectors: int, part: int) -> np.ndarray:
        """Vectors of length 1 of random groups: float16 (n, H), others for each part."""
        made_NH = np.empty((num_vectors, self.centres_GH.shape[1]), np.float16)
        for low in range(0, num_vectors, BLOCK):
            rng = np.random.default_rng([self.seed, part, low])
            rows = slice(low, min(num_vectors, low + BLOCK))
            size = rows.stop - low
            block_BH = self.centres_GH[rng.integers(0, len(self.centres_GH), size)]
            block_BH += self.noise * rng.standard_normal(block_BH.shape, np.float32)
            made_NH[rows] = block_BH / np.linalg.norm(block_BH, axis=1, keepdims=True)
        return made_NH


def measure(name: str, size: int, args: argparse.Namespace) -> Line:
    """One size of one source, the chosen index and the scan of all vectors in turn."""
    groups = Groups(size, args.width, args.noise, args.seed)
    vectors_NH = groups.vectors(size, 0)
    queries_QH = groups.vectors(args.queries + args.batch, 1).astype(np.float32)
    source: Any
    if name == "matcher":
        source = LabelHead(vectors_NH.astype(np.float32), np.zeros(size, np.float32))
        vectors, num_labels = Vectors(source.weight_LH, source.bias_L), size
    else:
        num_labels = LABELS_OF_MEMORY
        source = DenseNeighbours(vectors_NH, made_up_labels(size, num_labels, args.seed))
        vectors = Vectors(source.unit_NH)
    del vectors_NH
    measured_QH = groups.vectors(300, 2).astype(np.float32)
    began = time.perf_counter()
    chosen = VectorIndex.build(vectors, measured_QH, "held-out")
    build_seconds = time.perf_counter() - began
    indexes = {"chosen": chosen, "exhaustive": VectorIndex(vectors)}
    pairs_1L = made_up_pairs(args.pairs, num_labels, args.seed)
    seconds: dict[str, list[float]] = {system: [] for system in indexes}
    busy: dict[str, list[float]] = {system: [] for system in indexes}
    for number_of, query_H in enumerate(queries_QH[: args.queries]):
        for system, index in indexes.items():
            if system == "exhaustive" and number_of >= args.exhaustive:
                continue
            use(source, index)
            began, busy_before = time.perf_counter(), time.process_time()
            answer(source, query_H[None], pairs_1L, args)
            seconds[system].append(time.perf_counter() - began)
            busy[system].append(time.process_time() - busy_before)
    return {
        **circumstances(
            shown_command("retrieval", args, ("labels", "rows", "width", "noise", "k", "pairs")),
            ("numpy", "faiss-cpu"),
        ),
        "source": name,
        "size": size,
        "threads": args.threads,
        "build_seconds": round(build_seconds, 1),
        "index": chosen.describe(),
        **{system: percentiles(each[10:]) for system, each in seconds.items()},
        "busy": {system: percentiles(each[10:]) for system, each in busy.items()},
        "batch_ms": {
            system: round(batch_ms(source, index, queries_QH[-args.batch :], args), 3)
            for system, index in indexes.items()
        },
    }


def use(source: Any, index: VectorIndex) -> None:
    """Have a source search by this index."""
    object.__setattr__(source, "index", index)


def answer(source: Source, queries_NH: np.ndarray, pairs_NL: sp.csr_array, args: Any) -> None:
    """What a model asks of a source: labels, then the scores of pairs."""
    rows = rows_of(queries_NH)
    source.score(rows, args.k, SearchParams(), args.threads)
    source.score_given(rows, pairs_NL, SearchParams(), args.threads)


def batch_ms(
    source: Source, index: VectorIndex, queries_NH: np.ndarray, args: argparse.Namespace
) -> float:
    """Milliseconds a row of `score` in a batch."""
    use(source, index)
    rows = rows_of(queries_NH)
    began = time.perf_counter()
    source.score(rows, args.k, SearchParams(), args.threads)
    return 1e3 * (time.perf_counter() - began) / len(queries_NH)


def rows_of(queries_NH: np.ndarray) -> SourceRows:
    """Rows whose embeddings are at hand."""
    num_rows, width = queries_NH.shape
    X = HybridMatrix(
        sp.csr_array((num_rows, 1), dtype=np.float32), np.zeros((num_rows, 0), np.float32)
    )
    return SourceRows(X, EmbeddingBlocks(width), lambda: queries_NH)


def made_up_labels(num_rows: int, num_labels: int, seed: int) -> sp.csr_array:
    """A few random labels of each row."""
    rng = np.random.default_rng([seed, 3])
    labels_NA = rng.integers(0, num_labels, (num_rows, LABELS_OF_A_ROW)).astype(np.int32)
    indptr = np.arange(num_rows + 1, dtype=np.int64) * LABELS_OF_A_ROW
    ones = np.ones(labels_NA.size, np.float32)
    return sp.csr_array((ones, labels_NA.ravel(), indptr), shape=(num_rows, num_labels))


def made_up_pairs(count: int, num_labels: int, seed: int) -> sp.csr_array:
    """Random labels of one row."""
    rng = np.random.default_rng([seed, 4])
    labels = np.sort(rng.choice(num_labels, min(count, num_labels), replace=False)).astype(np.int32)
    ones = np.ones(len(labels), np.float32)
    return sp.csr_array((ones, labels, np.array([0, len(labels)])), shape=(1, num_labels))


def render(lines: Sequence[Line], plot: Path | None = None) -> str:
    """The record of the lines."""
    parts = [*head("Retrieval: labels and training rows found by their embeddings", lines), BUSY]
    for name, (unit, title) in PARTS.items():
        of_source = [line for line in lines if line["source"] == name]
        if of_source:
            rows = [cells(line, unit) for line in of_source]
            parts += [f"## {title[0].upper()}{title[1:]}", table(COLUMNS, rows)]
    if plot is not None:
        parts.append(f"![Latency against the number of vectors]({plot.name})")
    return document(parts)


def cells(line: Line, unit: str) -> list[str]:
    """A row of the table."""
    index = line["index"]
    times = [
        times_of[percentile]
        for system in ("chosen", "exhaustive")
        for times_of in (line[system], line["busy"][system])
        for percentile in ("p50", "p99")
    ]
    return [
        f"{line['size']:,} {unit}",
        index["kind"],
        str(index.get("cells", "-")),
        f"{100 * index['recall']:.2f}",
        *(number(value) for value in times),
        *(number(line["batch_ms"][system]) for system in ("chosen", "exhaustive")),
        number(line["build_seconds"]),
    ]


def render_file(path: Path) -> str:
    """The record of a file of lines."""
    return render(read_lines(path))


def draw(lines: Sequence[Line], path: Path) -> None:
    """Processor's time of one row against the number of vectors, both indexes."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "xrt"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for axis, (name, (unit, title)) in zip(axes, PARTS.items(), strict=True):
        of_source = sorted((x for x in lines if x["source"] == name), key=lambda x: x["size"])
        for colour, (system, label) in enumerate(
            (("chosen", "index by size"), ("exhaustive", "all vectors"))
        ):
            for style, percentile in (("o-", "p50"), ("x--", "p99")):
                sizes = [line["size"] for line in of_source]
                values = [line["busy"][system][percentile] for line in of_source]
                axis.plot(sizes, values, style, color=f"C{colour}", label=f"{label}, {percentile}")
        axis.set(xscale="log", yscale="log", xlabel=unit, title=f"{title}: one row, busy ms")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
