"""Judges what is chosen on held-out rows without flattery: each half with the other half's choice.

N rows, L labels.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import scipy.sparse as sp

from xrt.fusion.candidates import Candidates
from xrt.metrics.ranking import judge, ndcg_of_rows
from xrt.sparse import as_csr

Sources = Mapping[str, sp.csr_array]
Choice = TypeVar("Choice")


def cross_fitted(
    sources: Sources,
    Y_true: sp.csr_array,
    seed: int,
    choose: Callable[[Sources, sp.csr_array, np.ndarray | None], Choice],
    use: Callable[[Choice, Sources], sp.csr_array],
    weights_N: np.ndarray | None = None,
) -> sp.csr_array:
    """Scores (N, L) of each half of the rows by what `choose` made of the other half: of its
    scores, its truth and, where rows have them, its weights.

    A single row has no other half and is scored by what was chosen on itself.

    Args:
        sources: scores of each source by its name, csr_array (N, L).
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.
        seed: seed of how rows are split into halves.
        choose: makes a choice of scores, labels and weights of rows.
        use: makes scores of rows by a choice.
        weights_N: how much each row counts, (N,); None counts all alike.

    Returns:
        Scores of all rows, in their order, csr_array (N, L).
    """
    num_rows = Y_true.shape[0]
    if num_rows < 2:
        return use(choose(sources, Y_true, weights_N), sources)
    order = np.random.default_rng(seed).permutation(num_rows)
    first, second = np.sort(order[: num_rows // 2]), np.sort(order[num_rows // 2 :])
    parts = []
    for own, other in ((first, second), (second, first)):
        weights_n = None if weights_N is None else weights_N[other]
        chosen = choose(rows_of(sources, other), as_csr(Y_true[other]), weights_n)
        parts.append(use(chosen, rows_of(sources, own)))
    back = np.argsort(np.concatenate([first, second]))
    return as_csr(sp.vstack(parts, format="csr")[back])


def rows_of(sources: Sources, rows: np.ndarray) -> Sources:
    """The given rows of every source.

    Args:
        sources: scores of each source by its name, csr_array (N, L).
        rows: row numbers, in the order wanted.

    Returns:
        Scores by source, csr_array (rows, L).
    """
    if isinstance(sources, Candidates):
        return sources.rows(rows)
    return {name: as_csr(scores_NL[rows]) for name, scores_NL in sources.items()}


def criterion_of_rows(Y_true: sp.csr_array, scores_NL: sp.csr_array) -> np.ndarray:
    """(P@1 + nDCG@10) / 2 of each row: float64 (N,).

    Args:
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.
        scores_NL: scores, csr_array (N, L).

    Returns:
        A number from 0 to 1 for each row.
    """
    judged = judge(Y_true, scores_NL, 10)
    criterion_N: np.ndarray = (judged.hits_NK[:, 0] + ndcg_of_rows(judged)[:, 9]) / 2
    return criterion_N


def gain_of(
    Y_true: sp.csr_array,
    scores_NL: sp.csr_array,
    baseline_NL: sp.csr_array,
    weights_N: np.ndarray | None = None,
) -> tuple[float, float | None]:
    """How far the mean criterion is above the baseline's, and the standard error of the rows'
    differences; None for a single row. Rows may have weights.

    Args:
        Y_true: the labels of the rows, csr_array (N, L); a value is a confidence.
        scores_NL: scores, csr_array (N, L).
        baseline_NL: scores to compare with, csr_array (N, L).
        weights_N: how much each row counts, (N,); None counts all alike.

    Returns:
        The gain, from -1 to 1, and its standard error.
    """
    gain_N = criterion_of_rows(Y_true, scores_NL) - criterion_of_rows(Y_true, baseline_NL)
    if weights_N is not None:
        share_N = weights_N / weights_N.sum(dtype=np.float64)
        mean, num_rows = float(share_N @ gain_N), len(gain_N)
        squares = (share_N**2) @ (gain_N - mean) ** 2
        return mean, float(np.sqrt(squares * num_rows / (num_rows - 1))) if num_rows > 1 else None
    error = float(gain_N.std(ddof=1) / np.sqrt(len(gain_N))) if len(gain_N) > 1 else None
    return float(gain_N.mean()), error
