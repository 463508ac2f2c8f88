"""The matcher's settings beside one another on the same rows, clusters and number of steps.

    python -m bench matcher_choices --data DATA --output choices.jsonl

Each choice fine-tunes MiniLM on some training records of tibkat, all on the same ones, and ranks
held-out training records with its own head over the labels: P@1 and nDCG@5. Test records are not
read. Runs are short, so that figures say which choice learns faster from few steps, not which is
best in the end. One JSON line a choice.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import xrt.encoder.training as training
from bench.record import append_line, circumstances, shown_command
from xrt.data.formats import read_corpus
from xrt.data.splits import validation_split
from xrt.encoder import validation
from xrt.encoder.params import EncoderParams, MatcherParams
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams
from xrt.hybrid import HybridMatrix
from xrt.pipeline.trees import TreeGrower
from xrt.sparse import as_csr
from xrt.tree.clustering import TreeParams

OF_ENCODER: dict[str, dict[str, Any]] = {
    "no dropout on the embedding": {"dropout": 0.0},
    **{f"{layers} lower layers frozen": {"frozen_layers": layers} for layers in (2, 3, 4, 5)},
}
"""Choices that are settings of the encoder."""
SHOWN = ("data", "rows", "held_out", "steps", "length", "encoder", "choices")


def choices(steps: int) -> dict[str, MatcherParams]:
    """Settings by name; each has as many steps over all levels as the first."""
    base = MatcherParams(steps=steps, validate_every_steps=steps)
    return {
        "default": base,
        "labels on TFN and MAN": replace(base, dense_level_limit=1_000),
        **dict.fromkeys(OF_ENCODER, base),
    }


def main(arguments: Sequence[str]) -> int:
    """Train each choice, write a line for each. Returns 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with tibkat/trn.jsonl.xz")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines go here, appended")
    parser.add_argument("--rows", type=int, default=12_000, help="training records")
    parser.add_argument("--held-out", type=int, default=2_000, help="records that are ranked")
    parser.add_argument("--steps", type=int, default=180, help="steps of at most 64 records")
    parser.add_argument("--length", type=int, default=32, help="tokens that are read")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--choices", nargs="+", help="some of the choices by name")
    args = parser.parse_args(arguments)
    corpus = read_corpus(args.data / "tibkat" / "trn.jsonl.xz")
    split = validation_split(corpus.Y, size=args.held_out, seed=0)
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(split.train, min(args.rows, len(split.train)), replace=False))
    assert corpus.texts is not None
    texts, Y = [corpus.texts[row] for row in rows], as_csr(corpus.Y[rows])
    held_out = [corpus.texts[row] for row in split.validation], as_csr(corpus.Y[split.validation])
    X = HybridMatrix.of(TfidfFeatures(TfidfParams()).fit_transform(texts))
    tree = TreeGrower(X, Y).grow(TreeParams(max_leaf_size=50, max_top_nodes=1024), 0)
    # nothing reads the embeddings of all rows here, and they take longer than the steps
    training._embeddings = lambda run, encoder, t: np.zeros(  # type: ignore[assignment]
        (run.tokens.num_rows, encoder.hidden_size), np.float32
    )
    validation.SAMPLE = args.held_out
    every = choices(args.steps)
    for name in args.choices or every:
        encoder = EncoderParams(
            name=args.encoder, max_length=args.length, **OF_ENCODER.get(name, {})
        )
        with tempfile.TemporaryDirectory(prefix="xrt-choices-") as folder:
            started = time.perf_counter()
            result = training.fine_tune_matcher(
                texts, Y, tree, run_folder=Path(folder), encoder=encoder, params=every[name],
                validation=held_out,
            )  # fmt: skip
            seconds = time.perf_counter() - started
        line = {
            "choice": name, **result.validations[-1], "seconds": round(seconds, 1),
            "rows": len(rows), "steps": args.steps, "length": args.length,
            "nodes": [tree.num_nodes(t) for t in range(tree.depth)],
            **circumstances(shown_command("matcher_choices", args, SHOWN), ["torch"]),
        }  # fmt: skip
        append_line(args.output, line)
        print(json.dumps(line), flush=True)
    return 0
