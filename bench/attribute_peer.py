"""Trains one peer on the rows of attributes.py and predicts; started by it.

    python attributes_systems.py SYSTEM ROWS_FOLDER OUT_FOLDER NUM_THREADS

Runs in the interpreter that has the peer (Python 3.10 or later): nothing but numpy, scipy and the
peer is imported. OUT_FOLDER gets predicted.npy (label columns, int32, N x A) and figures.json.
"""

import json
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

COSTS = (0.1, 1.0, 10.0)
HELD_OUT = 0.1


@dataclass(frozen=True)
class Rows:
    """TF-IDF rows X (N, F), joint labels Y (N, L), the label given for each attribute (N, A)."""

    X_trn: sp.csr_matrix
    Y_trn: sp.csr_matrix
    X_tst: sp.csr_matrix
    given_trn: np.ndarray
    attribute_of_L: np.ndarray
    costs: dict[str, list[float]]
    """Values of C to choose from, by the place of the attribute; COSTS for the others."""

    @classmethod
    def load(cls, folder: Path) -> "Rows":
        """Read the folder that attributes_rows.py wrote."""
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


def svc(rows: Rows, num_threads: int) -> tuple[np.ndarray, dict[str, Any]]:
    """scikit-learn's LinearSVC for each attribute on the rows that give it.

    C is the best of COSTS, or of those in svc_costs.json, by accuracy on a tenth of these rows, of
    like ones 1; then all rows are trained on. With one C to choose from nothing is held out.
    """
    from sklearn.svm import LinearSVC

    predicted_NA = np.full((rows.X_tst.shape[0], rows.num_attributes), -1, np.int32)
    chosen: list[dict[str, Any]] = [{} for _ in range(rows.num_attributes)]
    for a in np.argsort([(rows.attribute_of_L == a).sum() for a in range(rows.num_attributes)]):
        given = np.flatnonzero(rows.given_trn[:, a] >= 0)
        X, y = rows.X_trn[given], rows.given_trn[given, a]
        held = np.random.default_rng(0).random(len(given)) < HELD_OUT
        costs = rows.costs.get(str(a), COSTS)
        accuracy: dict[float, float] = {}
        for cost in costs if len(costs) > 1 else ():
            trial = LinearSVC(C=cost).fit(X[~held], y[~held])
            accuracy[cost] = float((trial.predict(X[held]) == y[held]).mean())
            print(f"attribute {a}, C {cost:g}: {accuracy[cost]:.4f}", file=sys.stderr, flush=True)
        best = max(costs, key=lambda cost: (accuracy.get(cost, 0.0), cost == 1.0))
        predicted_NA[:, a] = LinearSVC(C=best).fit(X, y).predict(rows.X_tst)
        print(f"attribute {a}: done, C {best:g}", file=sys.stderr, flush=True)
        told = {f"{cost:g}": value for cost, value in accuracy.items()}
        chosen[a] = {"C": best, "held_out_accuracy": told}
    return predicted_NA, {"version": f"scikit-learn {version('scikit-learn')}", "chosen": chosen}


def pecos(rows: Rows, num_threads: int) -> tuple[np.ndarray, dict[str, Any]]:
    """XR-Linear of libpecos over all labels; for each attribute the label with the highest score.

    The beam holds every cluster, so that each attribute has all its labels.
    """
    from pecos.xmc import Indexer, LabelEmbeddingFactory
    from pecos.xmc.xlinear.model import XLinearModel

    X, Y = rows.X_trn.astype(np.float32), rows.Y_trn.astype(np.float32)
    Z = LabelEmbeddingFactory.create(Y.tocsc(), X, method="pifa", threads=num_threads)
    chain = Indexer.gen(Z, indexer_type="hierarchicalkmeans", threads=num_threads)
    model = XLinearModel.train(X, Y.tocsc(), C=chain, threads=num_threads)
    scores = model.predict(
        rows.X_tst.astype(np.float32), beam_size=Y.shape[1], only_topk=Y.shape[1],
        threads=num_threads,
    )  # fmt: skip
    predicted_NA = best_of_each(scores.toarray(), rows.attribute_of_L, rows.num_attributes)
    return predicted_NA, {"version": f"libpecos {version('libpecos')}"}


def best_of_each(scores_NL: np.ndarray, attribute_of_L: np.ndarray, num: int) -> np.ndarray:
    """The best-scored label column of each attribute: int32 (N, A)."""
    predicted_NA = np.full((len(scores_NL), num), -1, np.int32)
    for a in range(num):
        columns = np.flatnonzero(attribute_of_L == a)
        if len(columns):
            predicted_NA[:, a] = columns[np.argmax(scores_NL[:, columns], axis=1)]
    return predicted_NA


SYSTEMS = {"svc": svc, "pecos": pecos}


def main() -> None:
    """Train, predict, write."""
    system, rows_folder, out, threads = sys.argv[1:]
    rows = Rows.load(Path(rows_folder))
    started = time.perf_counter()
    predicted_NA, figures = SYSTEMS[system](rows, int(threads))
    figures["seconds"] = time.perf_counter() - started
    np.save(Path(out) / "predicted.npy", predicted_NA)
    (Path(out) / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
