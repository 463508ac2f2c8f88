"""`xrt label` on simulated clicks with known truth, beside two peers, with models trained on each.

    python -m bench query_intent --seeds 0 1 2 [--queries 12000] [--items 20000]

Prints Markdown: F1 of the labels against truth; P@1, P@3 and micro F1 of XRLinear trained on each
corpus, on queries that no corpus has.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from bench.peers.click_share import Labelled, Peers, Truth, f1_by_attribute
from xrt import XRLinear
from xrt.applications.query_intent import LabellingParams, label_queries
from xrt.applications.query_intent.catalogue import read_catalogue
from xrt.applications.query_intent.demo_clicks import (
    CLICKS_NAME,
    ITEMS_NAME,
    TRUTH_NAME,
    ClickParams,
    write_demo_clicks,
)
from xrt.data.corpus import Corpus, LabelTable
from xrt.demo.catalogue import DemoParams
from xrt.features.tfidf_params import TfidfParams

SYSTEMS = ("xrt label", "click share", "vote")
Ranked = tuple[set[str], list[str], np.ndarray]
"""True labels of a query, labels by falling score, their scores."""


def main(arguments: Sequence[str]) -> int:
    """Run all seeds and print the tables. Returns 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--queries", type=int, default=ClickParams().num_queries)
    parser.add_argument("--items", type=int, default=ClickParams().num_items)
    parser.add_argument("--brands", type=int, default=DemoParams().num_brands)
    parser.add_argument("--json", help="write the figures here, too, after every seed")
    args = parser.parse_args(arguments)
    figures = []
    for seed in args.seeds:
        catalogue = DemoParams(num_brands=args.brands, wrong_brand=0.04, missing_depth=0.12)
        params = ClickParams(num_items=args.items, num_queries=args.queries, catalogue=catalogue)
        with tempfile.TemporaryDirectory() as folder:
            figures.append({"seed": seed, **one_seed(Path(folder), params, seed)})
        print(tables(figures[-1:]), flush=True)
        if args.json:
            Path(args.json).write_text(json.dumps(figures, indent=1))
    if len(figures) > 1:
        print(tables(figures))
    return 0


def one_seed(folder: Path, params: ClickParams, seed: int) -> dict[str, Any]:
    """All figures of one simulated log."""
    write_demo_clicks(folder, params, seed)
    truth, tests = read_truth(folder / TRUTH_NAME)
    catalogue = read_catalogue(folder / ITEMS_NAME)
    started = time.perf_counter()
    result = label_queries(
        folder / CLICKS_NAME, catalogue, folder / "corpus.jsonl", LabellingParams()
    )
    seconds = time.perf_counter() - started
    peers = Peers(folder / CLICKS_NAME, catalogue)
    threshold = peers.best_threshold(truth)
    labelled = {
        "xrt label": read_labelled(result.path),
        "click share": peers.by_share(threshold),
        "vote": peers.by_vote(threshold),
    }
    f1 = {name: f1_by_attribute(labels, truth) for name, labels in labelled.items()}
    print(f"seed {seed}, labels: {f1}", file=sys.stderr, flush=True)
    return {
        "seconds": seconds,
        "rows": result.report.log.num_rows,
        "queries": result.report.num_queries,
        "threshold": threshold,
        "f1": f1,
        "model": {name: model_figures(labels, tests, seed) for name, labels in labelled.items()},
    }


def read_truth(path: Path) -> tuple[Truth, Truth]:
    """True labels of the training and of the test queries."""
    splits: dict[str, Truth] = {"trn": {}, "tst": {}}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        splits[record["split"]][record["text"]] = set(record["labels"])
    return splits["trn"], splits["tst"]


def read_labelled(path: Path) -> Labelled:
    """Text -> label -> confidence."""
    records = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {record["text"]: record["labels"] for record in records}


def model_figures(labelled: Labelled, tests: Truth, seed: int) -> dict[str, float]:
    """XRLinear trained on a corpus; the threshold is tuned on a quarter of the test queries, and
    all figures are those of the others.
    """
    rows = {text: weights for text, weights in labelled.items() if weights}
    ids = sorted({label for weights in rows.values() for label in weights})
    table = LabelTable.from_ids(ids)
    places = [
        (row, table.index[label], weight)
        for row, weights in enumerate(rows.values())
        for label, weight in weights.items()
    ]
    row, column, weight = (np.array(some) for some in zip(*places, strict=True))
    Y = sp.csr_array((weight.astype(np.float32), (row, column)), shape=(len(rows), len(ids)))
    Y.sort_indices()
    model = XRLinear(fused=False, seed=seed, features=TfidfParams(char_ngrams=(3, 5), min_df=1))
    model.fit(Corpus(list(rows), Y, table))
    texts = sorted(tests)
    scores = model.predict(texts, k=20).tocsr()
    ranked: list[Ranked] = []
    for i, text in enumerate(texts):
        part = slice(scores.indptr[i], scores.indptr[i + 1])
        order = np.lexsort((scores.indices[part], -scores.data[part]))
        labels = [ids[c] for c in scores.indices[part][order].tolist()]
        ranked.append((tests[text], labels, scores.data[part][order]))
    tuning, judged = ranked[::4], [r for i, r in enumerate(ranked) if i % 4]
    grid = np.linspace(0.02, 0.98, 49)
    best = max(grid, key=lambda t: _micro_f1(tuning, t))
    precision = {
        f"P@{k}": float(np.mean([len(true & set(labels[:k])) / k for true, labels, _ in judged]))
        for k in (1, 3)
    }
    return {**precision, "micro F1": _micro_f1(judged, best)}


def _micro_f1(ranked: Sequence[Ranked], threshold: float) -> float:
    hits = num_predicted = num_true = 0
    for true, labels, scores in ranked:
        predicted = set(labels[: int((scores >= threshold).sum())])
        hits += len(true & predicted)
        num_predicted, num_true = num_predicted + len(predicted), num_true + len(true)
    return 2 * hits / max(num_predicted + num_true, 1)


def tables(figures: list[dict[str, Any]]) -> str:
    """Both tables in percent: mean over the seeds, and the range where there are several."""
    seeds = ", ".join(str(some["seed"]) for some in figures)
    attributes = list(figures[0]["f1"]["xrt label"])
    lines = [
        f"seeds {seeds}: {figures[0]['queries']:,} queries, {figures[0]['rows']:,} rows of clicks, "
        f"{figures[0]['seconds']:.0f} s; threshold of click share "
        + ", ".join(f"{some['threshold']:.2f}" for some in figures),
        "",
        "| labels, F1 | " + " | ".join(attributes) + " |",
        "|---|" + "---|" * len(attributes),
    ]
    for system in SYSTEMS:
        cells = [_cell([f["f1"][system].get(a, 0.0) for f in figures]) for a in attributes]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    names = list(figures[0]["model"]["xrt label"])
    lines += ["", "| XRLinear trained on | " + " | ".join(names) + " |", "|---|---|---|---|"]
    for system in SYSTEMS:
        cells = [_cell([f["model"][system][name] for f in figures]) for name in names]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    mean = f"{100 * np.mean(values):.1f}"
    return (
        mean if len(values) == 1 else f"{mean} ({100 * min(values):.1f} to {100 * max(values):.1f})"
    )
