"""Confidences of labels: the demo catalogue with wrong brands, with and without confidences.

    python -m bench label_confidences --seeds 0 1 2 --output confidences.jsonl

Trains `XRLinear` on the observed labels, of which a share of the brands is wrong, as they are and
with a low confidence on the wrong ones; judged by the true brands of further rows.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from bench.record import append_line
from xrt import XRLinear
from xrt.demo.catalogue import DemoCatalogue, DemoParams, demo_catalogue


def main(arguments: Sequence[str]) -> int:
    """Print a JSON line for each seed, and the means. Returns 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=12_000, help="training rows; a sixth are test")
    parser.add_argument("--wrong", type=float, default=0.2, help="share of wrong brands")
    parser.add_argument("--confidence", type=float, default=0.1, help="of a wrong brand")
    parser.add_argument("--output", type=Path, help="JSON lines, appended to")
    args = parser.parse_args(arguments)
    lines = [brand_precision(seed, args) for seed in args.seeds]
    means = {name: float(np.mean([line[name] for line in lines])) for name in lines[0]}
    for line in [*lines, {"mean of seeds": args.seeds, **means}]:
        print(json.dumps(line))
        append_line(args.output, line)
    return 0


def brand_precision(seed: int, args: argparse.Namespace) -> dict[str, float]:
    """The share of test rows whose best-scored brand is the true one, in percent."""
    num_test = args.rows // 6
    catalogue = demo_catalogue(args.rows + num_test, seed, DemoParams(wrong_brand=args.wrong))
    texts = [f"{row['title']}\n{row['content']}".strip() for row in catalogue.rows]
    ids = sorted({label for row in catalogue.rows[: args.rows] for label in row["labels"]})
    truth = [labels[0] for labels in catalogue.true_labels[args.rows :]]  # brand=... comes first
    line: dict[str, float] = {"seed": seed}
    for name, confidence in (("no confidences", 1.0), ("confidences", args.confidence)):
        Y_NL = observed(catalogue, ids, args.rows, confidence)
        model = XRLinear(fused=False, seed=seed).fit(texts[: args.rows], Y_NL)
        scores_NL = model.predict(texts[args.rows :], k=30)
        line[name] = 100 * float(np.mean([
            best_brand(scores_NL, row, ids) == label for row, label in enumerate(truth)
        ]))  # fmt: skip
    return line


def observed(
    catalogue: DemoCatalogue, ids: list[str], num_rows: int, confidence: float
) -> sp.csr_array:
    """The labels of the training rows (N, L); those that are not true have this confidence."""
    column_of = {label: column for column, label in enumerate(ids)}
    rows, columns, values = [], [], []
    for row in range(num_rows):
        for label in catalogue.rows[row]["labels"]:
            rows.append(row)
            columns.append(column_of[label])
            values.append(1.0 if label in catalogue.true_labels[row] else confidence)
    shape = (num_rows, len(ids))
    return sp.csr_array((np.array(values, np.float32), (rows, columns)), shape=shape)


def best_brand(scores_NL: sp.csr_array, row: int, ids: list[str]) -> str:
    """The best-scored brand of a row, '' where none is among its labels."""
    entries = slice(scores_NL.indptr[row], scores_NL.indptr[row + 1])
    scored = zip(scores_NL.data[entries], scores_NL.indices[entries], strict=True)
    brands = [
        (float(score), ids[int(c)]) for score, c in scored if ids[int(c)].startswith("brand=")
    ]
    return max(brands)[1] if brands else ""
