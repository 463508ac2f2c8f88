"""Finds out what the columns of a catalogue are for, where the user has not said.

A column's name decides first (`brand`, `price`, `title`, `L2`), then its cells: numbers, few
distinct short values, long distinct ones. Which targets form paths is counted.
"""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xrt.data.attribute_schema import AttributeSchema, EmptyMeans
from xrt.data.catalogue import CatalogueTable
from xrt.data.numbers import is_number_cell
from xrt.data.records import shown
from xrt.errors import DataError

logger = logging.getLogger(__name__)

SAMPLE_ROWS = 100_000
ONE_PARENT = 0.94  # share of rows whose coarser value follows from the finer one
_TEXT_WORDS = set("title name product description content text summary body details about".split())
_NUMERIC_WORDS = set("price cost mrp msrp rating amount quantity weight discount stock".split())
_CATEGORICAL_WORDS = set("store shop seller vendor retailer manufacturer supplier currency".split())
_TARGET_WORDS = set(
    "brand category categories subcategory type color colour size material gender".split()
)
_ID_WORDS = set("id ids uid uuid sku asin ean gtin upc isbn mpn url link image index".split())
_LEVEL = re.compile(r"(l|level|cat|category)[ _]?\d+")
_WORDS = re.compile(r"[a-z]+|\d+")


@dataclass(frozen=True)
class ColumnFacts:
    """What the cells of a column look like; shares are of the cells that are not empty."""

    num_given: int
    num_distinct: int
    mean_words: float
    number_share: float

    @property
    def distinct_share(self) -> float:
        """Distinct cells to cells, 0..1."""
        return self.num_distinct / max(self.num_given, 1)


def infer_schema(table: CatalogueTable, schema: AttributeSchema) -> AttributeSchema:
    """The schema with every None resolved from the columns of a training table, told in one line.

    Raises DataError: a column named is not there, or no text or target column can be told.
    """
    table.require([column.name for column in schema.texts], "text", "text_columns")
    table.require(schema.targets or schema.hierarchy or [], "target", "targets")
    table.require(schema.numeric_columns or [], "numeric", "numeric_columns")
    table.require(schema.categorical_columns or [], "categorical", "categorical_columns")
    taken = {*schema.input_columns(), *(schema.targets or schema.hierarchy or [])}
    rows = _sampled_rows(table.num_rows)
    roles: dict[str, list[str]] = {"text": [], "numeric": [], "categorical": [], "target": []}
    unused: list[str] = []
    for name, cells in table.columns.items():
        role = (
            "" if name in taken else role_of(name, column_facts([cells[i] for i in rows], schema))
        )
        roles.get(role, unused).append(name)
    targets = schema.targets
    if targets is None:
        targets = [n for n in table.names if n in roles["target"] or n in (schema.hierarchy or [])]
    text_columns = roles["text"] if schema.text_columns is None else schema.text_columns
    for what, found in (("text", text_columns), ("target", targets)):
        if not found:
            setting = "text_columns" if what == "text" else "targets"
            raise DataError(
                f"{table.path}: no column looks like a {what} column; the columns are "
                f"{shown(table.names)}: name {setting}"
            )
    hierarchy = schema.hierarchy
    if hierarchy is None:
        hierarchy = find_hierarchy(
            {name: [table.columns[name][i] for i in rows] for name in targets}, schema
        )
    resolved = replace(
        schema,
        text_columns=text_columns,
        numeric_columns=_or_found(schema.numeric_columns, roles["numeric"]),
        categorical_columns=_or_found(schema.categorical_columns, roles["categorical"]),
        targets=targets,
        hierarchy=hierarchy,
        empty=_empty_means(table, hierarchy, schema),
    )
    used = {*resolved.input_columns(), *targets}
    left_out = [name for name in table.names if name not in used]
    more = f"; not used: {shown(left_out)}" if left_out else ""
    logger.info("%s: %s%s", table.path, resolved.describe(), more)
    return resolved


