"""Times xrt's TF-IDF beside scikit-learn's TfidfVectorizer on the same texts.

    python -m bench tfidf --data DATA --rows tibkat yso --ngrams 1 2

Both make rows of length 1 from the same settings (min_df 2, float32). Each round times one after
the other, in the opposite order in the next; ratios are taken within a round. The vocabularies and
rows are compared, and a difference is exit status 1. xrt runs with --threads threads, kernels
compiled off the clock; scikit-learn has no threads. DATA (or XRT_DATA) holds the data sets, each
with trn.jsonl and tst.jsonl, .gz and .xz too. One JSON line a run.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from bench.machine import machine
from bench.rows import find_data, split_file
from xrt import read_corpus
from xrt.features.tfidf import TfidfFeatures, TfidfParams


def main() -> int:
    """Parse the command line, time each data set and n-gram length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: XRT_DATA)")
    parser.add_argument("--rows", nargs="+", default=["tibkat"])
    parser.add_argument("--ngrams", nargs="+", type=int, default=[1])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="JSONL file to append to")
    args = parser.parse_args()
    os.environ["XRT_NUM_THREADS"] = str(args.threads)
    equal = True
    for name in args.rows:
        texts = read_corpus(split_file(find_data(args.data) / name, "trn")).texts
        assert texts is not None
        for length in args.ngrams:
            TfidfFeatures(TfidfParams(word_ngram_max=length)).fit_transform(texts[:2000])
            line = {"rows": name, "texts": len(texts), "ngrams": length, "threads": args.threads}
            line |= compare(texts, length, args.repeats)
            equal &= bool(line["equal"])
            report(line | machine(), args.output)
    return 0 if equal else 1


def compare(texts: list[str], length: int, repeats: int) -> dict[str, Any]:
    """Medians of seconds, and of the ratios within a round; whether the rows are the same."""
    makers: dict[str, Callable[[], Any]] = {
        "xrt": lambda: TfidfFeatures(TfidfParams(word_ngram_max=length)),
        "sklearn": lambda: TfidfVectorizer(min_df=2, ngram_range=(1, length), dtype=np.float32),
    }
    seconds: dict[str, list[float]] = {f"{n}_{step}": [] for n in makers for step in ("fit", "use")}
    rows, terms = {}, {}
    for round_ in range(repeats):
        for name in list(makers)[:: 1 if round_ % 2 == 0 else -1]:
            features = makers[name]()
            started = time.perf_counter()
            rows[name] = features.fit_transform(texts)
            fitted = time.perf_counter()
            features.transform(texts)
            seconds[f"{name}_fit"].append(fitted - started)
            seconds[f"{name}_use"].append(time.perf_counter() - fitted)
            terms[name] = rows[name].shape[1]
    line: dict[str, Any] = {f"{key}_seconds": round(median(s), 3) for key, s in seconds.items()}
    for step in ("fit", "use"):
        pairs = zip(seconds[f"sklearn_{step}"], seconds[f"xrt_{step}"], strict=True)
        line[f"{step}_times_as_fast"] = round(median(slow / fast for slow, fast in pairs), 2)
    return line | {"terms": terms["xrt"], "equal": same(rows["xrt"], rows["sklearn"])}


def same(ours: Any, theirs: Any) -> bool:
    """The same columns in every row, and values that differ by rounding alone."""
    theirs.sort_indices()
    return (
        ours.shape == theirs.shape
        and np.array_equal(ours.indices, theirs.indices)
        and np.array_equal(ours.indptr, theirs.indptr)
        and np.allclose(ours.data, theirs.data, rtol=1e-5, atol=1e-7)
    )


def report(line: dict[str, Any], output: Path | None) -> None:
    """One JSON line to stdout, and to the end of the output file."""
    text = json.dumps(line)
    print(text, flush=True)
    if output is not None:
        with output.open("a") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
