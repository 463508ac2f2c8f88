"""Accuracy that dropped weights of a size cost, on held-out training rows.

    python -m bench weight_threshold FILE [--text product description]
        [--labels brand type] [--chars 3 5] [--thresholds 0.1 0.03] [--train 4000] [--held-out 800]
        [--seeds 0 1 2]

Prints for each seed (of the rows drawn) and threshold P@1, P@5, R@10 in percent, and the number of
weights; `default` is the threshold that training chooses by the length of rows.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from xrt import XRLinear, read_corpus
from xrt.data.corpus import Corpus
from xrt.features.tfidf_params import TfidfParams
from xrt.metrics.ranking import judge, precision_at, recall_at
from xrt.sparse import as_csr


def main(arguments: Sequence[str]) -> int:
    """Print a line for each seed and threshold. Returns 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--text", nargs="+")
    parser.add_argument("--labels", nargs="+")
    parser.add_argument("--chars", nargs=2, type=int)
    parser.add_argument("--thresholds", nargs="+", type=float, default=[0.1, 0.05, 0.03, 0.02])
    parser.add_argument("--train", type=int, default=10**9)
    parser.add_argument("--held-out", type=int, default=1000)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args(arguments)
    columns = {"label_column": args.labels} if args.labels else {}
    corpus = read_corpus(args.file, text_columns=args.text, **columns)
    features = TfidfParams(char_ngrams=tuple(args.chars) if args.chars else None)
    print("seed  threshold  P@1    P@5    R@10        weights  nonzeros a row")
    for seed in args.seeds:
        order = np.random.default_rng(seed).permutation(corpus.num_instances)
        held_out = part(corpus, order[: args.held_out])
        trn = part(corpus, order[args.held_out :][: args.train])
        for threshold in (*args.thresholds, None):
            model = XRLinear(threshold=threshold, features=features, fused=False).fit(trn)
            figures = accuracy(model, held_out)
            weights = model.model_.trees.num_weights
            length = model.model_.rows_of(trn.texts).nnz / trn.num_instances
            name = "default" if threshold is None else f"{threshold:g}"
            cells = "  ".join(f"{100 * figure:5.2f}" for figure in figures)
            print(f"{seed:4}  {name:>9}  {cells}  {weights:12,}  {length:.0f}", flush=True)
    return 0


def part(corpus: Corpus, rows: np.ndarray) -> Corpus:
    """Some rows of the corpus."""
    return Corpus([corpus.texts[row] for row in rows], as_csr(corpus.Y[rows]), corpus.labels)


def accuracy(model: XRLinear, held_out: Corpus) -> tuple[float, float, float]:
    """P@1, P@5, R@10."""
    ranking = judge(held_out.Y, model.predict(held_out.texts, k=10), 10)
    precision = precision_at(ranking)
    return precision[0], precision[4], recall_at(ranking)[9]
