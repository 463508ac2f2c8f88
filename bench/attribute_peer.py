"""Trains one peer on the rows of the attributes suite, and predicts.

    python -m bench.peers.libpecos attributes ROWS_FOLDER OUT_FOLDER NUM_THREADS

The module of a peer calls `run_peer`, in the interpreter that has the peer (Python 3.10 or later):
nothing but numpy and scipy is imported here. OUT_FOLDER gets predicted.npy (label columns, int32,
N x A) and figures.json.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class AttributeRows:
    """TF-IDF rows X (N, F), joint labels Y (N, L), the label given for each attribute (N, A)."""

    X_trn: sp.csr_matrix
    Y_trn: sp.csr_matrix
    X_tst: sp.csr_matrix
    given_trn: np.ndarray
    attribute_of_L: np.ndarray
    costs: dict[str, list[float]]
    """Values of C to choose from, by the place of the attribute; the peer's own for the others."""

    @classmethod
    def load(cls, folder: Path) -> "AttributeRows":
        """Read the folder that `CatalogueRows.write` filled."""
        X_trn, Y_trn, X_tst = (
            sp.load_npz(folder / f"{n}.npz") for n in ("X_trn", "Y_trn", "X_tst")
        )
        return cls(
            *(X_trn.tocsr(), Y_trn.tocsr(), X_tst.tocsr()),
            *(np.load(folder / f"{n}.npy") for n in ("given_trn", "attribute_of_L")),
            json.loads((folder / "svc_costs.json").read_text()),
        )

    @property
    def num_attributes(self) -> int:
        """A."""
        return int(self.given_trn.shape[1])


def best_of_each(scores_NL: np.ndarray, attribute_of_L: np.ndarray, num: int) -> np.ndarray:
    """The best-scored label column of each attribute: int32 (N, A)."""
    predicted_NA = np.full((len(scores_NL), num), -1, np.int32)
    for a in range(num):
        columns = np.flatnonzero(attribute_of_L == a)
        if len(columns):
            predicted_NA[:, a] = columns[np.argmax(scores_NL[:, columns], axis=1)]
    return predicted_NA


def run_peer(predict: Callable[[AttributeRows, int], tuple[np.ndarray, dict[str, Any]]]) -> None:
    """Train, predict, write.

    Args:
        predict: Label columns (N, A) and figures of the rows with so many threads.
    """
    _, rows_folder, out, num_threads = sys.argv[1:]
    rows = AttributeRows.load(Path(rows_folder))
    started = time.perf_counter()
    predicted_NA, figures = predict(rows, int(num_threads))
    figures["seconds"] = time.perf_counter() - started
    np.save(Path(out) / "predicted.npy", predicted_NA)
    (Path(out) / "figures.json").write_text(json.dumps(figures))
