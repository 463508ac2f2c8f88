"""Finds out what the columns of a catalogue are for, where the user has not said.

A column's name decides first (`brand`, `price`, `title`, `L2`), then its cells: numbers, few
distinct short values, long distinct ones. `CategoryText`, `category_text` and `Category Text` are
the words category and text. `L1`, `lvl 2`, `category_3`, `sub_category` and `SubSubCategory` count:
they name levels of a hierarchy.

Columns whose names count are the hierarchy, unless their cells contradict strongly. Others join, or
form one by themselves, where a value has nearly always one parent. A child is known by its path: a
name may stand under several parents.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from xrt.applications.attributes.data.catalogue import CatalogueTable, parse_list
from xrt.applications.attributes.data.numbers import is_number_cell
from xrt.applications.attributes.data.schema import AttributeSchema, EmptyMeans
from xrt.data.cells import clean_label
from xrt.data.records import shown
from xrt.errors import DataError

_WORDS = re.compile(r"[^\W\d_]+|\d+")
_SAME = {
    word: to
    for to, words in {
        "level": "l lv lvl lev levels ebene stufe niveau nivel livello",
        "category": "cat cats categ categories kategorie kategorien categorie categoria categorias "
        "categoría catégorie catégories kategoria",
        "department": "dept departments",
        "sub": "sous unter sotto",
        "main": "top root parent super primary haupt principal",
    }.items()
    for word in words.split()
}
_NUMBERS = {
    word: number
    for number, words in enumerate(
        ("one first", "two second secondary", "three third tertiary", "four fourth quaternary",
         "five fifth", "six sixth"), 1,
    )
    for word in words.split()
}  # fmt: skip
LEVEL_WORDS = frozenset(
    "level category department taxonomy hierarchy tier class segment family group division section "
    "node branch rubric warengruppe produktgruppe".split()
)
"""Nouns that a number behind or before them makes a level."""
_FILLERS = frozenset("text name label title value product item".split())
_PREFIXES = {"sub": 1, "main": -1}


class LevelName(NamedTuple):
    """`base`: the words that the levels of one hierarchy share; `depth`: sorts them, coarse to
    fine. `counts`: whether the name by itself says that it is a level, as `L2` or `sub_category`
    do and `category` does not.
    """

    base: tuple[str, ...]
    depth: tuple[int, int]
    counts: bool


def split_name(name: str) -> list[str]:
    """The words of a column's name, small: letters and numbers apart, camel case split.

    Args:
        name: The name of a column.

    Returns:
        The words, in order.
    """
    return [word.lower() for part in _WORDS.findall(name) for word in _case_words(part)]


def _case_words(word: str) -> Iterable[str]:
    start = 0
    for i in range(1, len(word)):
        tail = word[i + 1 :]
        before_small = tail[:1].islower() and tail != "s"  # URLs is one word
        if word[i].isupper() and (word[i - 1].islower() or before_small):
            yield word[start:i]
            start = i
    yield word[start:]


def parse_level_name(name: str) -> LevelName | None:
    """Which level a column's name may stand for; None where it has two numbers or no noun.

    Args:
        name: The name of a column.

    Returns:
        The noun, the depth, and whether the name counts as a level; or None.
    """
    words = [part for word in split_name(name) for part in _without_prefixes(word)]
    numbers = [
        int(word[:6]) if word.isdecimal() else _NUMBERS[word]
        for word in words
        if word.isdecimal() or word in _NUMBERS
    ]
    nouns = [w for w in words if not (w.isdecimal() or w in _NUMBERS or w in _PREFIXES)]
    main_nouns = [word for word in nouns if word not in _FILLERS] or nouns
    base = tuple(word for word in main_nouns if word != "level") or tuple(main_nouns[:1])
    if len(numbers) > 1 or not base:
        return None
    shift = sum(_PREFIXES.get(word, 0) for word in words)
    is_level = bool(LEVEL_WORDS.intersection(main_nouns))
    if numbers and not is_level:
        return None
    depth = (shift, numbers[0] if numbers else 0)
    return LevelName(base, depth, counts=is_level and (bool(numbers) or shift > 0))


def _without_prefixes(word: str) -> list[str]:
    """`subcategory` as `sub`, `category`; a word of its own where nothing is before it."""
    word = _SAME.get(word, word)
    for prefix in ("sub", "sous", "unter", "main", "haupt"):
        noun = _SAME.get(word.removeprefix(prefix), word.removeprefix(prefix))
        if word.startswith(prefix) and (noun in LEVEL_WORDS or noun.startswith(prefix)):
            return [_SAME.get(prefix, prefix), *_without_prefixes(noun)]
    return [word]


def find_counted_levels(names: Sequence[str]) -> list[str]:
    """The most columns whose names count as levels of one hierarchy, coarse to fine; [] where fewer
    than two do.

    A column without number or prefix (`category`) is the top level of those that have one. Of
    columns of the same depth the first counts.

    Args:
        names: The columns of a table.

    Returns:
        The names of the levels.
    """
    series: dict[tuple[str, ...], dict[tuple[int, int], str]] = {}
    for name in names:
        level = parse_level_name(name)
        if level is not None:
            series.setdefault(level.base, {}).setdefault(level.depth, name)
    best = max(series.values(), key=len, default={})
    return [best[depth] for depth in sorted(best)] if len(best) > 1 else []


ONE_PARENT = 0.94
"""Share of rows whose coarser value follows from the finer one, where names do not count."""
KIND_PARENT = 0.75
"""The same for a column that is named for a kind of thing, which may stand in several places."""
NEAR_MISS = 0.8
"""From this share on, there is a note on a column that is left out."""
MAX_WITHOUT_PARENT = 0.8
MAX_SWAPPED = 0.2
MIN_REPEATED = 0.5
MAX_GAIN_BACK = 0.8
MAX_COMBINED = 0.5
MIN_GAIN = 0.1
MANY_VALUES = 6
MIN_ROWS = 20
"""Rows that are needed for the cells to contradict the names."""
_NO_LEVEL = frozenset(
    "brand manufacturer maker vendor seller supplier store shop color colour size material gender "
    "price".split()
)
"""Words of columns that say something of an item but not what it is."""
_KINDS = frozenset("type kind class family group segment commodity department".split())
"""Words of columns that say what an item is."""


@dataclass(frozen=True)
class Hierarchy:
    """`levels`: coarse to fine, [] where there is none; `notes`: a line for each column that looks
    like a level and is left out.
    """

    levels: list[str]
    notes: list[str]


@dataclass(frozen=True)
class _Column:
    codes: np.ndarray
    has_value: np.ndarray


def infer_hierarchy(columns: Mapping[str, Sequence[str]], schema: AttributeSchema) -> Hierarchy:
    """The hierarchy among some columns of equally many cells.

    Args:
        columns: The cells of each target column.
        schema: Says which cells are words for nothing.

    Returns:
        The levels, and notes on columns that were left out.
    """
    index: dict[str, int] = {}
    cells = {name: _column(values, index, schema) for name, values in columns.items()}
    named_levels, contradictions = _drop_contradicted(find_counted_levels(list(columns)), cells)
    levels = [
        name for name in columns if name in named_levels or not _NO_LEVEL & set(split_name(name))
    ]
    shares = {
        (fine, coarse): -1.0
        if _orphan_share(cells[fine], cells[coarse]) > MAX_WITHOUT_PARENT
        else _predicted_share(cells[fine], cells[coarse])
        for fine in levels
        for coarse in levels
        if fine != coarse
    }
    chain = _longest_chain(levels, named_levels, shares)
    notes = [note for name, note in contradictions.items() if name not in chain]
    return Hierarchy(chain, [*notes, *_near_misses(levels, chain, shares)])


def _column(values: Sequence[str], index: dict[str, int], schema: AttributeSchema) -> _Column:
    clean = {value: clean_label(value) for value in set(values)}
    codes = {value: index.setdefault(clean[value], len(index)) for value in clean}
    has_value = {
        value: bool(clean[value]) and not schema.says_none(clean[value]) for value in clean
    }
    return _Column(
        np.array([codes[value] for value in values], np.int64),
        np.array([has_value[value] for value in values], bool),
    )


def _longest_chain(
    names: Sequence[str], named_levels: Sequence[str], shares: Mapping[tuple[str, str], float]
) -> list[str]:
    """The longest chain in which every finer column tells every coarser one in `ONE_PARENT` of the
    rows (`KIND_PARENT` for kinds), and better than the coarser one tells it; columns whose names
    count need not.
    """
    above: dict[str, set[str]] = {name: set() for name in names}
    for (fine, coarse), share in shares.items():
        back = shares[coarse, fine]
        if share >= _required_share(fine) and (share, names.index(fine)) > (
            back,
            names.index(coarse),
        ):
            above[fine].add(coarse)
    for coarse, fine in combinations(named_levels, 2):
        above[fine] |= {coarse, *above[coarse]} - {fine}
        above[coarse].discard(fine)
    chains: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: len(above[name])):  # coarse ones first
        longer = [chain for chain in chains.values() if set(chain) <= above[name]]
        best = max(longer, key=lambda chain: _length(chain, named_levels), default=[])
        chains[name] = [*best, name]
    longest = max(chains.values(), key=lambda chain: _length(chain, named_levels), default=[])
    return longest if len(longest) > 1 else []


def _required_share(name: str) -> float:
    return KIND_PARENT if _KINDS & set(split_name(name)) else ONE_PARENT


def _length(chain: Sequence[str], named_levels: Sequence[str]) -> tuple[int, int]:
    return len(set(named_levels) & set(chain)), len(chain)


def _near_misses(
    names: Sequence[str], chain: Sequence[str], shares: Mapping[tuple[str, str], float]
) -> list[str]:
    """A note for each other column that tells the hierarchy's top level nearly well enough."""
    notes = []
    for name in names if chain else ():
        share = -1.0 if name in chain else shares[name, chain[0]]
        if NEAR_MISS <= share < _required_share(name):
            notes.append(
                f"{name} is no level of the hierarchy {' > '.join(chain)}: its values tell "
                f"{chain[0]} in {share:.0%} of the rows, and {ONE_PARENT:.0%} are needed; where it "
                "is one, name hierarchy"
            )
    return notes


