"""Brand and category levels of a catalogue: learn them, and fill what is missing.

python examples/attributes.py [FOLDER]
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from xrt.applications.attributes.demo import write_attribute_demo
from xrt.applications.attributes.predictor import AttributePredictor
from xrt.demo.catalogue import DemoParams


def xrt(folder: Path, *words: str) -> None:
    """One command of xrt, run in a folder."""
    subprocess.run([sys.executable, "-m", "xrt", *words], cwd=folder, check=True)


def count_empty(path: Path, column: str) -> int:
    """Rows of a CSV whose cell of this column is empty."""
    with path.open(encoding="utf-8", newline="") as file:
        return sum(not row[column] for row in csv.DictReader(file))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # title, price, store, and the targets: a brand and five category levels, some of them missing
    few = DemoParams(num_brands=200)
    write_attribute_demo(folder, num_train=3_000, num_test=500, params=few)
    print((folder / "trn.csv").read_text().splitlines()[:3])

    # What the columns are for is inferred and printed; schema.targets=[brand,L0] would say it.
    xrt(folder, "train", "experiment=attributes", "data.path=trn.csv", "encoder=none", "name=shop")

    # Missing cells only, each with its score beside it; doubtful ones stay empty.
    xrt(folder, "predict", "runs/shop/model", "tst.csv", "--out", "filled.csv")
    before, after = (count_empty(folder / name, "brand") for name in ("tst.csv", "filled.csv"))
    print(f"rows without a brand: {before} before, {after} after")

    predictor = AttributePredictor.load(folder / "runs/shop/model")
    item = {"title": "egyptian cotton mattress protector violet", "price": "12.50 EUR"}
    for attribute, value in predictor.predict_items([item])[0].items():
        print(f"  {attribute}: {value.name}  {value.score:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
