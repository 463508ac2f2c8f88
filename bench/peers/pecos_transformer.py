"""PECOS's XR-Transformer, with an interpreter that has libpecos and transformers < 4.50.

    python -m bench.peers.pecos_transformer pace|full ROWS OUT SETTINGS
    python -m bench.peers.pecos_transformer make|ask ROWS OUT SETTINGS MODEL

ROWS holds what bench/rows.py wrote, SETTINGS is a JSON object. Figures go to OUT/figures.json.

For the encoder suite `pace` fine-tunes one matcher on the clusters for a few steps; a step is timed
from one clipping of gradients to the next, so it has all of its own work and nothing else's. `full`
trains an XR-Transformer and predicts the test rows: OUT/predicted.npz.

For the latency suite `make` trains an XR-Transformer of full size on ROWS/texts.json and Y.npz and
saves it as MODEL, with PECOS's own TF-IDF vectoriser beside it. The encoder is taken as it is
(`do_fine_tune` false): that changes what the model finds, not how long it takes. `ask` opens MODEL
and asks it the texts of ROWS/queries.json one by one: vectoriser, encoder and rankers are on the
clock.
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
from pecos.utils.featurization.text.vectorizers import Tfidf
from pecos.xmc.xlinear.model import XLinearModel
from pecos.xmc.xtransformer import matcher as pecos_matcher
from pecos.xmc.xtransformer.matcher import TransformerMatcher
from pecos.xmc.xtransformer.model import XTransformer
from pecos.xmc.xtransformer.module import MLProblemWithText

from bench.clock import PartClock, latency_of_each

TOP_K = 10
LEARNING_RATE = 1e-4
"""The library's default, and that of the recipes published for the larger sets."""
SPLITS, LEAF_SIZE = 16, 16
BATCH_WORKERS = 1
"""Processes that make batches; also the threads of a sparse product that 0 makes crash."""
TFIDF = {"base_vect_configs": [{"ngram_range": [1, 1], "analyzer": "word", "min_df_cnt": 2}]}
PREDICT_BATCH_ROWS = 32
NO_WORKERS = 0
"""A process that makes batches would be started for each text; embeddings alone need none."""


def main() -> None:
    """Read the arguments, run, write the figures."""
    what, rows, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    settings = json.loads(sys.argv[4])
    logging.basicConfig(level=logging.INFO)
    torch.set_num_threads(settings["threads"])
    if what == "pace":
        figures = pace(rows, settings)
    elif what == "full":
        figures = full(rows, out, settings)
    else:
        figures = (make if what == "make" else ask)(rows, Path(sys.argv[5]), settings)
    figures["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    figures["versions"] = {
        name: version(name) for name in ("libpecos", "torch", "transformers", "numpy")
    }
    (out / "figures.json").write_text(json.dumps(figures))


def matcher_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The training settings of one matcher: those of PECOS's published recipes."""
    return {
        "model_shortcut": settings["encoder"],
        "max_steps": settings["steps"],
        "batch_size": settings["batch_rows"],
        "learning_rate": LEARNING_RATE,
        "warmup_steps": settings["steps"] // 10,
        "negative_sampling": "tfn+man",
        "loss_function": "weighted-squared-hinge",
        "bootstrap_method": "weighted-linear",
        "cost_sensitive_ranker": True,
        "threshold": 1e-3,
        "logging_steps": settings["steps"],
        "save_steps": settings["steps"],
        "batch_gen_workers": BATCH_WORKERS,
        "use_gpu": False,
    }