def _drop_contradicted(
    named_levels: list[str], cells: Mapping[str, _Column]
) -> tuple[list[str], dict[str, str]]:
    """The levels whose cells do not contradict their names, and a note on each of the others.

    Levels that are numbered from fine to coarse are turned round.
    """
    faults, reverse_faults = _faults(named_levels, cells), _faults(named_levels[::-1], cells)
    if len(reverse_faults) < len(faults):
        named_levels, faults = named_levels[::-1], reverse_faults
    levels, notes = list(named_levels), {}
    while faults and len(levels) > 1:
        counts = [sum(name in pair for pair in faults) for name in levels]
        worst = levels[max(range(len(levels)), key=lambda i: (counts[i], i))]
        fault = next(text for pair, text in faults.items() if worst in pair)
        notes[worst] = (
            f"{worst} is left out of the hierarchy: {fault}; where it is a level, name hierarchy"
        )
        levels.remove(worst)
        faults = {pair: text for pair, text in faults.items() if worst not in pair}
    return (levels, notes) if len(levels) > 1 else ([], notes)


def _faults(
    named_levels: Sequence[str], cells: Mapping[str, _Column]
) -> dict[tuple[str, str], str]:
    """What contradicts each pair of levels, where something does."""
    contradictions = {pair: _contradiction(*pair, cells) for pair in combinations(named_levels, 2)}
    return {pair: fault for pair, fault in contradictions.items() if fault is not None}


