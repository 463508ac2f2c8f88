"""The label columns of one record, with some labels added, taken away or doubted.

A value keeps its kind where it can: text joined by a separator stays such text, a list a list, an
object of weights an object. A label is named by its id, as the reader of the corpus makes it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xrt.data.cells import clean_label
from xrt.data.label_cells import LabelCells
from xrt.data.options import ReadOptions
from xrt.data.records import RecordParser, label_of


@dataclass
class RowChange:
    """What is to change in a row: labels by id. added: with their confidence, 1 for sure.
    doubted: labels that stay, with what is left of their weight.
    """

    added: dict[str, float] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    doubted: dict[str, float] = field(default_factory=dict)

    @property
    def needs_weights(self) -> bool:
        """Whether a label gets another weight than 1."""
        return bool(self.doubted) or any(weight != 1 for weight in self.added.values())


class CannotHoldError(Exception):
    """A label column that cannot hold what it should: labels, by id, that do not fit into it."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(", ".join(labels))
        self.labels = list(labels)


@dataclass(frozen=True)
class LabelValues:
    """Changes values of label columns.

    parser: that of the corpus. has_lists: whether a cell may become a list or an object (JSON), or
    is what its column is.
    """

    options: ReadOptions
    parser: RecordParser
    has_lists: bool

    def changed(self, record: Mapping[str, Any], change: RowChange) -> dict[str, Any]:
        """The new values of the label columns that change.

        Args:
            record: The row, by column.
            change: What is to change.

        Returns:
            Values by column; labels that are there already, or are not, change nothing.

        Raises:
            CannotHoldError: a cell takes one label and has one.
        """
        names = self.options.label_names
        added: dict[str, list[tuple[str, float]]] = {name: [] for name in names}
        present = {id for name in names for id, _, _ in self._entries(name, record.get(name))}
        for label, weight in change.added.items():
            if label not in present:
                name = self._column_of(label)
                added[name].append((label.removeprefix(self._prefix(name)), weight))
        values = {name: self._value(name, record.get(name), change, added[name]) for name in names}
        return {
            name: value
            for name, value in values.items()
            if name in record or value is not None
            if not _same(value, record.get(name))
        }

    def _prefix(self, name: str) -> str:
        return clean_label(f"{name}=x")[:-1] if self.options.prefixed else ""

    def _column_of(self, label: str) -> str:
        """The column that a label belongs to: of several, the one that it begins with."""
        fitting = [n for n in self.options.label_names if label.startswith(self._prefix(n))]
        return max(fitting or self.options.label_names[:1], key=len)

    def _entries(self, name: str, value: Any) -> list[tuple[str, Any, float | None]]:
        """(id, piece of the value, weight) of each label; ids '' are of nothing."""
        if value is None or value != value:
            return []
        pieces: list[tuple[Any, float | None]]
        if isinstance(value, str):
            pieces = [(piece, None) for piece in self._cells(name).split(value)]
        elif isinstance(value, Mapping):
            pieces = list(value.items())
        else:
            pieces = [(piece, None) for piece in (value if isinstance(value, list) else [value])]
        prefix = self._prefix(name)
        clean = [(clean_label(str(label_of(p, name))), p, weight) for p, weight in pieces]
        return [(clean_label(prefix + id) if id else "", p, weight) for id, p, weight in clean]

    def _cells(self, name: str) -> LabelCells:
        return self.parser.cells[name]

    def _value(
        self, name: str, value: Any, change: RowChange, added: Sequence[tuple[str, float]]
    ) -> Any:
        entries = self._entries(name, value)
        doubted = {id for id, _, _ in entries} & change.doubted.keys()
        if not added and not doubted and not any(id in change.removed for id, _, _ in entries):
            return value
        remaining = [entry for entry in entries if entry[0] and entry[0] not in change.removed]
        has_weights = isinstance(value, Mapping)
        if has_weights or doubted or any(weight != 1 for _, weight in added):
            if not has_weights and not self.has_lists:
                raise CannotHoldError([self._prefix(name) + label for label, _ in added])
            return _weights(remaining, change, added)
        pieces = [piece for _, piece, _ in remaining]
        if isinstance(value, list):
            return [*pieces, *_alike(pieces, [label for label, _ in added])]
        return self._plain(name, value, pieces, [label for label, _ in added])

    def _plain(self, name: str, value: Any, pieces: list[Any], added: list[str]) -> Any:
        """A value that is no list: text, a number, or nothing."""
        separator = self._cells(name).separator
        is_text = isinstance(value, str) or (value is None and not self.has_lists)
        if is_text and separator is not None:
            joint = separator + " " * (f"{separator} " in (value or ""))
            return joint.join([*(str(piece).strip() for piece in pieces), *added])
        new_pieces = [*pieces, *_alike(pieces, added)]
        if len(new_pieces) <= 1 and not (value is None and self.has_lists):
            return new_pieces[0] if new_pieces else "" if is_text and not self.has_lists else None
        if not self.has_lists:
            raise CannotHoldError([self._prefix(name) + label for label in added])
        return new_pieces


def _weights(
    remaining: Sequence[tuple[str, Any, float | None]],
    change: RowChange,
    added: Sequence[tuple[str, float]],
) -> dict[str, Any]:
    """Labels as an object of weights; weights that do not change stay as they are."""
    weights: dict[str, Any] = {}
    for id, piece, weight in remaining:
        old = 1 if weight is None else weight
        share = change.doubted.get(id)
        weights[str(piece)] = old if share is None else _rounded(old * share)
    return weights | {label: 1 if w == 1 else _rounded(w) for label, w in added}


def _rounded(weight: float) -> float:
    return float(f"{weight:.6g}")


def _alike(pieces: Sequence[Any], labels: Sequence[str]) -> list[Any]:
    """New labels as numbers where all the others are."""
    numbers = bool(pieces) and all(isinstance(piece, int | float) for piece in pieces)
    return [int(s) if numbers and s.isdecimal() and str(int(s)) == s else s for s in labels]


def _same(a: Any, b: Any) -> bool:
    both_nan = all(isinstance(value, float) and math.isnan(value) for value in (a, b))
    return both_nan or (a is b) or (type(a) is type(b) and bool(a == b))
