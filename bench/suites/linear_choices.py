"""What each choice of the linear model is worth, one change at a time, on held-out training rows.

    python -m bench linear_choices --data DATA --sets depends bigbasket-all --output choices.jsonl \
        --record RECORD.md

Sets are those of the suite (`bench/corpora/registry.py`); of the training rows of each --held-out
are drawn by the seed, at most a sixth, and at most --max-rows are trained on. Test rows are not
looked at. The settings that the changes are measured beside are the defaults without fusion: three
trees, of uneven k-means and of halves in turn, the whole path, counts by their logarithm, words of
one letter. Figures are percent; in brackets the standard error of the difference, row by row.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from bench.corpora.corpus import SuiteCorpus
from bench.corpora.registry import SETS
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
from xrt import XRLinear
from xrt.features.tfidf_params import WORDS_OF_TWO, TfidfParams
from xrt.metrics.ranking import judge
from xrt.sparse import as_csr

PLAIN = "defaults, not fused"
CHANGES: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {},
    "one tree of k-means": {"num_trees": 1, "shape": "k_means"},
    "one tree of halves": {"num_trees": 1, "shape": "halves"},
    "k-means alone": {"shape": "k_means"},
    "halves alone": {"shape": "halves"},
    "k-means, one level": {"shape": "k_means", "depth": 1},
    "half the path": {"path_weight": 0.5},
    "beam 30": {"beam_size": 30},
    "counts, words of two letters": {
        "features": TfidfParams(sublinear_tf=False, token_pattern=WORDS_OF_TWO)
    },
    "counts": {"features": TfidfParams(sublinear_tf=False)},
    "words of two letters": {"features": TfidfParams(token_pattern=WORDS_OF_TWO)},
    "pairs of words": {"features": TfidfParams(word_ngram_max=2)},
    "4-grams of characters": {"features": TfidfParams(char_ngrams=(4, 4))},
    "weights above 0.03 kept": {"threshold": 0.03},
    "cost of true labels 2": {"cost_positive": 2.0},
    "all costs 0.5": {"cost_positive": 0.5, "cost_negative": 0.5},
    "hard negatives": {"matcher_negatives": 5},
    "fused": {"fused": True},
}
"""Arguments of XRLinear by what they change."""
METRICS = ("P@1", "P@3", "P@5", "R@10")
SHOWN = ("data", "sets", "held_out", "max_rows", "seed", "threads")


def main(arguments: Sequence[str]) -> int:
    """Try all changes on all sets, publish the record. Returns 0."""
    args = parse_arguments(arguments)
    command = shown_command("linear_choices", args, SHOWN)
    lines = read_lines(args.output) if args.output.is_file() else []
    done = {(line["set"], line["change"]) for line in lines}
    for name in args.sets:
        if all((name, change) in done for change in CHANGES):
            continue
        trn, held = held_out(SETS[name].make(args.data), args.held_out, args.max_rows, args.seed)
        plain = None
        for change, settings in CHANGES.items():
            if "features" in settings and not SETS[name].texts:
                continue
            if change != PLAIN and (name, change) in done:
                continue
            figures_NM, seconds = tried(settings, trn, held, args.seed, args.threads)
            plain = figures_NM if change == PLAIN else plain
            assert plain is not None
            if (name, change) in done:
                continue
            line = {
                "set": name, "change": change, "seconds": seconds, "rows": len(trn[1].indptr) - 1,
                **circumstances(command), **compared(figures_NM, plain),
            }  # fmt: skip
            lines.append(line)
            append_line(args.output, line)
            print(f"{name} {change}: {line['figures']}", file=sys.stderr, flush=True)
    publish(render(lines), args.record)
    return 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: XRT_DATA)")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=["depends"])
    parser.add_argument("--held-out", type=int, default=3000)
    parser.add_argument("--max-rows", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("choices.jsonl"), help="appended to")
    parser.add_argument("--record", type=Path, help="markdown file to write")
    return parser.parse_args(arguments)


Rows = tuple[Any, sp.csr_array]
"""Texts or rows X, and their labels."""


def held_out(corpus: SuiteCorpus, size: int, max_rows: int, seed: int) -> tuple[Rows, Rows]:
    """Rows to train on and rows to judge on, both of the training rows."""
    num_rows = corpus.Y_trn.shape[0]
    order = np.random.default_rng(seed).permutation(num_rows)
    size = min(size, num_rows // 6)
    parts = np.sort(order[size : size + max_rows]), np.sort(order[:size])
    if corpus.texts_trn is None:
        assert corpus.X_trn is not None
        rows = [as_csr(corpus.X_trn[part]) for part in parts]
    else:
        rows = [[corpus.texts_trn[row] for row in part] for part in parts]
    trn, held = ((X, as_csr(corpus.Y_trn[part])) for X, part in zip(rows, parts, strict=True))
    return trn, held


def tried(
    settings: Mapping[str, Any], trn: Rows, held: Rows, seed: int, num_threads: int
) -> tuple[np.ndarray, float]:
    """Figures of each held-out row (n, M), and the seconds of training."""
    model = XRLinear(**{"fused": False, "seed": seed, "num_threads": num_threads, **settings})
    started = time.perf_counter()
    model.fit(*trn)
    seconds = time.perf_counter() - started
    ranking = judge(held[1], as_csr(model.predict(held[0], k=10)), 10)
    hits_NK = ranking.hits_NK.cumsum(axis=1)
    columns = [hits_NK[:, k - 1] / k for k in (1, 3, 5)]
    columns.append(hits_NK[:, 9] / np.maximum(ranking.num_true_N, 1))
    return 100 * np.stack(columns, axis=1), seconds


def compared(figures_NM: np.ndarray, plain_NM: np.ndarray) -> dict[str, list[float]]:
    """Means, differences from the plain settings, and the standard errors of these."""
    difference_NM = figures_NM - plain_NM
    errors = difference_NM.std(axis=0) / np.sqrt(len(figures_NM))
    return {
        "figures": figures_NM.mean(axis=0).round(3).tolist(),
        "differences": difference_NM.mean(axis=0).round(3).tolist(),
        "errors": errors.round(3).tolist(),
    }


def render(lines: Sequence[Line]) -> str:
    """The record as markdown: a table for each set."""
    parts = [*head("What each choice of the linear model is worth", lines), (__doc__ or "").strip()]
    for name in dict.fromkeys(line["set"] for line in lines):
        of_set = [line for line in lines if line["set"] == name]
        parts += [f"## {name}", f"{of_set[0]['rows']:,} training rows.", table_of(of_set)]
    return document(parts)


def table_of(lines: Sequence[Line]) -> str:
    """The plain settings with their figures, then each change with its differences."""
    rows = []
    for line in lines:
        if line["change"] == PLAIN:
            cells = [f"{figure:.2f}" for figure in line["figures"]]
        else:
            pairs = zip(line["differences"], line["errors"], strict=True)
            cells = [f"{difference:+.2f} ({error:.2f})" for difference, error in pairs]
        rows.append([line["change"], *cells, number(line["seconds"])])
    return table(["", *METRICS, "training s"], rows)
