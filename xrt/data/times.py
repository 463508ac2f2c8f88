"""The times of rows: numbers, or dates in ISO form, of a column or given in Python.

N rows.
"""

import math
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from xrt.data.options import BadLine
from xrt.errors import DataError

_MONTH = re.compile(r"\d{4}-\d{2}")
_ADVICE = "write all as 2026-11-30 (or 2026-11, 2026-11-30T12:00), or all as numbers"


class TimeReader:
    """Reads times one after the other; all must be numbers, or all dates.

    Args:
        name: Of the column, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._first: tuple[str, Any] | None = None

    def read(self, value: Any) -> float:
        """A time as a number, larger is newer.

        Args:
            value: A number; a date; or text that holds either. A date without an offset is UTC, a
                month its first day.

        Returns:
            The number, or the seconds since 1970 of a date; NaN where there is none.

        Raises:
            BadLine: it is neither, or of another kind than the first one.
        """
        if value is None or value != value or (isinstance(value, str) and not value.strip()):
            return math.nan
        kind, time = _read(self.name, value)
        if self._first is None:
            self._first = kind, value
        elif kind != self._first[0]:
            first_kind, first = self._first
            raise BadLine(
                f"{self.name!r} is {_shown(value)}, a {kind}, where an earlier row has "
                f"{_shown(first)}, a {first_kind}; {_ADVICE}"
            )
        return time


def as_times(values: Any, num_rows: int) -> np.ndarray | None:
    """Times that were given in Python, one for each row.

    Args:
        values: Numbers, dates, numpy's dates or texts as `TimeReader.read` takes them; None for no
            times.
        num_rows: N.

    Returns:
        float64 (N,), NaN where a row has none; None for no times.

    Raises:
        DataError: not N of them, or one cannot be read.
    """
    if values is None:
        return None
    array = np.asarray(values)
    if array.dtype.kind == "M":
        array = array.astype("datetime64[us]").astype(object)
    listed = array.tolist() if array.ndim == 1 else []
    if len(listed) != num_rows:
        raise DataError(
            f"times: {array.shape} for {num_rows} rows; give a number or a date for each row"
        )
    reader = TimeReader("times")
    times_N = np.empty(num_rows)
    for row, value in enumerate(listed):
        try:
            times_N[row] = reader.read(value)
        except BadLine as fault:
            raise DataError(f"row {row}: {fault}") from None
    return times_N


def as_groups(values: Any, num_rows: int) -> np.ndarray | None:
    """Groups that were given in Python, one for each row.

    Args:
        values: Numbers or texts, the same for rows of a group; empty text, NaN or None for a row of
            no group. None for no groups.
        num_rows: N.

    Returns:
        int64 (N,), -1 for a row of no group; None for no groups.

    Raises:
        DataError: not N of them, or one is no number or text.
    """
    if values is None:
        return None
    array = np.asarray(values)
    listed: Iterable[Any] = array.tolist() if array.ndim == 1 else []
    if array.shape != (num_rows,):
        raise DataError(
            f"groups: {array.shape} for {num_rows} rows; give a number or a text for each row"
        )
    numbers: dict[Any, int] = {}
    groups_N = np.empty(num_rows, np.int64)
    for row, value in enumerate(listed):
        if isinstance(value, list | dict | set):
            raise DataError(f"groups: row {row} holds a {type(value).__name__}; give one value")
        alone = value is None or value != value or value == ""
        groups_N[row] = -1 if alone else numbers.setdefault(value, len(numbers))
    return groups_N


def _read(name: str, value: Any) -> tuple[str, float]:
    """The kind of a value and its time."""
    if isinstance(value, datetime):
        return "date", _seconds(value)
    if isinstance(value, date):
        return "date", _seconds(datetime(value.year, value.month, value.day))
    if isinstance(value, str):
        text = value.strip()
        try:
            number = float(text)
        except ValueError:
            try:
                whole = text + "-01" if _MONTH.fullmatch(text) else text
                return "date", _seconds(datetime.fromisoformat(whole))
            except ValueError:
                pass
        else:
            if math.isfinite(number):
                return "number", number
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        number = float(value)
        if math.isfinite(number):
            return "number", number
    raise BadLine(f"{name!r} is {_shown(value)}, neither a date nor a number; {_ADVICE}")


def _seconds(time: datetime) -> float:
    known = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return (known - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()


def _shown(value: Any) -> str:
    return repr(value)[:40] if isinstance(value, str) else str(value)[:40]
