"""Attributes of a catalogue with many values on the first level, by row and one by one.

    python -m bench attributes_wide [--seeds 0 1 2] [--runs RUNS] [--output FILE]

The grocery catalogue under XRT_DATA (default ../shared/data) with brand and three choices of
levels: `three` (11 / 90 / 392 values in training), `two` without the column category, so that the
first level has more than 32 values, and `one`, the last level alone. Linear models,
`experiment=bigbasket_linear`. Figures are of the test file; the way of decoding is chosen on
held-out training rows. Lines of `saved` weights put weights in place that were learnt on another
catalogue, with a first level in which a label without a score is worth as much as one that is
certain.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.record import append_line
from xrt.applications.attributes.decoding.joint_weights import JointWeights
from xrt.applications.attributes.evaluation import evaluate_attributes
from xrt.applications.attributes.predictor import AttributePredictor

LEVELS = {
    "three": ["category", "sub_category", "type"],
    "two": ["sub_category", "type"],
    "one": ["type"],
}
SAVED = {
    "first": [0.396, 0.0, 0.0],
    "middle": [0.137, 0.221, -1.263],
    "last": [0.663, 0.335, -5.533],
}
SAVED_OF = {"three": ("first", "middle", "last"), "two": ("first", "last"), "one": ("first",)}


def main(arguments: Sequence[str]) -> int:
    """Train a model for each choice of levels and each seed, print its figures. Returns 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--levels", nargs="+", choices=LEVELS, default=list(LEVELS))
    parser.add_argument("--runs", type=Path, default=Path("runs/attributes-wide"))
    parser.add_argument("--output", type=Path, help="JSON lines, appended to")
    args = parser.parse_args(arguments)
    for seed in args.seeds:
        for levels in args.levels:
            run = args.runs / f"{levels}-{seed}"
            train(levels, seed, run)
            trained = json.loads((run / "report.json").read_text())["attributes"]
            saved = with_saved_weights(run / "model", levels)
            for name, figures in (("learnt", trained), ("saved", saved)):
                line = {"levels": levels, "seed": seed, "weights": name, **figures_of(figures)}
                print(json.dumps(line), flush=True)
                append_line(args.output, line)
    return 0


def train(levels: str, seed: int, run: Path) -> None:
    """Train, unless the run folder has a report."""
    if (run / "report.json").is_file():
        return
    hierarchy = ",".join(LEVELS[levels])
    settings = [
        "experiment=bigbasket_linear", f"schema.targets=[brand,{hierarchy}]",
        f"schema.hierarchy=[{hierarchy}]", f"seed={seed}", f"paths.run={run}",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "xrt", "train", *settings], check=True, stdout=sys.stderr)


def with_saved_weights(model: Path, levels: str) -> dict[str, Any]:
    """The figures of a model on the test file with other weights of its levels."""
    predictor = AttributePredictor.load(model)
    decoder = predictor.decoder
    weights = decoder.weights.to_dict() | {
        "levels": [SAVED[name] for name in SAVED_OF[levels]], "share": 0.0, "other_path": -2.774
    }  # fmt: skip
    predictor.decoder = replace(
        decoder, weights=JointWeights.from_dict(weights, len(LEVELS[levels]), 1)
    )
    data = Path(os.environ.get("XRT_DATA", "../shared/data"))
    return evaluate_attributes(predictor, data / "bigbasket" / "tst.csv").to_dict()


def figures_of(report: dict[str, Any]) -> dict[str, Any]:
    """Accuracies in percent: what ships, both ways of decoding where the report has them, and the
    best-scored value of each attribute alone.
    """
    accuracies = {
        attribute["name"]: _percent(attribute["scores"]["accuracy"])
        for attribute in report["attributes"]
    }
    ways = {
        f"decode={name}": {
            "item": _percent(figures["item accuracy"]),
            **{level: _percent(share) for level, share in figures["accuracy"].items()},
        }
        for name, figures in report.get("decodings", {}).items()
    }
    return {
        "ships": report.get("decode", "row"),
        "item": _percent(report["item_accuracy"]),
        **accuracies,
        "item, each alone": _percent(report["each attribute alone"]["item_accuracy"]),
        **ways,
    }


def _percent(share: float) -> float:
    return round(100 * share, 2)
