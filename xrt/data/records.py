"""From one record (key -> value) to one row: text and labels, for JSONL, CSV, TSV and Parquet."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from xrt.data.cells import clean_label, id_text
from xrt.data.label_cells import LabelCells
from xrt.data.nothing import says_nothing
from xrt.data.options import DEFAULT_ID_COLUMNS, DEFAULT_SEPARATOR, BadLine, ReadOptions
from xrt.data.times import TimeReader
from xrt.errors import DataError

TEXT_ADVICE = {"text_columns": "to name the columns of the text"}
LABEL_ADVICE = {
    "label_column": "to name the column of the labels",
    "require_labels": "to read the rows without labels",
}
_SHOWN_KEYS = 12
_NO_IDS = (bool, list, tuple, dict)


class Row(NamedTuple):
    """Text, label ids, their weights (None: all 1), the row's own id ('' where it has none), its
    weight, its group ('' where it has none) and its time (NaN where it has none).
    """

    text: str
    labels: list[str | int]
    weights: list[float] | None
    id: str
    weight: float = 1.0
    group: str = ""
    time: float = math.nan


class RecordParser:
    """Takes text and labels out of records, all by the same options.

    Args:
        options: Which columns are read.
        split_by_default: Split the cells of a single label column at ';' where no separator is
            named.
    """

    def __init__(self, options: ReadOptions, split_by_default: bool) -> None:
        self.text_names, self.label_names = options.text_names, options.label_names
        self.prefixed = options.prefixed
        self.weight_name, self.id_names = options.weight_column, options.id_names
        self.id_column, self.group_name = options.id_column, options.group_column
        self.time_name = options.time_column
        self._times = TimeReader(options.time_column or "")
        separator, by_default = options.label_separator, False
        if separator is None and split_by_default and not options.prefixed:
            separator, by_default = DEFAULT_SEPARATOR, True
        self.cells = {name: LabelCells(separator, by_default) for name in self.label_names}
        self.saw_labels = False

    def parse(self, record: Mapping[str, Any]) -> Row:
        """The row that a record holds.

        Args:
            record: Value by key.

        Returns:
            Text, labels and weights of the row.

        Raises:
            BadLine: the record has no text column, or a value of a wrong kind.
        """
        text = self.text(record)
        labels: list[str | int] = []
        weights: list[float] | None = None
        for name in self.label_names:
            value = record.get(name)
            if value is None or value != value:
                self.saw_labels = self.saw_labels or name in record
                continue
            self.saw_labels = True
            found, their_weights = self._labels(name, value)
            if self.prefixed:
                found, their_weights = _prefixed(name, found, their_weights)
            if their_weights is not None:
                weights = (weights or [1.0] * len(labels)) + their_weights
            elif weights is not None:
                weights += [1.0] * len(found)
            labels += found
        return Row(
            text, labels, weights, self.id(record), self.weight(record), self.group(record),
            self.time(record),
        )  # fmt: skip

    def id(self, record: Mapping[str, Any]) -> str:
        """The row's own id.

        Args:
            record: Value by key.

        Returns:
            The id; '' for none.

        Raises:
            BadLine: the column that was named for it holds a list, an object or true/false.
        """
        if self.id_column is not None and isinstance(record.get(self.id_column), _NO_IDS):
            raise BadLine(
                f"{self.id_column!r} holds {_kind(record[self.id_column])} as an id; use strings "
                "or whole numbers"
            )
        return row_id(record, self.id_names)

    def require_label_columns(self, path: object, columns: Iterable[str], anyway: bool) -> None:
        """Check that a row had a label column.

        Args:
            path: The file, for the message.
            columns: Its columns, for the message.
            anyway: No check.

        Raises:
            DataError: no row had one.
        """
        if not self.saw_labels and not anyway:
            raise DataError(missing_labels(path, self.label_names, columns), settings=LABEL_ADVICE)

    def notes(self) -> list[str]:
        """What is odd about the label cells of the rows so far.

        Returns:
            Remarks for the report; none where all is well.
        """
        notes = {name: cells.note() for name, cells in self.cells.items()}
        if self.prefixed:
            return [f"column {name!r}: {note}" for name, note in notes.items() if note]
        return [note for note in notes.values() if note]

    @property
    def num_split(self) -> int:
        """Cells that held several labels by a separator that nobody named."""
        return sum(cells.num_split for cells in self.cells.values())

    def text(self, record: Mapping[str, Any]) -> str:
        """The text columns of a record, joined.

        Args:
            record: Value by key.

        Returns:
            The text.

        Raises:
            BadLine: the record has no text column, or one holds no text.
        """
        names = self.text_names or default_text_columns(record)
        parts = [text_of(record[name], name) for name in names if name in record]
        if not parts:
            text_columns = ", ".join(self.text_names or ("text", "title", "content"))
            keys = shown(record)
            raise BadLine(
                f"no text under {text_columns}; the keys are {keys}: rename one", TEXT_ADVICE
            )
        return join_text(parts)

    def weight(self, record: Mapping[str, Any]) -> float:
        """The row's weight.

        Args:
            record: Value by key.

        Returns:
            The weight, 1e-30 to 1e30; 1 where no column is named for it.

        Raises:
            BadLine: it is no finite number above 0.
        """
        if self.weight_name is None:
            return 1.0
        value = record.get(self.weight_name)
        try:
            number = float(value) if isinstance(value, str | Decimal) else value
        except ValueError:
            number = value
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise BadLine(
                f"{self.weight_name!r} holds {_kind(number)}; give a row's weight as a number"
            )
        if not 1e-30 <= number <= 1e30:
            raise BadLine(
                f"{self.weight_name!r} is {number}; give a finite weight above 0, and leave out "
                "rows that are not to count"
            )
        return float(number)

    def group(self, record: Mapping[str, Any]) -> str:
        """The group that the row stays with where rows are held out.

        Args:
            record: Value by key.

        Returns:
            The group; '' for none, and where no column is named for it.

        Raises:
            BadLine: it is a list, an object or true/false.
        """
        if self.group_name is None:
            return ""
        value = record.get(self.group_name)
        if isinstance(value, _NO_IDS):
            raise BadLine(
                f"{self.group_name!r} holds {_kind(value)} as a group; use strings or numbers"
            )
        return "" if value is None or value != value else id_text(value)

    def time(self, record: Mapping[str, Any]) -> float:
        """The row's time.

        Args:
            record: Value by key.

        Returns:
            A number, larger is newer; NaN for none, and where no column is named for it.

        Raises:
            BadLine: it is neither a date nor a number, or of another kind than those before.
        """
        if self.time_name is None:
            return math.nan
        return self._times.read(record.get(self.time_name))

    def _labels(self, name: str, value: Any) -> tuple[list[str | int], list[float] | None]:
        if isinstance(value, str):
            return list(self.cells[name].split(value)), None
        if isinstance(value, Mapping):
            weights = [_weight(name, label, weight) for label, weight in value.items()]
            return list(value), weights
        if isinstance(value, list):
            return [v if type(v) is str else label_of(v, name) for v in value], None
        return [label_of(value, name)], None


def _prefixed(
    name: str, labels: Sequence[str | int], weights: list[float] | None
) -> tuple[list[str | int], list[float] | None]:
    """Labels as `name=label`, each cleaned before, without those that say nothing."""
    clean = [clean_label(str(label)) for label in labels]
    clean = ["" if says_nothing(label) else label for label in clean]
    if weights is not None:
        weights = [weight for label, weight in zip(clean, weights, strict=True) if label]
    return [f"{name}={label}" for label in clean if label], weights


def default_text_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """`text` where it is there, else those of `title` and `content` that are.

    Args:
        columns: The columns that there are.

    Returns:
        Names of columns; none where there is no text.
    """
    if "text" in columns:
        return ("text",)
    return tuple(name for name in ("title", "content") if name in columns)


def join_text(parts: Iterable[str]) -> str:
    """Title and content become one text: the parts that are not blank, a line each.

    A line end is blank space to every tokenizer and adds no character of its own.

    Args:
        parts: Title, content and the like.

    Returns:
        The text.
    """
    return "\n".join(stripped for part in parts if (stripped := part.strip()))


def text_of(value: Any, name: str) -> str:
    """A value as text: null and NaN are empty, numbers written out, lists of strings joined.

    Args:
        value: The value of a cell.
        name: The column, for the message.

    Returns:
        The text.

    Raises:
        BadLine: the value is of another kind.
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    if isinstance(value, int | float | Decimal | date | time | timedelta) and not isinstance(
        value, bool
    ):
        return str(value)
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return " ".join(value)
    raise BadLine(f"{name!r} holds {_kind(value)} where text is needed; correct it")


