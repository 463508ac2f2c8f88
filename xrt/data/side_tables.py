"""A table beside the corpus (names of labels, paths of labels) joined to it by id.

What fits nothing is an error, and what fits few a note: neither is taken in silence.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from xrt.data.cells import clean_label
from xrt.errors import DataError

Value = TypeVar("Value")
FEW = 0.5
"""The share of the labels below which a note is made."""


class Joined(NamedTuple, Generic[Value]):
    """values: by the label's id as the corpus has it. note: what to tell the user, or ''."""

    values: dict[str, Value]
    note: str


def join(
    path: str | Path,
    table: Mapping[str, Value],
    label_ids: Sequence[str],
    what: str = "names",
) -> Joined[Value]:
    """Find each label's entry in a side table.

    Ids are compared as `clean_label` leaves them, and an id in angle brackets fits the same id
    without them.

    Args:
        path: The file of the table, for messages.
        table: What it says, by id.
        label_ids: The ids of the corpus's labels.
        what: What the table holds, in the plural, for messages.

    Returns:
        The entries that fit, and a note where fewer than half of the labels have one.

    Raises:
        DataError: no label has an entry; one id of each side is shown.
    """
    by_key = dict(zip(map(id_key, table), table.values(), strict=True))
    values: dict[str, Value] = {}
    for id in label_ids:
        if id in table:
            values[id] = table[id]
        elif (key := id_key(id)) in by_key:
            values[id] = by_key[key]
    if not values and len(label_ids):
        raise DataError(
            f"{path}: none of its {len(table)} ids is among the {len(label_ids)} labels; it has "
            f"{_example(table)}, the labels are such as {_example(label_ids)}: use the same ids in "
            "both"
        )
    note = ""
    if len(values) < FEW * len(label_ids):
        without = next(id for id in label_ids if id not in values)
        note = (
            f"{path} has {what} for {len(values)} of the {len(label_ids)} labels only; "
            f"{without!r}, for one, is not in it"
        )
    return Joined(values, note)


def id_key(id: str) -> str:
    """What ids are compared by: clean, without angle brackets around it."""
    id = clean_label(id)
    if len(id) > 2 and id[0] == "<" and id[-1] == ">":
        return id[1:-1]
    return id


def _example(ids: Iterable[str]) -> str:
    return repr(next(iter(ids), "none")[:80])