def _contradiction(coarse: str, fine: str, cells: Mapping[str, _Column]) -> str | None:
    """What in the cells says that one column is not above the other, with the figure; None where
    nothing does.
    """
    above, below = cells[coarse], cells[fine]
    both = above.has_value & below.has_value
    if below.has_value.sum() < MIN_ROWS:
        return None
    orphans = _orphan_share(below, above)
    if orphans > MAX_WITHOUT_PARENT:
        return f"{orphans:.0%} of the rows that give {fine} have no {coarse}"
    if both.sum() < MIN_ROWS:
        return None
    pairs = np.column_stack([above.codes[both], below.codes[both]])
    swapped = _swapped_share(pairs)
    if swapped > MAX_SWAPPED:
        return f"in {swapped:.0%} of the rows {coarse} and {fine} also occur the other way round"
    gain, back = _gain(below, above), _gain(above, below)
    finer = len(np.unique(pairs[:, 1])) > len(np.unique(pairs[:, 0]))
    if not finer and back >= ONE_PARENT and gain < MAX_GAIN_BACK:
        share = _predicted_share(above, below)
        return f"{fine} follows from {coarse} in {share:.0%} of the rows, so it stands above it"
    combined = _combined_share(pairs)
    if combined > MAX_COMBINED and max(gain, back) < MIN_GAIN:
        return f"{coarse} and {fine} go together in any way, in {combined:.0%} of all combinations"
    repeated = _repeated_share(pairs)
    if repeated < MIN_REPEATED:
        return (
            f"only {repeated:.0%} of the rows with values of {coarse} and {fine} that come again "
            "have both together again"
        )
    return None