def role_of(name: str, facts: ColumnFacts) -> str:
    """`text`, `numeric`, `categorical`, `target`, or '' for a column that is none of them."""
    if facts.num_given == 0:
        return ""
    lowered = name.lower()
    words = _WORDS.findall(lowered)
    last = words[-1] if words else ""
    numeric = facts.number_share >= 0.95
    if last in _ID_WORDS:
        return ""
    if _LEVEL.fullmatch(lowered) or (_TARGET_WORDS & set(words) and facts.mean_words <= 8):
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


def column_facts(cells: Sequence[str], schema: AttributeSchema) -> ColumnFacts:
    """Count what matters in some cells of a column."""
    counts = Counter(cells)
    given = {c: n for c, n in counts.items() if c and not schema.says_none(c)}
    total = sum(given.values())
    return ColumnFacts(
        num_given=total,
        num_distinct=len(given),
        mean_words=sum(n * len(cell.split()) for cell, n in given.items()) / max(total, 1),
        number_share=sum(n for c, n in given.items() if is_number_cell(c)) / max(total, 1),
    )


def find_hierarchy(columns: dict[str, Sequence[str]], schema: AttributeSchema) -> list[str]:
    """The longest chain of columns, coarse to fine, in which a value has nearly always one parent.

    A finer column must tell every coarser one in `ONE_PARENT` of the rows, and better than the
    coarser one tells it.
    """
    given = {
        name: np.array([bool(c) and not schema.says_none(c) for c in cells])
        for name, cells in columns.items()
    }
    codes = {name: _codes(cells) for name, cells in columns.items()}
    names = list(columns)
    tells = {
        (fine, coarse): _share_told(codes[fine], codes[coarse], given[fine] & given[coarse])
        for fine in names
        for coarse in names
        if fine != coarse
    }
    above: dict[str, set[str]] = {name: set() for name in names}
    for (fine, coarse), share in tells.items():
        back = tells[coarse, fine]
        if share >= ONE_PARENT and (share, names.index(fine)) > (back, names.index(coarse)):
            above[fine].add(coarse)
    chains: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: len(above[name])):  # coarse ones first
        longer = [chain for end, chain in chains.items() if set(chain) <= above[name]]
        chains[name] = [*max(longer, key=len, default=[]), name]
    best = max(chains.values(), key=len, default=[])
    return best if len(best) > 1 else []


def _share_told(fine: np.ndarray, coarse: np.ndarray, both: np.ndarray) -> float:
    """How often other rows with the same fine value tell a row's coarse value; -1 if none can.

    Values that stand in a single row tell nothing and do not count.
    """
    fine, coarse = fine[both], coarse[both]
    if not len(fine):
        return -1.0
    pairs, counts = np.unique(np.column_stack([fine, coarse]), axis=0, return_counts=True)
    totals = np.bincount(pairs[:, 0], counts)
    most = np.zeros(len(totals))
    np.maximum.at(most, pairs[:, 0], counts)
    repeated = totals > 1
    if not repeated.any():
        return -1.0
    return float((most[repeated] - 1).sum() / (totals[repeated] - 1).sum())


def _codes(cells: Sequence[str]) -> np.ndarray:
    index: dict[str, int] = {}
    return np.array([index.setdefault(" ".join(cell.split()), len(index)) for cell in cells])


def _sampled_rows(num_rows: int) -> list[int]:
    """Evenly spread positions, all of them where there are few."""
    step = max(1, num_rows // SAMPLE_ROWS)
    return list(range(0, num_rows, step))


def _or_found(given: list[str] | None, found: list[str]) -> list[str]:
    return found if given is None else given


def _empty_means(
    table: CatalogueTable, hierarchy: list[str], schema: AttributeSchema
) -> EmptyMeans:
    """`auto` becomes `missing` where the catalogue itself writes none in a hierarchy level."""
    if schema.empty is EmptyMeans.AUTO:
        for name in hierarchy:
            if any(schema.says_none(cell) for cell in set(table.columns[name])):
                return EmptyMeans.MISSING
    return schema.empty
