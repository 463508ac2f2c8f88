"""How likely a row has a label, and from which probability on a label is expected.

Probabilities come from the linear model alone first, then from all evidence. Both steps are
cross-fitted: what is said of a fold's rows is learnt on the other folds.

The threshold of a label is the mean probability of its given rows (confident learning, Northcutt et
al., 2021, https://doi.org/10.1613/jair.1.12125). The mean of few rows is unsure: it is shrunk
towards the mean of labels as frequent, the more the less it is sure (James and Stein).

L labels, P pairs (row, label), D kinds of evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrt.applications.audit.suggestions.pairs import LabelPairs
from xrt.fusion.boosting import L2, LEARNING_RATE, LEAVES, MIN_LEAF, NUM_TREES
from xrt.fusion.calibration import LOWEST_COUNTS, MIN_HITS, fit_curve
from xrt.metrics.frequency_bins import bin_names, bin_of_labels

MAX_FITTED = 300_000
"""Pairs that curves and trees are fitted to, at most."""

EVIDENCE = ("probability", "rank", "agreement", "similarity", "name in text", "label frequency")
_RISES = (1, -1, 1, 0, 1, 0)
"""A label is never less likely for a higher probability, a better rank, more agreement."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of each pair, all float32 (P,) but where said.

    `probability_P`: calibrated out-of-fold probability by the linear model; `agreement_P`: share
    of the vote of the nearest rows; `similarity_P`: cosine of the nearest row; `name_P`: share of
    the label's name in the text; `counts_P` int64: rows of the label outside the row's fold.
    """

    probability_P: np.ndarray
    agreement_P: np.ndarray
    similarity_P: np.ndarray
    name_P: np.ndarray
    counts_P: np.ndarray

    def features(self, pairs: LabelPairs, selected: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The evidence of some pairs in the order of EVIDENCE.

        Args:
            pairs: The P pairs that this is the evidence of.
            selected: Positions of the pairs to take, or a slice; all by default.

        Returns:
            float32 (pairs taken, len(EVIDENCE)).
        """
        columns = (
            self.probability_P[selected], pairs.ranks_P[selected], self.agreement_P[selected],
            self.similarity_P[selected], self.name_P[selected], np.log1p(self.counts_P[selected]),
        )  # fmt: skip
        return np.column_stack(columns).astype(np.float32)


def calibrated(
    scores_P: np.ndarray,
    given_P: np.ndarray,
    counts_P: np.ndarray,
    fold_P: np.ndarray,
    fitted_P: np.ndarray,
    lowest_counts: Sequence[int] = LOWEST_COUNTS,
) -> np.ndarray:
    """Isotonic regression of `given_P` on scores, a curve for each range of label frequency.

    Curves are fitted to the pairs `fitted_P` of the other folds; a range with fewer than MIN_HITS
    given ones takes the curve of all. Where the other folds have no such pair it is 0.

    Args:
        scores_P: Out-of-fold scores, float32 (P,).
        given_P: Whether the label is given, bool (P,).
        counts_P: Rows of the label outside of the row's fold, int64 (P,).
        fold_P: Fold of the row, int64 (P,).
        fitted_P: Pairs to learn from, bool (P,).
        lowest_counts: Least count of each range, rising; the first is at most the least of
            `counts_P`.

    Returns:
        Probabilities, float32 (P,).
    """
    bin_P = np.searchsorted(lowest_counts, counts_P, side="right") - 1
    probabilities_P = np.zeros(len(scores_P), np.float32)
    for fold in np.unique(fold_P):
        others = np.flatnonzero(fitted_P & (fold_P != fold))
        own = np.flatnonzero(fold_P == fold)
        if not len(others):
            continue
        of_all = fit_curve(scores_P[others], given_P[others])
        for bin in range(len(lowest_counts)):
            fitted, here = others[bin_P[others] == bin], own[bin_P[own] == bin]
            enough = int(given_P[fitted].sum()) >= MIN_HITS
            curve = fit_curve(scores_P[fitted], given_P[fitted]) if enough else of_all
            probabilities_P[here] = curve(scores_P[here])
    return probabilities_P


