"""Stands in for `xrt train` in a sweep: writes what a run leaves, in no time; run by test_sweep.

python trial_stand_in.py search.beam_size=5 paths.run=FOLDER ...
"""

import json
import sys
import time
from pathlib import Path

settings = dict(word.split("=", 1) for word in sys.argv[1:])
folder = Path(settings["paths.run"])
folder.mkdir(parents=True, exist_ok=True)
with open(folder / "starts", "a") as file:
    file.write("x")
beam = int(settings["search.beam_size"])
if beam == 13:
    sys.stderr.write("xrt: error: 13 brings bad luck\n")
    sys.exit(2)
if beam < 0:  # a trial that takes long, and looks bad from its second validation on
    for step in (1, 2, 3):
        with open(folder / "validations.jsonl", "a") as file:
            file.write(json.dumps({"step": step, "held_out/level_1/ndcg_at_5": 0.01}) + "\n")
        time.sleep(0.3)
    time.sleep(60)
for step in (1, 2, 3):
    with open(folder / "validations.jsonl", "a") as file:
        file.write(json.dumps({"step": step, "held_out/level_1/ndcg_at_5": 0.5}) + "\n")
time.sleep(float(settings.get("seed", 0)))
figure = {"value": 1 - abs(beam - 7) / 100, "standard_error": 0.01, "rows": 10}
outcome = {
    "criterion": "(P@1 + nDCG@10) / 2", "model": "linear", "held_out": figure, "test": None,
    "seconds": 1.0, "model_bytes": 1000 * beam, "settings": {"search": {"beam_size": beam}},
}  # fmt: skip
(folder / "outcome.json").write_text(json.dumps(outcome))
