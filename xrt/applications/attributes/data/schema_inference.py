"""Finds out what the columns of a catalogue are for, where the user has not said.

A column's name decides first (`brand`, `price`, `title`, `L2`), then its cells: numbers, few
distinct short values, long distinct ones. Which targets form paths is counted.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from xrt.applications.attributes.data.catalogue import CatalogueTable
from xrt.applications.attributes.data.cells import parse_list
from xrt.applications.attributes.data.hierarchy_inference import infer_hierarchy
from xrt.applications.attributes.data.level_names import parse_level_name, split_name
from xrt.applications.attributes.data.numbers import is_number_cell
from xrt.applications.attributes.data.schema import AttributeSchema, EmptyMeans
from xrt.data.records import shown
from xrt.errors import DataError

logger = logging.getLogger(__name__)

SAMPLE_ROWS = 100_000
MAX_TARGET_WORDS = 8
"""Mean words of a cell above which a column is no target, whatever its name."""
MIN_WRITTEN_NONE = 0.1
"""Of the cells where a path ends, the share that says so in a word before an empty one is missing.
"""
_TEXT_WORDS = set("title name product description content text summary body details about".split())
_NUMERIC_WORDS = set("price cost mrp msrp rating amount quantity weight discount stock".split())
_CATEGORICAL_WORDS = set("store shop seller vendor retailer manufacturer supplier currency".split())
_TARGET_WORDS = set(
    "brand category categories subcategory department type "
    "color colour size material gender".split()
)
_ID_WORDS = set("id ids uid uuid sku asin ean gtin upc isbn mpn url link image index".split())


@dataclass(frozen=True)
class ColumnFacts:
    """What the cells of a column look like; shares are of the cells that are not empty."""

    num_values: int
    num_distinct: int
    mean_words: float
    number_share: float

    @property
    def distinct_share(self) -> float:
        """Distinct cells to cells, 0..1."""
        return self.num_distinct / max(self.num_values, 1)


def infer_schema(
    table: CatalogueTable, schema: AttributeSchema
) -> tuple[AttributeSchema, list[str]]:
    """The schema with every None resolved from the columns of a training table; one line is logged.

    Args:
        table: The training table.
        schema: What the user says of the columns.

    Returns:
        The schema, and notes on columns that look like levels of the hierarchy and are none.

    Raises:
        DataError: a column named is not there, or no column looks like a text or target column.
    """
    table.require([column.name for column in schema.texts], "text", "text_columns")
    table.require(schema.targets or schema.hierarchy or [], "target", "targets")
    table.require(schema.numeric_columns or [], "numeric", "numeric_columns")
    table.require(schema.categorical_columns or [], "categorical", "categorical_columns")
    with_role = {*schema.input_columns(), *(schema.targets or schema.hierarchy or [])}
    rows = _sample_rows(table.num_rows)
    roles: dict[str, list[str]] = {"text": [], "numeric": [], "categorical": [], "target": []}
    unused: list[str] = []
    notes: list[str] = []
    for name, cells in table.columns.items():
        role = (
            ""
            if name in with_role
            else infer_role(name, count_cells([cells[i] for i in rows], schema))
        )
        if role == "target" and (fault := _why_no_target(name, table)):
            notes.append(f"column {name!r} is no target: {fault}, where a target has one value")
            role = ""
        roles.get(role, unused).append(name)
    targets = schema.targets
    if targets is None:
        targets = [n for n in table.names if n in roles["target"] or n in (schema.hierarchy or [])]
    text_columns = roles["text"] if schema.text_columns is None else schema.text_columns
    for what, names in (("text", text_columns), ("target", targets)):
        if not names:
            setting = "text_columns" if what == "text" else "targets"
            raise DataError(
                f"{table.path}: no column looks like a {what} column; the columns are "
                f"{shown(table.names)}: name {setting}"
            )
    hierarchy = schema.hierarchy
    if hierarchy is None:
        chain = infer_hierarchy(
            {name: [table.columns[name][i] for i in rows] for name in targets}, schema
        )
        hierarchy = chain.levels
        notes += chain.notes
    resolved = replace(
        schema,
        text_columns=text_columns,
        numeric_columns=_or_inferred(schema.numeric_columns, roles["numeric"]),
        categorical_columns=_or_inferred(schema.categorical_columns, roles["categorical"]),
        targets=targets,
        hierarchy=hierarchy,
        empty=_empty_means(table, hierarchy, schema),
    )
    used = {*resolved.input_columns(), *targets}
    other_names = [name for name in table.names if name not in used]
    more = f"; not used: {shown(other_names)}" if other_names else ""
    logger.info("%s: %s%s", table.path, resolved.describe(), more)
    return resolved, notes


def _why_no_target(name: str, table: CatalogueTable) -> str:
    """What some cells of a column hold that cannot be one value; '' where nothing."""
    if name in table.no_text:
        return table.no_text[name]
    lists = sum(
        1 for cell in table.columns[name] if cell[:1] == "[" and len(parse_list(cell) or ()) > 1
    )
    return f"{lists} cells hold a list of several values" if lists else ""


def infer_role(name: str, facts: ColumnFacts) -> str:
    """`text`, `numeric`, `categorical`, `target`, or '' for a column that is none of them."""
    if facts.num_values == 0:
        return ""
    words = split_name(name)
    last = words[-1] if words else ""
    numeric = facts.number_share >= 0.95
    if last in _ID_WORDS:
        return ""
    level = parse_level_name(name)
    is_level = level is not None and level.counts and not _NUMERIC_WORDS & set(words)
    if (is_level or _TARGET_WORDS & set(words)) and facts.mean_words <= MAX_TARGET_WORDS:
        return "target"
    if _NUMERIC_WORDS & set(words) and facts.number_share >= 0.8:
        return "numeric"
    if _CATEGORICAL_WORDS & set(words):
        return "categorical"
    if _TEXT_WORDS & set(words) and not numeric:
        return "text"
    return _role_by_cells(facts, numeric)


def _role_by_cells(facts: ColumnFacts, numeric: bool) -> str:
    if facts.num_distinct == 1:
        return ""
    if numeric:
        return "" if facts.distinct_share > 0.99 else "numeric"
    if facts.distinct_share <= 0.2 and facts.mean_words <= 5:
        return "target"
    if facts.distinct_share > 0.5 and facts.mean_words >= 3:
        return "text"
    return ""


def count_cells(cells: Sequence[str], schema: AttributeSchema) -> ColumnFacts:
    """Count what matters in some cells of a column."""
    counts = Counter(cells)
    values = {c: n for c, n in counts.items() if c and not schema.says_none(c)}
    total = sum(values.values())
    return ColumnFacts(
        num_values=total,
        num_distinct=len(values),
        mean_words=sum(n * len(cell.split()) for cell, n in values.items()) / max(total, 1),
        number_share=sum(n for c, n in values.items() if is_number_cell(c)) / max(total, 1),
    )


def _sample_rows(num_rows: int) -> list[int]:
    """Evenly spread positions, all of them where there are few."""
    step = max(1, num_rows // SAMPLE_ROWS)
    return list(range(0, num_rows, step))


def _or_inferred(setting: list[str] | None, inferred: list[str]) -> list[str]:
    return inferred if setting is None else setting


def _empty_means(
    table: CatalogueTable, hierarchy: list[str], schema: AttributeSchema
) -> EmptyMeans:
    """`auto` becomes `missing` where the catalogue itself says by a word that a path ends; a few
    such words among many empty cells do not count.
    """
    if schema.empty is not EmptyMeans.AUTO:
        return schema.empty
    for above, below in pairwise(hierarchy):
        cells = [
            cell
            for cell, parent in zip(table.columns[below], table.columns[above], strict=True)
            if parent and not schema.says_none(parent) and (not cell or schema.says_none(cell))
        ]
        if sum(map(bool, cells)) > MIN_WRITTEN_NONE * len(cells):
            return EmptyMeans.MISSING
    return schema.empty
