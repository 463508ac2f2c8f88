"""Documents a second of matcher training: one JSON line a setting.

python scripts/benchmarks/matcher.py trn.jsonl.xz --steps 60 --token-budget 4096 --threads 1
"""

import argparse
import json
import lzma
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

from xrt.encoder.batches import BatchPlan
from xrt.encoder.params import EncoderParams, MatcherParams, Precision, TrainerParams
from xrt.encoder.training import train_matcher
from xrt.tree.label_tree import LabelTree


class StepClock:
    """A `Progress` that notes when each step of the matcher ended."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.recording = False

    def start(self, description: str, total: int | None) -> None:
        """Take note only while the matcher is trained."""
        self.recording = description.startswith("matcher")

    def advance(self, n: int = 1, **figures: float) -> None:
        """A step has ended."""
        if self.recording:
            self.times.append(time.perf_counter())
            self.loss = figures.get("loss", float("nan"))

    def finish(self) -> None:
        """Stop taking note."""
        self.recording = False


def read_rows(path: Path, num_rows: int) -> tuple[list[str], sp.csr_array]:
    """The first rows: title and content, and their labels numbered as they come."""
    texts, rows, columns, index = [], [], [], dict[str, int]()
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            for label in record["labels"]:
                rows.append(len(texts))
                columns.append(index.setdefault(label, len(index)))
            texts.append(f"{record['title']} {record.get('content', '')}")
            if len(texts) == num_rows:
                break
    ones = np.ones(len(rows), np.float32)
    return texts, sp.csr_array((ones, (rows, columns)), shape=(len(texts), len(index)))


def main() -> None:
    """Train a flat tree for some steps and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--rows", type=int, default=42000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--token-budget", type=int, default=4096)
    parser.add_argument("--max-rows", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=["bf16", "32", "auto"], default="auto")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--accelerator", default="cpu")
    args = parser.parse_args()
    os.environ["XRT_NUM_THREADS"] = str(args.threads)
    texts, Y_NL = read_rows(args.corpus, args.rows)
    params = MatcherParams(
        steps=[args.steps], token_budget=args.token_budget, max_batch_rows=args.max_rows
    )
    clock = StepClock()
    started = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        from xrt.encoder import training
        from xrt.encoder.token_store import TokenStore

        training._embeddings = lambda *_: np.zeros((0, 0), np.float32)
        train_matcher(
            texts,
            Y_NL,
            LabelTree.flat(Y_NL.shape[1]),
            run_folder=Path(folder),
            encoder=EncoderParams(name=args.encoder),
            params=params,
            trainer=TrainerParams(
                precision=Precision(args.precision), accelerator=args.accelerator
            ),
            progress=clock,
        )
        tokens = TokenStore.load(Path(folder) / "tokens")
        plan = BatchPlan(tokens.lengths, args.token_budget, args.max_rows, params.seed)
    skipped = min(5, args.steps // 2)
    rows = sum(len(batch) for batch in plan.epoch(0)[skipped : args.steps])
    seconds = clock.times[-1] - clock.times[skipped - 1]
    result = {
        "rows_per_second": round(rows / seconds, 1),
        "steps": args.steps,
        "rows_per_step": round(rows / (args.steps - skipped), 1),
        "token_budget": args.token_budget,
        "threads": args.threads,
        "precision": args.precision,
        "labels": Y_NL.shape[1],
        "mean_tokens": round(float(tokens.lengths.mean()), 1),
        "loss": round(clock.loss, 3),
        "load_before": started,
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
