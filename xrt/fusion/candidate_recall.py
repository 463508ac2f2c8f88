"""How many of the true labels are among the candidates: what no ranking can make up for.

N rows, L labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from xrt.fusion.calibration import hits_of
from xrt.fusion.candidates import Candidates
from xrt.metrics.ranking import as_truth

UNION = "union"
"""What all sources together are called."""
TITLE = "Recall of true labels among the candidates"
COLUMNS = ("rows", "source", "recall", "candidates a row")
NOTE = (
    "Each source names the labels that it scores best; the candidates of a row are their union, "
    "and every source scores all of them. Recall is the share of a row's true labels, mean over "
    "rows."
)


@dataclass(frozen=True)
class CandidateRecall:
    """Recall of the true labels of some rows among the candidates, in [0, 1], and candidates of a
    row on average, by source and for the union of all.
    """

    recall: Mapping[str, float]
    per_row: Mapping[str, float]
    num_rows: int

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The figures of all rows from those of blocks of them, of equal weights.

        Args:
            parts: figures of the blocks, at least one.

        Returns:
            The figures.
        """
        num_rows = sum(part.num_rows for part in parts)
        shares = [part.num_rows / max(1, num_rows) for part in parts]
        kinds = [(part.recall, part.per_row) for part in parts]
        recall, per_row = (
            {
                name: float(sum(s * kind[i][name] for s, kind in zip(shares, kinds, strict=True)))
                for name in parts[0].recall
            }
            for i in (0, 1)
        )
        return cls(recall, per_row, num_rows)

    def cells(self, rows: str) -> list[list[str | float]]:
        """The lines of a table with COLUMNS.

        Args:
            rows: which rows, in words.

        Returns:
            A line for each source, the union last.
        """
        return [[rows, name, self.recall[name], self.per_row[name]] for name in self.recall]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns:
            Values by name.
        """
        return asdict(self)

    @classmethod
    def of(
        cls, candidates: Candidates, Y_true: sp.csr_array, weights_N: np.ndarray | None = None
    ) -> Self:
        """Measure the candidates of rows with known labels.

        Args:
            candidates: of N rows.
            Y_true: the labels of the rows, csr_array (N, L) or wider; a value is a confidence.
            weights_N: how much each row counts, (N,); None counts all alike.

        Returns:
            The figures. Pairs that were only asked for do not count.
        """
        named = {name: candidates.own[name] for name in candidates.names}
        if len(named) > 1:
            named[UNION] = candidates.pairs_NL
        num_rows = max(1, candidates.num_rows)
        return cls(
            {name: _recall(pairs_NL, Y_true, weights_N) for name, pairs_NL in named.items()},
            {name: pairs_NL.nnz / num_rows for name, pairs_NL in named.items()},
            candidates.num_rows,
        )


def _recall(pairs_NL: sp.csr_array, Y_true: sp.csr_array, weights_N: np.ndarray | None) -> float:
    truth = as_truth(Y_true)
    true_N = np.diff(truth.indptr)
    rows_P = np.repeat(np.arange(pairs_NL.shape[0]), np.diff(pairs_NL.indptr))
    hits_N = np.bincount(rows_P[hits_of(pairs_NL, Y_true)], minlength=pairs_NL.shape[0])
    return float(np.average(hits_N / np.maximum(1, true_N), weights=weights_N))


def recall_text(recalls: Mapping[str, CandidateRecall]) -> str:
    """Lines for the terminal.

    Args:
        recalls: figures by a description of the rows.

    Returns:
        A title, then a line for each set of rows; without a line end behind the last.
    """
    lines = [f"{TITLE} (percent; candidates a row)"]
    for rows, measured in recalls.items():
        parts = (
            f"{name} {100 * measured.recall[name]:.2f} ({measured.per_row[name]:.0f})"
            for name in measured.recall
        )
        lines.append(f"  {rows}: {', '.join(parts)}")
    return "\n".join(lines)
