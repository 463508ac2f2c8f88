"""Labels that look wrong or missing, with evidence, and a corrected file.

python examples/audit.py [FOLDER]
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from xrt import XRLinear, evaluate_ranking, read_corpus
from xrt.demo.catalogue import DemoParams, write_demo


def xrt(folder: Path, *words: str) -> None:
    """One command of xrt, run in a folder."""
    subprocess.run([sys.executable, "-m", "xrt", *words], cwd=folder, check=True)


def precision(folder: Path, name: str) -> float:
    """P@3 against the true labels, of a model trained on a file."""
    corpus = read_corpus(folder / name)
    test = read_corpus(folder / "tst.jsonl", labels=corpus.labels, label_column="true_labels")
    scores_NL = XRLinear().fit(corpus).predict(test.texts, k=3)
    return evaluate_ranking(test.Y, scores_NL, ks=[3]).value("P@3")


def main(folder: Path) -> None:
    # A catalogue as catalogues are: a fifth of the brands wrong, many categories cut short.
    careless = DemoParams(num_brands=200, wrong_brand=0.2, missing_depth=0.3)
    write_demo(folder, num_train=3_000, num_test=500, params=careless)

    # report.html, suggestions.jsonl and suggestions.parquet
    xrt(folder, "audit", "trn.jsonl", "--labels", "labels.tsv", "--out", "audit")
    lines = (folder / "audit/suggestions.jsonl").read_text().splitlines()
    suggestions = [json.loads(line) for line in lines]
    print(Counter(suggestion["kind"] for suggestion in suggestions))
    for suggestion in suggestions[:3]:
        print(f"  {suggestion['kind']} {suggestion['label']!r}: {suggestion['text']!r}")
        print(f"    probability {suggestion['probability']:.2f}, rank {suggestion['rank']}")

    # soft: nothing is added or removed, labels only count more or less in training
    how = ["--corpus", "trn.jsonl", "--out", "corrected.jsonl", "--accept", "soft"]
    xrt(folder, "audit", "apply", "audit/suggestions.jsonl", *how)
    before, after = precision(folder, "trn.jsonl"), precision(folder, "corrected.jsonl")
    print(f"P@3 against the true labels: {before:.3f} before, {after:.3f} after")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
