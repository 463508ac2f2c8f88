"""PECOS's XR-Transformer, run by encoder.py with an interpreter that has libpecos and
transformers < 4.50.

    python encoder_pecos.py pace|full ROWS OUT SETTINGS

ROWS holds what encoder_rows.py wrote, SETTINGS is a JSON object. `pace` fine-tunes one matcher on
the clusters for a few steps; a step is timed from one clipping of gradients to the next, so it has
all of its own work and nothing else's. `full` trains an XR-Transformer and predicts the test rows.
Figures go to OUT/figures.json, predictions to OUT/predicted.npz.
"""

import json
import logging
import math
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from pecos.xmc.xtransformer import matcher as pecos_matcher
from pecos.xmc.xtransformer.matcher import TransformerMatcher
from pecos.xmc.xtransformer.model import XTransformer
from pecos.xmc.xtransformer.module import MLProblemWithText

TOP_K = 10
LEARNING_RATE = 1e-4
"""The library's default, and that of the recipes published for the larger sets."""
SPLITS, LEAF_SIZE = 16, 16
BATCH_WORKERS = 1
"""Processes that make batches; also the threads of a sparse product that 0 makes crash."""


def main() -> None:
    """Read the arguments, run, write the figures."""
    what, rows, out, asked = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    logging.basicConfig(level=logging.INFO)
    settings = json.loads(asked)
    torch.set_num_threads(settings["threads"])
    figures = pace(rows, settings) if what == "pace" else full(rows, out, settings)
    figures["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    figures["versions"] = {
        name: version(name) for name in ("libpecos", "torch", "transformers", "numpy")
    }
    (out / "figures.json").write_text(json.dumps(figures))


def matcher_settings(asked: dict[str, Any]) -> dict[str, Any]:
    """The training settings of one matcher: those of PECOS's published recipes."""
    return {
        "model_shortcut": asked["encoder"],
        "max_steps": asked["steps"],
        "batch_size": asked["batch_rows"],
        "learning_rate": LEARNING_RATE,
        "warmup_steps": asked["steps"] // 10,
        "negative_sampling": "tfn+man",
        "loss_function": "weighted-squared-hinge",
        "bootstrap_method": "weighted-linear",
        "cost_sensitive_ranker": True,
        "threshold": 1e-3,
        "logging_steps": asked["steps"],
        "save_steps": asked["steps"],
        "batch_gen_workers": BATCH_WORKERS,
        "use_gpu": False,
    }


def pace(rows: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Documents a second of fine-tuning on the clusters."""
    texts = json.loads((rows / "texts.json").read_text())
    Y_NK = sp.csr_matrix(sp.load_npz(rows / "Y_clusters.npz"), dtype=np.float32)
    ends = StepEnds()
    # the training loop reaches the clipping of gradients by this very name
    pecos_matcher.torch.nn.utils.clip_grad_norm_ = ends
    one_parent = sp.csc_matrix(np.ones((Y_NK.shape[1], 1), np.float32))
    TransformerMatcher.train(
        MLProblemWithText(texts, Y_NK, C=one_parent),
        train_params=matcher_settings(asked),
        pred_params={"truncate_length": asked["max_length"], "ensemble_method": "transformer-only"},
    )
    # a step clips the encoder's gradients, then the head's; the loop makes a step more than asked
    steps = np.diff(ends.times[::2])[asked["warm_up"] : asked["steps"]]
    return {
        "documents_per_second": asked["batch_rows"] / float(steps.mean()), "steps": len(steps),
        "rows_of_step": asked["batch_rows"], "step_ms": 1e3 * float(steps.mean()),
        "settings": f"{asked['batch_rows']} rows a step, float32",
    }  # fmt: skip


class StepEnds:
    """Clips gradients as torch does, and notes when it was asked to."""

    def __init__(self) -> None:
        """Nothing clipped yet."""
        self.times: list[float] = []
        self.clip = torch.nn.utils.clip_grad_norm_

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Clip, after a look at the clock."""
        self.times.append(time.perf_counter())
        return self.clip(*arguments, **named)


def full(rows: Path, out: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """An XR-Transformer from texts and TF-IDF rows to predictions for the test rows."""
    texts = {part: json.loads((rows / f"texts_{part}.json").read_text()) for part in ("trn", "tst")}
    X = {part: sp.csr_matrix(sp.load_npz(rows / f"X_{part}.npz"), dtype=np.float32)
         for part in ("trn", "tst")}  # fmt: skip
    Y_NL = sp.csr_matrix(sp.load_npz(rows / "Y_trn.npz"), dtype=np.float32)
    labelled = np.flatnonzero(np.diff(Y_NL.indptr))
    train, predict = recipe(asked, Y_NL.shape[1])
    started = time.perf_counter()
    problem = MLProblemWithText(
        [texts["trn"][row] for row in labelled], Y_NL[labelled], X_feat=X["trn"][labelled]
    )
    model = XTransformer.train(problem, train_params=train, pred_params=predict)
    trained = time.perf_counter()
    scores = model.predict(
        texts["tst"], X_feat=X["tst"], only_topk=TOP_K, batch_gen_workers=BATCH_WORKERS,
        batch_size=asked["batch_rows"], use_gpu=False,
    )  # fmt: skip
    predicted = time.perf_counter()
    sp.save_npz(out / "predicted.npz", sp.csr_matrix(scores))
    return {
        "train_seconds": trained - started, "predict_seconds": predicted - trained,
        "settings": f"{asked['steps']} steps of {asked['batch_rows']} rows on each level, learning "
        f"rate {LEARNING_RATE:g}, warm-up a tenth, {asked['max_length']} tokens",
    }  # fmt: skip


def recipe(asked: dict[str, Any], num_labels: int) -> tuple[Any, Any]:
    """Settings of training and prediction that were published for wiki10-31k (amzn/pecos,
    examples/xr-transformer-neurips21), for another number of levels of the rankers' tree where the
    number of labels asks for it.
    """
    levels = math.ceil(math.ceil(math.log2(max(2, num_labels / LEAF_SIZE))) / 4) + 1
    tree = {"nr_splits": SPLITS, "max_leaf_size": LEAF_SIZE}
    ranker = {"threshold": 1e-3, "Cp": 4.0, "Cn": 1.0}
    inner = {"only_topk": 100, "post_processor": "l3-hinge"}
    last = {**inner, "post_processor": "noop"}
    train = {
        "preliminary_indexer_params": {**tree, "min_codes": 128},
        "refined_indexer_params": tree,
        "matcher_params_chain": matcher_settings(asked),
        "ranker_params": {
            "rel_mode": "induce",
            "rel_norm": "l1",
            "hlm_args": {
                "neg_mining_chain": ["tfn"] * (levels - 1) + ["tfn+man"],
                "model_chain": ranker,
            },
        },
    }
    predict = {
        "matcher_params_chain": {
            "only_topk": 20,
            "post_processor": "l3-hinge",
            "ensemble_method": "concat-only",
            "truncate_length": asked["max_length"],
        },
        "ranker_params": {"hlm_args": {"model_chain": [inner] * (levels - 1) + [last]}},
    }
    return (
        XTransformer.TrainParams.from_dict(train, recursive=True),
        XTransformer.PredParams.from_dict(predict, recursive=True),
    )


if __name__ == "__main__":
    main()
