"""Finds the hierarchy among the targets of a catalogue, where the user has not named it.

Columns whose names count (`L1`..`L4`, `category`, `sub_category`) are one, unless their cells
contradict strongly. Others join, or form one by themselves, where a value has nearly always one
parent. A child is known by its path: a name may stand under several parents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from xrt.applications.attributes.data.level_names import find_counted_levels, split_name
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.data.cells import clean_label

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
