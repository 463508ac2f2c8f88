"""PECOS's XR-Transformer, run by encoder.py with an interpreter that has libpecos and
transformers < 4.50.

    python encoder_pecos.py pace|full ROWS OUT SETTINGS

ROWS holds what encoder_rows.py wrote, SETTINGS is a JSON object. `pace` fine-tunes one matcher on
the clusters for a few steps; a step is timed from one clipping of gradients to the next, so it has
all of its own work and nothing else's. `full` trains an XR-Transformer and predicts the test rows.
Figures go to OUT/figures.json, predictions to OUT/predicted.npz.
"""

import json
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from pecos.utils.featurization.text.vectorizers import Vectorizer  # noqa: F401  (fails early)
from pecos.xmc.xtransformer import matcher as pecos_matcher
from pecos.xmc.xtransformer.matcher import TransformerMatcher
from pecos.xmc.xtransformer.model import XTransformer
from pecos.xmc.xtransformer.module import MLProblemWithText

WARM_UP_STEPS = 3


def main() -> None:
    """Read the arguments, run, write the figures."""
    what, rows, out, settings = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    asked = json.loads(settings)
    torch.set_num_threads(asked["threads"])
    figures = pace(rows, asked) if what == "pace" else full(rows, out, asked)
    figures["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    figures["versions"] = {
        name: version(name) for name in ("libpecos", "torch", "transformers", "numpy")
    }
    (out / "figures.json").write_text(json.dumps(figures))


def matcher_settings(asked: dict, num_steps: int) -> dict:
    """The training settings of one matcher: those of PECOS's published recipes."""
    return {
        "model_shortcut": asked["encoder"],
        "max_steps": num_steps,
        "batch_size": asked["batch_rows"],
        "learning_rate": 1e-4,
        "warmup_steps": num_steps // 10,
        "weight_decay": 0.0,
        "loss_function": "weighted-squared-hinge",
        "bootstrap_method": "weighted-linear",
        "logging_steps": num_steps,
        "save_steps": num_steps,
        "batch_gen_workers": 0,
        "use_gpu": False,
    }


def pace(rows: Path, asked: dict) -> dict:
    """Documents a second of fine-tuning on the clusters."""
    texts = json.loads((rows / "texts.json").read_text())
    Y = sp.csr_matrix(sp.load_npz(rows / "Y_clusters.npz"), dtype=np.float32)
    stamps: list[float] = []
    clip = torch.nn.utils.clip_grad_norm_

    def stamped(parameters, *args, **kwargs):
        stamps.append(time.perf_counter())
        return clip(parameters, *args, **kwargs)

    # the matcher clips the encoder's gradients once a step through this very name
    pecos_matcher.torch.nn.utils.clip_grad_norm_ = stamped
    TransformerMatcher.train(
        MLProblemWithText(texts, Y),
        train_params=matcher_settings(asked, asked["steps"]),
        pred_params={"truncate_length": asked["max_length"], "ensemble_method": "transformer-only"},
    )
    every = 2 if len(stamps) >= 2 * asked["steps"] else 1  # encoder and head, or encoder alone
    steps = np.diff(stamps[::every])[WARM_UP_STEPS:]
    return {"documents_per_second": asked["batch_rows"] * len(steps) / float(steps.sum()),
            "rows_of_step": asked["batch_rows"], "steps": len(steps)}  # fmt: skip


def full(rows: Path, out: Path, asked: dict) -> dict:
    """An XR-Transformer from texts and TF-IDF rows to predictions for the test rows."""
    texts = {part: json.loads((rows / f"texts_{part}.json").read_text()) for part in ("trn", "tst")}
    X = {part: sp.csr_matrix(sp.load_npz(rows / f"X_{part}.npz"), dtype=np.float32)
         for part in ("trn", "tst")}  # fmt: skip
    Y = sp.csr_matrix(sp.load_npz(rows / "Y_trn.npz"), dtype=np.float32)
    train = XTransformer.TrainParams.from_dict(
        {"matcher_params_chain": matcher_settings(asked, asked["steps"])}, recursive=True
    )
    predict = XTransformer.PredParams.from_dict({}, recursive=True)
    predict.matcher_params_chain.truncate_length = asked["max_length"]
    started = time.perf_counter()
    model = XTransformer.train(
        MLProblemWithText(texts["trn"], Y, X_feat=X["trn"]),
        train_params=train, pred_params=predict, beam_size=10,
    )  # fmt: skip
    trained = time.perf_counter()
    scores = model.predict(texts["tst"], X_feat=X["tst"], only_topk=10, beam_size=10)
    predicted = time.perf_counter()
    sp.save_npz(out / "predicted.npz", sp.csr_matrix(scores))
    return {"train_seconds": trained - started, "predict_seconds": predicted - trained}


if __name__ == "__main__":
    main()
