"""Which lines of a block of CSV or TSV are a row each, found for all lines at once.

A row that is written plainly (its own line, every quote where the grammar of `xrt.data.delimited`
has it, as many cells as the header) may be read by any fast reader; each of the others is read
alone. So one odd line costs what one line costs.
"""

from dataclasses import dataclass

import numpy as np

_LF, _CR, _QUOTE, _NUL = 10, 13, 34, 0


@dataclass(frozen=True, eq=False)
class LineKinds:
    """Lines of a block, T of them.

    starts_T, ends_T: where each begins, and where its line end stands, int64. plain_T: whether it
    is one row, written plainly. blank_T: whether it is no row at all.
    """

    starts_T: np.ndarray
    ends_T: np.ndarray
    plain_T: np.ndarray
    blank_T: np.ndarray

    def line(self, data: bytes, number: int) -> bytes:
        """A line with its line end.

        Args:
            data: The bytes of the block.
            number: Number of the line in the block, from 0.

        Returns:
            Its bytes, up to and with the line end.
        """
        return data[self.starts_T[number] : self.ends_T[number] + 1]


def kinds_of_lines(data: bytes, delimiter: str, width: int, *, has_quotes: bool) -> LineKinds:
    """Classify the lines: plain ones, blank ones, others.

    Args:
        data: Whole lines, the last with its line end; the first begins outside quotes.
        delimiter: The sign between cells, one byte.
        width: Cells of a row.
        has_quotes: Whether a double quote at the start of a cell opens a quoted cell (CSV).

    Returns:
        The kind of each line, as if it began outside quotes: within a quoted cell of several lines
        that begins above, a line is what that cell makes of it.
    """
    buffer = np.frombuffer(data, np.uint8)
    ends_T = np.flatnonzero(buffer == _LF)
    starts_T = np.concatenate([[0], ends_T[:-1] + 1])
    marks = np.flatnonzero(buffer == ord(delimiter))
    odd_T = _with_lone_returns(buffer, ends_T)
    if has_quotes:
        quotes = np.flatnonzero(buffer == _QUOTE)
        first_T = np.searchsorted(quotes, starts_T)
        odd_T |= _with_odd_quotes(buffer, quotes, first_T, starts_T, ends_T, ord(delimiter))
        before = np.searchsorted(quotes, marks) - first_T[np.searchsorted(ends_T, marks)]
        marks = marks[before % 2 == 0]
    num_marks_T = np.diff(np.searchsorted(marks, np.append(starts_T, len(buffer))))
    odd_T |= num_marks_T != width - 1
    odd_T[np.searchsorted(ends_T, np.flatnonzero(buffer == _NUL))] = True
    _mark_other_encodings(data, buffer, starts_T, ends_T, odd_T)
    blank_T = np.zeros(len(ends_T), bool)
    for number in np.flatnonzero(odd_T & (num_marks_T == 0)).tolist():
        blank_T[number] = not data[starts_T[number] : ends_T[number]].strip()
    return LineKinds(starts_T, ends_T, ~odd_T, blank_T)


def _with_odd_quotes(
    buffer: np.ndarray,
    quotes: np.ndarray,
    first_T: np.ndarray,
    starts_T: np.ndarray,
    ends_T: np.ndarray,
    delimiter: int,
) -> np.ndarray:
    """Lines in which a quote neither opens nor closes a cell nor is written twice: bool (T,)."""
    line_Q = np.searchsorted(ends_T, quotes)
    place_Q = np.arange(len(quotes)) - first_T[line_Q]
    before_Q, after_Q = buffer[np.maximum(quotes - 1, 0)], buffer[quotes + 1]
    after_that_Q = buffer[np.minimum(quotes + 2, len(buffer) - 1)]
    opens_Q = (quotes == starts_T[line_Q]) | (before_Q == delimiter)
    opens_Q |= (before_Q == _QUOTE) & (place_Q > 0)
    closes_Q = (after_Q == delimiter) | (after_Q == _LF) | (after_Q == _QUOTE)
    closes_Q |= (after_Q == _CR) & (after_that_Q == _LF)
    fits_Q = np.where(place_Q % 2 == 0, opens_Q, closes_Q)
    odd_T: np.ndarray = np.diff(np.append(first_T, len(quotes))) % 2 == 1
    odd_T[line_Q[~fits_Q]] = True
    return odd_T


def _with_lone_returns(buffer: np.ndarray, ends_T: np.ndarray) -> np.ndarray:
    """Lines with a carriage return that is not part of the line end: bool (T,)."""
    returns = np.flatnonzero(buffer == _CR)
    lone = returns[buffer[returns + 1] != _LF]
    odd_T: np.ndarray = np.zeros(len(ends_T), bool)
    odd_T[np.searchsorted(ends_T, lone)] = True
    return odd_T


def _mark_other_encodings(
    data: bytes, buffer: np.ndarray, starts_T: np.ndarray, ends_T: np.ndarray, odd_T: np.ndarray
) -> None:
    """Mark lines that are not UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        lines = np.unique(np.searchsorted(ends_T, np.flatnonzero(buffer >= 128)))
        for number in lines.tolist():
            try:
                data[starts_T[number] : ends_T[number]].decode()
            except UnicodeDecodeError:
                odd_T[number] = True