def with_all_evidence(
    pairs: LabelPairs,
    evidence: Evidence,
    fold_P: np.ndarray,
    fitted_P: np.ndarray,
    scored_P: np.ndarray,
    seed: int,
) -> np.ndarray:
    """The probability that a pair is given, from all evidence.

    Small boosted trees in which no label becomes less likely by more agreement, fitted to the pairs
    `fitted_P` of the other folds. It is the linear model's for pairs that are not `scored_P`, and
    where there are too few to learn from.

    Args:
        pairs: The P pairs.
        evidence: Their evidence.
        fold_P: Fold of the row, int64 (P,).
        fitted_P: Pairs to learn from, bool (P,).
        scored_P: Pairs to score, bool (P,).
        seed: Seed of the trees.

    Returns:
        float32 (P,) in [0, 1].
    """
    probability_P = evidence.probability_P.copy()
    for fold in np.unique(fold_P):
        others = np.flatnonzero(fitted_P & (fold_P != fold))
        hits = int(pairs.given_P[others].sum())
        if min(hits, len(others) - hits) < MIN_LEAF:
            continue
        trees = fit_trees(evidence.features(pairs, others), pairs.given_P[others], seed)
        own = np.flatnonzero(scored_P & (fold_P == fold))
        for part in np.array_split(own, -(-len(own) // MAX_FITTED) or 1):
            if len(part):
                probability_P[part] = chances(trees, evidence.features(pairs, part))
    return probability_P


def fit_trees(features_PD: np.ndarray, hits_P: np.ndarray, seed: int, sign: int = 1) -> Any:
    """Small boosted trees for P(hit | evidence).

    Args:
        features_PD: Evidence in the order of EVIDENCE, float32 (P, D).
        hits_P: What is learnt, bool (P,).
        seed: Seed of the trees.
        sign: 1 where evidence speaks for hits; -1 where it speaks against them.

    Returns:
        A fitted HistGradientBoostingClassifier.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    trees = HistGradientBoostingClassifier(
        max_iter=NUM_TREES, learning_rate=LEARNING_RATE, max_leaf_nodes=LEAVES,
        min_samples_leaf=MIN_LEAF, l2_regularization=L2, early_stopping=False,
        monotonic_cst=[sign * way for way in _RISES], random_state=seed,
    )  # fmt: skip
    with threadpool_limits(1):  # sums, and so trees, do not depend on the number of threads
        return trees.fit(features_PD, hits_P)


def chances(trees: Any, features_PD: np.ndarray) -> np.ndarray:
    """P(hit | evidence) by the trees.

    Args:
        trees: What `fit_trees` returned.
        features_PD: Evidence in the order of EVIDENCE, float32 (P, D).

    Returns:
        float32 (P,) in [0, 1].
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return np.asarray(trees.predict_proba(features_PD)[:, 1], np.float32)


def fitted_pairs(pairs: LabelPairs, num_candidates: int, seed: int) -> np.ndarray:
    """The pairs to learn from: the best-scored labels of as many random rows as have MAX_FITTED of
    them.

    Given labels beyond them are left out, since what is not given is, too.

    Args:
        pairs: The P pairs.
        num_candidates: How many of a row's best-scored labels count.
        seed: Seed of the sample of rows.

    Returns:
        bool (P,).
    """
    num_rows = len(pairs.ptr_N) - 1
    share = min(1.0, MAX_FITTED / max(1, len(pairs)))
    chosen_N = np.random.default_rng(seed).random(num_rows) < share
    is_chosen_P: np.ndarray = chosen_N[pairs.rows_P] & (pairs.ranks_P <= num_candidates)
    return is_chosen_P


def shrunk_thresholds(
    labels_P: np.ndarray, probability_P: np.ndarray, num_labels: int
) -> np.ndarray:
    """The threshold of each label, from the probabilities of its given pairs.

    A label without a pair takes the threshold of the rarest labels that have some; where none has
    any, it is 1: nothing says from where on a label is expected.

    Args:
        labels_P: Label of each given pair, int (P,).
        probability_P: Its probability, (P,) in [0, 1].
        num_labels: Number of labels L.

    Returns:
        float64 (L,) in [0, 1].
    """
    counts_L = np.bincount(labels_P, minlength=num_labels)
    sums_L = np.bincount(labels_P, probability_P, minlength=num_labels)
    means_L = np.divide(sums_L, counts_L, out=np.zeros(num_labels), where=counts_L > 0)
    squares_P = (probability_P - means_L[labels_P]) ** 2
    bin_L = bin_of_labels(counts_L)
    thresholds_L, of_rarest = np.zeros(num_labels), 1.0
    within = _variance_within(squares_P, counts_L)
    for bin in reversed(range(len(bin_names()))):
        here = np.flatnonzero((bin_L == bin) & (counts_L > 0))
        if not len(here):
            continue
        bin_mean = float(sums_L[here].sum() / counts_L[here].sum())
        own = _variance_within(squares_P[np.isin(labels_P, here)], counts_L[here])
        within = within if own is None else own
        if within is None:  # no label has two rows: nothing tells labels from chance
            within = float(np.mean((means_L[here] - bin_mean) ** 2))
        of_mean = within / counts_L[here]
        spread = float(np.mean((means_L[here] - bin_mean) ** 2))
        between = max(0.0, spread - float(of_mean.mean()))
        trust = between / (between + of_mean) if between > 0 else np.zeros(len(here))
        thresholds_L[here] = trust * means_L[here] + (1 - trust) * bin_mean
        of_rarest = bin_mean
    thresholds_L[counts_L == 0] = of_rarest
    return thresholds_L


def _variance_within(squares_P: np.ndarray, counts_L: np.ndarray) -> float | None:
    """Pooled variance of rows about the mean of their label; None where each label has one row."""
    spare = int(counts_L.sum() - (counts_L > 0).sum())
    return float(squares_P.sum() / spare) if spare > 0 else None
