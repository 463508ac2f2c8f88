"""A T5 or ByT5 text-to-text baseline that writes the attribute values of catalogue items.

    python -m bench t5 --trn trn.csv --tst tst.csv --output runs/byt5 \
        --checkpoint google/byt5-small --epochs 20 --learning-rate 1e-3

Rows are read as xrt reads them (texts, price bins, attributes, hierarchy; `--schema` takes JSON as
AttributeSchema does), and judged by the same table. The model reads an item's text and writes
`value | value | ... |`, one value for each attribute in the order of the table, `none` where it has
none (see targets.py). Decoding follows a trie of the values known in training, with --seen-paths
only paths of the hierarchy that training has seen: nothing else can come out.

Any seq2seq checkpoint that transformers loads will do, a folder or a hub name. A GPU is used where
there is one, in bfloat16 where it has it. Started again with the same arguments, a run that was
stopped goes on from its last checkpoint, and one that was finished predicts. --output gets best/
(the model with the lowest loss on held-out training rows), checkpoint/, predictions.jsonl, and
report.json.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from bench.peers.t5.prediction import Written, predict
from bench.peers.t5.targets import KnownValues, TargetFormat
from bench.peers.t5.training import Examples, TrainingParams, train
from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.metrics.table import attribute_report
from xrt.errors import XrtError
from xrt.storage.atomic import write_json, write_text


def main(arguments: Sequence[str]) -> int:
    """Train, predict, judge. Returns 2 for a fault of the input."""
    try:
        return run(parse_arguments(arguments))
    except XrtError as err:
        print(f"error: {err}", file=sys.stderr)
        return 2


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; settings of training are the fields of TrainingParams."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trn", type=Path, required=True, help="CSV, TSV, Parquet or JSONL")
    parser.add_argument("--tst", type=Path, required=True)
    parser.add_argument("--schema", type=json.loads, default={}, help="JSON, as AttributeSchema")
    parser.add_argument("--checkpoint", required=True, help="folder or hub name")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--prefix", default="", help="put before each text")
    parser.add_argument("--max-input-length", type=int, default=512, help="tokens; the rest is cut")
    parser.add_argument("--max-target-length", type=int, help="tokens; longer rows are left out")
    parser.add_argument("--held-out", type=float, default=0.05, help="share of training rows")
    parser.add_argument("--seen-paths", action="store_true", help="only paths seen in training")
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--predict-rows", type=int, default=64, help="rows decoded at once")
    parser.add_argument("--max-steps", type=int, help="stop training for now after so many steps")
    for each in fields(TrainingParams):
        default: Any = each.default
        parser.add_argument(
            f"--{each.name.replace('_', '-')}", type=type(default), default=default,
            help=f"default: {default}",
        )  # fmt: skip
    return parser.parse_args(arguments)


def run(args: argparse.Namespace) -> int:
    """The steps in order; what is read, trained and found is told on the way."""
    params = TrainingParams(
        **{each.name: getattr(args, each.name) for each in fields(TrainingParams)}
    )
    corpus, space, item_texts = read_attributes(args.trn, AttributeSchema(**args.schema))
    given_NA = space.cells_of(corpus.Y)
    counts_L = np.bincount(corpus.Y.indices, minlength=len(space.labels))
    tokenizer = AutoTokenizer.from_pretrained(args.checkpoint)
    target = TargetFormat.of(tokenizer, space, len(space.labels))
    known = KnownValues(target, given_NA, args.seen_paths)
    if known.num_alike:
        tell(f"{known.num_alike} values have the tokens of another, more frequent one")
    fit, held_out = examples(corpus.texts, given_NA, target, tokenizer, args)
    model = load_model(args.checkpoint)
    position = train(model, tokenizer, fit, held_out, params, args.output, args.max_steps)
    tell(f"{position.step} steps, held-out losses {[round(loss, 4) for loss in position.losses]}")
    if not position.done:
        tell("stopped before the end; start again with the same arguments to go on")
        return 0
    model = load_model(str(args.output / "best"))
    other, space_tst, _ = read_attributes(args.tst, labels=space.labels, item_texts=item_texts)
    inputs = token_ids(tokenizer, other.texts, args)
    written = predict(model, known, inputs, args.predict_rows, args.beams)
    write_predictions(args.output / "predictions.jsonl", space, written)
    report = attribute_report(
        space, space_tst.cells_of(other.Y), written.columns_NA, len(space.labels), counts_L,
        written.probabilities_NA, written.row_probabilities_N,
    )  # fmt: skip
    settings = {name: str(value) for name, value in vars(args).items()}
    write_json(args.output / "report.json", {"settings": settings, **report.to_dict()})
    print(report.to_text())
    return 0


def load_model(checkpoint: str) -> Any:
    """The model in float32, on the GPU if there is one."""
    model = AutoModelForSeq2SeqLM.from_pretrained(checkpoint, dtype=torch.float32)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def token_ids(tokenizer: Any, texts: Any, args: argparse.Namespace) -> list[list[int]]:
    """Tokens of each text, cut to the longest allowed."""
    ids: list[list[int]] = tokenizer(
        [args.prefix + text for text in texts], truncation=True, max_length=args.max_input_length
    )["input_ids"]
    return ids


def examples(
    texts: Any, given_NA: np.ndarray, target: TargetFormat, tokenizer: Any, args: argparse.Namespace
) -> tuple[Examples, Examples]:
    """Rows to train on, and rows held out; those without any value teach nothing."""
    pairs = [target.write(row) for row in given_NA]
    limit = args.max_target_length or target.longest
    short_enough = np.array([len(written) <= limit for written, _ in pairs])
    if not short_enough.all():
        tell(f"{(~short_enough).sum()} targets are longer than {limit} tokens: rows left out")
    usable = np.flatnonzero(short_enough & (given_NA >= 0).any(axis=1))
    order = np.random.default_rng(args.seed).permutation(usable)
    num_held_out = int(args.held_out * len(order))
    inputs = token_ids(tokenizer, texts, args)
    every = Examples(inputs, [written for written, _ in pairs], [learnt for _, learnt in pairs])
    held_out, fit = np.sort(order[:num_held_out]), np.sort(order[num_held_out:])
    return every.take(fit.tolist()), every.take(held_out.tolist())


def write_predictions(path: Path, space: AttributeSpace, written: Written) -> None:
    """A line for each row: the value of each attribute (null for none), how likely, the row too."""
    lines = []
    for columns, chances, row_chance in zip(
        written.columns_NA.tolist(), written.probabilities_NA.tolist(),
        written.row_probabilities_N.tolist(), strict=True,
    ):  # fmt: skip
        row = {
            "values": dict(zip(space.attributes, map(space.value, columns), strict=True)),
            "probabilities": dict(zip(space.attributes, chances, strict=True)),
            "row_probability": row_chance,
        }
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def tell(message: str) -> None:
    """What is done, for whoever waits."""
    print(message, file=sys.stderr, flush=True)