def label_of(value: Any, name: str) -> str | int:
    """A label from a string, bytes or a whole number.

    Args:
        value: The value of a cell, or of an entry of a list.
        name: The column, for the message.

    Returns:
        The label; strings and integers as they are.

    Raises:
        BadLine: the value is of another kind.
    """
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float | Decimal) and not (math.isfinite(value) and value == int(value)):
        raise BadLine(f"{name!r}: label {value} is not whole; use strings or integers")
    if isinstance(value, float | Decimal | bytes):
        return id_text(value)
    raise BadLine(f"{name!r} holds {_kind(value)} as a label; use strings or integers")


def missing_side_column(path: object, what: str, name: str, columns: Iterable[str]) -> str:
    """The message for a file without the column of the rows' weights, groups or times.

    Args:
        path: The file.
        what: What the column says of the rows: `weights`.
        name: The column that is missing.
        columns: The columns that there are.

    Returns:
        The message.
    """
    return (
        f"{path}: no column {name} for the rows' {what}; the columns are {shown(columns)}: give "
        "one of these, or leave it out"
    )


def missing_labels(path: object, names: Sequence[str], columns: Iterable[str]) -> str:
    """The message for a file without any label column.

    Args:
        path: The file.
        names: The columns that are missing.
        columns: The columns that there are.

    Returns:
        The message.
    """
    return (
        f"{path}: no label column {', '.join(names)}; the columns are {shown(columns)}: rename one"
    )


