"""All metrics of one set of predictions in one object, as a dictionary or as a table.

Fractions of 1 inside and in `to_dict`; percent with two decimals in text.
"""

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from xrt.errors import ConfigError, DataError
from xrt.inputs import check_count
from xrt.metrics.calibration import Reliability, reliability
from xrt.metrics.classification import F1Scores, f1_of_sets, threshold_set, top_k_set
from xrt.metrics.frequency_bins import FrequencyBin, frequency_bins
from xrt.metrics.propensity import PropensityParams, inverse_propensities, psndcg_at, psp_at
from xrt.metrics.ranking import (
    JudgedRanking,
    coverage_at,
    judge,
    ndcg_at,
    precision_at,
    r_precision_at,
    recall_at,
)
from xrt.metrics.tables import align


@dataclass(frozen=True, kw_only=True)
class RankingReport:
    """What `evaluate_ranking` measured.

    `metrics[name][k]` is a fraction of 1; names are P, R, RP, nDCG, PSP, PSnDCG (these two only
    when training counts were given), coverage, micro-F1, macro-F1, weighted-F1 and samples-F1 (of
    the set of the first k labels). `num_without_truth` instances have no true label: they score 0
    and are in every mean. `num_short` instances have fewer predictions than the largest k.
    `num_unseen_labels` distinct labels, in `num_unseen_pairs` true pairs, were never seen in
    training (those without a column in the scores can only be missed). `bins` (at `bins_k`) is
    empty without training counts. `thresholded` holds the F1 of the labels scoring at least
    `threshold`, None where no threshold was given. For scores that claim to be probabilities,
    metrics have ECE, too, and `reliability` the bins behind it (at 5, or at the largest k).
    """

    num_instances: int
    num_labels: int
    num_true_pairs: int
    num_without_truth: int
    num_short: int
    num_unseen_labels: int
    num_unseen_pairs: int
    ks: tuple[int, ...]
    metrics: dict[str, dict[int, float]]
    propensity: PropensityParams | None = None
    bins_k: int | None = None
    bins: list[FrequencyBin] = field(default_factory=list)
    threshold: float | None = None
    thresholded: F1Scores | None = None
    reliability: Reliability | None = None

    def value(self, name: str) -> float:
        """One figure by its usual name, such as 'P@5' or 'PSP@1'.

        Args:
            name: metric, @ and cut-off.

        Returns:
            A fraction of 1.

        Raises:
            ConfigError: no such figure; the message names those there are.
        """
        metric, _, k = name.partition("@")
        if metric not in self.metrics or not k.isdigit() or int(k) not in self.metrics[metric]:
            names = ", ".join(f"{metric}@{k}" for metric, at in self.metrics.items() for k in at)
            raise ConfigError(f"metric {name!r} is unknown here; choose one of {names}")
        return self.metrics[metric][int(k)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; metrics are flat: {'P@1': 0.43, ...}.

        Returns:
            The fields by name; `metrics` by name and cut-off.
        """
        result = asdict(self)
        result["ks"] = list(self.ks)
        result["metrics"] = {
            f"{name}@{k}": value for name, at in self.metrics.items() for k, value in at.items()
        }
        return result

    def to_text(self) -> str:
        """An aligned plain table in percent, metrics down, cut-offs across; notes below.

        Returns:
            Lines of text, without a line end after the last.
        """
        header = ["", *(f"@{k}" for k in self.ks)]
        rows = [[name, *(_percent(at[k]) for k in self.ks)] for name, at in self.metrics.items()]
        parts = [align([header, *rows]), self._notes()]
        if self.bins:
            parts.append(self._bins_text())
        return "\n\n".join(parts)

    def _notes(self) -> str:
        """Counts and conventions, one a line."""
        lines = [
            f"{self.num_instances} instances, {self.num_labels} labels, "
            f"{self.num_true_pairs} true pairs; values in percent"
        ]
        if self.propensity is not None:
            lines.append(
                f"PSP, PSnDCG: ratio of sums, A={self.propensity.a:g} B={self.propensity.b:g}"
            )
        lines.append("macro-F1: mean over labels that occur in the truth or a prediction")
        if self.num_without_truth:
            lines.append(f"{self.num_without_truth} instances without a true label: kept, scored 0")
        if self.num_short:
            lines.append(f"{self.num_short} instances with fewer than {max(self.ks)} predictions")
        if self.num_unseen_labels:
            lines.append(
                f"{self.num_unseen_labels} labels in {self.num_unseen_pairs} true pairs "
                "were never seen in training"
            )
        if self.thresholded is not None:
            f1 = self.thresholded
            lines.append(
                f"labels scoring {self.threshold:g} or more: micro-F1 {_percent(f1.micro)}, "
                f"macro-F1 {_percent(f1.macro)}, samples-F1 {_percent(f1.samples)}"
            )
        return "\n".join(lines)

    def _bins_text(self) -> str:
        """The table by training frequency."""
        k = self.bins_k
        header = ["seen in training", "labels", "pairs", f"P@{k}", f"R@{k}", f"coverage@{k}"]
        rows = [
            [
                bin.name,
                str(bin.num_labels),
                str(bin.num_pairs),
                _percent(bin.precision) if bin.num_predicted else "-",
                _percent(bin.recall) if bin.num_pairs else "-",
                _percent(bin.coverage) if bin.num_labels else "-",
            ]
            for bin in self.bins
        ]
        return align([header, *rows])


def evaluate_ranking(
    Y_true: Any,
    scores: Any,
    *,
    ks: Sequence[int] = (1, 3, 5, 10),
    train_label_counts: Any = None,
    num_train: int | None = None,
    propensity: PropensityParams | None = None,
    threshold: float | None = None,
    probabilities: bool = False,
    row_weights: Any = None,
) -> RankingReport:
    """Measure predictions (N, L') against the truth (N, L), L >= L'.

    In `Y_true` an entry above 0 is a true label; in `scores` every stored entry, and every entry of
    a dense array, is a prediction, higher is better, equal scores rank by label id.
    `train_label_counts` (length L' or more; missing ones are 0) and `num_train` come from the
    training set and give PSP, PSnDCG and the table by frequency. `threshold` adds the F1 of all
    labels scoring at least that; `probabilities` says that scores are to be judged as such: ECE@k.
    With `row_weights` (N,), all above 0, rows count so much in every metric, as if they stood there
    so often; numbers of instances and pairs stay numbers.

    Args:
        Y_true: (N, L); an entry above 0 is a true label.
        scores: (N, L'), L' at most L; each stored entry, and each of a dense array, is a
            prediction, higher is better.
        ks: cut-offs.
        train_label_counts: training rows of each label (length L' or more; missing ones are 0);
            with `num_train` it gives PSP, PSnDCG and the table by frequency.
        num_train: number of training rows.
        propensity: A and B of PSP; None for the defaults.
        threshold: adds the F1 of all labels that score at least this.
        probabilities: whether scores are probabilities: adds ECE@k.
        row_weights: weights (N,) of the rows, above 0; None where each counts 1.

    Returns:
        All metrics at all cut-offs.

    Raises:
        DataError: the matrices do not belong together.
        ConfigError: a wrong `ks`, or only one of `train_label_counts` and `num_train`.
    """
    ks = check_ks(ks)
    judged = judge(Y_true, scores, max(ks), row_weights)
    num_labels = judged.truth_NL.shape[1]
    predictable = scores.shape[1] if hasattr(scores, "shape") else np.shape(scores)[1]
    counts_L = _padded_counts(train_label_counts, num_train, num_labels)
    propensity = propensity or PropensityParams()

    curves = {
        "P": precision_at(judged),
        "R": recall_at(judged),
        "RP": r_precision_at(judged),
        "nDCG": ndcg_at(judged),
    }
    if counts_L is not None and num_train is not None:
        weights_L = inverse_propensities(counts_L, num_train, propensity)
        curves |= {"PSP": psp_at(judged, weights_L), "PSnDCG": psndcg_at(judged, weights_L)}
    curves["coverage"] = coverage_at(judged)
    metrics = {name: {k: float(curve_K[k - 1]) for k in ks} for name, curve_K in curves.items()}

    reliable = {k: reliability(Y_true, scores, k, row_weights) for k in ks} if probabilities else {}
    if reliable:
        metrics["ECE"] = {k: at_k.expected_error for k, at_k in reliable.items()}

    unseen_L = np.arange(num_labels) >= predictable
    if counts_L is not None:
        unseen_L |= counts_L == 0
    unseen_pairs = judged.truth_NL.indices[unseen_L[judged.truth_NL.indices]]
    return RankingReport(
        num_instances=judged.num_instances,
        num_labels=num_labels,
        num_true_pairs=int(judged.truth_NL.nnz),
        num_without_truth=int((judged.num_true_N == 0).sum()),
        num_short=int((judged.labels_NK[:, -1] < 0).sum()),
        num_unseen_labels=len(np.unique(unseen_pairs)),
        num_unseen_pairs=len(unseen_pairs),
        ks=ks,
        metrics=metrics | _f1_at(judged, ks),
        propensity=propensity if counts_L is not None else None,
        bins_k=None if counts_L is None else _bins_cutoff(ks),
        bins=[] if counts_L is None else frequency_bins(judged, counts_L, _bins_cutoff(ks)),
        threshold=threshold,
        thresholded=(
            None
            if threshold is None
            else f1_of_sets(judged.truth_NL, threshold_set(scores, threshold), judged.weights_N)
        ),
        reliability=reliable.get(_bins_cutoff(ks)),
    )


def compare_table(reports: dict[str, RankingReport]) -> str:
    """Several reports side by side: one metric a line, one system a column, percent.

    Args:
        reports: a report for each name.

    Returns:
        Lines of text.

    Raises:
        DataError: there is no report, or they were measured on different truths.
    """
    if not reports:
        raise DataError("no report to compare; pass at least one")
    sizes = {
        name: (report.num_instances, report.num_true_pairs) for name, report in reports.items()
    }
    if len(set(sizes.values())) > 1:
        on_each = ", ".join(
            f"{name}: {n} instances, {pairs} true pairs" for name, (n, pairs) in sizes.items()
        )
        raise DataError(
            f"reports on different data cannot be compared ({on_each}); evaluate on the same rows"
        )
    # all cut-offs of a metric stay together, whichever report has them
    names: dict[str, set[int]] = {}
    for report in reports.values():
        for metric, at in report.metrics.items():
            names.setdefault(metric, set()).update(at)
    rows = [["", *reports]]
    for metric, ks in names.items():
        for k in sorted(ks):
            values = [report.metrics.get(metric, {}).get(k) for report in reports.values()]
            cells = ["-" if value is None else _percent(value) for value in values]
            rows.append([f"{metric}@{k}", *cells])
    if any(report.propensity is not None for report in reports.values()):
        rows.append(["A, B of PSP", *(_propensity_cell(report) for report in reports.values())])
    return align(rows)


def _propensity_cell(report: RankingReport) -> str:
    """A and B as one cell."""
    params = report.propensity
    return "-" if params is None else f"{params.a:g}, {params.b:g}"


def check_ks(ks: Any) -> tuple[int, ...]:
    """Cut-offs in rising order, each once.

    Args:
        ks: whole numbers of at least 1.

    Returns:
        The cut-offs, ascending, each once.

    Raises:
        ConfigError: anything else.
    """
    if isinstance(ks, str | bytes) or not isinstance(ks, Iterable) or not (cutoffs := list(ks)):
        raise ConfigError(
            f"ks = {reprlib.repr(ks)}: one or more whole numbers of at least 1 are needed, such as "
            "ks=[1, 5]"
        )
    return tuple(sorted({check_count(k, "ks", "label", ConfigError) for k in cutoffs}))


def _bins_cutoff(ks: tuple[int, ...]) -> int:
    """5 where it was asked for, else the largest cut-off."""
    return 5 if 5 in ks else max(ks)


def _padded_counts(
    train_label_counts: Any, num_train: int | None, num_labels: int
) -> np.ndarray | None:
    """Training counts for every label of the truth, 0 for those appended after training."""
    if (train_label_counts is None) != (num_train is None):
        raise ConfigError("train_label_counts and num_train belong together; pass both or neither")
    if train_label_counts is None:
        return None
    check_count(num_train, "num_train", "training instance")
    counts = np.asarray(train_label_counts).ravel()
    if counts.dtype.kind not in "iuf":
        raise DataError(
            f"train_label_counts: not numbers ({counts.dtype}); give one for each label"
        )
    if len(counts) > num_labels:
        raise DataError(
            f"{len(counts)} training counts for {num_labels} labels of Y_true; "
            "read the truth with the label table of the training set"
        )
    return np.concatenate([counts, np.zeros(num_labels - len(counts), counts.dtype)])


def _f1_at(judged: JudgedRanking, ks: tuple[int, ...]) -> dict[str, dict[int, float]]:
    """The four F1 averages of the set of the first k labels."""
    scores = {k: f1_of_sets(judged.truth_NL, top_k_set(judged, k), judged.weights_N) for k in ks}
    averages = ("micro", "macro", "weighted", "samples")
    return {f"{name}-F1": {k: getattr(scores[k], name) for k in ks} for name in averages}


def _percent(value: float) -> str:
    """0.4321 -> '43.21'."""
    return f"{100 * value:.2f}"
