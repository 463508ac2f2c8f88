"""scikit-learn's LinearSVC: one for each attribute in the attributes suite, one for each label as a
system of the others.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from bench.attribute_peer import AttributeRows, run_peer
from bench.linear_system import TOP_K, LinearRows, Peer, run_system, top_scores

COSTS = (0.1, 1.0, 10.0)
HELD_OUT = 0.1


def attribute_values(rows: AttributeRows, num_threads: int) -> tuple[np.ndarray, dict[str, Any]]:
    """scikit-learn's LinearSVC for each attribute on the rows that give it.

    C is the best of COSTS, or of those in svc_costs.json, by accuracy on a tenth of these rows, of
    like ones 1; then all rows are trained on. With one C to choose from nothing is held out.
    """
    from sklearn.svm import LinearSVC

    predicted_NA = np.full((rows.X_tst.shape[0], rows.num_attributes), -1, np.int32)
    costs_of: list[dict[str, Any]] = [{} for _ in range(rows.num_attributes)]
    for a in np.argsort([(rows.attribute_of_L == a).sum() for a in range(rows.num_attributes)]):
        rows_with_value = np.flatnonzero(rows.given_trn[:, a] >= 0)
        X, y = rows.X_trn[rows_with_value], rows.given_trn[rows_with_value, a]
        held_out = np.random.default_rng(0).random(len(rows_with_value)) < HELD_OUT
        costs = rows.costs.get(str(a), COSTS)
        accuracy: dict[float, float] = {}
        for cost in costs if len(costs) > 1 else ():
            model = LinearSVC(C=cost).fit(X[~held_out], y[~held_out])
            accuracy[cost] = float((model.predict(X[held_out]) == y[held_out]).mean())
            print(f"attribute {a}, C {cost:g}: {accuracy[cost]:.4f}", file=sys.stderr, flush=True)
        best = max(costs, key=lambda cost: (accuracy.get(cost, 0.0), cost == 1.0))
        predicted_NA[:, a] = LinearSVC(C=best).fit(X, y).predict(rows.X_tst)
        print(f"attribute {a}: done, C {best:g}", file=sys.stderr, flush=True)
        by_cost = {f"{cost:g}": value for cost, value in accuracy.items()}
        costs_of[a] = {"C": best, "held_out_accuracy": by_cost}
    return predicted_NA, {"version": f"scikit-learn {version('scikit-learn')}", "chosen": costs_of}


class OneVsRest(Peer):
    """LinearSVC with its defaults for each label by itself; no tree, all labels are scored."""

    settings = "LinearSVC's defaults, one for each label"

    def prepare(self) -> None:
        """Import the library."""
        from sklearn.svm import LinearSVC

        self.version, self.kind = version("scikit-learn"), LinearSVC

    def train(self) -> dict[str, float]:
        """One label after the other; a label of all rows, or of none, has no weights."""
        Y_LN = self.Y_trn.T.tocsr()
        num_rows, num_features = self.X_trn.shape
        self.weights_LF = np.zeros((Y_LN.shape[0], num_features), np.float32)
        self.biases_L = np.full(Y_LN.shape[0], -1.0, np.float32)
        for label in range(Y_LN.shape[0]):
            has_N = np.zeros(num_rows, bool)
            has_N[Y_LN.indices[Y_LN.indptr[label] : Y_LN.indptr[label + 1]]] = True
            if has_N.all():
                self.biases_L[label] = 1.0
            elif has_N.any():
                model = self.kind(random_state=0).fit(self.X_trn, has_N)
                self.weights_LF[label], self.biases_L[label] = model.coef_[0], model.intercept_[0]
        return {}

    def save(self, folder: Path) -> None:
        """Write both arrays."""
        folder.mkdir()
        np.save(folder / "weights.npy", self.weights_LF)
        np.save(folder / "biases.npy", self.biases_L)

    def load(self, folder: Path) -> None:
        """Read them."""
        self.weights_LF = np.load(folder / "weights.npy")
        self.biases_L = np.load(folder / "biases.npy")

    def predict(self) -> tuple[sp.csr_matrix, float]:
        """All test rows at once."""
        started = time.perf_counter()
        scores = self.predict_one(self.X_tst)
        return scores, time.perf_counter() - started

    def predict_one(self, row: sp.csr_matrix) -> sp.csr_matrix:
        """One CSR row, or several."""
        return top_scores(row @ self.weights_LF.T + self.biases_L, TOP_K)


def make(name: str, rows: LinearRows, num_threads: int, scratch: Path) -> OneVsRest:
    """The only linear system there is."""
    return OneVsRest(rows, num_threads, scratch)


if __name__ == "__main__":
    if sys.argv[1] == "attributes":
        run_peer(attribute_values)
    else:
        run_system(make)
