"""The text of a catalogue item: its text columns, and its side inputs as tokens.

A price becomes the token of its quantile bin (`price_bin3`), a store one token
(`store_big_mart`); each is one word to TF-IDF, whatever signs the cell has.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from xrt.applications.attributes.data.catalogue import CatalogueTable, join_list
from xrt.applications.attributes.data.numbers import parse_number
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.data.schema_inference import infer_schema
from xrt.errors import ArtifactError, XrtError
from xrt.features.ngrams.characters import is_unspaced

NUM_BINS = 10
"""Quantile bins of a numeric column, at most."""
_NO_WORD = re.compile(r"\W+")


@dataclass(frozen=True)
class ItemTexts:
    """Makes texts of rows. `schema` is resolved; `edges`: numeric column -> inner bin edges,
    ascending; `notes` are findings of `fit` to tell the user.
    """

    schema: AttributeSchema
    edges: dict[str, list[float]]
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def fit(cls, table: CatalogueTable, schema: AttributeSchema) -> "ItemTexts":
        """Learn the bins of numeric columns; what the schema leaves open is inferred first.

        Raises DataError: as `infer_schema`.

        Args:
            table: The training rows.
            schema: The roles of columns.

        Returns:
            The texts of items, with notes on what was inferred and on cells that are not numbers.
        """
        resolved, notes = infer_schema(table, schema)
        edges = {}
        for name in resolved.numeric_columns or []:
            numbers = _numbers(table.columns[name])
            values = numbers[~np.isnan(numbers)]
            edges[name] = compute_edges(values, NUM_BINS)
            strange = sum(1 for cell in table.columns[name] if cell) - len(values)
            if strange:
                notes.append(f"column {name!r}: {strange} cells are not numbers and were left out")
        return cls(resolved, edges, tuple(notes))

    def texts(self, table: CatalogueTable) -> list[str]:
        """The text of each row: text columns, numeric and categorical tokens, then the repeats.

        Parts that are empty are left out; a line end stands between the others. Columns of side
        inputs, and text columns as long as one is there, may be absent: they are empty.

        Args:
            table: The rows.

        Returns:
            A text a row.

        Raises:
            DataError: no text column is there.
        """
        require_a_text(table, self.schema)
        parts: list[list[str]] = []
        for column in self.schema.texts:
            cells = table.columns.get(column.name)
            if cells is None:
                cells = [""] * table.num_rows
            elif any(cell[:1] == "[" for cell in cells):
                cells = list(map(join_list, cells))
            if column.marker:
                cells = [f"{column.marker} {cell}" if cell else "" for cell in cells]
            parts.append(cells)
        repeats = [
            cells
            for cells, column in zip(parts, self.schema.texts, strict=True)
            for _ in range(column.repeat - 1)
        ]
        for name in self.schema.numeric_columns or []:
            if name in table.columns:
                parts.append(make_bin_tokens(name, table.columns[name], self.edges[name]))
        for name in self.schema.categorical_columns or []:
            if name in table.columns:
                parts.append(make_value_tokens(name, table.columns[name]))
        return ["\n".join(filter(None, row)) for row in zip(*parts, *repeats, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it.

        Returns:
            The schema, and the edges of the bins by column.
        """
        return {"schema": {**asdict(self.schema), "empty": self.schema.empty.value}} | {
            "edges": self.edges
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "ItemTexts":
        """What `to_dict` gave. Raises ArtifactError: it is not that.

        Args:
            saved: What `to_dict` gave.

        Returns:
            The texts of items, without notes.
        """
        try:
            roles = {name: value for name, value in saved["schema"].items() if name != "num_bins"}
            schema = AttributeSchema(**roles)  # num_bins was a setting once
            edges = {str(k): [float(edge) for edge in v] for k, v in saved["edges"].items()}
            lacking = set(schema.numeric_columns or []) - set(edges)
        except (KeyError, TypeError, ValueError, AttributeError, XrtError) as err:
            raise ArtifactError(f"saved item texts cannot be used ({err}); train anew") from err
        if lacking or not schema.is_resolved:
            raise ArtifactError("saved item texts are not complete; train anew")
        return cls(schema, edges)


def require_a_text(table: CatalogueTable, schema: AttributeSchema) -> None:
    """Check that at least one text column is there. Raises DataError: none is.

    Args:
        table: The rows.
        schema: Names the text columns.
    """
    names = [column.name for column in schema.texts]
    if not any(name in table.columns for name in names):
        table.require(names, "text", "text_columns")


def note_absent_texts(names: Iterable[str], schema: AttributeSchema) -> list[str]:
    """A note where text columns are not among these names, which makes them empty.

    Args:
        names: The columns that are there.
        schema: Names the text columns.

    Returns:
        One note, or none.
    """
    absent = [column.name for column in schema.texts if column.name not in names]
    return [f"no text column {', '.join(absent)}: taken as empty"] if absent else []


def compute_edges(values: np.ndarray, num_bins: int) -> list[float]:
    """The inner edges of at most `num_bins` bins of about equally many values, ascending.

    Args:
        values: Numbers (N,), without nan.
        num_bins: The most bins.

    Returns:
        At most `num_bins` - 1 distinct edges; none where there are no values.
    """
    if not len(values):
        return []
    inner = np.quantile(values, np.linspace(0, 1, num_bins + 1)[1:-1])
    return [float(edge) for edge in np.unique(inner)]


def make_bin_tokens(name: str, cells: list[str], edges: list[float]) -> list[str]:
    """`price_bin3` for a number from edge 3 up to below edge 4; '' where there is no number.

    Args:
        name: The column.
        cells: Its cells.
        edges: The inner edges of its bins, ascending.

    Returns:
        One token for each cell.
    """
    prefix = make_token(name)
    tokens = [f"{prefix}_bin{i}" for i in range(len(edges) + 1)] + [""]
    numbers = _numbers(cells)
    bins = np.searchsorted(np.asarray(edges, float), numbers, side="right")
    bins[np.isnan(numbers)] = len(edges) + 1
    return [tokens[i] for i in bins.tolist()]


def make_value_tokens(name: str, cells: list[str]) -> list[str]:
    """`store_big_mart` for "Big Mart" in column store; '' for an empty cell.

    Args:
        name: The column.
        cells: Its cells.

    Returns:
        One token for each cell.
    """
    prefix = make_token(name)
    token_of_cell = {cell: f"{prefix}_{make_token(cell)}" if cell else "" for cell in set(cells)}
    return [token_of_cell[cell] for cell in cells]


def make_token(text: str) -> str:
    """A text as one word: small, every run of signs and blanks an underscore.

    A text of signs only becomes its code points, so that "+" and "-" differ. So do the letters of
    scripts without blanks, which TF-IDF would take apart.

    Args:
        text: A name or a cell.

    Returns:
        The word.
    """
    word = _NO_WORD.sub("_", text.lower()).strip("_")
    if not word:
        return "_".join(map(_code_point, text.strip()[:8]))
    return "".join(_code_point(letter) if is_unspaced(letter) else letter for letter in word)


def _code_point(sign: str) -> str:
    return f"u{ord(sign):x}"


def _numbers(cells: list[str]) -> np.ndarray:
    """float64 (N,): the number of each cell, NaN where there is none."""
    number_of = {cell: parse_number(cell) for cell in set(cells)}
    numbers = (number_of[cell] for cell in cells)
    return np.array([np.nan if number is None else number for number in numbers], float)
