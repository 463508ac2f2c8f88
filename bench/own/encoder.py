"""xrt's side of the encoder suite, in a process of its own.

    python -m bench.own.encoder pace|full ROWS OUT SETTINGS

`pace`: one level of clusters is trained for a few steps with xrt's defaults; a step is timed from
the end of one to the end of the next, as Lightning has them. `batch_rows` 0 is xrt's own batch
size. `full`: a preset is trained to the end and predicts the test rows.
"""

import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from bench.clock import StepClock
from xrt.encoder.batches import BatchPlan
from xrt.encoder.params import EncoderParams, MatcherParams, TrainerParams
from xrt.encoder.tokens import TokenStore
from xrt.encoder.training import fine_tune_matcher
from xrt.tree.label_tree import LabelTree

TOP_K = 10


def main() -> None:
    """Read the arguments, run, write the figures."""
    what, rows, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    settings = json.loads(sys.argv[4])
    os.environ["XRT_NUM_THREADS"] = str(settings["threads"])
    figures = pace(rows, settings) if what == "pace" else full(rows, out, settings)
    figures["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    figures["versions"] = {name: version(name) for name in ("torch", "transformers", "numpy")}
    (out / "figures.json").write_text(json.dumps(figures))


def pace(rows: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Documents a second of fine-tuning on the clusters."""
    texts = json.loads((rows / "texts.json").read_text())
    Y_NK = sp.csr_array(sp.load_npz(rows / "Y_clusters.npz"), dtype=np.float32)
    params = MatcherParams(steps=settings["steps"])
    if settings["batch_rows"]:
        params = replace(params, max_batch_rows=settings["batch_rows"])
    encoder = EncoderParams(
        name=settings["encoder"],
        max_length=settings["max_length"],
        frozen_layers=settings["frozen_layers"],
    )
    clock = StepClock()
    with tempfile.TemporaryDirectory(prefix="benchmark-matcher-") as folder:
        fine_tune_matcher(
            texts, Y_NK, LabelTree.flat(Y_NK.shape[1]), run_folder=Path(folder), encoder=encoder,
            params=params, trainer=TrainerParams(accelerator="cpu"), progress=clock,
        )  # fmt: skip
        lengths = TokenStore.load(Path(folder) / "tokens").lengths
    plan = BatchPlan(lengths, params.token_budget, params.max_batch_rows, 0)
    batches = [len(b) for epoch in range(1 + settings["steps"] // plan.num_batches)
               for b in plan.epoch(epoch)]  # fmt: skip
    warm_up = settings["warm_up"]
    timed = batches[warm_up : settings["steps"]]
    seconds = clock.times[-1] - clock.times[warm_up - 1]
    return {
        "documents_per_second": sum(timed) / seconds, "steps": len(timed),
        "rows_of_step": sum(timed) / len(timed), "step_ms": 1e3 * seconds / len(timed),
        "settings": f"at most {params.max_batch_rows} rows and {params.token_budget} tokens a "
        f"step, precision {TrainerParams().precision.value}"
        + (f", {encoder.frozen_layers} lower layers as they were" if encoder.frozen_layers else ""),
    }  # fmt: skip


def full(rows: Path, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """A preset from texts to predictions for the test rows.

    The deep model is the one that predicts, whatever held-out rows say.
    """
    from bench.rows import split_file
    from xrt.config import build, compose, pipeline_params
    from xrt.pipeline.corpora import load_corpora
    from xrt.pipeline.trainer import Trainer
    from xrt.storage.stages import FolderCache

    dataset = Path(settings["dataset"])
    overrides = [f"experiment={settings['preset']}", f"paths.data={dataset.parent}"]
    params = build(pipeline_params(), compose([*overrides, "always_deep=true"]))
    encoder = replace(params.encoder, name=settings["encoder"], max_length=settings["max_length"])
    files = replace(params.dataset, trn=str(split_file(dataset, "trn")), tst=None)
    params = replace(params, encoder=encoder, dataset=files, num_threads=settings["threads"])
    train, _ = load_corpora(params.dataset, out, params.seed)
    require_same_labels(rows, sp.csr_matrix(train.Y))
    started = time.perf_counter()
    fitted = Trainer(params, FolderCache(out / "run")).fit(train)
    model, verdict = fitted.model, fitted.verdict
    trained = time.perf_counter()
    texts = json.loads((rows / "texts_tst.json").read_text())
    scores = model.predict(texts, TOP_K, None, settings["threads"])
    predicted = time.perf_counter()
    sp.save_npz(out / "predicted.npz", sp.csr_matrix(scores))
    return {
        "train_seconds": trained - started, "predict_seconds": predicted - trained,
        "verdict": None if verdict is None else verdict.message,
        "settings": f"experiment={settings['preset']}, {params.matcher.num_epochs} passes of at "
        f"most {params.matcher.max_batch_rows} rows a step",
    }  # fmt: skip


def require_same_labels(rows: Path, Y_NL: sp.csr_matrix) -> None:
    """The judge and PECOS number the labels as this corpus does, or the figures mean nothing."""
    Y_judged = sp.csr_matrix(sp.load_npz(rows / "Y_trn.npz"))
    if Y_judged.shape != Y_NL.shape or (abs(Y_judged - Y_NL) > 0).nnz:
        raise SystemExit("the training labels differ from those of the benchmark's rows")


if __name__ == "__main__":
    main()