def pace(rows: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Documents a second of fine-tuning on the clusters."""
    texts = json.loads((rows / "texts.json").read_text())
    Y_NK = sp.csr_matrix(sp.load_npz(rows / "Y_clusters.npz"), dtype=np.float32)
    ends = StepEnds()
    # the training loop reaches the clipping of gradients by this very name
    pecos_matcher.torch.nn.utils.clip_grad_norm_ = ends
    one_parent = sp.csc_matrix(np.ones((Y_NK.shape[1], 1), np.float32))
    TransformerMatcher.train(
        MLProblemWithText(texts, Y_NK, C=one_parent),
        train_params=matcher_settings(settings),
        pred_params={
            "truncate_length": settings["max_length"],
            "ensemble_method": "transformer-only",
        },
    )
    # a step clips the encoder's gradients, then the head's; the loop makes one step too many
    steps = np.diff(ends.times[::2])[settings["warm_up"] : settings["steps"]]
    return {
        "documents_per_second": settings["batch_rows"] / float(steps.mean()), "steps": len(steps),
        "rows_of_step": settings["batch_rows"], "step_ms": 1e3 * float(steps.mean()),
        "settings": f"{settings['batch_rows']} rows a step, float32",
    }  # fmt: skip


class StepEnds:
    """Clips gradients as torch does, and notes when."""

    def __init__(self) -> None:
        """Nothing clipped yet."""
        self.times: list[float] = []
        self.clip = torch.nn.utils.clip_grad_norm_

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Clip, after a look at the clock."""
        self.times.append(time.perf_counter())
        return self.clip(*arguments, **keywords)


def full(rows: Path, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """An XR-Transformer from texts and TF-IDF rows to predictions for the test rows."""
    texts = {part: json.loads((rows / f"texts_{part}.json").read_text()) for part in ("trn", "tst")}
    X = {part: sp.csr_matrix(sp.load_npz(rows / f"X_{part}.npz"), dtype=np.float32)
         for part in ("trn", "tst")}  # fmt: skip
    Y_NL = sp.csr_matrix(sp.load_npz(rows / "Y_trn.npz"), dtype=np.float32)
    labelled = np.flatnonzero(np.diff(Y_NL.indptr))
    train, predict = recipe(settings, Y_NL.shape[1])
    started = time.perf_counter()
    problem = MLProblemWithText(
        [texts["trn"][row] for row in labelled], Y_NL[labelled], X_feat=X["trn"][labelled]
    )
    model = XTransformer.train(problem, train_params=train, pred_params=predict)
    trained = time.perf_counter()
    scores = model.predict(
        texts["tst"], X_feat=X["tst"], only_topk=TOP_K, batch_gen_workers=BATCH_WORKERS,
        batch_size=settings["batch_rows"], use_gpu=False,
    )  # fmt: skip
    predicted = time.perf_counter()
    sp.save_npz(out / "predicted.npz", sp.csr_matrix(scores))
    return {
        "train_seconds": trained - started, "predict_seconds": predicted - trained,
        "settings": f"{settings['steps']} steps of {settings['batch_rows']} rows on each level, "
        f"learning rate {LEARNING_RATE:g}, warm-up a tenth, {settings['max_length']} tokens",
    }  # fmt: skip


def recipe(settings: dict[str, Any], num_labels: int) -> tuple[Any, Any]:
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
        "matcher_params_chain": matcher_settings(settings),
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
            "truncate_length": settings["max_length"],
        },
        "ranker_params": {"hlm_args": {"model_chain": [inner] * (levels - 1) + [last]}},
    }
    return (
        XTransformer.TrainParams.from_dict(train, recursive=True),
        XTransformer.PredParams.from_dict(predict, recursive=True),
    )


def make(rows: Path, model: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Train and save; gives the seconds it took."""
    texts = json.loads((rows / "texts.json").read_text())
    Y_NL = sp.csr_matrix(sp.load_npz(rows / "Y.npz"), dtype="float32")
    start = time.perf_counter()
    vectoriser = Tfidf.train(texts, config=TFIDF)
    X_NF = sp.csr_matrix(vectoriser.predict(texts))
    steps = {"steps": 1, "batch_rows": PREDICT_BATCH_ROWS}
    train, predict = recipe({**settings, **steps}, Y_NL.shape[1])
    train.do_fine_tune = False
    trained = XTransformer.train(
        MLProblemWithText(texts, Y_NL, X_feat=X_NF), train_params=train, pred_params=predict
    )
    encoder = trained.text_encoder
    encoder.pred_params = predict.matcher_params_chain
    encoder.C = sp.csc_matrix(np.ones((encoder.nr_labels, 1), np.float32))  # saving asks for one
    model.mkdir(parents=True, exist_ok=True)
    vectoriser.save(str(model / "tfidf"))
    trained.save(str(model / "xrt"))
    return {"train_seconds": time.perf_counter() - start}


def ask(rows: Path, model: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Percentiles end to end and of each part."""
    texts = json.loads((rows / "queries.json").read_text())
    start = time.perf_counter()
    vectoriser = Tfidf.load(str(model / "tfidf"))
    opened = XTransformer.load(str(model / "xrt"), is_predict_only=True)
    loaded = time.perf_counter() - start

    def answer(text: str) -> Any:
        features = vectoriser.predict([text], threads=settings["threads"])
        return opened.predict(
            [text], X_feat=sp.csr_matrix(features), only_topk=settings["k"],
            beam_size=settings["beam_size"], batch_size=1, batch_gen_workers=NO_WORKERS,
            use_gpu=False, threads=settings["threads"],
        )  # fmt: skip

    parts = {
        "TF-IDF": (Tfidf, "predict"),
        "tokenise and encode": (TransformerMatcher, "predict"),
        "trees": (XLinearModel, "predict"),
    }
    figures: dict[str, Any] = {"ms": latency_of_each(answer, texts, settings["warm_up"])}
    with PartClock(parts) as clock:
        figures["parts"] = clock.measure(answer, texts)
    return figures | {
        "load_seconds": round(loaded, 2), "num_labels": int(opened.nr_labels),
        "settings": f"one tree on TF-IDF and embedding, beam {settings['beam_size']}, float32",
    }  # fmt: skip


if __name__ == "__main__":
    main()
