"""xrt's matcher, run by encoder.py in a process of its own.

    python encoder_xrt.py pace ROWS OUT SETTINGS

One level of clusters is trained for a few steps with xrt's defaults; a step is timed from the end
of one to the end of the next, as Lightning tells them. `batch_rows` 0 is xrt's own batch size.
"""

import json
import os
import resource
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from step_clock import StepClock

WARM_UP_STEPS = 3


def main() -> None:
    """Read the arguments, run, write the figures."""
    rows, out, asked = Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
    os.environ["XRT_NUM_THREADS"] = str(asked["threads"])
    figures = pace(rows, asked)
    figures["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    figures["versions"] = {name: version(name) for name in ("torch", "transformers", "numpy")}
    (out / "figures.json").write_text(json.dumps(figures))


def pace(rows: Path, asked: dict) -> dict:
    """Documents a second of fine-tuning on the clusters."""
    from xrt.encoder.batches import BatchPlan
    from xrt.encoder.params import Bootstrap, EncoderParams, MatcherParams, TrainerParams
    from xrt.encoder.token_store import TokenStore
    from xrt.encoder.training import train_matcher
    from xrt.tree.label_tree import LabelTree

    texts = json.loads((rows / "texts.json").read_text())
    Y = sp.csr_array(sp.load_npz(rows / "Y_clusters.npz"), dtype=np.float32)
    params = MatcherParams(steps=[asked["steps"]], bootstrap=Bootstrap.none)
    if asked["batch_rows"]:
        params = replace(params, max_batch_rows=asked["batch_rows"])
    clock = StepClock()
    with tempfile.TemporaryDirectory() as folder:
        train_matcher(
            texts, Y, LabelTree.flat(Y.shape[1]), run_folder=Path(folder),
            encoder=EncoderParams(name=asked["encoder"], max_length=asked["max_length"]),
            params=params, trainer=TrainerParams(accelerator="cpu"), progress=clock,
        )  # fmt: skip
        lengths = TokenStore.load(Path(folder) / "tokens").lengths
    plan = BatchPlan(lengths, params.token_budget, params.max_batch_rows, params.seed)
    batches = [batch for epoch in range(1 + asked["steps"] // plan.num_batches)
               for batch in plan.epoch(epoch)]  # fmt: skip
    timed = batches[WARM_UP_STEPS + 1 : asked["steps"]]
    seconds = clock.times[-1] - clock.times[WARM_UP_STEPS]
    documents = sum(len(batch) for batch in timed)
    return {"documents_per_second": documents / seconds, "rows_of_step": documents / len(timed),
            "steps": len(timed)}  # fmt: skip


if __name__ == "__main__":
    main()
