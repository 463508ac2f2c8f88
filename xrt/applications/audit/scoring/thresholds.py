"""From which probability on a label is expected: confident learning, for rare labels too.

L labels, P given pairs. The threshold of a label is the mean probability of its given rows
(Northcutt et al., 2021, https://doi.org/10.1613/jair.1.12125). The mean of few rows says little: it
is shrunk towards the mean of labels as frequent, the more the less it is sure (James and Stein).
"""

import numpy as np

from xrt.metrics.frequency_bins import bin_names, bin_of_labels


def shrunk_thresholds(
    labels_P: np.ndarray, probability_P: np.ndarray, num_labels: int
) -> np.ndarray:
    """The threshold of each label, float64 (L,), from the probabilities of its given pairs.

    A label without a pair takes the threshold of the rarest labels that have some; where none has
    any, it is 1: nothing says from where on a label is expected.
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
