"""Real queries of a shop whose only labels are the facet counts of its own noisy search.

    python -m bench query_intent_bestbuy [--data ../shared/data] --out FOLDER

Each facet count (query, category path, results) is taken as clicks on stand-in items that have
this path; products teach which words stand for which category. `xrt label` makes soft labels,
XRLinear learns on seven queries in ten (by hash), and a sample of 100 of the others where labels
and model disagree is written to `disagreements.tsv`, to be read.
"""

import argparse
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from xrt import XRLinear
from xrt.applications.query_intent import LabellingParams, label_queries
from xrt.applications.query_intent.catalogue import read_catalogue
from xrt.applications.query_intent.value_tree import STEP
from xrt.applications.query_intent.words.words import normalise_query
from xrt.data.corpus import Corpus, LabelTable
from xrt.features.tfidf_params import TfidfParams

STAND_INS = 2
"""Items for each path: a single one would be taken for a chance click."""
TEST_SHARE = 0.3
NUM_READ = 100


def main(arguments: Sequence[str]) -> int:
    """Label, train, compare, write the sample. Returns 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("XRT_DATA", "../shared/data"))
    parser.add_argument("--out", required=True)
    args = parser.parse_args(arguments)
    data, out = Path(args.data) / "bestbuy", Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    queries = read_facets(data / "queries.jsonl")
    write_items(data / "products.jsonl", queries, out / "items.jsonl")
    catalogue = read_catalogue(out / "items.jsonl")
    params = LabellingParams(min_confidence=0.05)
    result = label_queries(clicks_of(queries), catalogue, out / "corpus.jsonl", params)
    print(result.report.to_text())
    labels = {
        record["text"]: record["labels"]
        for record in map(json.loads, result.path.read_text(encoding="utf-8").splitlines())
    }
    report(labels, queries, out)
    return 0


def read_facets(path: Path) -> dict[str, dict[str, int]]:
    """Query -> category path -> results."""
    facets: dict[str, dict[str, int]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        facets.setdefault(normalise_query(record["query"]), {}).update(record["labels"])
    return facets


def own_counts(facets: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Results of each path that are not among the results of a listed longer one."""
    for path, count in facets.items():
        below = [
            n
            for other, n in facets.items()
            if other.startswith(path + STEP)
            and not any(
                other.startswith(middle + STEP) and middle.startswith(path + STEP)
                for middle in facets
            )
        ]
        yield path, max(count - sum(below), 0)


def clicks_of(queries: dict[str, dict[str, int]]) -> pl.DataFrame:
    """Facet counts as a click log."""
    rows = [
        (query, f"{path}#{i}", count / STAND_INS)
        for query, facets in queries.items()
        for path, count in own_counts(facets)
        if count
        for i in range(STAND_INS)
    ]
    return pl.DataFrame(rows, schema=["query", "item", "count"], orient="row")


def write_items(products: Path, queries: dict[str, dict[str, int]], path: Path) -> None:
    """Products with their category path, and the stand-ins, without a title."""
    records = []
    for number, line in enumerate(products.read_text(encoding="utf-8").splitlines()):
        product = json.loads(line)
        if product["categories"]:
            label = f"category={STEP.join(product['categories'])}"
            records.append({"id": f"p{number}", "title": product["name"], "labels": [label]})
    paths = sorted({p for facets in queries.values() for p in facets})
    records += [
        {"id": f"{p}#{i}", "title": "", "labels": [f"category={p}"]}
        for p in paths
        for i in range(STAND_INS)
    ]
    path.write_text("\n".join(json.dumps(r) for r in records) + "\n", encoding="utf-8")


def report(
    labels: dict[str, dict[str, float]], queries: dict[str, dict[str, int]], out: Path
) -> None:
    """Train on the training queries, and compare on the others."""
    order = sorted(labels, key=lambda q: zlib.crc32(b"bestbuy " + q.encode()))
    tests = [q for q in order if zlib.crc32(b"split " + q.encode()) < TEST_SHARE * 2**32]
    train = [q for q in order if q not in set(tests)]
    rows = {q: {v: c for v, c in labels[q].items() if c >= 0.5} for q in train}
    rows = {q: confident for q, confident in rows.items() if confident}
    model, ids = fitted(rows)
    labelled_tests = [q for q in tests if deepest(labels[q])]
    ranked = model.predict(labelled_tests, k=50).tocsr()
    num_agreeing, disagreements = 0, []
    for i, query in enumerate(labelled_tests):
        part = slice(ranked.indptr[i], ranked.indptr[i + 1])
        by_score = sorted(
            zip(ranked.data[part].tolist(), [ids[c] for c in ranked.indices[part]], strict=True),
            reverse=True,
        )
        mine = deepest(labels[query])
        same_depth = [(s, v) for s, v in by_score if v.count(STEP) == mine.count(STEP)]
        score, theirs = same_depth[0] if same_depth else (0.0, "")
        if mine == theirs:
            num_agreeing += 1
        else:
            facets = "; ".join(f"{p}={n}" for p, n in queries[query].items())
            disagreements.append((query, mine, labels[query][mine], theirs, score, facets))
    print(
        f"{len(train)} training queries, {len(rows)} with a label; {len(tests)} test queries, "
        f"{len(labelled_tests)} with a label; the model agrees on {num_agreeing}"
    )
    lines = ["query\tlabel\tconfidence\tmodel\tscore\tfacets"]
    lines += ["\t".join(map(str, some)) for some in disagreements[:NUM_READ]]
    (out / "disagreements.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def deepest(weights: dict[str, float]) -> str:
    """The longest path with a confidence of at least 0.5, the surer one of two; '' without any."""
    sure = [(v.count(STEP), c, v) for v, c in weights.items() if c >= 0.5]
    return max(sure)[2] if sure else ""


def fitted(rows: dict[str, dict[str, float]]) -> tuple[XRLinear, list[str]]:
    """XRLinear on queries with soft labels, and the ids of its columns."""
    ids = sorted({v for weights in rows.values() for v in weights})
    table = LabelTable.from_ids(ids, [v.rpartition(STEP)[2].rpartition("=")[2] for v in ids])
    places = [
        (row, table.index[v], c)
        for row, weights in enumerate(rows.values())
        for v, c in weights.items()
    ]
    row, column, weight = (np.array(some) for some in zip(*places, strict=True))
    Y = sp.csr_array((weight.astype(np.float32), (row, column)), shape=(len(rows), len(ids)))
    Y.sort_indices()
    model = XRLinear(fused=False, features=TfidfParams(char_ngrams=(3, 5), min_df=1))
    return model.fit(Corpus(list(rows), Y, table)), ids
