"""`xrt train` with an encoder, as a system of the suite.

    python -m bench.own.suite_deep xrt-deep ROWS OUT THREADS '{"seed": 0, "settings": [...]}'

`settings` are words for `xrt train`, such as `encoder=minilm` and `budget=10m`. ROWS must have
texts; the model that ships predicts, with its encoder or without, as held-out rows decide.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import xrt
from bench.linear_system import TOP_K, LinearRows, run_system
from xrt.cli import main as xrt_command
from xrt.predict import Predictor
from xrt.sparse import as_csr


class XrtDeep:
    """A run of `xrt train` on the texts of a row set; labels are called by their column."""

    def __init__(
        self, rows: LinearRows, num_threads: int, scratch: Path, seed: int, words: Sequence[str]
    ) -> None:
        """Write the training texts as a file."""
        self.version, self.settings = xrt.__version__, " ".join(words)
        self.num_threads, self.num_labels = num_threads, rows.Y_trn.shape[1]
        self.run, file = scratch / "run", scratch / "trn.jsonl"
        write_texts(rows.folder, file)
        self.tst: list[str] = json.loads((rows.folder / "texts_tst.json").read_text())
        self.words = [
            "train", "dataset=files", f"dataset.trn={file}", f"paths.run={self.run}",
            f"seed={seed}", f"num_threads={num_threads}", *words,
        ]  # fmt: skip

    def prepare(self) -> None:
        """Import what training needs; its kernels are compiled on the clock where no cache is."""
        import xrt.encoder.fit  # noqa: F401

    def train(self) -> dict[str, float]:
        """All stages, features of texts included."""
        status = xrt_command(self.words)
        if status != 0:
            raise SystemExit(status)
        return {}

    def save(self, folder: Path) -> None:
        """The run has written its model; it is moved."""
        (self.run / "model").rename(folder)

    def load(self, folder: Path) -> None:
        """Open the folder, hashes checked."""
        self.model = Predictor.load(folder, num_threads=self.num_threads).model
        self.column_of = np.array([int(label) for label in self.model.labels.ids])

    def predict(self) -> tuple[sp.csr_matrix, float]:
        """All test rows at once."""
        started = time.perf_counter()
        scores = as_csr(self.model.predict(self.tst, TOP_K, num_threads=self.num_threads))
        seconds = time.perf_counter() - started
        shape = (scores.shape[0], self.num_labels)
        columns = self.column_of[scores.indices]
        return sp.csr_matrix((scores.data, columns, scores.indptr), shape=shape), seconds

    def single_rows(self, rows: np.ndarray) -> list[list[str]]:
        """A list with one text."""
        return [[self.tst[int(row)]] for row in rows]

    def predict_one(self, row: list[str]) -> Any:
        """The model's prediction for one text."""
        return self.model.predict(row, TOP_K, num_threads=self.num_threads)


def write_texts(rows: Path, file: Path) -> None:
    """Training texts with their labels as JSONL."""
    texts = json.loads((rows / "texts_trn.json").read_text())
    Y_NL = sp.csr_matrix(sp.load_npz(rows / "Y_trn.npz"))
    with file.open("w", encoding="utf-8") as lines:
        for row, text in enumerate(texts):
            columns = Y_NL.indices[Y_NL.indptr[row] : Y_NL.indptr[row + 1]].tolist()
            if columns:
                record = {"text": text, "labels": [str(column) for column in columns]}
                lines.write(json.dumps(record) + "\n")


def make(name: str, rows: LinearRows, num_threads: int, scratch: Path) -> XrtDeep:
    """The only system there is."""
    given = json.loads(sys.argv[5])
    return XrtDeep(rows, num_threads, scratch, given["seed"], given["settings"])


if __name__ == "__main__":
    run_system(make)
