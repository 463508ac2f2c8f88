"""Where the model disagrees with what a catalogue says: the file for review.

The most confident disagreements come first; of equals, the earlier row. Memory is bounded: of more
than `limit` the most confident stay, and the count is of all.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from xrt.applications.attributes.filling.row_writers import open_row_writer, parse_row_suffix

LIMIT = 100_000
MAX_TEXT = 300
"""Characters of a row's text that are shown."""

SCHEMA = {
    "row": pl.Int64,
    "attribute": pl.String,
    "given": pl.String,
    "given_score": pl.Float64,
    "predicted": pl.String,
    "predicted_score": pl.Float64,
    "text": pl.String,
}


class Review:
    """Gathers disagreements; `counts` counts them all, by attribute."""

    def __init__(self, attributes: Sequence[str], limit: int = LIMIT) -> None:
        self.attributes = tuple(attributes)
        self.limit = limit
        self.counts = dict.fromkeys(self.attributes, 0)
        self._rows = pl.DataFrame(schema={**SCHEMA, "order": pl.Int32})

    def add(
        self,
        attribute: str,
        rows: np.ndarray,
        cells: Sequence[str],
        cell_scores: np.ndarray,
        predicted: Sequence[str],
        predicted_scores: np.ndarray,
        texts: Sequence[str],
    ) -> None:
        """Add disagreements on one attribute; rows count from 1, a score that is nan is unknown.

        Args:
            attribute: The attribute.
            rows: Numbers of the rows, from 1, int (n,).
            cells: What the catalogue says in each of them.
            cell_scores: The scores of that, (n,), nan where unknown.
            predicted: What the model says.
            predicted_scores: The scores of that, (n,).
            texts: The text of each row; the first `MAX_TEXT` characters are kept.
        """
        self.counts[attribute] += len(rows)
        values = {
            "row": rows,
            "attribute": [attribute] * len(rows),
            "given": cells,
            "given_score": cell_scores,
            "predicted": predicted,
            "predicted_score": predicted_scores,
            "text": [text[:MAX_TEXT] for text in texts],
            "order": np.full(len(rows), self.attributes.index(attribute), np.int32),
        }
        new_rows = pl.DataFrame(values, schema=self._rows.schema, strict=False)
        self._rows = pl.concat([self._rows, new_rows])
        if len(self._rows) > 2 * self.limit:
            self._rows = self._best()

    def write(self, path: str | Path) -> int:
        """Write the file, in the format of its name; how many disagreements it holds.

        Args:
            path: The file.

        Returns:
            The number of disagreements in the file.
        """
        best = self._best().drop("order").with_columns(pl.col(pl.Float64).fill_nan(None))
        with open_row_writer(path) as write:
            write(best, None)
        return len(best)

    def _best(self) -> pl.DataFrame:
        """At most `limit`, most confident first."""
        return self._rows.sort(
            ["predicted_score", "row", "order"], descending=[True, False, False]
        ).head(self.limit)


def make_review_path(out_path: str | Path) -> Path:
    """`filled.review.jsonl` beside `filled.parquet`.

    Args:
        out_path: Where the filled rows are written.

    Returns:
        The path, in the same folder.
    """
    out = Path(out_path)
    name = out.name
    for suffix in (".gz", ".xz"):
        name = name.removesuffix(suffix)
    return out.with_name(name.removesuffix(parse_row_suffix(out)) + ".review.jsonl")
