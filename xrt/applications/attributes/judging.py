"""How good decoded values are: the table of attributes, paths, and both ways of decoding side by
side.

N rows, A attributes, L labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrt.applications.attributes.decoding.choice import choice_text, right_values
from xrt.applications.attributes.decoding.decisions import WrittenLabels, written_NA
from xrt.applications.attributes.decoding.decoder import AttributeDecoder, Decoded, Weighed
from xrt.applications.attributes.metrics.confusions import impossible_paths
from xrt.applications.attributes.metrics.table import AttributeReport, attribute_report
from xrt.applications.attributes.settings import Decode
from xrt.metrics.tables import align
from xrt.report import Table

ALONE = "best score alone"


@dataclass(frozen=True)
class Evaluation:
    """The figures of what was decoded, and beside them those of both ways of decoding and of the
    best-scored value of each attribute alone: `right` and, with a hierarchy, `impossible`, the
    paths that training never saw. `chosen` says why the decoder has its way; None where nothing
    was compared.
    """

    report: AttributeReport
    decoded: Decoded
    way: Decode
    right: Mapping[str, Mapping[str, Any]]
    impossible: Mapping[str, int] | None
    chosen: str | None = None

    @property
    def num_impossible_paths(self) -> int | None:
        """Rows whose decoded path training never saw; None without a hierarchy."""
        return None if self.impossible is None else self.impossible[self.way.value]

    def to_text(self) -> str:
        """The table, and what each way of decoding gets right."""
        header, *rows = self._rows()
        cells = [[_cell(cell) for cell in row] for row in rows]
        lines = [self.report.to_text(), "", align([header, *cells])]
        if self.chosen is not None:
            lines.append(self.chosen)
        alone = self.right[ALONE]["item accuracy"]
        if alone is not None:
            lines.append(f"each attribute decoded alone: item accuracy {alone:.4f}")
        if self.impossible is not None:
            lines.append(
                f"paths never seen in training: {self.num_impossible_paths:,} "
                f"(each attribute alone: {self.impossible[ALONE]:,})"
            )
        return "\n".join(lines)

    def to_table(self) -> Table:
        """Both ways side by side, for a page."""
        header, *rows = self._rows()
        return Table(
            title="Decoding", columns=header, rows=rows, note=self.chosen or "",
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        impossible = self.impossible or {}
        return {
            **self.report.to_dict(),
            "num_impossible_paths": self.num_impossible_paths,
            "decode": self.way.value,
            "decodings": {
                name: {**figures, "num_impossible_paths": impossible.get(name)}
                for name, figures in self.right.items()
            },
            "each attribute alone": {
                "item_accuracy": self.right[ALONE]["item accuracy"],
                "num_impossible_paths": impossible.get(ALONE),
            },
        }

    def _rows(self) -> list[list[Any]]:
        names = list(self.right[ALONE]["accuracy"])
        rows: list[list[Any]] = [["accuracy", "item", *names]]
        for name, figures in self.right.items():
            shown = name if name == ALONE else f"decode={name}"
            accuracies = figures["accuracy"]
            rows.append([shown, figures["item accuracy"], *(accuracies[n] for n in names)])
        return rows


def judge(
    decoder: AttributeDecoder,
    given_NA: np.ndarray,
    weighed: Sequence[Weighed],
    counts_L: np.ndarray | None = None,
) -> Evaluation:
    """Judge what the decoder makes of rows by what they give, int32 (N, A); columns from the number
    of labels on are values that training never saw. `counts_L` are the training rows of each label.
    """
    space, levels = decoder.space, list(decoder.finder.hierarchy)
    found = {way: decoder.best(weighed, way) for way in (Decode.row, Decode.each)}
    decoded = found[decoder.way]
    report = attribute_report(
        space, given_NA, decoded.columns_NA, len(space.labels), counts_L,
        decoded.probabilities_NA, decoded.row_probabilities_N,
        is_written_NA=written_NA(decoded, WrittenLabels.of(space)), is_none_L=space.is_none_L,
    )  # fmt: skip
    columns = {way.value: part.columns_NA for way, part in found.items()}
    columns[ALONE] = np.concatenate([part.scored_NA for part in weighed])
    right = {
        name: right_values(space.attributes, columns_NA, given_NA)
        for name, columns_NA in columns.items()
    }
    impossible = None
    if levels:
        seen_PD = decoder.finder.taxonomy.paths_PD
        impossible = {
            name: impossible_paths(columns_NA[:, levels], seen_PD)
            for name, columns_NA in columns.items()
        }
    compared = decoder.figures.get("decode")
    chosen = None if compared is None else choice_text(compared)
    return Evaluation(report, decoded, decoder.way, right, impossible, chosen)


def _cell(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return "-" if cell is None else str(cell)
