"""Counts of a labelling: for machines (`to_dict`) and in a few lines (`to_text`)."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from xrt.applications.query_intent.catalogue import Catalogue
from xrt.applications.query_intent.clicks.log import ClickLogReport

_FEW_LABELLED = 0.5
_MANY_UNKNOWN = 0.05
_SHOWN_POSITIONS = (1, 2, 3, 5, 10, 20)


@dataclass
class AttributeCounts:
    """Of one attribute: queries that got a value, pairs judged and accepted, mean confidence of
    those.
    """

    num_queries: int = 0
    num_judged: int = 0
    num_accepted: int = 0
    sum_confidence: float = 0.0


@dataclass
class LabellingReport:
    """Counts of a labelling; see `to_dict`."""

    log: ClickLogReport
    notes: list[str]
    examination: list[float] | None = None
    num_queries: int = 0
    num_with_variants: int = 0
    num_labelled: int = 0
    num_training_queries: int = 0
    num_agreed_true: int = 0
    num_agreed_false: int = 0
    num_sure: int = 0
    attributes: dict[str, AttributeCounts] = field(default_factory=dict)

    def count(
        self,
        queries: np.ndarray,
        labels: np.ndarray,
        confidence: np.ndarray,
        accepted: np.ndarray,
        catalogue: Catalogue,
    ) -> None:
        """Add the decisions on a group of queries.

        Args:
            queries: Query of each pair, int (P,).
            labels: Label of each pair, int (P,).
            confidence: Confidence of each pair in [0, 1], (P,).
            accepted: Whether the label is written, bool (P,).
            catalogue: The catalogue.
        """
        attribute_P = catalogue.attribute_L[labels]
        for number, name in enumerate(catalogue.attributes):
            of = attribute_P == number
            accepted_of = of & accepted
            counts = self.attributes.setdefault(name, AttributeCounts())
            counts.num_queries += len(np.unique(queries[accepted_of]))
            counts.num_judged += int(of.sum())
            counts.num_accepted += int(accepted_of.sum())
            counts.sum_confidence += float(confidence[accepted_of].sum())

    def to_dict(self) -> dict[str, Any]:
        """All figures, JSON-ready.

        Returns:
            Counts by name; those of each attribute under `attributes`.
        """
        log = {name: value for name, value in asdict(self.log).items() if name != "bad"}
        theta = self.examination
        return {
            "clicks": log,
            "catalogue_notes": self.notes,
            "examination": None
            if theta is None
            else {str(p): round(theta[p], 4) for p in _SHOWN_POSITIONS if p < len(theta)},
            "num_queries": self.num_queries,
            "num_with_variants": self.num_with_variants,
            "num_labelled": self.num_labelled,
            "num_training_queries": self.num_training_queries,
            "num_agreed_true": self.num_agreed_true,
            "num_agreed_false": self.num_agreed_false,
            "num_sure": self.num_sure,
            "attributes": {
                name: {
                    "num_queries": counts.num_queries,
                    "num_judged": counts.num_judged,
                    "num_accepted": counts.num_accepted,
                    "mean_confidence": round(counts.sum_confidence / counts.num_accepted, 4)
                    if counts.num_accepted
                    else None,
                }
                for name, counts in self.attributes.items()
            },
            "next_step": self.next_step(),
        }

    def to_text(self) -> str:
        """A few lines; the last says what to do next.

        Returns:
            The lines, without a line end behind the last.
        """
        log = self.log
        lines = [
            f"{log.num_rows:,} rows of clicks, {self.num_queries:,} queries after normalising "
            f"({self.num_with_variants:,} were typed in other ways, too)"
        ]
        remarks = [
            (log.num_bad, f"bad rows skipped, written to {log.bad_lines_path}"),
            (
                log.num_unknown_items,
                f"rows ({log.clicks_on_unknown_items:,.0f} clicks) are on items that the catalogue "
                "does not have",
            ),
            (log.num_blank_queries, "rows have a blank query"),
            (
                log.num_more_clicks_than_impressions,
                "rows have more clicks than impressions; as many impressions were assumed",
            ),
            (
                log.num_position_zero,
                "rows have position 0, which is taken as not known: positions count from 1; of a "
                "log that counts from 0, add 1 to all",
            ),
            (log.num_odd_positions, "rows have a position that is no whole number from 1"),
            (log.num_float_ids, "rows have an item such as `392.0`, read as `392`"),
        ]
        lines += [f"{count:,} {what}" for count, what in remarks if count]
        lines += log.notes
        lines += [f"catalogue: {note}" for note in self.notes]
        lines.append(
            "position bias: "
            + (
                "not corrected (no item was shown at several positions, with impressions)"
                if self.examination is None
                else "chance of a look "
                + ", ".join(f"{self.examination[p]:.2f} at {p}" for p in (2, 5, 10))
            )
        )
        lines.append(
            f"learnt from {self.num_agreed_true:,} true and {self.num_agreed_false:,} false pairs "
            f"on which clicks and names agree, in {self.num_training_queries:,} queries"
        )
        for name, counts in self.attributes.items():
            share = counts.num_queries / max(self.num_queries, 1)
            mean = counts.sum_confidence / max(counts.num_accepted, 1)
            lines.append(f"{name}: {share:.0%} of queries have a value; mean confidence {mean:.2f}")
        return "\n".join([*lines, f"{self.num_labelled:,} queries have a label", self.next_step()])

    def next_step(self) -> str:
        """One thing to do now.

        Returns:
            A line that begins with "next: ".
        """
        if self.log.num_unknown_items > _MANY_UNKNOWN * self.log.num_rows:
            share = self.log.num_unknown_items / self.log.num_rows
            return (
                f"next: {share:.0%} of the rows are on unknown items; add them to the catalogue, "
                "with the values they had"
            )
        if self.num_labelled < _FEW_LABELLED * self.num_queries:
            return (
                "next: more than half of the queries have no label; look at some, and lower "
                "--min-confidence or add names of values (--names)"
            )
        return "next: train on it: xrt train dataset=files dataset.trn=CORPUS"
