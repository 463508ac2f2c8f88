"""Two rankings of the same rows side by side, as a whole and by how often labels were trained on.

A figure of a bin is the metric as it is, with only the labels of that bin counted as true, over the
rows that have one: what the ranking does for these labels, other labels in between included.

Shapes: N instances, L labels, K the deepest rank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from xrt.errors import DataError
from xrt.metrics.classification import f1_of_sets, top_k_set
from xrt.metrics.frequency_bins import bin_names, bin_of_labels
from xrt.metrics.propensity import PropensityParams, inverse_propensities, psp_at
from xrt.metrics.ranking import JudgedRanking, as_truth, judge, ndcg_at, precision_at, recall_at
from xrt.metrics.tables import align
from xrt.sparse import as_csr, binarize

FIGURES = ("P@1", "P@3", "P@5", "R@10", "nDCG@10", "PSP@5")
MACRO = "macro-F1@5"
"""In the figures of all labels only."""
SHOWN = "nDCG@10"
"""The figure of small tables and charts: it weighs the first rank and the whole list."""

BINS_NOTE = (
    "In a line only the labels of its range count as true; true labels of other ranges rank among "
    "them, so that 1 is mostly out of reach."
)


@dataclass(frozen=True, kw_only=True)
class ComparedBin:
    """One range of training frequency: its labels and true pairs in the rows, figures of both."""

    name: str
    num_labels: int
    num_pairs: int
    linear: dict[str, float]
    deep: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """FIGURES of the linear and of the deep model on the same rows; fractions of 1.

    `linear` and `deep` are over all labels and hold MACRO too; `bins` are those that occur.
    """

    num_rows: int
    linear: dict[str, float]
    deep: dict[str, float]
    bins: list[ComparedBin]

    def lower(self, names: Sequence[str]) -> list[str]:
        """Those of the figures `names` in which the deep model is below the linear one, by at least
        a hundredth of a percent.

        Args:
            names: names of figures.

        Returns:
            Those of `names`, in their order.
        """
        return [name for name in names if round(self.deep[name], 4) < round(self.linear[name], 4)]

    def rows(self, figure: str = SHOWN) -> list[tuple[str, int, int, float, float, float]]:
        """For each bin, and for all labels at the end: name, labels, pairs, linear, deep,
        difference.

        Args:
            figure: the name of a figure.

        Returns:
            (name, labels, pairs, linear, deep, difference) of each bin, then of all labels.
        """
        rows = [
            (bin.name, bin.num_labels, bin.num_pairs, bin.linear[figure], bin.deep[figure])
            for bin in self.bins
        ]
        totals = sum(row[1] for row in rows), sum(row[2] for row in rows)
        rows.append(("all", *totals, self.linear[figure], self.deep[figure]))
        return [(*row, row[4] - row[3]) for row in rows]

    def to_text(self, figure: str = SHOWN) -> str:
        """The rows as an aligned table, in percent.

        Args:
            figure: the name of a figure.

        Returns:
            Lines of text.
        """
        table = [["seen in training", "labels", "pairs", "linear", "deep", "difference"]]
        table += [
            [name, str(num_labels), str(num_pairs), f"{100 * linear:.2f}", f"{100 * deep:.2f}",
             f"{100 * difference:+.2f}"]
            for name, num_labels, num_pairs, linear, deep, difference in self.rows(figure)
        ]  # fmt: skip
        return align(table)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns:
            The fields by name.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_dict` returned.

        Args:
            content: plain values.

        Returns:
            The comparison.
        """
        return cls(**{**content, "bins": [ComparedBin(**bin) for bin in content["bins"]]})


def compare(
    Y_true: Any,
    linear: Any,
    deep: Any,
    train_label_counts: Any,
    num_train: int,
    propensity: PropensityParams | None = None,
) -> Comparison:
    """Compare the scores (N, L') of two models on rows with the truth (N, L), L >= L'.

    Counts as in `evaluate_ranking`: of the training rows, 0 for labels that they lack.

    Args:
        Y_true: (N, L); an entry above 0 is a true label.
        linear: scores of the linear model, (N, L'), L' at most L.
        deep: scores of the deep model, (N, L').
        train_label_counts: training rows of each label, 0 for labels without; missing ones at the
            end are 0.
        num_train: number of training rows.
        propensity: of PSP; None for the defaults.

    Returns:
        The figures of both models.

    Raises:
        DataError: matrices and counts do not belong together.
    """
    truth_NL = as_truth(Y_true)
    counts_L = np.asarray(train_label_counts).ravel()
    if len(counts_L) > truth_NL.shape[1]:
        raise DataError(f"{len(counts_L)} training counts for {truth_NL.shape[1]} labels of Y_true")
    counts_L = np.concatenate([counts_L, np.zeros(truth_NL.shape[1] - len(counts_L), np.int64)])
    weights_L = inverse_propensities(counts_L, num_train, propensity)
    judged = [judge(truth_NL, scores, 10) for scores in (linear, deep)]
    bin_L = bin_of_labels(counts_L)
    bins = []
    for place, name in enumerate(bin_names()):
        of_bin = [_of_labels(ranking, bin_L == place) for ranking in judged]
        truth = of_bin[0].truth_NL
        if truth.nnz:
            linear_figures, deep_figures = (figures(ranking, weights_L) for ranking in of_bin)
            num_labels = len(np.unique(truth.indices))
            bins.append(
                ComparedBin(name=name, num_labels=num_labels, num_pairs=int(truth.nnz),
                            linear=linear_figures, deep=deep_figures)
            )  # fmt: skip
    of_all = [figures(ranking, weights_L) | {MACRO: _macro_f1(ranking)} for ranking in judged]
    return Comparison(num_rows=truth_NL.shape[0], linear=of_all[0], deep=of_all[1], bins=bins)


def figures(judged: JudgedRanking, weights_L: np.ndarray) -> dict[str, float]:
    """FIGURES of a ranking judged to depth 10; `weights_L` are inverse propensities.

    Args:
        judged: of `judge`.
        weights_L: of `inverse_propensities`, (L,).

    Returns:
        Each of FIGURES, a fraction of 1.
    """
    curves = {
        "P": precision_at(judged),
        "R": recall_at(judged),
        "nDCG": ndcg_at(judged),
        "PSP": psp_at(judged, weights_L),
    }
    parts = (name.partition("@") for name in FIGURES)
    return {f"{metric}@{k}": float(curves[metric][int(k) - 1]) for metric, _, k in parts}


def _macro_f1(judged: JudgedRanking) -> float:
    return f1_of_sets(judged.truth_NL, top_k_set(judged, 5)).macro


def _of_labels(judged: JudgedRanking, counted_L: np.ndarray) -> JudgedRanking:
    """The rows with one of the counted labels, with no other label true."""
    truth_NL = judged.truth_NL.copy()
    truth_NL.data = counted_L[truth_NL.indices].astype(np.float32)
    truth_NL = binarize(truth_NL)
    rows = np.flatnonzero(np.diff(truth_NL.indptr))
    labels_NK = judged.labels_NK[rows]
    hits_NK = judged.hits_NK[rows] & counted_L[labels_NK]
    return JudgedRanking(labels_NK, hits_NK, as_csr(truth_NL[rows]))
