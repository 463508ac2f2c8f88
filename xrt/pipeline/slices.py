"""Held-out rows where times are known: the newest, and rows drawn at random among the older ones.

What was learnt of the past is right less often later. Both slices beside each other, bin by bin of
the score, say how much of a score is left by then. The newest rows are those that fusion and
calibration were chosen on; nothing was chosen on the drawn ones.

N rows of a slice, L labels.
"""

from collections.abc import Mapping
from typing import Any

import scipy.sparse as sp

from xrt.fusion.cross_fitting import Sources
from xrt.fusion.fit import FusionFit
from xrt.fusion.frequencies import LabelFrequencies
from xrt.metrics.calibration import NUM_BINS, reliability
from xrt.metrics.ranking import judge, precision_at
from xrt.report import Table, line_chart
from xrt.sources.base import CANDIDATES

Slices = Mapping[str, Mapping[str, Any]]
"""What `measure_slice` found, by the slice's name."""
NEWEST, DRAWN = "newest", "drawn"
TITLES = {DRAWN: "drawn at random", NEWEST: "the newest"}
"""The slices, and what people call them."""
TITLE = "How often the first label is true: rows drawn at random, and the newest"


def measure_slice(
    fit: FusionFit,
    sources: Sources,
    Y_true: sp.csr_array,
    frequencies: LabelFrequencies,
) -> dict[str, Any]:
    """P@1 and P@5 of the fused scores of some held-out rows; of probabilities also how often the
    first label is true, by its score.

    Args:
        fit: fusion and calibration.
        sources: scores of each source by its name, csr_array (N, L), or candidates.
        Y_true: the labels of the rows, csr_array (N, L).
        frequencies: how often labels occur in the rows that the sources were trained on.

    Returns:
        `rows`, `P@1` and `P@5`, and of probabilities `ECE@1` and `bins`: of each bin of scores the
        number of predictions, their mean score and the share that is true.
    """
    scores_NL = fit.fusion.scores(sources, frequencies.counts_L, CANDIDATES)
    if fit.calibration is not None:
        scores_NL = fit.calibration.apply(scores_NL, frequencies.counts_L)
    return measure_scores(scores_NL, Y_true, fit.calibration is not None)


def measure_scores(
    scores_NL: sp.csr_array, Y_true: sp.csr_array, are_probabilities: bool
) -> dict[str, Any]:
    """How often the first labels by these scores are true.

    Args:
        scores_NL: scores of the rows, csr_array (N, L).
        Y_true: the labels of the rows, csr_array (N, L).
        are_probabilities: whether the scores are calibrated.

    Returns:
        As `measure_slice`.
    """
    found: dict[str, Any] = {}
    if are_probabilities:
        first = reliability(Y_true, scores_NL, 1)
        found = {
            "ECE@1": first.expected_error,
            "bins": {
                "predicted": list(first.num_predicted),
                "mean_score": list(first.mean_score),
                "precision": list(first.precision),
            },
        }
    precision_K = precision_at(judge(Y_true, scores_NL, 5))
    return {
        "rows": Y_true.shape[0], "P@1": float(precision_K[0]), "P@5": float(precision_K[4]), **found
    }  # fmt: skip


def slices_table(slices: Slices) -> Table | None:
    """How often the first label is true in both slices, by its score.

    Args:
        slices: what was found.

    Returns:
        A row for each bin of scores that has predictions, and one for all; None where scores are no
        probabilities, or there are no slices.
    """
    known = {name: slices[name] for name in TITLES if "bins" in slices.get(name, {})}
    if not known:
        return None
    columns = ["score"]
    for name in known:
        columns += [f"{TITLES[name]}: rows", "mean score", "share true"]
    rows: list[list[Any]] = []
    for number in range(NUM_BINS):
        cells: list[Any] = [f"{number / NUM_BINS:.2f} to {(number + 1) / NUM_BINS:.2f}"]
        for each in known.values():
            bins = each["bins"]
            count = int(bins["predicted"][number])
            shares = [bins["mean_score"][number], bins["precision"][number]]
            cells += [count, *(shares if count else [None, None])]
        if any(cells[1::3]):
            rows.append(cells)
    whole: list[Any] = ["all"]
    for each in known.values():
        whole += [each["rows"], None, each["P@1"]]
    errors = ", ".join(f"{TITLES[name]} {each['ECE@1']:.3f}" for name, each in known.items())
    note = (
        f"ECE@1: {errors}. Fusion and calibration were fitted to the newest rows, each half of "
        "which is scored by the fit of the other; those drawn at random, among the older ones, had "
        "no part in it."
    )
    series = {}
    for name, each in known.items():
        bins = each["bins"]
        filled = [i for i in range(NUM_BINS) if bins["predicted"][i]]
        scores, precision = ([bins[key][i] for i in filled] for key in ("mean_score", "precision"))
        series[TITLES[name]] = (scores, precision)
    series["probabilities"] = ([0.0, 1.0], [0.0, 1.0])
    chart = line_chart(TITLE, series, x_label="score", y_label="share true")
    return Table(title=TITLE, columns=columns, rows=[*rows, whole], note=note, chart=chart)
