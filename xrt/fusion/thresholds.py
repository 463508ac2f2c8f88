"""From which probability on a label is suggested: tuned for F1 on held-out rows.

N rows, L labels, P predictions, T thresholds that are tried.
"""

import numpy as np
import scipy.sparse as sp

from xrt.fusion.calibration import hits_of, weights_of_rows
from xrt.metrics.classification import f1_of_sets, threshold_set

MACRO_STEPS = 40
"""Thresholds tried for macro-F1: quantiles of the scores of true labels."""


def tune_thresholds(
    scores_NL: sp.csr_array, Y_true: sp.csr_array, weights_N: np.ndarray | None = None
) -> dict[str, float]:
    """The thresholds with the highest micro-F1 and macro-F1: `{"micro-F1": t, "macro-F1": t}`.

    Labels are suggested that score at least t; rows may have weights. Empty where no score belongs
    to a true label. The truth may have more columns than the scores (N, L).

    Args:
        scores_NL: probabilities, csr_array (N, L).
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.
        weights_N: how much each row counts, (N,); None counts all alike.

    Returns:
        Thresholds by name, or an empty mapping.
    """
    hits_P = hits_of(scores_NL, Y_true)
    if not hits_P.any():
        return {}
    return {
        "micro-F1": _best_micro(scores_NL, Y_true, hits_P, weights_N),
        "macro-F1": _best_macro(scores_NL, Y_true, hits_P, weights_N),
    }


def _best_micro(
    scores_NL: sp.csr_array, Y_true: sp.csr_array, hits_P: np.ndarray, weights_N: np.ndarray | None
) -> float:
    """2 TP / (predicted + true) at every score that occurs; exact."""
    scores_P = scores_NL.data
    order = np.argsort(-scores_P, kind="stable")
    weights_P = weights_of_rows(scores_NL, weights_N)
    counted = np.ones(len(scores_P)) if weights_P is None else weights_P[order].astype(np.float64)
    true_T = Y_true.data != 0
    of_truth = weights_of_rows(Y_true, weights_N)
    num_true = true_T.sum() if of_truth is None else of_truth[true_T].sum(dtype=np.float64)
    scores, hits = scores_P[order], np.cumsum(hits_P[order] * counted)
    f1 = 2 * hits / (np.cumsum(counted) + num_true)
    last = np.append(scores[:-1] > scores[1:], True)  # equal scores are suggested together
    return float(scores[int(np.argmax(np.where(last, f1, -1.0)))])


def _best_macro(
    scores_NL: sp.csr_array, Y_true: sp.csr_array, hits_P: np.ndarray, weights_N: np.ndarray | None
) -> float:
    tried_T = np.unique(np.quantile(scores_NL.data[hits_P], np.linspace(0, 1, MACRO_STEPS + 1)))
    macro_T = [
        f1_of_sets(Y_true, threshold_set(scores_NL, float(t)), weights_N).macro for t in tried_T
    ]
    return float(tried_T[int(np.argmax(macro_T))])
