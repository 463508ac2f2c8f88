"""Attribute values by xrt and by its peers, on the same TF-IDF rows of a catalogue.

    python -m venv PEERS
    PEERS/bin/pip install "numpy<2" "libpecos==1.2.8"
    python -m bench attributes --trn trn.csv --tst tst.csv \
        --peer-python PEERS/bin/python --model RUN/model \
        --output attributes.jsonl --record RECORD.md

Peers: `svc`, a LinearSVC of scikit-learn for each attribute, with the C that is best on held-out
training rows; `pecos`, libpecos' XR-Linear over the labels of all attributes together, of which the
best of each attribute is taken. `xrt` is the model of a finished run (`--model`, more than one may
be named). What is no hierarchy, target or text column by itself is said as for xrt
(`--schema '{"hierarchy": ["category", "sub_category"]}'`). All are judged on tst alike; nothing is
chosen on it. Each system's figures go to --output as one JSON line.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.attribute_rows import CatalogueRows
from bench.children import run_child
from bench.machine import commit, machine
from bench.suites.attributes_record import render
from xrt import __version__
from xrt.applications.attributes.data.catalogue import read_catalogue
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.metrics.table import attribute_report
from xrt.applications.attributes.predictor import AttributePredictions, AttributePredictor

CHILD = "bench.attribute_peer"
PEERS = ("svc", "pecos")


def main() -> int:
    """Make the rows once, run the systems, tell what came out."""
    args = parse_arguments()
    rows = CatalogueRows.read(args.trn, args.tst, AttributeSchema(**args.schema))
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-attributes-") as scratch:
        shape = rows.write(Path(scratch))
        places = {name: str(a) for a, name in enumerate(rows.space.attributes)}
        costs = {places[name]: values for name, values in args.svc_costs.items()}
        (Path(scratch) / "svc_costs.json").write_text(json.dumps(costs))
        for system in [*args.systems, *map(str, args.model)]:
            print(f"{system} ...", file=sys.stderr, flush=True)
            if system in PEERS:
                predicted_NA, figures = run_peer(system, Path(scratch), args)
            else:
                predicted_NA, figures = run_xrt(Path(system), rows, args.tst)
            line = {**judged(rows, predicted_NA), **figures, **circumstances(rows, shape, args)}
            lines.append(line)
            print(f"{line['system']}\n{line['table']}\n", file=sys.stderr, flush=True)
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
    parser.add_argument("--systems", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--peer-python", help="interpreter that has libpecos")
    parser.add_argument("--model", nargs="*", type=Path, default=[], help="models of xrt's runs")
    parser.add_argument(
        "--svc-costs", type=json.loads, default={}, metavar="JSON",
        help='C to choose from, such as {"brand": [10]} (default for every attribute: 0.1, 1, 10)',
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=7200, help="seconds a peer may take")
    parser.add_argument("--output", type=Path, help="JSON lines, appended to")
    parser.add_argument("--record", type=Path, help="markdown file to write")
    args = parser.parse_args()
    if "pecos" in args.systems and not args.peer_python:
        parser.error("pecos needs --peer-python (see the head of this script), or --systems svc")
    return args


def run_peer(
    system: str, rows: Path, args: argparse.Namespace
) -> tuple[np.ndarray, dict[str, Any]]:
    """What a peer predicts in a process of its own, and its figures."""
    python = args.peer_python if system == "pecos" else sys.executable
    with tempfile.TemporaryDirectory(prefix="benchmark-system-") as out:
        command = [system, str(rows), out, str(args.threads)]
        figures = run_child(python, CHILD, command, Path(out), args.threads, args.timeout)
        if "error" in figures:
            raise SystemExit(f"{system}: {figures['error']}")
        return np.load(Path(out) / "predicted.npy"), {"system": system, **figures}


def run_xrt(model: Path, rows: CatalogueRows, tst: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """What a model of xrt predicts; its labels are brought to the columns of the rows."""
    predictor = AttributePredictor.load(model)
    table = read_catalogue(tst)
    started = time.perf_counter()
    found = predictor.predict(table)
    seconds = time.perf_counter() - started
    predicted_NA = columns_by_name(found, rows.space)
    told = {"system": f"xrt {model.parent.name}", "version": f"xrt {__version__}"}
    return predicted_NA, {**told, "rows_per_second": table.num_rows / seconds}


def columns_by_name(found: AttributePredictions, space: AttributeSpace) -> np.ndarray:
    """Predicted labels as columns of another space, -1 for those it lacks: int32 (N, A)."""
    index, theirs = space.labels.index, found.space
    column_of = np.array([*(index.get(id, -1) for id in theirs.labels.ids), -1], np.int32)
    predicted_NA = np.full((len(found.columns_NA), space.num_attributes), -1, np.int32)
    for a, attribute in enumerate(space.attributes):
        if attribute in theirs.attributes:
            place = theirs.attributes.index(attribute)
            predicted_NA[:, a] = column_of[found.columns_NA[:, place]]
    return predicted_NA


def judged(rows: CatalogueRows, predicted_NA: np.ndarray) -> dict[str, Any]:
    """Table and figures of predictions on tst."""
    report = attribute_report(
        rows.space, rows.given_tst, predicted_NA, rows.num_known, rows.counts_L
    )
    return {"table": report.to_text(), "report": report.to_dict()}


def circumstances(
    rows: CatalogueRows, shape: tuple[int, int], args: argparse.Namespace
) -> dict[str, Any]:
    """What the figures depend on besides the system."""
    return {
        "trn": args.trn.name, "tst": args.tst.name, "num_train": shape[0], "num_features": shape[1],
        "num_test": len(rows.texts_tst), "num_labels": rows.num_known, "threads": args.threads,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit(), "machine": machine(),
        "load_average": os.getloadavg()[0],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
