"""PECOS's side of the latency benchmark, run by latency.py with an interpreter that has libpecos
and transformers < 4.50.

    python latency_pecos.py make|ask FOLDER MODEL OUT SETTINGS

`make` trains an XR-Transformer of full size on FOLDER/texts.json and Y.npz and saves it as MODEL,
with PECOS's own TF-IDF vectoriser beside it. The encoder is taken as it is (`do_fine_tune` false):
that changes what the model finds, not how long it takes. `ask` opens MODEL and asks it the texts of
FOLDER/asked.json one by one: vectoriser, encoder and rankers are on the clock.
"""

import json
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
from pecos.xmc.xtransformer.matcher import TransformerMatcher
from pecos.xmc.xtransformer.model import XTransformer
from pecos.xmc.xtransformer.module import MLProblemWithText

from bench.clock import PartClock, asked_one_by_one
from bench.peers.pecos_transformer import recipe

TFIDF = {"base_vect_configs": [{"ngram_range": [1, 1], "analyzer": "word", "min_df_cnt": 2}]}
PREDICT_BATCH_ROWS = 32
NO_WORKERS = 0
"""A process that makes batches would be started for each text; embeddings alone need none."""


def main() -> None:
    """Read the arguments, run, write the figures."""
    what, folder, model, out = sys.argv[1], *map(Path, sys.argv[2:5])
    settings = json.loads(sys.argv[5])
    torch.set_num_threads(settings["threads"])
    figures = make(folder, model, settings) if what == "make" else ask(folder, model, settings)
    (out / "figures.json").write_text(json.dumps(figures))


def make(folder: Path, model: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Train and save; gives the seconds it took."""
    texts = json.loads((folder / "texts.json").read_text())
    Y_NL = sp.csr_matrix(sp.load_npz(folder / "Y.npz"), dtype="float32")
    start = time.perf_counter()
    vectoriser = Tfidf.train(texts, config=TFIDF)
    X_NF = sp.csr_matrix(vectoriser.predict(texts))
    steps = {"steps": 1, "batch_rows": PREDICT_BATCH_ROWS}
    train, predict = recipe({**asked, **steps}, Y_NL.shape[1])
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


def ask(folder: Path, model: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Percentiles end to end and of each part."""
    texts = json.loads((folder / "asked.json").read_text())
    start = time.perf_counter()
    vectoriser = Tfidf.load(str(model / "tfidf"))
    opened = XTransformer.load(str(model / "xrt"), is_predict_only=True)
    loaded = time.perf_counter() - start

    def answer(text: str) -> Any:
        features = vectoriser.predict([text], threads=asked["threads"])
        return opened.predict(
            [text], X_feat=sp.csr_matrix(features), only_topk=asked["k"],
            beam_size=asked["beam_size"], batch_size=1, batch_gen_workers=NO_WORKERS,
            use_gpu=False, threads=asked["threads"],
        )  # fmt: skip

    parts = {
        "TF-IDF": (Tfidf, "predict"),
        "tokenise and encode": (TransformerMatcher, "predict"),
        "trees": (XLinearModel, "predict"),
    }
    figures: dict[str, Any] = {"ms": asked_one_by_one(answer, texts, asked["warm_up"])}
    with PartClock(parts) as clock:
        figures["parts"] = clock.measure(answer, texts)
    return figures | {
        "load_seconds": round(loaded, 2), "num_labels": int(opened.nr_labels),
        "settings": f"one tree on TF-IDF and embedding, beam {asked['beam_size']}, float32",
        "versions": {name: version(name) for name in ("libpecos", "torch", "transformers")},
    }  # fmt: skip


if __name__ == "__main__":
    main()
