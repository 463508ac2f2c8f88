"""Holds a learnt step against its plain alternative by the rankings of both on held-out rows."""

import numpy as np
import scipy.sparse as sp

from xrt.fusion.cross_fitting import criterion_of_rows, gain_of
from xrt.metrics.judgement import CRITERION, Judgement, is_better


def judge_step(
    name: str,
    plain_name: str,
    Y_true: sp.csr_array,
    learnt_NL: sp.csr_array,
    plain_NL: sp.csr_array,
    weights_N: np.ndarray | None = None,
) -> Judgement:
    """Compare two rankings of N held-out rows; the learnt one ships where it is better by at least
    one standard error of (P@1 + nDCG@10) / 2 over the rows.

    Args:
        name: the step.
        plain_name: its plain alternative.
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.
        learnt_NL: scores with the step, csr_array (N, L).
        plain_NL: scores with the plain alternative, csr_array (N, L).
        weights_N: how much each row counts, (N,); None counts all alike.

    Returns:
        The judgement.
    """
    gain, error = gain_of(Y_true, learnt_NL, plain_NL, weights_N)
    plain = float(np.average(criterion_of_rows(Y_true, plain_NL), weights=weights_N))
    return Judgement(
        name=name, plain_name=plain_name, figure=CRITERION, plain=plain, learnt=plain + gain,
        error=error, ships=is_better(gain, error),
    )  # fmt: skip
