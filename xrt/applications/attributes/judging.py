"""How good decoded values are: the table of attributes, paths, and what decoding together adds.

N rows, A attributes, L labels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.decisions import WrittenLabels, written_NA
from xrt.applications.attributes.decoder import AttributeDecoder, Decoded
from xrt.applications.attributes.path_beam import best_entries
from xrt.metrics.attribute_confusions import impossible_paths
from xrt.metrics.attributes import AttributeReport, attribute_report


@dataclass(frozen=True)
class Evaluation:
    """The figures of joint decoding and, beside them, those of the best-scored value of each
    attribute alone; and for both the paths of the hierarchy that training never saw (None without
    a hierarchy).
    """

    report: AttributeReport
    alone: AttributeReport
    num_impossible_paths: int | None
    num_impossible_alone: int | None

    def to_text(self) -> str:
        """The table, and what decoding the attributes together adds."""
        lines = [self.report.to_text()]
        found = self.report.item_accuracy, self.alone.item_accuracy
        if None not in found:
            lines.append(f"each attribute decoded alone: item accuracy {found[1]:.4f}")
        if self.num_impossible_paths is not None:
            lines.append(
                f"paths never seen in training: {self.num_impossible_paths:,} "
                f"(each attribute alone: {self.num_impossible_alone:,})"
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.report.to_dict(),
            "num_impossible_paths": self.num_impossible_paths,
            "each attribute alone": {
                "item_accuracy": self.alone.item_accuracy,
                "num_impossible_paths": self.num_impossible_alone,
            },
        }


def judge(
    decoder: AttributeDecoder,
    given_NA: np.ndarray,
    decoded: Decoded,
    scores_NL: sp.csr_array,
    counts_L: np.ndarray | None = None,
) -> Evaluation:
    """Judge what was decoded from these scores by what the rows give, int32 (N, A); columns from
    the number of labels on are values that training never saw. `counts_L` are the training rows of
    each label.
    """
    space, levels = decoder.space, list(decoder.finder.hierarchy)
    known = len(space.labels)
    report = attribute_report(
        space, given_NA, decoded.columns_NA, known, counts_L,
        decoded.probabilities_NA, decoded.row_probabilities_N,
        is_written_NA=written_NA(decoded, WrittenLabels.of(space)), is_none_L=space.is_none_L,
    )  # fmt: skip
    alone_NA = best_alone(decoder, scores_NL)
    alone = attribute_report(space, given_NA, alone_NA, known)
    if not levels:
        return Evaluation(report, alone, None, None)
    seen_PD = decoder.finder.taxonomy.paths_PD
    impossible = [
        impossible_paths(columns_NA[:, levels], seen_PD)
        for columns_NA in (decoded.columns_NA, alone_NA)
    ]
    return Evaluation(report, alone, *impossible)


def best_alone(decoder: AttributeDecoder, scores_NL: sp.csr_array) -> np.ndarray:
    """The best-scored value of each attribute, whatever the others are: int32 (N, A)."""
    if not scores_NL.has_sorted_indices:
        scores_NL = scores_NL.sorted_indices()
    columns_NA = np.full((scores_NL.shape[0], len(decoder.space.attributes)), -1, np.int32)
    entries = scores_NL.indptr, scores_NL.indices, scores_NL.data
    for a in range(columns_NA.shape[1]):
        at_N = best_entries(*entries, decoder.finder.attribute_of_L, a, 1)[:, 0]
        columns_NA[at_N >= 0, a] = scores_NL.indices[at_N[at_N >= 0]]
    return columns_NA