def shown(columns: Iterable[str]) -> str:
    """The first column names, for an error message.

    Args:
        columns: The columns' names.

    Returns:
        The names in one line; `none` for none.
    """
    names = [str(name)[:40] for name in columns]
    more = f", ... {len(names) - _SHOWN_KEYS} more" if len(names) > _SHOWN_KEYS else ""
    return (", ".join(names[:_SHOWN_KEYS]) or "none") + more


def _weight(name: str, label: str, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise BadLine(f"{name!r}: weight of {label!r} is {_kind(weight)}; give a number above 0")
    if not (0 <= weight <= 3e38) or math.isnan(weight):
        raise BadLine(f"{name!r}: weight of {label!r} is {weight}; give a finite number above 0")
    return float(weight)


def row_id(record: Mapping[str, Any], names: Iterable[str] = DEFAULT_ID_COLUMNS) -> str:
    """The id under the first of `names` that holds one, else ''.

    Text and numbers are ids as `id_text` writes them; a list or an object is none.

    Args:
        record: Value by key.
        names: The columns, the first choice first.

    Returns:
        The id.
    """
    for key in names:
        value = record.get(key)
        if value is None:
            continue
        if type(value) is str or not isinstance(value, _NO_IDS):
            id = id_text(value)
            if id:
                return id
    return ""


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", bool: "true/false", type(None): "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")
