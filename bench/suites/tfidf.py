"""xrt's TF-IDF beside scikit-learn's TfidfVectorizer on the same texts.

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
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from bench.record import append_line, circumstances, shown_command
from bench.rows import find_data, split_file
from xrt import read_corpus
from xrt.features.tfidf import TfidfFeatures, TfidfParams


def main(arguments: Sequence[str]) -> int:
    """Time each data set and n-gram length. Returns 1 where the rows differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: XRT_DATA)")
    parser.add_argument("--rows", nargs="+", default=["tibkat"])
    parser.add_argument("--ngrams", nargs="+", type=int, default=[1])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="JSONL file to append to")
    args = parser.parse_args(arguments)
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
            options = ("data", "rows", "ngrams", "repeats", "threads")
            line |= circumstances(shown_command("tfidf", args, options), ["numpy", "scikit-learn"])
            print(json.dumps(line), flush=True)
            append_line(args.output, line)
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
