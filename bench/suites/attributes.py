"""Attribute values of a catalogue by xrt and by its peers, on the same TF-IDF rows.

    python -m venv PEERS
    PEERS/bin/pip install "numpy<2" "libpecos==1.2.8"
    python -m bench attributes --trn trn.csv --tst tst.csv --peers linear_svc libpecos \
        --peer-python libpecos=PEERS/bin/python --model RUN/model \
        --output attributes.jsonl --record RECORD.md

Peers: `linear_svc`, scikit-learn's LinearSVC for each attribute, with the C that is best on
held-out training rows; `libpecos`, its XR-Linear over the labels of all attributes together, of
which the best of each attribute is taken. `xrt` is the model of a finished run (`--model`, more
than one may be named). What is no hierarchy, target or text column by itself is named as for xrt
(`--schema '{"hierarchy": ["category", "sub_category"]}'`). All are judged on tst alike; nothing is
chosen on it. Each system's figures go to --output as one JSON line.
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

from bench.peers import add_interpreters, interpreters
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
from bench.rows import CatalogueRows
from bench.runs import run_child
from xrt import __version__
from xrt.applications.attributes.data.catalogue import read_catalogue
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.metrics.table import attribute_report
from xrt.applications.attributes.predictor import AttributePredictions, AttributePredictor

PEERS = {"linear_svc": "svc", "libpecos": "pecos"}
"""Peers, and the names of their systems in lines and records."""
SHOWN = ("trn", "tst", "schema", "peers", "peer_python", "model", "svc_costs", "threads")


def main(arguments: Sequence[str]) -> int:
    """Make the rows once, run the systems, publish the record. Returns the exit status."""
    args = parse_arguments(arguments)
    pythons = interpreters(args.peer_python, args.peers)
    rows = CatalogueRows.read(args.trn, args.tst, AttributeSchema(**args.schema))
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-attributes-") as scratch:
        shape = rows.write(Path(scratch))
        places = {name: str(a) for a, name in enumerate(rows.space.attributes)}
        costs = {places[name]: values for name, values in args.svc_costs.items()}
        (Path(scratch) / "svc_costs.json").write_text(json.dumps(costs))
        about = circumstances(shown_command("attributes", args, SHOWN))
        about |= {
            "trn": args.trn.name, "tst": args.tst.name, "num_train": shape[0],
            "num_features": shape[1], "num_test": len(rows.texts_tst),
            "num_labels": rows.num_known, "threads": args.threads,
        }  # fmt: skip
        for system in [*args.peers, *map(str, args.model)]:
            print(f"{system} ...", file=sys.stderr, flush=True)
            if system in PEERS:
                predicted_NA, figures = run_peer(system, pythons[system], Path(scratch), args)
            else:
                predicted_NA, figures = run_xrt(Path(system), rows, args.tst)
            line = {**about, **judged(rows, predicted_NA), **figures}
            lines.append(line)
            print(f"{line['system']}\n{line['table']}\n", file=sys.stderr, flush=True)
            append_line(args.output, line)
    publish(render(lines), args.record)
    return 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trn", type=Path, required=True, help="CSV, Parquet or JSONL")
    parser.add_argument("--tst", type=Path, required=True)
    parser.add_argument("--schema", type=json.loads, default={}, help="JSON, as AttributeSchema")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=["linear_svc"])
    add_interpreters(parser)
    parser.add_argument("--model", nargs="*", type=Path, default=[], help="models of xrt's runs")
    parser.add_argument(
        "--svc-costs", type=json.loads, default={}, metavar="JSON",
        help='C to choose from, such as {"brand": [10]} (default for every attribute: 0.1, 1, 10)',
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=7200, help="seconds a peer may take")
    parser.add_argument("--output", type=Path, help="JSON lines, appended to")
    parser.add_argument("--record", type=Path, help="markdown file to write")
    return parser.parse_args(arguments)


def run_peer(
    peer: str, python: str, rows: Path, args: argparse.Namespace
) -> tuple[np.ndarray, Line]:
    """What a peer predicts in a process of its own, and its figures."""
    with tempfile.TemporaryDirectory(prefix="benchmark-system-") as out:
        arguments = ["attributes", str(rows), out, str(args.threads)]
        figures = run_child(
            python, f"bench.peers.{peer}", arguments, Path(out), args.threads, args.timeout
        )
        if "error" in figures:
            raise SystemExit(f"{peer}: {figures['error']}")
        return np.load(Path(out) / "predicted.npy"), {"system": PEERS[peer], **figures}


def run_xrt(model: Path, rows: CatalogueRows, tst: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """What a model of xrt predicts; its labels are brought to the columns of the rows."""
    predictor = AttributePredictor.load(model)
    table = read_catalogue(tst)
    started = time.perf_counter()
    predictions = predictor.predict(table)
    seconds = time.perf_counter() - started
    predicted_NA = columns_by_name(predictions, rows.space)
    names = {"system": f"xrt {model.parent.name}", "version": f"xrt {__version__}"}
    return predicted_NA, {**names, "rows_per_second": table.num_rows / seconds}


def columns_by_name(predictions: AttributePredictions, space: AttributeSpace) -> np.ndarray:
    """Predicted labels as columns of another space, -1 for those it lacks: int32 (N, A)."""
    index, theirs = space.labels.index, predictions.space
    column_of = np.array([*(index.get(id, -1) for id in theirs.labels.ids), -1], np.int32)
    predicted_NA = np.full((len(predictions.columns_NA), space.num_attributes), -1, np.int32)
    for a, attribute in enumerate(space.attributes):
        if attribute in theirs.attributes:
            place = theirs.attributes.index(attribute)
            predicted_NA[:, a] = column_of[predictions.columns_NA[:, place]]
    return predicted_NA


def judged(rows: CatalogueRows, predicted_NA: np.ndarray) -> dict[str, Any]:
    """Table and figures of predictions on tst."""
    report = attribute_report(
        rows.space, rows.given_tst, predicted_NA, rows.num_known, rows.counts_L
    )
    return {"table": report.to_text(), "report": report.to_dict()}


def render(lines: Sequence[Line]) -> str:
    """The record: item accuracy and two figures an attribute beside each other, then each table."""
    first = lines[0]
    parts = [
        *head("Attribute values beside peers", lines),
        f"{first['num_train']:,} training rows, {first['num_test']:,} test rows, "
        f"{first['num_features']:,} TF-IDF columns, {first['num_labels']:,} labels. Fractions of 1 "
        "on the test rows.",
        overview(lines),
    ]
    for line in lines:
        notes = [f"`{line['system']}` ({line['version']})"]
        if "chosen" in line:
            names = [each["name"] for each in line["report"]["attributes"]]
            notes += [
                f"{name}: C = {each['C']:g}" + held_out_list(each["held_out_accuracy"])
                for name, each in zip(names, line["chosen"], strict=True)
            ]
        parts += ["; ".join(notes), f"```\n{line['table']}\n```"]
    return document(parts)


def overview(lines: Sequence[Line]) -> str:
    """A line for each system: item accuracy, then accuracy / macro F1 of each attribute."""
    names = [each["name"] for each in lines[0]["report"]["attributes"]]
    columns = ["", "item accuracy", *(f"{name}: accuracy / macro F1" for name in names)]
    rows = []
    for line in lines:
        scores = [each["scores"] for each in line["report"]["attributes"]]
        cells = [
            "-" if s is None else f"{four_digits(s['accuracy'])} / {four_digits(s['macro_f1'])}"
            for s in scores
        ]
        rows.append([line["system"], four_digits(line["report"]["item_accuracy"]), *cells])
    return table(columns, rows)


def held_out_list(held_out: dict[str, float]) -> str:
    """Held-out accuracy of each C that was tried."""
    if not held_out:
        return ""
    return f" (held out: {', '.join(f'{c}: {value:.4f}' for c, value in held_out.items())})"


def four_digits(value: float | None) -> str:
    """Four decimals, or a dash."""
    return "-" if value is None else f"{value:.4f}"
