"""A table beside the corpus (names of labels, paths of labels), read and joined to it by id.

The file has lines `id TAB value`, or is CSV (`.csv`) whose first row may name the columns, as
vocabularies have it: `id,name` or `uri,label_en,notation`. What fits nothing is an error, and what
fits few a note: neither is taken in silence.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from xrt.data.cells import clean_label
from xrt.data.delimited import Line, csv_rows
from xrt.data.sources import numbered_lines, plain_name
from xrt.errors import DataError
from xrt.inputs import without_surrogates

Value = TypeVar("Value")
FEW = 0.5
"""The share of the labels below which a note is made."""


_ID_NAMES = (
    re.compile("([a-z]+_?)?id|ur[il]|identifier"),
    re.compile("key|code|label|subject|concept|notation"),
)
"""What columns of ids are called, the surest names first."""
_VALUE_NAMES = re.compile("(pref_?)?label.*|name.*|title.*|path.*|ancestors|text|value|term")


class Entry(NamedTuple):
    """A line of a side table: its number, the id as it stands there, and the rest.

    has_value: whether anything separates the two.
    """

    number: int
    id: str
    value: str
    has_value: bool = True


class Joined(NamedTuple, Generic[Value]):
    """values: by the label's id as the corpus has it. note: what to tell the user, or ''."""

    values: dict[str, Value]
    note: str


def read_side_table(path: str | Path) -> Iterator[Entry]:
    """The entries of a side table; blank lines are passed over.

    Args:
        path: The file; gzip and xz are unpacked. Named `.csv` it is CSV, else lines `id TAB value`.

    Yields:
        An entry for each line, ids and values as they stand there but for outer blanks.

    Raises:
        DataError: the file cannot be read, a line is not UTF-8 or no row of CSV, or has no id.
    """
    is_csv = plain_name(path).endswith(".csv")
    for entry in _csv_entries(path) if is_csv else _line_entries(path):
        if not clean_label(entry.id):
            raise DataError(f"{path}: line {entry.number}: no id; write 'id TAB name'")
        yield entry


def _line_entries(path: str | Path) -> Iterator[Entry]:
    for number, raw in numbered_lines(path):
        if not raw.strip():
            continue
        try:
            id, tab, value = raw.decode("utf-8").partition("\t")
        except UnicodeDecodeError as err:
            raise DataError(f"{path}: line {number}: not UTF-8; convert the file to UTF-8") from err
        yield Entry(number, id.strip(), value.strip(), bool(tab))


def _csv_entries(path: str | Path) -> Iterator[Entry]:
    rows = csv_rows(path)
    first = next(rows, None)
    if first is None:
        return
    id_column, value_column, has_header = _columns(first)
    for row in rows if has_header else itertools.chain([first], rows):
        if row.fault:
            raise DataError(f"{path}: line {row.number}: {row.fault}")
        cells = [str(cell).strip() for cell in row.cells]
        if not row.raw.isascii() and row.raw != without_surrogates(row.raw):
            raise DataError(f"{path}: line {row.number}: not UTF-8; convert the file to UTF-8")
        value = cells[value_column] if value_column < len(cells) else ""
        yield Entry(row.number, cells[id_column], value, len(cells) > 1)


def _columns(first: Line) -> tuple[int, int, bool]:
    """Which column has the ids and which the values, and whether the first row says so."""
    names = [clean_label(str(name)).casefold() for name in first.cells]
    ids = [i for sure in _ID_NAMES for i, name in enumerate(names) if sure.fullmatch(name)]
    if not ids:
        return 0, 1, False
    values = [i for i, name in enumerate(names) if i != ids[0] and _VALUE_NAMES.fullmatch(name)]
    return ids[0], values[0] if values else int(ids[0] == 0), True


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
    """What ids are compared by: clean, without angle brackets around it.

    Args:
        id: The id.

    Returns:
        The key.
    """
    id = clean_label(id)
    if len(id) > 2 and id[0] == "<" and id[-1] == ">":
        return id[1:-1]
    return id


def _example(ids: Iterable[str]) -> str:
    return repr(next(iter(ids), "none")[:80])
