"""cleanlab's ranking of the cells that `audit.py dense` wrote; in an environment that has it.

    PYTHONPATH=. CLEANLAB_PYTHON -m bench.peers.cleanlab DENSE.npz --output audit.jsonl

Needs cleanlab, numpy and scikit-learn, not xrt.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from cleanlab.multilabel_classification import filter as cleanlab_filter
from cleanlab.multilabel_classification import rank
from sklearn.metrics import average_precision_score


def main() -> None:
    """Rank, judge, append a JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dense", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    cells = np.load(args.dense)
    given, truth, linear = cells["given"], cells["truth"], cells["linear"].astype(float)
    labels = [np.flatnonzero(row).tolist() for row in given]
    started = time.process_time()
    quality = rank.get_label_quality_scores_per_class(labels, linear)
    seconds = time.process_time() - started
    told = {"command": "cleanlab", "rows": len(given), "labels": given.shape[1]}
    for kind, here in (("missing", ~given), ("wrong", given)):
        told[kind] = {
            "damage": int(truth[here].sum()),
            "average_precision": float(average_precision_score(truth[here], -quality[here])),
        }
    started = time.process_time()
    flagged = np.asarray(cleanlab_filter.find_multilabel_issues_per_class(labels, linear, n_jobs=1))
    assert flagged.shape == given.shape, flagged.shape
    for kind, here in (("missing", ~given), ("wrong", given)):
        chosen = flagged & here
        told[kind] |= {
            "flagged": int(chosen.sum()),
            "precision": float(truth[chosen].mean()) if chosen.any() else 0.0,
            "recall": float(truth[chosen].sum() / max(truth[here].sum(), 1)),
        }
    told["cpu_s"] = {"rank": round(seconds, 1), "filter": round(time.process_time() - started, 1)}
    print(json.dumps(told, indent=2))
    with args.output.open("a") as file:
        file.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
