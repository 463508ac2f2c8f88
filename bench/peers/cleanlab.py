"""cleanlab's ranking of the cells that `python -m bench audit dense` wrote.

    python -m bench.peers.cleanlab DENSE.npz OUT

Runs in an interpreter that has cleanlab, numpy and scikit-learn; figures go to OUT/figures.json.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from cleanlab.multilabel_classification import filter as cleanlab_filter
from cleanlab.multilabel_classification import rank
from sklearn.metrics import average_precision_score


def main() -> None:
    """Rank, judge, write the figures."""
    cells = np.load(sys.argv[1])
    given_NL, truth, linear = cells["given"], cells["truth"], cells["linear"].astype(float)
    labels = [np.flatnonzero(row).tolist() for row in given_NL]
    started = time.process_time()
    quality = rank.get_label_quality_scores_per_class(labels, linear)
    seconds = time.process_time() - started
    figures: dict[str, Any] = {
        "command": "cleanlab",
        "rows": len(given_NL),
        "labels": given_NL.shape[1],
    }
    for kind, here in (("missing", ~given_NL), ("wrong", given_NL)):
        figures[kind] = {
            "damage": int(truth[here].sum()),
            "average_precision": float(average_precision_score(truth[here], -quality[here])),
        }
    started = time.process_time()
    flagged = np.asarray(cleanlab_filter.find_multilabel_issues_per_class(labels, linear, n_jobs=1))
    assert flagged.shape == given_NL.shape, flagged.shape
    for kind, here in (("missing", ~given_NL), ("wrong", given_NL)):
        flagged_here = flagged & here
        figures[kind] |= {
            "flagged": int(flagged_here.sum()),
            "precision": float(truth[flagged_here].mean()) if flagged_here.any() else 0.0,
            "recall": float(truth[flagged_here].sum() / max(truth[here].sum(), 1)),
        }
    figures["cpu_s"] = {
        "rank": round(seconds, 1),
        "filter": round(time.process_time() - started, 1),
    }
    (Path(sys.argv[2]) / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
