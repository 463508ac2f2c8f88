"""The stress set: attribute values of test rows as they are, and with damaged texts.

    python -m bench corruption --trn trn.csv --tst tst.csv [--model RUN/model ...] \
        --output corruption.jsonl --record RECORD.md

Texts of the test rows get typos, lose vowels, have words or themselves cut short (xrt's
`data/corruption.py`); side inputs such as prices stay. Two small linear models are trained on the
texts as they are, one on words only, one on words and character n-grams, and take the best value
of each attribute; `--model` adds finished attribute models, decoded as they decode. A line of the
table is a kind of damage; a cell has the item accuracy and the mean accuracy of the attributes.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.attribute_peer import best_of_each
from bench.machine import commit, machine
from bench.suites.attributes import columns_by_name
from xrt.applications.attributes.data.catalogue import CatalogueTable, read_catalogue
from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.data.item_texts import ItemTexts
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.metrics.table import attribute_report
from xrt.applications.attributes.predictor import AttributePredictor
from xrt.data.corpus import Corpus
from xrt.demo.corruption import corrupt
from xrt.estimators import XRLinear
from xrt.features.tfidf_params import TfidfParams

FEATURES = {"words": TfidfParams(), "words + characters": TfidfParams(char_ngrams=(3, 5))}
KINDS = (
    ("none", 0.0), ("typos", 0.1), ("typos", 0.3), ("typos", 1.0), ("vowels", 0.3),
    ("vowels", 1.0), ("words", 0.3), ("words", 1.0), ("text", 0.3), ("text", 0.7),
)  # fmt: skip
"""Kind of damage, and its rate; `none` is the rows as they are."""

Columns = Callable[[CatalogueTable], np.ndarray]
"""Label columns (N, A) of the training space that a system predicts for the rows of a table."""
Line = dict[str, Any]


def main() -> int:
    """Train, damage, predict, tell."""
    args = parse_arguments()
    corpus, space, item_texts = read_attributes(args.trn, AttributeSchema(**args.schema))
    table = read_catalogue(args.tst)
    truth, space_tst, _ = read_attributes(table, labels=space.labels, item_texts=item_texts)
    given_NA = space_tst.given_NA(truth.Y)
    counts_L = np.bincount(corpus.Y.indices, minlength=len(space.labels))
    lines: list[Line] = []
    for name, predict in systems(corpus, space, item_texts, args):
        for kind, rate in KINDS:
            found_NA = predict(damaged(table, item_texts, kind, rate, args.seed))
            report = attribute_report(space, given_NA, found_NA, len(space.labels), counts_L)
            line = {
                "system": name, "kind": kind, "rate": rate, "seed": args.seed,
                "num_test": table.num_rows, "trn": args.trn.name, "tst": args.tst.name,
                "report": report.to_dict(), "commit": commit(), "machine": machine(),
                "date": datetime.now(UTC).strftime("%Y-%m-%d"), "load_average": os.getloadavg()[0],
            }  # fmt: skip
            lines.append(line)
            print(f"{name}, {told(kind, rate)}: {cell(line)}", file=sys.stderr, flush=True)
            if args.output is not None:
                with args.output.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    record = render(lines)
    if args.record is not None:
        args.record.write_text(record)
    print(record, end="")
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trn", type=Path, required=True, help="CSV, Parquet or JSONL")
    parser.add_argument("--tst", type=Path, required=True)
    parser.add_argument("--schema", type=json.loads, default={}, help="JSON, as AttributeSchema")
    parser.add_argument("--model", nargs="*", type=Path, default=[], help="models of xrt's runs")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="JSON lines, appended to")
    parser.add_argument("--record", type=Path, help="markdown file to write")
    return parser.parse_args()


def systems(
    corpus: Corpus, space: AttributeSpace, item_texts: ItemTexts, args: argparse.Namespace
) -> Iterable[tuple[str, Columns]]:
    """Each system by name, trained when it is its turn."""
    for name, features in FEATURES.items():
        yield f"linear, {name}", linear(corpus, space, item_texts, features, args.threads)
    for folder in args.model:
        yield f"xrt {folder.parent.name}", of_model(folder, space)


def linear(
    corpus: Corpus,
    space: AttributeSpace,
    item_texts: ItemTexts,
    features: TfidfParams,
    num_threads: int,
) -> Columns:
    """A linear tree over the labels of all attributes, searched in full."""
    num_labels = len(space.labels)
    model = XRLinear(features=features, beam_size=num_labels, num_threads=num_threads).fit(corpus)

    def predict(table: CatalogueTable) -> np.ndarray:
        scores_NL = model.predict(item_texts.texts(table), k=num_labels).toarray()
        return best_of_each(scores_NL, space.attribute_of_L, space.num_attributes)

    return predict


def of_model(folder: Path, space: AttributeSpace) -> Columns:
    """A model of `xrt train experiment=attributes`."""
    predictor = AttributePredictor.load(folder)

    def predict(table: CatalogueTable) -> np.ndarray:
        return columns_by_name(predictor.predict(table), space)

    return predict


def damaged(
    table: CatalogueTable, item_texts: ItemTexts, kind: str, rate: float, seed: int
) -> CatalogueTable:
    """The table with damaged text columns; targets and side inputs as they were."""
    if kind == "none":
        return table
    texts = {column.name for column in item_texts.schema.texts}
    columns = {
        name: corrupt(cells, kind, rate, seed) if name in texts else cells
        for name, cells in table.columns.items()
    }
    return replace(table, columns=columns)


def render(lines: Sequence[Line]) -> str:
    """The record: a table with a column a system."""
    first, machine_ = lines[0], lines[0]["machine"]
    names = list(dict.fromkeys(line["system"] for line in lines))
    found = {(line["system"], line["kind"], line["rate"]): line for line in lines}
    table = [["damage", *names], ["---"] * (len(names) + 1)]
    for kind, rate in KINDS:
        table.append([told(kind, rate), *(cell(found[name, kind, rate]) for name in names)])
    body = "\n".join(f"| {' | '.join(row)} |" for row in table)
    return (
        f"# Attribute values of damaged texts · {first['date']}\n\n"
        f"{machine_['processor']}; xrt at commit {first['commit']}; trained on {first['trn']} as "
        f"it is, {first['num_test']:,} rows of {first['tst']}. Item accuracy / mean accuracy of "
        f"the attributes, fractions of 1.\n\n{body}\n"
    )


def told(kind: str, rate: float) -> str:
    """The damage in words."""
    return "as they are" if kind == "none" else f"{kind} {rate:g}"


def cell(line: Line) -> str:
    """Item accuracy and the attributes' mean."""
    report = line["report"]
    scores = [each["scores"]["accuracy"] for each in report["attributes"] if each["scores"]]
    return f"{report['item_accuracy']:.4f} / {np.mean(scores):.4f}"


if __name__ == "__main__":
    sys.exit(main())
