"""Small made-up corpora for tests that train: a label is a word, and texts mostly hold theirs."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from xrt.data.corpus import Corpus
from xrt.encoder.params import EncoderParams, MatcherParams, Precision, TrainerParams
from xrt.pipeline import DatasetParams, PipelineParams
from xrt.pipeline.trainer import Fitted, Trainer
from xrt.storage.artifact import MANIFEST
from xrt.storage.stages import FolderCache
from xrt.tree.clustering import MatcherTreeParams, TreeParams

WORDS = tuple(
    f"{a}{b}{c}" for a in ("ka", "lo", "mi", "nu") for b in ("re", "so", "ti") for c in ("", "x")
)
FILLERS = ("the", "with", "and", "for")


def make_rows(num_rows: int, seed: int) -> list[dict[str, Any]]:
    """Rows of one to three of the 24 labels; three of ten words are another one than the label's.

    The first 24 rows name every label, so that all are there whatever the seed.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(num_rows):
        chosen = set(rng.choice(len(WORDS), rng.integers(1, 4), replace=False).tolist())
        chosen |= {n} if n < len(WORDS) else set()
        said = [rng.integers(len(WORDS)) if rng.random() < 0.3 else c for c in sorted(chosen)]
        words = [WORDS[i] for i in said] + [FILLERS[i] for i in rng.integers(0, 4, n % 4)]
        rows.append({"title": " ".join(words), "labels": [WORDS[c].upper() for c in chosen]})
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def small_params(trn: Path, tst: Path | None = None, **changes: Any) -> PipelineParams:
    """A deep model in seconds: tree of 2 levels, 3 steps a level, float32 so that sums repeat.

    It is kept although so few steps beat no linear model.
    """
    settings: dict[str, Any] = {
        "dataset": DatasetParams(name="small", trn=str(trn), tst=None if tst is None else str(tst)),
        "encoder": EncoderParams(name="tiny-random", max_length=16),
        "matcher": MatcherParams(steps=3, max_batch_rows=16),
        "tree": TreeParams(max_leaf_size=4),
        "num_trees": 1,
        "matcher_tree": MatcherTreeParams(max_leaf_size=4),
        "trainer": TrainerParams(accelerator="cpu", devices=1, precision=Precision.fp32),
        "num_threads": 1,
        "always_deep": True,
    }
    return PipelineParams(**{**settings, **changes})


def fit_in_folder(params: PipelineParams, corpus: Corpus, folder: Path) -> Fitted:
    """Trained with the stages of a run folder."""
    return Trainer(params, FolderCache(folder)).fit(corpus)


def model_bytes(folder: Path, *leave_out: str) -> dict[str, str]:
    """SHA-256 of every file of a model but those left out."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert MANIFEST in files
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(files.items())
        if name not in leave_out
    }
