"""scikit-learn's LinearSVC, one for each attribute, as a peer of the attributes suite."""

import sys
from importlib.metadata import version
from typing import Any

import numpy as np

from bench.attribute_peer import AttributeRows, run_peer

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


if __name__ == "__main__":
    run_peer(attribute_values)
