"""Attribute values of test rows as they are, and with damaged texts: the stress set.

    python -m bench corruption --trn trn.csv --tst tst.csv [--model RUN/model ...] \
        --output corruption.jsonl --record RECORD.md

Texts of the test rows get typos, lose vowels, have words or themselves cut short
(`xrt/demo/corruption.py`); side inputs such as prices stay. Two small linear models are trained on
the texts as they are, one on words only, one on words and character n-grams, and take the best
value of each attribute; `--model` adds finished attribute models, decoded as they decode. A line of
the table is a kind of damage; a cell has the item accuracy and the mean accuracy of the attributes.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.attribute_peer import best_of_each
from bench.record import (
    Line,
    append_line,
    circumstances,
    document,
    head,
    publish,
    shown_command,
    table,
)
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
SHOWN = ("trn", "tst", "schema", "model", "seed", "threads")

Columns = Callable[[CatalogueTable], np.ndarray]
"""Label columns (N, A) of the training space that a system predicts for the rows of a table."""


def main(arguments: Sequence[str]) -> int:
    """Train, damage, predict, publish the record. Returns the exit status."""
    args = parse_arguments(arguments)
    corpus, space, item_texts = read_attributes(args.trn, AttributeSchema(**args.schema))
    items = read_catalogue(args.tst)
    truth, space_tst, _ = read_attributes(items, labels=space.labels, item_texts=item_texts)
    given_NA = space_tst.cells_of(truth.Y)
    counts_L = np.bincount(corpus.Y.indices, minlength=len(space.labels))
    lines: list[Line] = []
    for name, predict in systems(corpus, space, item_texts, args):
        for kind, rate in KINDS:
            predicted_NA = predict(damaged(items, item_texts, kind, rate, args.seed))
            report = attribute_report(space, given_NA, predicted_NA, len(space.labels), counts_L)
            line = {
                "system": name, "kind": kind, "rate": rate, "seed": args.seed,
                "num_test": items.num_rows, "trn": args.trn.name, "tst": args.tst.name,
                "report": report.to_dict(),
                **circumstances(shown_command("corruption", args, SHOWN)),
            }  # fmt: skip
            lines.append(line)
            print(f"{name}, {damage_name(kind, rate)}: {cell(line)}", file=sys.stderr, flush=True)
            append_line(args.output, line)
    publish(render(lines), args.record)
    return 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
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
    return parser.parse_args(arguments)


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
    model = XRLinear(
        features=features, beam_size=num_labels, fused=False, num_threads=num_threads
    ).fit(corpus)

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
    first = lines[0]
    names = list(dict.fromkeys(line["system"] for line in lines))
    by_damage = {(line["system"], line["kind"], line["rate"]): line for line in lines}
    rows = [
        [damage_name(kind, rate), *(cell(by_damage[name, kind, rate]) for name in names)]
        for kind, rate in KINDS
    ]
    return document([
        *head("Attribute values of damaged texts", lines),
        f"Trained on {first['trn']} as it is, {first['num_test']:,} rows of {first['tst']}. Item "
        "accuracy / mean accuracy of the attributes, fractions of 1.",
        table(["damage", *names], rows),
    ])  # fmt: skip


def damage_name(kind: str, rate: float) -> str:
    """The damage in words."""
    return "as they are" if kind == "none" else f"{kind} {rate:g}"


def cell(line: Line) -> str:
    """Item accuracy and the attributes' mean."""
    report = line["report"]
    scores = [each["scores"]["accuracy"] for each in report["attributes"] if each["scores"]]
    return f"{report['item_accuracy']:.4f} / {np.mean(scores):.4f}"
