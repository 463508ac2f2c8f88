"""Cells that hold labels as text: how they are split, and whether they look like lists unsplit.

A cell such as `dogs, cats` may be one label or two; only the other cells can tell. It is two where
its parts recur: as cells of their own, or in other company. `Health, Beauty` stays a name where
neither `Health` nor `Beauty` is met elsewhere.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html.entities import html5

from xrt.data.cells import clean_label

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|([A-Za-z][A-Za-z0-9]{1,31}));")
_GUARD = "\x00"
_MARKS = ("|", ";", ", ", ",", "\n", " ")
_ID = re.compile(r"<[^<>\s]+>|\w+:\S+|__label__\S+")
_CODE = re.compile(rf"{_ID.pattern}|\S*\d\S*")
_BRACKETS = ("[]", "{}")
_MAX_CELLS = 20_000
"""Different cells of a column after which no more are looked at."""
_LEAST_SHARE = 0.05
"""Of the rows, below which cells with a mark in them are exceptions, not lists."""
_MOST = 0.7
"""Of the parts, that must recur elsewhere."""
_NEARLY_ALL = 0.95
"""Of the cells of several words, whose words must all be cells of their own."""


class LabelCells:
    """The cells of one label column.

    num_split: cells that held several labels by a separator nobody named.

    Args:
        separator: What splits a cell; None for nothing.
        by_default: The user did not name the separator.
    """

    def __init__(self, separator: str | None, by_default: bool) -> None:
        self.separator, self.by_default = separator, by_default
        self.num_split = 0
        self._rows: dict[str, int] = {}
        self._is_looking = True

    def split(self, cell: str) -> list[str]:
        """The labels of a cell, not cleaned yet; an HTML entity (`&amp;`) is never split apart.

        Args:
            cell: The cell.

        Returns:
            The labels; the whole cell where nothing splits it.
        """
        labels = [cell]
        if self.separator is not None and self.separator in cell:
            labels = self._split(cell, self.separator)
            if self.by_default and _are_several(labels):
                self.num_split += 1
        if self._is_looking:
            self._rows[cell] = self._rows.get(cell, 0) + 1
            self._is_looking = len(self._rows) < _MAX_CELLS
        return labels

    @staticmethod
    def _split(cell: str, separator: str) -> list[str]:
        if "&" not in cell or ";" not in separator:
            return cell.split(separator)
        guarded = _ENTITY.sub(_guarded, cell)
        return [label.replace(_GUARD, ";") for label in guarded.split(separator)]

    def note(self) -> str:
        """What to tell the user where the labels look like lists by another mark.

        Returns:
            The note; '' where they do not.
        """
        labels: Counter[str] = Counter()
        for cell, rows in self._rows.items():
            for label in [cell] if self.separator is None else self._split(cell, self.separator):
                if label.strip():
                    labels[label.strip()] += rows
        bracket = _bracket(labels)
        if bracket:
            return (
                f"labels look like lists in brackets, such as {bracket[:80]!r}: write them as "
                "lists in JSONL, or joined by ';' without brackets"
            )
        for mark in _MARKS:
            if mark != self.separator and (example := list_example(labels, mark)):
                return (
                    f"labels look like lists by {mark!r}, such as {example[:80]!r}: "
                    f"set label_separator to {mark!r}"
                )
        return ""


def _are_several(labels: Sequence[str]) -> bool:
    if labels[0] and labels[-1]:  # as nearly always
        return len(labels) > 1
    return sum(1 for label in labels if label.strip()) > 1


def list_example(rows: Mapping[str, int], mark: str) -> str:
    """One cell that looks like a list by this mark; '' where cells with it look like names.

    Args:
        rows: How many rows have each cell.
        mark: What might stand between the labels of a list.

    Returns:
        The cell with most rows, or ''.
    """
    lists = {cell: parts for cell in rows if len(parts := _parts(cell, mark)) > 1}
    num_rows = sum(rows[cell] for cell in lists)
    if len(lists) < 2 or num_rows < _LEAST_SHARE * sum(rows.values()):
        return ""
    alone = {clean_label(cell) for cell in rows if cell not in lists}
    homes = Counter(part for parts in lists.values() for part in set(parts))
    occurrences = [part for parts in lists.values() for part in parts]
    num_recurring = sum(homes[part] + (part in alone) > 1 for part in occurrences)
    if num_recurring < (_MOST if mark != "|" else 0.5) * len(occurrences):
        return ""
    all_alone = sum(alone.issuperset(parts) for parts in lists.values()) / len(lists)
    is_free = all_alone >= 0.5 or _is_varied(list(lists.values()))
    if mark in (", ", ","):
        is_list = is_free
    elif mark != " " or all(_ID.fullmatch(part) for part in occurrences):
        is_list = True
    elif all(_CODE.fullmatch(part) for part in occurrences):
        is_list = is_free  # `S21 5G`, `S22 5G` are names, for all the digits in them
    else:
        is_list = len(lists) > 2 and all_alone >= _NEARLY_ALL
    return max(lists, key=lambda cell: rows[cell]) if is_list else ""


def _is_varied(lists: Sequence[Sequence[str]]) -> bool:
    """Whether the order or number of parts is free, as in a list, unlike in `Paris, France`."""
    places: dict[str, set[int]] = {}
    for parts in lists:
        for place, part in enumerate(parts):
            places.setdefault(part, set()).add(place)
    moved = sum(len(positions) > 1 for positions in places.values())
    return len({len(parts) for parts in lists}) > 1 or moved > 0.3 * len(places)


def _parts(cell: str, mark: str) -> list[str]:
    return [clean for part in cell.split(mark) if (clean := clean_label(part))]


def _bracket(rows: Mapping[str, int]) -> str:
    """A cell in brackets, where most are."""
    bracketed = [cell for cell in rows if len(cell) > 2 and cell[0] + cell[-1] in _BRACKETS]
    return bracketed[0] if sum(rows[cell] for cell in bracketed) > 0.5 * sum(rows.values()) else ""


def _guarded(entity: re.Match[str]) -> str:
    name = entity[1]
    is_entity = name is None or f"{name};" in html5
    return entity[0][:-1] + _GUARD if is_entity else entity[0]