def _orphan_share(fine: _Column, coarse: _Column) -> float:
    """The share of rows with a fine value that have no coarse one."""
    return float(1 - (fine.has_value & coarse.has_value).sum() / max(1, fine.has_value.sum()))


def _swapped_share(pairs: np.ndarray) -> float:
    """The share of rows (a, b) with b not a for which there is a row (b, a)."""
    size = int(pairs.max()) + 1
    there = np.unique(pairs[:, 0] * size + pairs[:, 1])
    back = pairs[:, 1] * size + pairs[:, 0]
    return float((np.isin(back, there) & (pairs[:, 0] != pairs[:, 1])).mean())


def _combined_share(pairs: np.ndarray) -> float:
    """The share of all combinations of two values that occur; 0 where a column has few values."""
    sizes = [len(np.unique(codes)) for codes in pairs.T]
    if min(sizes) < MANY_VALUES:
        return 0.0
    return len(np.unique(pairs, axis=0)) / (sizes[0] * sizes[1])


def _repeated_share(pairs: np.ndarray) -> float:
    """Of the rows of which both values occur in another row, those whose pair does; 1 for none."""
    again = [np.bincount(codes)[codes] > 1 for codes in pairs.T]
    _, back, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    both_again = again[0] & again[1]
    return float((counts[back.ravel()] > 1)[both_again].mean()) if both_again.any() else 1.0


def _gain(one: _Column, other: _Column) -> float:
    """How much better than by its most frequent value the one column tells the other: 1 where
    always, 0 where not at all.
    """
    both = one.has_value & other.has_value
    base = float(np.bincount(other.codes[both]).max() / both.sum())
    return (_predicted_share(one, other) - base) / (1 - base) if base < 1 else 0.0


def _predicted_share(fine: _Column, coarse: _Column) -> float:
    """How often other rows with the same fine value tell a row's coarse value; -1 if none can.

    Values that stand in a single row tell nothing and do not count.
    """
    both = fine.has_value & coarse.has_value
    if not both.any():
        return -1.0
    pairs = np.column_stack([fine.codes[both], coarse.codes[both]])
    pairs, counts = np.unique(pairs, axis=0, return_counts=True)
    totals = np.bincount(pairs[:, 0], counts)
    most = np.zeros(len(totals))
    np.maximum.at(most, pairs[:, 0], counts)
    repeated = totals > 1
    if not repeated.any():
        return -1.0
    return float((most[repeated] - 1).sum() / (totals[repeated] - 1).sum())


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
    """`text`, `numeric`, `categorical`, `target`, or '' for a column that is none of them.

    Args:
        name: The name of the column.
        facts: What its cells are like.

    Returns:
        The role.
    """
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
    """Count what matters in some cells of a column.

    Args:
        cells: The cells; empty ones and those that say "none" do not count.
        schema: Says which cells say "none".

    Returns:
        Numbers of values and of distinct ones, mean words a value and the share of numbers.
    """
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
