"""xrt's side of the latency suite, in a process of its own.

    python -m bench.own.latency ask ROWS OUT SETTINGS

Opens a saved model and asks it the texts of ROWS/queries.json one by one: first as it is, then once
more with a clock on each part.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.clock import PartClock, latency_of_each


def main() -> None:
    """Read the arguments, run, write the figures."""
    rows, out, settings = Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
    os.environ["XRT_NUM_THREADS"] = str(settings["threads"])
    texts = json.loads((rows / "queries.json").read_text())
    (out / "figures.json").write_text(json.dumps(measured(texts, settings)))


def measured(texts: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Percentiles end to end and of each part, and what the model is."""
    import torch

    from xrt import Predictor

    torch.set_num_threads(settings["threads"])
    start = time.perf_counter()
    predictor = Predictor.load(settings["model"], verify="sizes", compute=settings["compute"])
    loaded = time.perf_counter() - start

    def ask(text: str) -> Any:
        return predictor.predict([text], k=settings["k"])

    figures: dict[str, Any] = {"ms": latency_of_each(ask, texts, settings["warm_up"])}
    with PartClock(parts_of_xrt()) as clock:
        figures["parts"] = clock.measure(ask, texts)
    model = predictor.model
    return figures | {
        "load_seconds": round(loaded, 2), "num_labels": len(model.labels),
        "settings": "linear" if model.encoder is None else f"{len(model.trees.trees)} hybrid "
        f"trees, beam {model.search.beam_size}, sources: "
        + ", ".join(sorted(model.fusion.sources)),
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
    }  # fmt: skip


def parts_of_xrt() -> dict[str, tuple[Any, str]]:
    """Where each part of an answer is computed."""
    import xrt.model
    from xrt.encoder.reader import TextReader
    from xrt.fusion.fusion import Fusion
    from xrt.sources.dense_neighbours import DenseNeighbours
    from xrt.sources.hybrid_trees import HybridTrees
    from xrt.sources.label_head import LabelHead
    from xrt.sources.linear_trees import LinearTrees
    from xrt.sources.neighbours import SparseNeighbours

    return {
        "TF-IDF": (xrt.model.XrtModel, "hybrid_rows_of"),
        "tokenise": (TextReader, "tokens_of_one"),
        "encode": (TextReader, "pooled"),
        "hybrid trees": (HybridTrees, "score"),
        "linear trees": (LinearTrees, "score"),
        "head": (LabelHead, "top"),
        "TF-IDF neighbours": (SparseNeighbours, "score"),
        "embedding neighbours": (DenseNeighbours, "score"),
        "complete scores": (xrt.model, "complete_scores"),
        "fusion": (Fusion, "scores"),
    }


if __name__ == "__main__":
    main()
