"""The attributes and their values as one label space: labels are `attribute=value`.

Shapes: N rows, A attributes, L labels.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.data.schema import NONE_VALUE as NONE_VALUE
from xrt.data.labels import LabelTable
from xrt.errors import DataError


def label_id(attribute: str, value: str | None) -> str:
    """The label of a value; None is the label of items that have none.

    Args:
        attribute: The name of the attribute.
        value: The bare value, or None.

    Returns:
        `attribute=value`.
    """
    return f"{attribute}={NONE_VALUE if value is None else value}"


def make_value_table(ids: list[str]) -> LabelTable:
    """A table of `attribute=value` ids, named by their bare values; the none labels by ''.

    Args:
        ids: The ids of the labels.

    Returns:
        The table, in the order of the ids.
    """
    values = (id.partition("=")[2] for id in ids)
    return LabelTable.from_ids(ids, ["" if value == NONE_VALUE else value for value in values])


@dataclass(frozen=True)
class AttributeSpace:
    """`attributes` in the order of the table's columns; `hierarchy`: those that form paths, coarse
    to fine; `labels`: all values of all attributes, `attribute=value`.
    """

    attributes: tuple[str, ...]
    hierarchy: tuple[str, ...]
    labels: LabelTable

    def __post_init__(self) -> None:
        if len(set(self.attributes)) != len(self.attributes):
            raise DataError(f"attributes {self.attributes}: one stands there twice; remove one")
        strange = [level for level in self.hierarchy if level not in self.attributes]
        if strange:
            raise DataError(
                f"hierarchy: {', '.join(strange)} not among the attributes "
                f"{', '.join(self.attributes)}; name attributes only"
            )

    @property
    def num_attributes(self) -> int:
        """A."""
        return len(self.attributes)

    @cached_property
    def attribute_of_L(self) -> np.ndarray:
        """int32 (L,): the position of a label's attribute, -1 where it belongs to none of them."""
        position = {attribute: a for a, attribute in enumerate(self.attributes)}
        positions = (position.get(id.partition("=")[0], -1) for id in self.labels.ids)
        return np.fromiter(positions, np.int32, len(self.labels))

    @cached_property
    def is_none_L(self) -> np.ndarray:
        """Bool (L,): the labels that say "none"."""
        is_none = (id.partition("=")[2] == NONE_VALUE for id in self.labels.ids)
        return np.fromiter(is_none, bool, len(self.labels))

    def columns_of(self, attribute: str) -> np.ndarray:
        """int64: the label columns of an attribute, its none label included, ascending.

        Args:
            attribute: The name of the attribute.

        Returns:
            The columns.
        """
        return np.flatnonzero(self.attribute_of_L == self._position(attribute))

    def none_column(self, attribute: str) -> int:
        """The column of an attribute's none label, -1 where no row said none.

        Args:
            attribute: The name of the attribute.

        Returns:
            The column, or -1.
        """
        self._position(attribute)
        return self.labels.index.get(label_id(attribute, None), -1)

    def value(self, column: int) -> str | None:
        """The bare value of a label; None for a none label.

        Args:
            column: The column of the label.

        Returns:
            The value, or None.
        """
        value = self.labels.ids[column].partition("=")[2]
        return None if value == NONE_VALUE else value

    def cells_of(self, Y_NL: sp.csr_array) -> np.ndarray:
        """int32 (N, A): the label column that a row has for an attribute, -1 where it has none.

        Of several values for one attribute the first counts. Raises DataError: Y has another number
        of columns than the space has labels.

        Args:
            Y_NL: Labels of rows, sparse (N, L).

        Returns:
            The label columns (N, A).
        """
        if Y_NL.shape[1] != len(self.labels):
            raise DataError(
                f"Y has {Y_NL.shape[1]} columns but the attribute space {len(self.labels)} labels; "
                "give the space that belongs to Y"
            )
        cells_NA = np.full((Y_NL.shape[0], self.num_attributes), -1, np.int32)
        rows = np.repeat(np.arange(Y_NL.shape[0]), np.diff(Y_NL.indptr))
        order = np.lexsort((Y_NL.indices, rows)) if not Y_NL.has_sorted_indices else slice(None)
        rows, columns = rows[order][::-1], Y_NL.indices[order][::-1]  # the last assignment stays
        attributes = self.attribute_of_L[columns]
        has_attribute = attributes >= 0
        cells_NA[rows[has_attribute], attributes[has_attribute]] = columns[has_attribute]
        return cells_NA

    def _position(self, attribute: str) -> int:
        if attribute not in self.attributes:
            raise DataError(
                f"attribute {attribute!r} is unknown; there are {', '.join(self.attributes)}"
            )
        return self.attributes.index(attribute)
