"""Your own CSV with named columns, at the command line and in Python.

python examples/own_csv.py [FOLDER]
"""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from xrt import Predictor, read_corpus
from xrt.demo.catalogue import demo_catalogue


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    """A table as a shop might export it: a name, a description, categories in one cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["sku", "name", "description", "categories"])
        table.writeheader()
        table.writerows(rows)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "sku": f"A{number:05d}",
            "name": row["title"],
            "description": row["content"],
            "categories": "|".join(row["labels"]),
        }
        for number, row in enumerate(demo_catalogue(3_000).rows)
    ]
    write_csv(folder / "trn.csv", rows[:2_500])
    write_csv(folder / "tst.csv", rows[2_500:])

    # What will be read? Columns and the sign between labels are named once, here and in training.
    corpus = read_corpus(
        folder / "trn.csv",
        text_columns=["name", "description"],
        label_column="categories",
        label_separator="|",
        id_column="sku",
    )
    print(f"{corpus.num_instances} rows, {corpus.num_labels} labels; first: {corpus.texts[0]!r}")

    # In a shell:
    #   xrt train dataset=files encoder=none name=mine dataset.trn=trn.csv dataset.tst=tst.csv \
    #       'dataset.text_columns=[name,description]' 'dataset.label_columns=[categories]' \
    #       'dataset.label_separator=|' dataset.id_column=sku
    settings = [
        "dataset=files",
        "encoder=none",
        "name=mine",
        "dataset.trn=trn.csv",
        "dataset.tst=tst.csv",
        "dataset.text_columns=[name,description]",
        "dataset.label_columns=[categories]",
        "dataset.label_separator=|",
        "dataset.id_column=sku",
    ]
    subprocess.run([sys.executable, "-m", "xrt", "train", *settings], cwd=folder, check=True)

    # the run folder has the model, and a report with every figure
    report = json.loads((folder / "runs/mine/report.json").read_text())
    print("the report has", ", ".join(sorted(report)))

    predictor = Predictor.load(folder / "runs/mine/model")
    for suggestion in predictor.predict("egyptian cotton mattress protector", k=3):
        print(f"  {suggestion.score:.2f}  {suggestion.label}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
