"""Decoys: labels put beside rows at random, so that it is known what a wrong label looks like.

N rows, L labels, P pairs. How a given label differs from one that is certainly wrong cannot be
read from given labels alone: of rare labels even right ones score low. A decoy is scored like a
given label; where given labels and decoys with the same evidence are hard to tell apart, a given
label is as suspect as a decoy.
"""

import numpy as np
import scipy.sparse as sp

from xrt.applications.audit.scoring.probabilities import MAX_FITTED, Evidence, chances, fit_trees
from xrt.applications.audit.suggestions.pairs import LabelPairs
from xrt.fusion.boosting import MIN_LEAF


def draw_decoys(Y_NL: sp.csr_array, seed: int) -> sp.csr_array:
    """Draw a label that is not given for each row.

    For half of the rows, at random, it is drawn by how often labels occur, for the others from all
    labels that occur, each as often.

    Args:
        Y_NL: Given labels, (N, L).
        seed: Seed of the draws.

    Returns:
        float32 ones (N, L), at most one a row: none where a given label was drawn.
    """
    num_rows, num_labels = Y_NL.shape
    rng = np.random.default_rng([seed, 1])
    counts_L = np.bincount(Y_NL.indices, minlength=num_labels)
    used = np.flatnonzero(counts_L)
    by_count_N = Y_NL.indices[rng.integers(0, max(1, Y_NL.nnz), num_rows)]
    at_random_N = used[rng.integers(0, len(used), num_rows)]
    drawn_N = np.where(rng.random(num_rows) < 0.5, by_count_N, at_random_N)
    ones, indptr = np.ones(num_rows, np.float32), np.arange(num_rows + 1)
    drawn_NL = sp.csr_array((ones, drawn_N, indptr), shape=Y_NL.shape)
    pattern_NL = Y_NL.copy()
    pattern_NL.data = np.ones(Y_NL.nnz, np.float32)
    decoys_NL = sp.csr_array(drawn_NL - drawn_NL.multiply(pattern_NL), dtype=np.float32)
    decoys_NL.eliminate_zeros()
    return decoys_NL


def looks_like_decoy(
    given_pairs: tuple[LabelPairs, Evidence],
    decoys: tuple[LabelPairs, Evidence],
    fold_N: np.ndarray,
    seed: int,
) -> np.ndarray:
    """P(decoy | evidence) of each given pair, among as many decoys as given ones.

    Cross-fitted by the folds of rows. Where there are too few to learn from, it is one less the
    linear model's probability.

    Args:
        given_pairs: P given pairs and their evidence.
        decoys: Decoys and their evidence.
        fold_N: Fold of each row, int64 (N,).
        seed: Seed of the sample and the trees.

    Returns:
        float32 (P,) in [0, 1].
    """
    pairs, evidence = given_pairs
    false_pairs, false_evidence = decoys
    fold_P, fold_D = fold_N[pairs.rows_P], fold_N[false_pairs.rows_P]
    wrong_P = 1 - evidence.probability_P
    rng = np.random.default_rng([seed, 2])
    for fold in np.unique(fold_P):
        size = min(int((fold_P != fold).sum()), int((fold_D != fold).sum()), MAX_FITTED // 2)
        if size < MIN_LEAF:
            continue
        real, false = (
            np.sort(rng.choice(np.flatnonzero(folds != fold), size, replace=False))
            for folds in (fold_P, fold_D)
        )
        features = evidence.features(pairs, real), false_evidence.features(false_pairs, false)
        is_decoy = np.repeat([False, True], size)
        trees = fit_trees(np.concatenate(features), is_decoy, seed, sign=-1)
        own = np.flatnonzero(fold_P == fold)
        wrong_P[own] = chances(trees, evidence.features(pairs, own))
    return wrong_P
