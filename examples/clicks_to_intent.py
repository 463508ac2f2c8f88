"""What a query asks for: training data of a click log and a catalogue, and a model of it.

python examples/clicks_to_intent.py [FOLDER]
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from xrt import Predictor
from xrt.applications.query_intent.demo_clicks import ClickParams, write_demo_clicks


def xrt(folder: Path, *words: str) -> None:
    """One command of xrt, run in a folder."""
    subprocess.run([sys.executable, "-m", "xrt", *words], cwd=folder, check=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # A made-up shop whose search is wrong at times and whose shoppers click on anything at times:
    # items.jsonl (id, title, labels), clicks/*.parquet (query, item, count, impressions, position)
    print(write_demo_clicks(folder, ClickParams(num_items=2_000, num_queries=1_500)))

    # Nobody labels a query: clicks and words do, with a confidence for each label.
    xrt(folder, "label", "clicks", "items.jsonl", "--out", "queries.jsonl")
    for line in (folder / "queries.jsonl").read_text().splitlines()[:3]:
        query = json.loads(line)
        print(f"  {query['text']}: {query['labels']}")

    # Confidences are weights in training: a doubtful label costs less to get wrong.
    settings = ["dataset=files", "dataset.trn=queries.jsonl", "features=words_chars"]
    xrt(folder, "train", *settings, "encoder=none", "name=intent")

    predictor = Predictor.load(folder / "runs/intent/model")
    for suggestion in predictor.predict("egyptian cotton mattress protector", k=4):
        print(f"  {suggestion.score:.2f}  {suggestion.label}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
