"""How many labels are missing, by how often a label is given: a measured propensity.

L labels. Of pairs that reach their label's threshold, the share that is given estimates the chance
that a true label was observed (Elkan and Noto, 2008, https://doi.org/10.1145/1401890.1401920): it
holds where all such pairs are true, and is too low by those that are not. Beside it stands the
formula of Jain et al., which knows frequencies alone.
"""

from typing import Any

import numpy as np

from xrt.applications.audit.audit_params import AuditParams
from xrt.applications.audit.suggestions.suspects import AssessedPairs
from xrt.metrics.frequency_bins import bin_names, bin_of_labels
from xrt.metrics.propensity import inverse_propensities


def missing_rates(
    assessed: AssessedPairs, counts_L: np.ndarray, num_rows: int, params: AuditParams
) -> list[dict[str, Any]]:
    """A record for each range of label frequency that has labels, rarest first.

    Pairs whose label the judging model has seen too rarely are left out.

    Args:
        assessed: The judged pairs.
        counts_L: Rows of each label, int (L,).
        num_rows: Number of rows N.
        params: Of these, `min_label_rows` is used.

    Returns:
        Records with numbers of labels, given and suspected missing ones, the propensity as measured
        (None where there is nothing to measure) and by Jain's formula, and the mean threshold.
    """
    pairs = assessed.pairs
    likely_P = assessed.probability_P >= assessed.thresholds_L[pairs.labels_P]
    likely_P &= assessed.enough_rows(params.min_label_rows)
    bin_L = bin_of_labels(counts_L)
    bin_P = bin_L[pairs.labels_P]
    jain_L = 1 / inverse_propensities(counts_L, num_rows)
    records = []
    for bin, name in enumerate(bin_names()):
        here_L, here_P = bin_L == bin, bin_P == bin
        num_given = int((likely_P & pairs.given_P & here_P).sum())
        num_missing = int((likely_P & ~pairs.given_P & here_P).sum())
        if not here_L.any():
            continue
        weights = counts_L[here_L] if counts_L[here_L].sum() else None
        records.append(
            {
                "rows_of_label": name,
                "labels": int(here_L.sum()),
                "given": int(counts_L[here_L].sum()),
                "suspected_missing": num_missing,
                "measured_propensity": round(num_given / (num_given + num_missing), 4)
                if num_given + num_missing
                else None,
                "jain_propensity": round(float(np.average(jain_L[here_L], weights=weights)), 4),
                "mean_threshold": round(float(assessed.thresholds_L[here_L].mean()), 4),
            }
        )
    return records
