"""Which label column each attribute cell of a catalogue stands for, and how a value is written.

Shapes: N rows, A attributes, L labels.
"""

from functools import cached_property

import numpy as np

from xrt.applications.attributes.data.catalogue import CatalogueTable
from xrt.applications.attributes.data.corpus import read_value
from xrt.applications.attributes.data.schema import AttributeSchema, EmptyMeans
from xrt.applications.attributes.data.space import AttributeSpace, label_id

EMPTY, UNKNOWN, NONE = -1, -2, -3
"""Codes of a cell that says nothing, of one whose value the model never saw, and of one that says
"none" where the model has no label for that.
"""


class CellCodes:
    """Cells to label columns and back.

    An empty cell says nothing here, whatever it meant in training: it is there to be filled.
    """

    def __init__(self, schema: AttributeSchema, space: AttributeSpace) -> None:
        self.schema, self.space = schema, space

    def codes_NA(self, table: CatalogueTable, num_before: int = 0) -> np.ndarray:
        """int32 (N, A): the label column of each cell, else EMPTY, UNKNOWN or NONE; a column that
        is not there is empty. `num_before`: rows of the file before these.

        Raises DataError: a cell holds a list of several values.

        Args:
            table: The rows.
            num_before: Rows of the file before these, for messages.

        Returns:
            The codes (N, A).
        """
        codes_NA = np.full((table.num_rows, len(self.space.attributes)), EMPTY, np.int32)
        for a, attribute in enumerate(self.space.attributes):
            if attribute in table.columns:
                cells = table.columns[attribute]
                column_of = {
                    cell: self._column(attribute, read_value(cell, attribute, table, num_before))
                    for cell in dict.fromkeys(cells)
                }
                codes_NA[:, a] = [column_of[cell] for cell in cells]
        return codes_NA

    def _column(self, attribute: str, value: str) -> int:
        if not value:
            return EMPTY
        if self.schema.says_none(value):
            return int(self.space.labels.index.get(label_id(attribute, None), NONE))
        return int(self.space.labels.index.get(label_id(attribute, value), UNKNOWN))

    @cached_property
    def none_text(self) -> str:
        """How "none" is written: as the schema's first word for it, or, where empty cells can mean
        none, not at all.
        """
        return self.schema.none_values[0] if self.schema.empty is EmptyMeans.MISSING else ""

    @cached_property
    def text_L(self) -> list[str]:
        """What is written for each label."""
        values = (self.space.value(column) for column in range(len(self.space.labels)))
        return [self.none_text if value is None else value for value in values]


def list_writable_texts(schema: AttributeSchema, space: AttributeSpace) -> dict[str, list[str]]:
    """What may be written into the cells of each attribute.

    Args:
        schema: The schema of the model.
        space: Its attributes and labels.

    Returns:
        Attribute -> one text for each of its label columns, ascending.
    """
    texts = CellCodes(schema, space).text_L
    return {
        name: [texts[column] for column in space.columns_of(name).tolist()]
        for name in space.attributes
    }
